//! Events, as a provider sends them, as the store takes them and as a plugin gets them.

use bytes::Bytes;
use hookbox::event::{Attributes, Event, EventId, NewEvent, Target};

/// When the events of the tests happen, in milliseconds.
pub(crate) const NOW_MS: i64 = 1_770_000_000_120;

/// The body of a webhook to the source `test`: its type, and the key that it has by itself.
pub(crate) fn body(kind: &str, key: impl std::fmt::Display) -> String {
    format!(r#"{{"event_type":"{kind}","event_data":{{"callback_id":"{key}"}}}}"#)
}

/// The attributes of an event of the source `heygen`.
pub(crate) fn attributes(kind: &str, subject: &str, body: impl AsRef<[u8]>) -> Attributes {
    Attributes {
        source: "heygen".into(),
        kind: kind.to_owned(),
        subject: Some(subject.to_owned()),
        content_type: Some("application/json".to_owned()),
        time_ms: NOW_MS,
        body: Bytes::copy_from_slice(body.as_ref()),
    }
}

/// An event as a plugin gets it.
pub(crate) fn event(kind: &str, body: impl AsRef<[u8]>) -> Event {
    let attributes = attributes(kind, "order_1", body);
    Event {
        id: EventId::first_at(NOW_MS),
        attributes,
        parent: None,
        root: None,
        hops: 0,
        trace: None,
    }
}

/// An event as the store takes it, for these plugins.
pub(crate) fn new_event(attributes: Attributes, targets: &[&str]) -> NewEvent {
    NewEvent {
        deliveries: targets.iter().map(|name| Target::to(*name).into()).collect(),
        ..NewEvent::from(attributes)
    }
}
