//! The verifier's grammar and its keys.

use bytes::Bytes;
use hookbox::config::source::{Place, Secrets, Stale, Verify};
use hookbox::ingest::{Refusal, SourceRuntime, Unverified};

use super::sources::{key, open, preset, runtime, secrets};
use super::vectors::{Vector, header_map};

/// A signature of the right form that no key makes.
const WRONG_BASE64: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn check(runtime: &SourceRuntime, vector: &Vector) -> Result<Option<u32>, Refusal> {
    let request = Unverified::new(vector.header_map(), Bytes::from(vector.body.clone()));
    request.verify(runtime, vector.now * 1_000).map(|verified| verified.key())
}

#[test]
fn any_signature_of_a_list_may_match() {
    let vector = Vector::of("standard-webhooks");
    let good = vector.signature.clone();
    for list in [
        format!("v1,{WRONG_BASE64} v2,{WRONG_BASE64} v1,{good} v1,{WRONG_BASE64}"),
        format!("v1,{good} v1,{WRONG_BASE64}"),
        format!("v1a,{good} v1,{good}"),
        format!("  v1,{good}  "),
    ] {
        assert_eq!(vector.clone().with("webhook-signature", &list).verify(), Ok(()), "{list}");
    }
    for list in [
        String::new(),
        "v1".to_owned(),
        "v1,".to_owned(),
        "v1, v1,".to_owned(),
        format!("v1,{}", &good[..8]),
        format!("v2,{good}"),
        good.clone(),
        format!("V1,{good}"),
        format!("v1,{good},"),
        format!("v1,{WRONG_BASE64}"),
        format!("v1 ,{good}"),
    ] {
        assert!(vector.clone().with("webhook-signature", &list).verify().is_err(), "{list:?}");
    }
}

#[test]
fn a_list_may_be_spread_over_headers_but_a_single_value_may_not() {
    let vector = Vector::of("standard-webhooks");
    let (good, wrong) = (format!("v1,{}", vector.signature), format!("v1,{WRONG_BASE64}"));
    let mut headers = vector.header_map();
    headers.insert("webhook-signature", wrong.parse().unwrap());
    headers.append("webhook-signature", good.parse().unwrap());
    assert_eq!(vector.check(&vector.runtime(), headers, vector.body.as_bytes()), Ok(()));

    for (preset, header) in [
        ("github", "x-hub-signature-256"),
        ("heygen", "heygen-signature"),
        ("heygen", "heygen-timestamp"),
        ("standard-webhooks", "webhook-timestamp"),
        ("standard-webhooks", "webhook-id"),
    ] {
        let vector = Vector::of(preset);
        let mut headers = vector.header_map();
        headers.append(header, vector.headers[header].parse().unwrap());
        let checked = vector.check(&vector.runtime(), headers, vector.body.as_bytes());
        assert_eq!(checked, Err(Refusal::Repeated), "{preset} {header}");
    }
    let stripe = Vector::of("stripe");
    let twice = format!("t=1533204620,{}", stripe.headers["stripe-signature"]);
    assert_eq!(stripe.with("stripe-signature", &twice).verify(), Err(Refusal::Repeated));
}

#[test]
fn the_first_header_that_is_present_counts() {
    let vector = Vector::of("heygen");
    let only = |header: &str, value: &str| {
        let mut vector = vector.clone();
        vector.headers.remove("heygen-signature");
        vector.with(header, value).verify()
    };
    assert_eq!(only("signature", &vector.signature), Ok(()));
    assert_eq!(only("x-heygen-signature", &vector.signature), Ok(()));
    assert_eq!(only("x-other-signature", &vector.signature), Err(Refusal::NoSignature));
    let wrong = "0".repeat(64);
    assert_eq!(vector.clone().with("signature", &wrong).verify(), Ok(()));
    let shadowed =
        vector.clone().with("heygen-signature", &wrong).with("signature", &vector.signature);
    assert_eq!(shadowed.verify(), Err(Refusal::Mismatch));
}

