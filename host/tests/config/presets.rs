//! The presets as they are shipped, against signatures that others made.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hookbox::config::source::{KeyEncoding, Secrets, Verify};
use hookbox::config::{Source, presets};
use hookbox::ingest::{SourceRuntime, Unverified};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vector {
    preset: String,
    secret: String,
    now: i64,
    body: String,
    headers: BTreeMap<String, String>,
}

impl Vector {
    fn source(&self) -> SourceRuntime {
        let preset = presets::find(&self.preset).expect("a preset");
        let text = self.secret.strip_prefix(&preset.key.prefix).unwrap_or(&self.secret);
        let key = match preset.key.encoding {
            KeyEncoding::Utf8 => text.as_bytes().to_vec(),
            KeyEncoding::Sha1 => panic!("these presets have no such key"),
            KeyEncoding::Base64 => STANDARD.decode(text).expect("base64"),
            KeyEncoding::Hex => hex::decode(text).expect("hex"),
        };
        SourceRuntime::new(Arc::new(Source {
            name: "vector".into(),
            preset: Some(self.preset.clone()),
            provider: Default::default(),
            secret_places: Vec::new(),
            kind: preset.kind.clone().expect("every preset has a type"),
            id: preset.id.clone(),
            dedupe: preset.dedupe(true),
            subject: preset.subject.clone(),
            max_body_bytes: None,
            form: preset.form.clone(),
            split: None,
            cloudevents: false,
            origins: Vec::new(),
            types: preset.types.clone(),
            trust_traceparent: false,
            handshakes: Vec::new(),
            replies: Default::default(),
            params: std::collections::BTreeMap::new(),
            verify: Verify::Signature(preset.rules()),
            secrets: Secrets::Set(vec![key.into()]),
        }))
    }

    fn is_authentic(&self, body: &[u8]) -> bool {
        let header = |(name, value): (&String, &String)| {
            (
                name.parse::<HeaderName>().expect("a name"),
                value.parse::<HeaderValue>().expect("a value"),
            )
        };
        let headers: HeaderMap = self.headers.iter().map(header).collect();
        Unverified::new(headers, Bytes::copy_from_slice(body))
            .verify(&self.source(), self.now * 1_000)
            .is_ok()
    }
}

#[test]
fn every_preset_takes_what_its_provider_signed_and_nothing_else() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../vectors.json")).unwrap();
    for name in ["github", "heygen", "standard-webhooks", "stripe"] {
        let vectors: Vec<_> = vectors.iter().filter(|vector| vector.preset == name).collect();
        assert!(!vectors.is_empty(), "no vector for {name}");
        for vector in vectors {
            assert!(vector.is_authentic(vector.body.as_bytes()), "{name}");
            for at in 0..vector.body.len() {
                let mut body = vector.body.clone().into_bytes();
                body[at] ^= 1;
                assert!(!vector.is_authentic(&body), "{name}: byte {at}");
            }
        }
    }
}
