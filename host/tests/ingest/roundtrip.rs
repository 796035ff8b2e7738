//! `verify` accepts every signature that `sign` makes.

use bytes::Bytes;
use hookbox::config::Source;
use hookbox::config::source::{
    Encoding, Field, Part, Pick, Place, Secrets, Signature, Stale, TimeFormat, Timestamp, Verify,
};
use hookbox::ingest::{Refusal, SignError, Unverified, sign};
use proptest::prelude::*;
use secrecy::SecretSlice;

use super::sources::{open, preset, runtime, secrets};
use super::vectors::{Vector, header_map};

const NOW_S: i64 = 1_770_000_000;

fn verify(source: &Source, headers: &[(String, String)], body: &[u8]) -> Result<(), Refusal> {
    let headers = header_map(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
    let request = Unverified::new(headers, Bytes::copy_from_slice(body));
    request.verify(&runtime(source.clone()), NOW_S * 1_000).map(|_| ())
}

/// Rules as a configuration may hold them, with secrets: no separator occurs in what it separates.
fn rule() -> impl Strategy<Value = (Signature, Secrets)> {
    let separator =
        prop_oneof![Just(None), Just(Some(',')), Just(Some(' ')), Just(Some(';')), Just(Some('|'))];
    let prefix = prop_oneof![Just(""), Just("v1="), Just("sha256="), Just("v0:"), Just("s-")];
    let part = prop_oneof![
        "[ -~]{0,8}".prop_map(Part::Literal),
        Just(Part::Timestamp),
        Just(Part::Id),
        Just(Part::Body),
    ];
    (
        (prefix, separator, 1..4_usize),
        any::<bool>(),
        proptest::collection::vec(part, 0..6),
        proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..100), 1..4),
        // Whether the timestamp stands in the signature's header, and what is done when it is
        // stale.
        (any::<bool>(), any::<bool>(), any::<bool>()),
    )
        .prop_map(
            |((prefix, separator, count), hex, mut signed, keys, (shared, required, reject))| {
                signed.push(Part::Body);
                let names = (0..count).map(|index| format!("x-signature-{index}"));
                let field = |header: String| Field {
                    place: Place::Header(header),
                    prefix: prefix.to_owned(),
                    separator,
                };
                let at = match separator.is_some() && shared {
                    true => Field {
                        place: Place::Header("x-signature-0".to_owned()),
                        prefix: "t=".to_owned(),
                        separator,
                    },
                    false => Field {
                        place: Place::Header("x-time".to_owned()),
                        prefix: String::new(),
                        separator: None,
                    },
                };
                let secrets = keys.into_iter().map(SecretSlice::from).collect();
                let rule = Signature {
                    signatures: names.map(field).collect(),
                    encoding: if hex { Encoding::Hex } else { Encoding::Base64 },
                    signed,
                    timestamp: Some(Timestamp {
                        field: at,
                        required,
                        tolerance_ms: 300_000,
                        stale: if reject { Stale::Reject } else { Stale::Accept },
                        format: TimeFormat::Seconds,
                    }),
                    ..Signature::default()
                };
                (rule, Secrets::Set(secrets))
            },
        )
}

proptest! {
    // A failure is turned into a test of its own, not into a file.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_signed_is_accepted_and_what_is_changed_afterwards_is_not(
        (rule, secrets) in rule(),
        id in "[!-~]{1,40}",
        body in proptest::collection::vec(any::<u8>(), 1..300),
        age_s in -300..300_i64,
        flip in any::<prop::sample::Index>(),
    ) {
        let source = Source {
            verify: Verify::Signature(rule),
            secrets,
            id: Some(Pick::Header("x-id".to_owned())),
            ..open()
        };
        let headers = sign(&source, &body, &id, NOW_S - age_s).unwrap();
        prop_assert_eq!(verify(&source, &headers, &body), Ok(()));
        let mut changed = body;
        let at = flip.index(changed.len());
        changed[at] ^= 1;
        prop_assert_eq!(verify(&source, &headers, &changed), Err(Refusal::Mismatch));
    }
}

#[test]
fn the_presets_sign_as_their_providers_do() {
    for vector in Vector::all() {
        let key = super::sources::key(&vector.preset, &vector.secret);
        let source =
            preset(&vector.preset, secrets(&[&key, b"a second secret that does not sign"]));
        let id = source.id.as_ref().and_then(|pick| match pick {
            Pick::Header(name) => vector.headers.get(name),
            _ => None,
        });
        let signed =
            sign(&source, vector.body.as_bytes(), id.map_or("", String::as_str), vector.now)
                .unwrap();
        let signature = signed
            .iter()
            .find(|(name, _)| *name == vector.signature_header)
            .map(|(_, value)| value);
        // Stripe's own value goes on with a signature of its older scheme.
        assert!(
            vector.headers[&vector.signature_header].starts_with(signature.unwrap()),
            "{}",
            vector.preset
        );
    }
}

#[test]
fn a_source_without_a_secret_signs_nothing() {
    let missing = preset("github", Secrets::Missing("set GITHUB_SECRET".to_owned()));
    assert!(matches!(sign(&missing, b"", "1", NOW_S), Err(SignError::NoSecret { .. })));
    assert!(matches!(
        sign(&preset("github", secrets(&[b""])), b"", "1", NOW_S),
        Err(SignError::NoSecret { .. })
    ));
    assert_eq!(sign(&open(), b"", "1", NOW_S), Ok(Vec::new()));
}
