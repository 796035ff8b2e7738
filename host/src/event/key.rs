//! The key of a delivery: deliveries of one plugin with one key are handled in order.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{Attributes, EventId, MAX_NAME_BYTES};

/// The part of an event that is the key of its deliveries to a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// The event's subject.
    Subject,
    /// The root of the event's tree: all that descends from one event from outside has one key.
    Root,
    /// The event's source.
    Source,
    /// The value at this JSON pointer (RFC 6901) of a JSON body: a string, a number or a boolean.
    Json(Arc<str>),
}

impl fmt::Display for KeySource {
    /// As the configuration writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject => f.write_str("subject"),
            Self::Root => f.write_str("root"),
            Self::Source => f.write_str("source"),
            Self::Json(pointer) => write!(f, "{{ json = {pointer:?} }}"),
        }
    }
}

/// The key of a delivery that is not stored yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// This text.
    Text(Arc<str>),
    /// The id of the root of the event's tree, which is the event itself if it comes from outside:
    /// the store knows it.
    Root,
}

/// The order of a plugin's deliveries with one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPolicy {
    /// The part of an event that is the key.
    pub source: KeySource,
    /// Deliveries of one key that are open at once: leased, ready or waiting for a retry. 1 is
    /// strict order.
    pub per_key: NonZeroU32,
    /// The least time between the starts of two attempts of one key; zero if there is none.
    pub interval: Duration,
    /// Whether a dead letter keeps its key waiting until an operator retries or discards it.
    pub hold: bool,
    /// The most deliveries of one key that wait. A further one is a dead letter at once.
    pub max_waiting: u32,
}

impl KeyPolicy {
    /// The usual limits: strict order, and a dead letter lets the next one go.
    pub fn of(source: KeySource) -> Self {
        Self {
            source,
            per_key: NonZeroU32::MIN,
            interval: Duration::ZERO,
            hold: false,
            max_waiting: 10_000,
        }
    }
}

impl KeySource {
    /// The key of an event with these attributes. `json` is its body, parsed; it is asked for only
    /// if the key is in the body.
    ///
    /// # Errors
    /// The event has none; says why, for people.
    pub fn key<'j>(
        &self,
        attributes: &Attributes,
        json: impl FnOnce() -> Option<&'j Value>,
    ) -> Result<Key, String> {
        match self {
            Self::Subject => match &attributes.subject {
                Some(subject) => Ok(Key::Text(subject.as_str().into())),
                None => Err("it has no subject".to_owned()),
            },
            Self::Source => Ok(Key::Text(attributes.source.clone())),
            Self::Root => Ok(Key::Root),
            Self::Json(pointer) => {
                let json = json().ok_or_else(|| "its body is not JSON".to_owned())?;
                let found = json
                    .pointer(pointer)
                    .ok_or_else(|| format!("its body has nothing at `{pointer}`"))?;
                text_of(found).map_err(|what| format!("`{pointer}` of its body is {what}"))
            }
        }
    }

    /// The key of a stored event.
    ///
    /// # Errors
    /// The event has none; says why, for people.
    pub fn key_of(&self, attributes: &Attributes) -> Result<Key, String> {
        let json: Option<Value> = match self {
            Self::Json(_) => serde_json::from_slice(&attributes.body).ok(),
            _ => None,
        };
        self.key(attributes, || json.as_ref())
    }
}

impl Key {
    /// The stored text, in a tree with this root.
    pub fn text(&self, tree: EventId) -> Arc<str> {
        match self {
            Self::Text(text) => text.clone(),
            Self::Root => tree.to_string().into(),
        }
    }
}

fn text_of(value: &Value) -> Result<Key, &'static str> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(bool) => bool.to_string(),
        Value::Null => return Err("null"),
        Value::Array(_) => return Err("an array"),
        Value::Object(_) => return Err("an object"),
    };
    if text.len() > MAX_NAME_BYTES {
        return Err("longer than 512 bytes");
    }
    Ok(Key::Text(text.into()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn attributes(body: &'static str) -> Attributes {
        Attributes {
            source: "acme".into(),
            kind: "order.paid".to_owned(),
            subject: Some("order_1".to_owned()),
            content_type: None,
            time_ms: 0,
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    fn key(source: &KeySource, body: &'static str) -> Result<String, String> {
        let tree = EventId::first_at(0);
        source.key_of(&attributes(body)).map(|key| key.text(tree).to_string())
    }

    #[test]
    fn a_key_is_an_attribute_the_root_or_a_value_of_the_body() {
        let json = |pointer: &str| KeySource::Json(pointer.into());
        let root = EventId::first_at(0).to_string();
        for (source, expected) in [
            (KeySource::Subject, "order_1"),
            (KeySource::Source, "acme"),
            (KeySource::Root, root.as_str()),
            (json("/a/b"), "x\0y"),
            (json("/n"), "12345678901234567890"),
            (json("/t"), "true"),
            (json("/~1"), "slash"),
        ] {
            let body = r#"{"a":{"b":"x\u0000y"},"n":12345678901234567890,"t":true,"/":"slash"}"#;
            assert_eq!(key(&source, body).as_deref(), Ok(expected), "{source:?}");
        }
    }

    #[test]
    fn an_event_without_the_key_says_why() {
        let json = |pointer: &str| KeySource::Json(pointer.into());
        for (source, body, part) in [
            (json("/a"), "no json", "not JSON"),
            (json("/a"), r#"{"a":"\ud800"}"#, "not JSON"),
            (json("/a"), "{}", "nothing at `/a`"),
            (json("/a"), r#"{"a":null}"#, "null"),
            (json("/a"), r#"{"a":[]}"#, "an array"),
            (json("/a"), r#"{"a":{}}"#, "an object"),
        ] {
            let why = key(&source, body).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
        let long = serde_json::json!({ "a": "x".repeat(MAX_NAME_BYTES + 1) });
        let why = json("/a").key(&attributes(""), || Some(&long)).unwrap_err();
        assert!(why.contains("longer"), "{why}");
        let without = Attributes { subject: None, ..attributes("") };
        assert!(KeySource::Subject.key_of(&without).is_err());
    }
}
