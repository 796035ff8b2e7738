//! Signatures with a private key of the provider.

use std::ffi::OsString;
use std::path::Path;

use bytes::Bytes;
use hookbox::config::{MakeSecrets, Partial, Surroundings};
use hookbox::ingest::{Refusal, SignError, SourceRuntime, Unverified, sign};

use super::vectors::header_map;

/// The two keys that RFC 8032 §7.1 calls TEST 1 and TEST 3.
const RFC_KEYS: [&str; 2] = [
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
];

/// The signatures of the empty message and of `af82` there.
const RFC_SIGNATURES: [&str; 2] = [
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
];

/// A source as a user writes it.
fn source(verify: &str, keys: &[&str]) -> SourceRuntime {
    let text = format!(
        "[sources.acme]\ntype = {{ json = \"/event/type\" }}\n\
         verify = {{ scheme = \"ed25519\", {verify}, public_keys = {keys:?} }}\n"
    );
    let around = Surroundings { make_secrets: MakeSecrets::No, env: &|_| None::<OsString> };
    let source = Partial::parse(Path::new("/config.toml"), &text, around).take_source("acme");
    let source = source.expect("it is a section");
    SourceRuntime::new(source.unwrap_or_else(|problems| panic!("{}", problems.render(false))))
}

fn check(
    source: &SourceRuntime,
    headers: &[(&str, &str)],
    body: &[u8],
    now_s: i64,
) -> Result<Option<u32>, Refusal> {
    let headers = header_map(headers.iter().map(|(name, value)| (*name, value.as_bytes())));
    let request = Unverified::new(headers, Bytes::copy_from_slice(body));
    request.verify(source, now_s * 1_000).map(|verified| verified.key())
}

#[test]
fn the_vectors_of_rfc_8032_are_accepted_with_the_key_that_made_them() {
    let source = source("header = \"X-S\"", &RFC_KEYS);
    for (at, body) in [(0, &b""[..]), (1, b"\xaf\x82")] {
        let key = u32::try_from(at).unwrap();
        assert_eq!(check(&source, &[("x-s", RFC_SIGNATURES[at])], body, 0), Ok(Some(key)));
        let other = RFC_SIGNATURES[1 - at];
        assert_eq!(check(&source, &[("x-s", other)], body, 0), Err(Refusal::Mismatch));
        for length in 0..128 {
            let cut = &RFC_SIGNATURES[at][..length];
            assert_eq!(
                check(&source, &[("x-s", cut)], body, 0),
                Err(Refusal::Malformed),
                "{length}"
            );
        }
    }
}

/// Derived: made with another implementation, in the form of Discord's webhook events.
#[test]
fn a_timestamp_and_a_body_are_signed_as_discord_does() {
    const NOW_S: i64 = 1_772_000_002;
    const KEY: &str = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8";
    const OTHER: &str = "29acbae141bccaf0b22e1a94d34d0bc7361e526d0bfe12c89794bc9322966dd7";
    const BODY: &str = r#"{"version":1,"application_id":"1234560123453231555","type":1,"event":{"type":"APPLICATION_AUTHORIZED","timestamp":"2026-02-25T06:13:20.000000","data":{"user":{"id":"1"}}}}"#;
    let verify = "header = \"X-Signature-Ed25519\", signed = \"{timestamp}{body}\", \
                  timestamp = { header = \"X-Signature-Timestamp\" }";
    let signature = "c97a95fb53ef0d003ea600757f5c6e2e76abfe85404e73e658bda1b3ed52f5b2da91a62faa597e6b3964d72f9f2bdc374e61863d20262793908a07832351380f";
    let headers = [("x-signature-ed25519", signature), ("x-signature-timestamp", "1772000000")];
    let discord = source(verify, &[KEY]);
    assert_eq!(check(&discord, &headers, BODY.as_bytes(), NOW_S), Ok(Some(0)));
    assert_eq!(
        check(&source(verify, &[OTHER, KEY]), &headers, BODY.as_bytes(), NOW_S),
        Ok(Some(1))
    );
    assert_eq!(
        check(&source(verify, &[OTHER]), &headers, BODY.as_bytes(), NOW_S),
        Err(Refusal::Mismatch)
    );
    assert_eq!(check(&discord, &headers, BODY.as_bytes(), NOW_S + 7_200), Err(Refusal::Stale));
    assert_eq!(check(&discord, &headers[1..], BODY.as_bytes(), NOW_S), Err(Refusal::NoSignature));
    assert_eq!(check(&discord, &headers[..1], BODY.as_bytes(), NOW_S), Err(Refusal::NoTimestamp));
    let later = [headers[0], ("x-signature-timestamp", "1772000001")];
    assert_eq!(check(&discord, &later, BODY.as_bytes(), NOW_S), Err(Refusal::Mismatch));
    for at in 0..BODY.len() {
        let mut body = BODY.as_bytes().to_vec();
        body[at] ^= 1;
        assert_eq!(check(&discord, &headers, &body, NOW_S), Err(Refusal::Mismatch), "byte {at}");
    }
    let signed = sign(discord.source(), BODY.as_bytes(), "1", NOW_S);
    assert!(matches!(signed, Err(SignError::OnlyProvider { .. })), "{signed:?}");
}

#[test]
fn more_signatures_than_a_provider_sends_are_refused_before_anything_is_hashed() {
    let listed = source("header = \"X-S\", separator = \" \"", &RFC_KEYS);
    // A rule over several headers is checked on another way.
    let spread =
        source("header = [\"X-S\", \"X-T\"], separator = \" \", match = \"any\"", &RFC_KEYS);
    let others = |count: usize| vec![RFC_SIGNATURES[1]; count].join(" ");
    let with = |count: usize| format!("{} {}", others(count), RFC_SIGNATURES[0]);
    for source in [&listed, &spread] {
        assert_eq!(check(source, &[("x-s", &with(7))], b"", 0), Ok(Some(0)));
        assert_eq!(check(source, &[("x-s", &with(8))], b"", 0), Err(Refusal::Malformed));
        assert_eq!(check(source, &[("x-s", &with(300))], b"", 0), Err(Refusal::Malformed));
        // Texts that are no signatures do not count.
        let padded = format!("{} {}", vec!["v1"; 300].join(" "), RFC_SIGNATURES[0]);
        assert_eq!(check(source, &[("x-s", &padded)], b"", 0), Ok(Some(0)));
    }
    let both = [("x-s", &*others(4)), ("x-t", &*with(4))];
    assert_eq!(check(&spread, &both, b"", 0), Err(Refusal::Malformed));
}
