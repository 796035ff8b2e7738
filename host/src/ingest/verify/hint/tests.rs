//! Each variation is found, and no hint holds what must not be shown.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::*;
use crate::config::presets;
use crate::config::source::{Dedupe, DedupeBy, PublicKey, PublicKeyKind};
use crate::ingest::sign;
use crate::ingest::verify::refusal::Refusal;

const SECRET: &[u8] = b"a secret for tests, long enough";
const BODY: &[u8] = b"{\"event_type\":\"a.b\",\"event_data\":{\"name\":\"\xc3\xa9/\"}}";
const NOW_S: i64 = 1_770_000_000;

fn source(preset: &str, name: &str, secret: &[u8]) -> Source {
    let template = presets::find(preset).unwrap();
    let secrets = Secrets::Set(vec![SecretSlice::from(secret.to_vec())]);
    Source {
        name: name.into(),
        preset: Some(preset.to_owned()),
        verify: Verify::Signature(template.rules()),
        secrets,
        provider: Default::default(),
        secret_places: Vec::new(),
        kind: template.kind.clone().unwrap(),
        id: template.id.clone(),
        dedupe: Dedupe::by([DedupeBy::Id]),
        subject: None,
        max_body_bytes: None,
        form: None,
        split: None,
        cloudevents: false,
        origins: Vec::new(),
        types: template.types,
        trust_traceparent: false,
        handshakes: Vec::new(),
        replies: Default::default(),
        params: std::collections::BTreeMap::new(),
    }
}

/// The request of a sender with another view of the secret or the body.
fn head(signer: &Source, body: &[u8]) -> Head {
    let mut headers = HeaderMap::new();
    for (name, value) in sign(signer, body, "id_1", NOW_S).unwrap() {
        headers.insert(name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap());
    }
    headers.into()
}

/// The hint for a request of `signer`, which signed `signed` and sent `sent`.
fn hint(source: &Source, signer: &Source, signed: &[u8], sent: &[u8]) -> Option<String> {
    let verifier = Verifier::new(source);
    let head = head(signer, signed);
    let claimed = verifier.claim(&head).unwrap();
    let refused = verifier.check(&claimed, &head, sent, NOW_S * 1_000);
    assert_eq!(refused.map(|proof| proof.key), Err(Refusal::Mismatch));
    let found = find(source, &verifier, &head, sent, std::iter::empty());
    if let Some(text) = &found {
        let shown = |part: &[u8]| text.contains(std::str::from_utf8(part).unwrap());
        assert!(!shown(SECRET) && !shown(BODY), "{text}");
        let values = head.headers.values().map(HeaderValue::as_bytes);
        assert!(!values.into_iter().any(shown), "{text}");
    }
    found
}

#[test]
fn every_variation_of_a_body_is_found() {
    let source = source("heygen", "heygen", SECRET);
    for variation in &bodies::VARIATIONS {
        // A body that this variation changes into what was signed.
        let sent: &[&[u8]] = &[
            BODY,
            b"{\"event_type\":\"a.b\",\"event_data\":{\"name\":\"\\u00e9\\/\"}}",
            b"{ \"event_type\" : \"a.b\" }",
            b"{\"a\":1,\r\n\"b\":2}\r\n",
            b"{\"a\":1,\n\"b\":2}",
            b"\xef\xbb\xbf{}",
            b"  a=b",
        ];
        let found = sent.iter().any(|sent| {
            let Some(signed) = (variation.make)(sent).filter(|signed| signed != sent) else {
                return false;
            };
            hint(&source, &source, &signed, sent).is_some_and(|text| text.ends_with(variation.what))
        });
        assert!(found, "{}", variation.what);
    }
}

#[test]
fn every_variation_of_a_secret_is_found() {
    let texts: [&[u8]; 4] = [
        b"whsec_MDEyMzQ1Njc4OWFiY2RlZg==",
        b"\" a secret \" with blanks \"",
        b" a secret with blanks around ",
        b"00112233445566778899aabbccddeeff",
    ];
    let mut found = std::collections::BTreeSet::new();
    let mut wanted = found.clone();
    for text in texts {
        let source = source("heygen", "heygen", text);
        for (what, varied) in secrets::variations(text) {
            wanted.insert(what);
            let signer = self::source("heygen", "heygen", varied.expose_secret());
            let hint = hint(&source, &signer, BODY, BODY).unwrap_or_default();
            // Two of them may be one key.
            assert!(hint.starts_with("matches with"), "{what}: {hint}");
            if hint.ends_with(what) {
                found.insert(what);
            }
        }
    }
    assert_eq!(found, wanted);
}

#[test]
fn other_parts_that_are_signed_are_found() {
    let own = source("heygen", "heygen", SECRET);
    let Verify::Signature(signature) = &own.verify else { unreachable!() };
    let signing = |signed: Vec<Part>| Source {
        verify: Verify::Signature(Signature { signed, ..signature.clone() }),
        ..own.clone()
    };
    let dot = || Part::Literal(".".to_owned());
    let timed = signing(vec![Part::Timestamp, dot(), Part::Body]);
    let text = hint(&own, &timed, BODY, BODY).unwrap();
    assert!(text.contains("`{timestamp}.{body}`"), "{text}");
    let whole = signing(vec![Part::Id, dot(), Part::Timestamp, dot(), Part::Body]);
    let text = hint(&own, &whole, BODY, BODY).unwrap();
    assert!(text.contains("`{id}.{timestamp}.{body}`"), "{text}");
    let text = hint(&timed, &own, BODY, BODY).unwrap();
    assert!(text.contains("over the body alone"), "{text}");
}

