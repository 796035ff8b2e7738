//! Sources for the tests: the providers' templates, written out.

use std::sync::Arc;

use hookbox::config::Source;
use hookbox::config::source::{Encoding, Field, Hmac, Part, Pick, Secrets, Stale, Timestamp, Verify};
use hookbox::ingest::Gate;
use secrecy::SecretSlice;

/// A secret as a provider shows it, in the form its MAC takes.
pub(crate) fn key(preset: &str, secret: &str) -> Vec<u8> {
    use base64::Engine;
    match secret.strip_prefix("whsec_").filter(|_| preset == "standard-webhooks") {
        Some(encoded) => base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64"),
        None => secret.as_bytes().to_vec(),
    }
}

pub(crate) fn secrets(keys: &[&[u8]]) -> Secrets {
    Secrets::Set(keys.iter().map(|key| SecretSlice::from(key.to_vec())).collect())
}

fn field(header: &str, prefix: &str, separator: Option<char>) -> Field {
    Field { header: header.to_owned(), prefix: prefix.to_owned(), separator }
}

fn timestamp(field: Field, stale: Stale) -> Timestamp {
    Timestamp { field, required: stale == Stale::Reject, tolerance_ms: 300_000, stale }
}

fn literal(text: &str) -> Part {
    Part::Literal(text.to_owned())
}

fn json(pointer: &str) -> Pick {
    Pick::Json(pointer.to_owned())
}

fn header(name: &str) -> Pick {
    Pick::Header(name.to_owned())
}

/// What a preset stands for, with these secrets.
pub(crate) fn preset(name: &str, secrets: Secrets) -> Source {
    let mut hmac =
        Hmac { signatures: Vec::new(), encoding: Encoding::Hex, signed: vec![Part::Body], timestamp: None, secrets };
    let (mut id, mut id_is_signed, mut subject) = (None, false, None);
    let kind = match name {
        "heygen" => {
            let names = ["heygen-signature", "signature", "x-heygen-signature"];
            hmac.signatures = names.into_iter().map(|name| field(name, "", None)).collect();
            hmac.timestamp = Some(timestamp(field("heygen-timestamp", "", None), Stale::Accept));
            id = Some(header("heygen-event-id"));
            subject = Some(json("/event_data/callback_id"));
            json("/event_type")
        }
        "github" => {
            hmac.signatures = vec![field("x-hub-signature-256", "sha256=", None)];
            id = Some(header("x-github-delivery"));
            header("x-github-event")
        }
        "stripe" => {
            hmac.signatures = vec![field("stripe-signature", "v1=", Some(','))];
            hmac.signed = vec![Part::Timestamp, literal("."), Part::Body];
            hmac.timestamp = Some(timestamp(field("stripe-signature", "t=", Some(',')), Stale::Reject));
            (id, id_is_signed) = (Some(json("/id")), true);
            subject = Some(json("/data/object/id"));
            json("/type")
        }
        "standard-webhooks" => {
            hmac.signatures = vec![field("webhook-signature", "v1,", Some(' '))];
            hmac.encoding = Encoding::Base64;
            hmac.signed = vec![Part::Id, literal("."), Part::Timestamp, literal("."), Part::Body];
            hmac.timestamp = Some(timestamp(field("webhook-timestamp", "", None), Stale::Reject));
            (id, id_is_signed) = (Some(header("webhook-id")), true);
            json("/type")
        }
        "shopify" => {
            hmac.signatures = vec![field("x-shopify-hmac-sha256", "", None)];
            hmac.encoding = Encoding::Base64;
            id = Some(header("x-shopify-webhook-id"));
            header("x-shopify-topic")
        }
        "linear" => {
            hmac.signatures = vec![field("linear-signature", "", None)];
            json("/type")
        }
        "zoom" => {
            hmac.signatures = vec![field("x-zm-signature", "v0=", None)];
            hmac.signed = vec![literal("v0:"), Part::Timestamp, literal(":"), Part::Body];
            hmac.timestamp = Some(timestamp(field("x-zm-request-timestamp", "", None), Stale::Reject));
            json("/event")
        }
        other => panic!("no preset `{other}`"),
    };
    Source {
        name: name.into(),
        preset: Some(name.to_owned()),
        verify: Verify::Hmac(hmac),
        kind,
        id,
        id_is_signed,
        subject,
    }
}

/// A source that checks nothing and finds everything in the body.
pub(crate) fn open() -> Source {
    Source {
        name: "open".into(),
        preset: None,
        verify: Verify::None,
        kind: json("/type"),
        id: Some(json("/id")),
        id_is_signed: true,
        subject: Some(json("/order/id")),
    }
}

pub(crate) fn gate(source: Source) -> Gate {
    Gate::new(Arc::new(source))
}