#[test]
fn upper_case_hex_is_accepted_and_a_truncated_digest_is_not() {
    for name in ["heygen", "github", "stripe", "linear", "zoom"] {
        let vector = Vector::of(name);
        let value = &vector.headers[&vector.signature_header];
        let upper = value.replace(&vector.signature, &vector.signature.to_uppercase());
        assert_eq!(
            vector.clone().with(&vector.signature_header, &upper).verify(),
            Ok(()),
            "{name}"
        );
        for length in 0..vector.signature.len() {
            let cut = value.replace(&vector.signature, &vector.signature[..length]);
            let checked = vector.clone().with(&vector.signature_header, &cut).verify();
            assert_eq!(checked, Err(Refusal::Malformed), "{name} {length}");
        }
        let longer = value.replace(&vector.signature, &format!("{}00", vector.signature));
        assert_eq!(
            vector.clone().with(&vector.signature_header, &longer).verify(),
            Err(Refusal::Malformed),
            "{name}"
        );
    }
    for name in ["shopify", "standard-webhooks"] {
        let vector = Vector::of(name);
        let value = &vector.headers[&vector.signature_header];
        for length in 0..vector.signature.len() {
            let cut = value.replace(&vector.signature, &vector.signature[..length]);
            assert!(
                vector.clone().with(&vector.signature_header, &cut).verify().is_err(),
                "{name} {length}"
            );
        }
    }
}

/// Anybody can compute an HMAC with an empty key, so a source must never check against one.
#[test]
fn an_empty_key_forges_nothing() {
    let mut vector = Vector::of("github");
    vector.secret = String::new();
    let forged = "sha256=2bbcfa9524f3218c7a34b30e6936f8b1a4516cb097f1a85a1c7d98b5977ec769";
    let vector = vector.with("x-hub-signature-256", forged);
    assert_eq!(vector.verify(), Err(Refusal::Closed));

    let mixed = runtime(preset("github", secrets(&[b"", b"It's a Secret to Everybody"])));
    assert_eq!(check(&mixed, &vector), Err(Refusal::Mismatch));
    assert!(check(&mixed, &Vector::of("github")).is_ok());
    assert_eq!(check(&runtime(preset("github", secrets(&[]))), &vector), Err(Refusal::Closed));
    let missing = runtime(preset("github", Secrets::Missing("set GITHUB_SECRET".to_owned())));
    assert_eq!(check(&missing, &vector), Err(Refusal::Closed));
    assert_eq!(missing.closed(), Some("set GITHUB_SECRET"));
}

#[test]
fn every_active_secret_is_tried() {
    for vector in Vector::all() {
        let right = key(&vector.preset, &vector.secret);
        let others: [&[u8]; 3] =
            [b"an older secret of this source", b"a newer secret of this source", b"one more"];
        for position in 0..=others.len() {
            let mut keys = others.to_vec();
            keys.insert(position, &right);
            let found = check(&runtime(preset(&vector.preset, secrets(&keys))), &vector);
            assert_eq!(found, Ok(Some(u32::try_from(position).unwrap())), "{}", vector.preset);
        }
        let none = runtime(preset(&vector.preset, secrets(&others)));
        assert_eq!(check(&none, &vector), Err(Refusal::Mismatch), "{}", vector.preset);
    }
}

/// Fault C16: sources that share a preset do not share a secret.
#[test]
fn a_signature_for_one_source_is_refused_by_another_of_the_same_preset() {
    for vector in Vector::all() {
        let mut other = preset(&vector.preset, secrets(&[b"the secret of the other source"]));
        other.name = "other".into();
        assert_eq!(check(&runtime(other), &vector), Err(Refusal::Mismatch), "{}", vector.preset);
    }
}

