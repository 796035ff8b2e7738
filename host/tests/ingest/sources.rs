//! Sources for the tests: the shipped presets, and templates as users may write them.

use std::sync::Arc;

use hookbox::config::source::{
    Dedupe, DedupeBy, Encoding, EventTypes, Field, Part, Pick, Place, Secrets, SourceTemplate,
    Stale, TimeFormat, Timestamp, Verify,
};
use hookbox::config::{Source, presets};
use hookbox::ingest::SourceRuntime;
use secrecy::SecretSlice;

/// A secret as a provider shows it, in the form its MAC takes.
pub(crate) fn key(preset: &str, secret: &str) -> Vec<u8> {
    use base64::Engine;
    match secret.strip_prefix("whsec_") {
        Some(encoded) if preset == "standard-webhooks" => {
            base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64")
        }
        _ => secret.as_bytes().to_vec(),
    }
}

pub(crate) fn secrets(keys: &[&[u8]]) -> Secrets {
    Secrets::Set(keys.iter().map(|key| SecretSlice::from(key.to_vec())).collect())
}

/// A shipped preset, or one that only the tests know, with these secrets.
pub(crate) fn preset(name: &str, secrets: Secrets) -> Source {
    let template = more(name).or_else(|| presets::find(name)).expect("a preset");
    let dedupe = template.dedupe(true);
    let (kind, id, subject) =
        (template.kind.clone(), template.id.clone(), template.subject.clone());
    let (form, types) = (template.form.clone(), template.types.clone());
    Source {
        name: name.into(),
        preset: Some(name.to_owned()),
        verify: Verify::Signature(template.rules()),
        secrets,
        provider: Default::default(),
        secret_places: Vec::new(),
        kind: kind.expect("the presets say where the type is"),
        id,
        dedupe,
        subject,
        max_body_bytes: None,
        form,
        split: None,
        cloudevents: false,
        origins: Vec::new(),
        types,
        trust_traceparent: false,
        handshakes: Vec::new(),
        replies: Default::default(),
        params: std::collections::BTreeMap::new(),
    }
}

/// The sections that a user would write for these providers.
fn more(name: &str) -> Option<SourceTemplate> {
    let field = |header: &str, prefix: &str| Field {
        place: Place::Header(header.into()),
        prefix: prefix.into(),
        separator: None,
    };
    let literal = |text: &str| Part::Literal(text.to_owned());
    let mut template =
        SourceTemplate { kind: Some(Pick::Json("/type".to_owned())), ..SourceTemplate::default() };
    match name {
        "shopify" => {
            template.signature.signatures = vec![field("x-shopify-hmac-sha256", "")];
            template.signature.encoding = Encoding::Base64;
            template.id = Some(Pick::Header("x-shopify-webhook-id".to_owned()));
            template.kind = Some(Pick::Header("x-shopify-topic".to_owned()));
        }
        "linear" => template.signature.signatures = vec![field("linear-signature", "")],
        "zoom" => {
            template.signature.signatures = vec![field("x-zm-signature", "v0=")];
            template.signature.signed =
                vec![literal("v0:"), Part::Timestamp, literal(":"), Part::Body];
            let field = field("x-zm-request-timestamp", "");
            let (required, tolerance_ms, stale) =
                (true, Timestamp::DEFAULT_TOLERANCE_MS, Stale::Reject);
            template.signature.timestamp = Some(Timestamp {
                field,
                required,
                tolerance_ms,
                stale,
                format: TimeFormat::Seconds,
            });
            template.kind = Some(Pick::Json("/event".to_owned()));
        }
        _ => return None,
    }
    Some(template)
}

/// A source that checks nothing and finds everything in the body.
pub(crate) fn open() -> Source {
    let json = |pointer: &str| Pick::Json(pointer.to_owned());
    Source {
        name: "open".into(),
        preset: None,
        verify: Verify::None,
        secrets: Secrets::Set(Vec::new()),
        provider: Default::default(),
        secret_places: Vec::new(),
        kind: json("/type"),
        id: Some(json("/id")),
        dedupe: Dedupe::by([DedupeBy::Id]),
        subject: Some(json("/order/id")),
        max_body_bytes: None,
        form: None,
        split: None,
        cloudevents: false,
        origins: Vec::new(),
        types: EventTypes::Any,
        trust_traceparent: false,
        handshakes: Vec::new(),
        replies: Default::default(),
        params: std::collections::BTreeMap::new(),
    }
}

pub(crate) fn runtime(source: Source) -> SourceRuntime {
    SourceRuntime::new(Arc::new(source))
}
