//! The file of signatures that others made.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use hookbox::ingest::{Refusal, SourceRuntime, Unverified};
use serde::Deserialize;

use super::sources::{key, preset, runtime, secrets};

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Vector {
    pub(crate) preset: String,
    pub(crate) provenance: String,
    pub(crate) secret: String,
    /// Unix seconds.
    pub(crate) now: i64,
    pub(crate) body: String,
    pub(crate) headers: BTreeMap<String, String>,
    /// Which of the headers holds the signature, and the signature within it.
    pub(crate) signature_header: String,
    pub(crate) signature: String,
}

impl Vector {
    pub(crate) fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("../vectors.json")).expect("the file holds vectors")
    }

    pub(crate) fn of(preset: &str) -> Self {
        Self::all()
            .into_iter()
            .find(|vector| vector.preset == preset)
            .expect("there is one for each preset")
    }

    pub(crate) fn runtime(&self) -> SourceRuntime {
        runtime(preset(&self.preset, secrets(&[&key(&self.preset, &self.secret)])))
    }

    pub(crate) fn header_map(&self) -> HeaderMap {
        header_map(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
    }

    pub(crate) fn with(mut self, header: &str, value: &str) -> Self {
        self.headers.insert(header.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn verify(&self) -> Result<(), Refusal> {
        self.check(&self.runtime(), self.header_map(), self.body.as_bytes())
    }

    pub(crate) fn check(
        &self,
        runtime: &SourceRuntime,
        headers: HeaderMap,
        body: &[u8],
    ) -> Result<(), Refusal> {
        Unverified::new(headers, Bytes::copy_from_slice(body))
            .verify(runtime, self.now * 1_000)
            .map(|_| ())
    }
}

pub(crate) fn header_map<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> HeaderMap {
    let parse = |(name, value): (&str, &[u8])| {
        (
            HeaderName::from_bytes(name.as_bytes()).expect("name"),
            HeaderValue::from_bytes(value).expect("value"),
        )
    };
    let mut map = HeaderMap::new();
    for (name, value) in headers.into_iter().map(parse) {
        map.append(name, value);
    }
    map
}

#[test]
fn every_vector_says_where_it_is_from_and_is_accepted() {
    let vectors = Vector::all();
    for preset in ["heygen", "github", "stripe", "standard-webhooks"] {
        assert!(vectors.iter().any(|vector| vector.preset == preset), "{preset}");
    }
    for vector in vectors {
        assert!(
            vector.provenance.starts_with("published: ")
                || vector.provenance.starts_with("derived: ")
        );
        assert_eq!(vector.verify(), Ok(()), "{}", vector.preset);
    }
}

#[test]
fn a_flipped_bit_anywhere_in_a_body_is_refused() {
    for vector in Vector::all() {
        let (runtime, body) = (vector.runtime(), vector.body.as_bytes());
        for (at, bit) in (0..body.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut body = body.to_vec();
            body[at] ^= 1 << bit;
            let checked = vector.check(&runtime, vector.header_map(), &body);
            assert_eq!(checked, Err(Refusal::Mismatch), "{} byte {at} bit {bit}", vector.preset);
        }
    }
}

#[test]
fn a_body_that_is_cut_or_longer_is_refused() {
    for vector in Vector::all() {
        let (runtime, body) = (vector.runtime(), vector.body.as_bytes());
        let longer = [body, b" "].concat();
        let cuts = (0..body.len()).map(|length| &body[..length]).chain([longer.as_slice()]);
        for changed in cuts {
            assert!(
                vector.check(&runtime, vector.header_map(), changed).is_err(),
                "{}",
                vector.preset
            );
        }
    }
}

/// Every byte of the header up to the signature's end: with it come the prefix and what is signed
/// along.
#[test]
fn a_flipped_bit_anywhere_in_a_signature_is_refused() {
    for vector in Vector::all() {
        let runtime = vector.runtime();
        let value = vector.headers[&vector.signature_header].as_bytes();
        let start =
            vector.headers[&vector.signature_header].find(&vector.signature).expect("it is there");
        let end = start + vector.signature.len();
        let is_hex = vector.signature.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut flips = 0;
        for (at, bit) in (0..end).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut value = value.to_vec();
            value[at] ^= 1 << bit;
            let other_case = is_hex && at >= start && value[at].is_ascii_alphabetic() && bit == 5;
            let Ok(header) = HeaderValue::from_bytes(&value) else { continue };
            let mut headers = vector.header_map();
            headers.insert(
                HeaderName::from_bytes(vector.signature_header.as_bytes()).expect("name"),
                header,
            );
            let checked = vector.check(&runtime, headers, vector.body.as_bytes());
            assert_eq!(checked.is_ok(), other_case, "{} byte {at} bit {bit}", vector.preset);
            flips += 1;
        }
        assert!(flips > end * 5, "{}: most bits were tried", vector.preset);
    }
}

#[test]
fn a_flipped_bit_in_what_is_signed_beside_the_body_is_refused() {
    for (preset, header) in [
        ("standard-webhooks", "webhook-id"),
        ("standard-webhooks", "webhook-timestamp"),
        ("zoom", "x-zm-request-timestamp"),
    ] {
        let vector = Vector::of(preset);
        let value = vector.headers[header].clone();
        for at in 0..value.len() {
            let mut changed = value.clone().into_bytes();
            changed[at] ^= 1;
            let changed = String::from_utf8(changed).expect("still ASCII");
            assert!(
                vector.clone().with(header, &changed).verify().is_err(),
                "{preset} {header} byte {at}"
            );
        }
    }
}
