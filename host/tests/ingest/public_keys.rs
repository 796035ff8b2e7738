//! Requests that providers signed with private keys: no change of one is accepted.

use axum::http::{HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hookbox::config::presets;
use hookbox::config::source::SignatureScheme;
use hookbox::ingest::Refusal;

use super::providers::ProviderVector;

/// The changes of each request.
fn changes() -> usize {
    if std::env::var_os("HOOKBOX_LONG_TESTS").is_some() { 10_000 } else { 500 }
}

/// The accepted requests of presets with public keys.
fn accepted() -> impl Iterator<Item = ProviderVector> {
    ProviderVector::all().into_iter().filter(|vector| {
        let preset = presets::find(&vector.preset);
        vector.expect == "accept" && preset.is_some_and(|preset| !preset.signature.has_secrets())
    })
}

#[test]
fn a_signature_that_no_key_can_make_is_malformed_by_its_length() {
    for vector in accepted() {
        let rule = presets::find(&vector.preset).unwrap().signature;
        let Some(name) = rule.signatures[0].place.header() else { continue };
        let is_rsa = matches!(rule.scheme, SignatureScheme::RsaSha1 | SignatureScheme::RsaSha256);
        let (short, long, fits) = match rule.scheme {
            SignatureScheme::EcdsaP256 => (8, 73, 70),
            _ if is_rsa => (127, 1_025, 256),
            _ => continue,
        };
        let verdict = |bytes: usize| {
            let mut head = vector.head();
            let value = HeaderValue::from_str(&STANDARD.encode(vec![0; bytes])).unwrap();
            head.headers.insert(name.parse::<HeaderName>().unwrap(), value);
            vector.check(&vector.runtime(), head, &vector.body())
        };
        assert_eq!(verdict(short), Err(Refusal::Malformed), "{}", vector.preset);
        assert_eq!(verdict(long), Err(Refusal::Malformed), "{}", vector.preset);
        assert_eq!(verdict(fits), Err(Refusal::Mismatch), "{}", vector.preset);
    }
}

#[test]
fn no_changed_bit_of_the_body_or_of_the_signature_is_accepted() {
    let mut presets_seen = Vec::new();
    for vector in accepted() {
        let runtime = vector.runtime();
        let (head, body) = (vector.head(), vector.body());
        assert_eq!(vector.check(&runtime, head.clone(), &body), Ok(()), "{}", vector.preset);
        let rule = presets::find(&vector.preset).unwrap().signature;
        let names: Vec<_> =
            rule.signatures.iter().filter_map(|field| field.place.header()).collect();
        for step in 0..changes() {
            // White space between the members of its JSON is not signed.
            if vector.preset != "aws-sns" {
                let mut changed = body.clone();
                let at = step * 7_919 % changed.len();
                changed[at] ^= 1 << (step % 8);
                let verdict = vector.check(&runtime, head.clone(), &changed);
                assert!(verdict.is_err(), "{} byte {at}", vector.preset);
            }
            for name in &names {
                let mut changed = head.clone();
                let mut value = head.headers[*name].as_bytes().to_vec();
                let at = step * 7_919 % value.len();
                let bit = 1 << (step % 7);
                // The other case of a hex digit is the same digit.
                let is_case = bit == 0x20 && value[at].is_ascii_hexdigit();
                value[at] ^= bit;
                let Ok(value) = HeaderValue::from_bytes(&value) else { continue };
                changed.headers.insert(head.headers.keys().find(|key| key == name).unwrap(), value);
                let verdict = vector.check(&runtime, changed, &body);
                assert!(is_case || verdict.is_err(), "{} byte {at}", vector.preset);
            }
        }
        presets_seen.push(vector.preset);
    }
    presets_seen.dedup();
    assert_eq!(
        presets_seen,
        ["aws-sns", "discord", "fal", "paypal", "plaid", "sendgrid", "telnyx"]
    );
}