#[test]
fn another_spelling_of_the_address_is_found() {
    let own = source("heygen", "heygen", SECRET);
    let Verify::Signature(signature) = &own.verify else { unreachable!() };
    let at = |url: &str| {
        let signed = vec![Part::Url, Part::Body];
        let public_url = Some(url.to_owned());
        let verify = Verify::Signature(Signature { signed, public_url, ..signature.clone() });
        Source { verify, ..own.clone() }
    };
    let (secure, plain) = (at("https://hooks.example.com"), at("http://hooks.example.com"));
    let verifier = Verifier::new(&secure);
    let mut head = head(&plain, BODY);
    head.uri = "/webhook/heygen".parse().unwrap();
    let text = find(&secure, &verifier, &head, BODY, std::iter::empty()).unwrap();
    assert!(text.contains("the address http://hooks.example.com"), "{text}");
}

#[test]
fn the_secret_of_another_source_is_named_by_its_source() {
    let (own, other) =
        (source("heygen", "heygen", SECRET), source("heygen", "acme", b"other secret of 16"));
    let verifiers = [Verifier::new(&own), Verifier::new(&other)];
    let others = || std::iter::once((&other, &verifiers[1]));
    let text = find(&own, &verifiers[0], &head(&other, BODY), BODY, others()).unwrap();
    assert!(text.contains("a secret of the source `acme`"), "{text}");
    let stranger = source("heygen", "heygen", b"nobody knows this secret");
    assert_eq!(find(&own, &verifiers[0], &head(&stranger, BODY), BODY, others()), None);
}

#[test]
fn a_body_that_is_too_long_is_not_tried() {
    let own = source("heygen", "heygen", SECRET);
    let body = vec![b'a'; MAX_BODY_BYTES];
    assert!(hint(&own, &own, &body, &[&body[..MAX_BODY_BYTES - 1], b"a\n"].concat()).is_none());
    let shorter = &body[..MAX_BODY_BYTES - 1];
    assert!(hint(&own, &own, shorter, &[shorter, b"\n"].concat()).is_some());
}

fn explained(preset: &str, header: &str, value: &str) -> String {
    let source = source(preset, preset, SECRET);
    let (name, value) = (header.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    let head = Head::from(HeaderMap::from_iter([(name, value)]));
    let verifier = Verifier::new(&source);
    let refusal = verifier.claim(&head).map(drop).unwrap_err();
    shape(&verifier, &head, refusal).unwrap_or_default()
}

#[test]
fn the_form_of_a_signature_is_explained_by_the_head_alone() {
    let hex = "ab".repeat(32);
    let base64 = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
    let url_safe = "____IyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8";
    for (preset, header, value, part) in [
        ("heygen", "heygen-signature", base64, "in base64, and the source expects hex"),
        ("heygen", "heygen-signature", url_safe, "URL-safe base64 without padding"),
        ("heygen", "heygen-signature", &format!("sha256={hex}"), "has the prefix `sha256=`"),
        ("heygen", "heygen-signature", &hex[..40], "20 bytes in hex, as of SHA-1"),
        ("github", "x-hub-signature-256", hex.as_str(), "without the prefix `sha256=`"),
        ("github", "x-hub-signature-256", &format!("sha1={hex}"), "prefix `sha1=` where `sha256=`"),
        ("github", "x-hub-signature", &hex, "the request has `x-hub-signature`"),
        ("github", "x-other", &hex, "no header looks like a signature"),
        ("stripe", "stripe-signature", &format!("t=1,v0={hex}"), "prefix `v0=` where `v1=`"),
    ] {
        let text = explained(preset, header, value);
        assert!(text.contains(part), "{preset} {value}: {text}");
        assert!(!text.contains(&hex[..40]) && !text.contains(base64), "{text}");
    }
}

#[test]
fn a_time_in_milliseconds_is_explained() {
    let own = source("standard-webhooks", "acme", SECRET);
    let mut head = head(&own, BODY);
    head.headers.insert("webhook-timestamp", "1770000000000".parse().unwrap());
    let verifier = Verifier::new(&own);
    let refusal = Refusal::NoTimestamp;
    let text = shape(&verifier, &head, refusal).unwrap();
    assert!(text.contains("milliseconds"), "{text}");
    head.headers.remove("webhook-timestamp");
    let text = shape(&verifier, &head, refusal).unwrap();
    assert!(text.contains("`webhook-timestamp`"), "{text}");
}

#[test]
fn too_many_signatures_of_a_public_key_are_counted_and_not_explained_as_a_form() {
    let mut own = source("discord", "acme", SECRET);
    let Verify::Signature(rule) = &mut own.verify else { panic!("it is signed") };
    rule.signatures[0].separator = Some(' ');
    rule.public_keys =
        vec![PublicKey { kind: PublicKeyKind::Ed25519, bytes: vec![1; 32], kid: None }];
    let verifier = Verifier::new(&own);
    let value = vec!["ab".repeat(64); 9].join(" ").parse::<HeaderValue>().unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x-signature-ed25519", value);
    let head = Head::from(headers);
    let refusal = verifier.claim(&head).map(drop).unwrap_err();
    assert_eq!(refusal, Refusal::Malformed);
    let text = shape(&verifier, &head, refusal).unwrap();
    assert_eq!(text, "`x-signature-ed25519` has more than 8 signatures");
}