#[test]
fn a_request_without_a_signature_is_refused() {
    for vector in Vector::all() {
        let mut headers = vector.header_map();
        headers.remove(&vector.signature_header);
        let checked = vector.check(&vector.runtime(), headers, vector.body.as_bytes());
        assert_eq!(checked, Err(Refusal::NoSignature), "{}", vector.preset);
    }
}

#[test]
fn a_timestamp_out_of_tolerance_is_refused_either_way() {
    for name in ["stripe", "standard-webhooks", "zoom"] {
        let vector = Vector::of(name);
        let at = |now: i64| Vector { now, ..vector.clone() }.verify();
        for distance in [-300, -1, 1, 300] {
            assert_eq!(at(vector.now + distance), Ok(()), "{name} {distance}");
        }
        for distance in [-86_400, -301, 301, 86_400] {
            assert_eq!(at(vector.now + distance), Err(Refusal::Stale), "{name} {distance}");
        }
    }
}

#[test]
fn a_timestamp_that_is_signed_must_be_there_and_be_a_number() {
    let mut bare = Vector::of("zoom");
    bare.headers.remove("x-zm-request-timestamp");
    assert_eq!(bare.verify(), Err(Refusal::NoTimestamp));
    let mut bare = Vector::of("standard-webhooks");
    bare.headers.remove("webhook-id");
    assert_eq!(bare.verify(), Err(Refusal::NoId));

    let mut source = preset("heygen", secrets(&[b"whsec_test_heygen"]));
    let Verify::Signature(signature) = &mut source.verify else { unreachable!() };
    signature.timestamp.as_mut().unwrap().required = true;
    let strict = runtime(source);
    let vector = Vector::of("heygen");
    for text in ["", "now", "-1", "+1770000000", "1770000000.5", "9999999999999", "0x10"] {
        let bad = vector.clone().with("heygen-timestamp", text);
        assert_eq!(check(&strict, &bad), Err(Refusal::NoTimestamp), "{text:?}");
    }
    assert!(check(&strict, &vector).is_ok());
}

/// HeyGen may not stamp its retries anew, so an unseen body is not dropped for its age.
#[test]
fn a_stale_timestamp_is_accepted_and_noted_where_the_source_says_so() {
    let vector = Vector::of("heygen");
    let note = |now: i64, vector: &Vector| {
        let runtime = vector.runtime();
        let request = Unverified::new(vector.header_map(), Bytes::from(vector.body.clone()));
        let verified = request.verify(&runtime, now * 1_000).unwrap();
        verified.identify(&hookbox::config::Routes::default(), now * 1_000).note
    };
    assert_eq!(note(vector.now, &vector), None);
    let late = note(vector.now + 7_200, &vector);
    assert_eq!(late.as_deref(), Some("stale timestamp: sent 7200 s before it arrived"));
    let early = note(vector.now - 600, &vector);
    assert_eq!(early.as_deref(), Some("stale timestamp: sent 600 s after it arrived"));
    let odd = note(vector.now, &vector.clone().with("heygen-timestamp", "soon"));
    assert_eq!(odd.as_deref(), Some("unreadable timestamp"));
    let mut legacy = vector;
    legacy.headers.remove("heygen-timestamp");
    assert_eq!(note(legacy.now, &legacy), None);
}

#[test]
fn a_source_without_a_scheme_takes_everything() {
    let open = runtime(open());
    let request = Unverified::new(header_map([]), Bytes::from_static(b"anything"));
    assert_eq!(request.verify(&open, 0).map(|verified| verified.key()).ok(), Some(None));
}

#[test]
fn a_header_name_that_is_none_closes_the_source() {
    let mut source = preset("heygen", secrets(&[b"whsec_test_heygen"]));
    let Verify::Signature(signature) = &mut source.verify else { unreachable!() };
    signature.timestamp.as_mut().unwrap().field.place = Place::Header("not a header".to_owned());
    signature.timestamp.as_mut().unwrap().stale = Stale::Reject;
    assert_eq!(check(&runtime(source), &Vector::of("heygen")), Err(Refusal::Closed));
}
