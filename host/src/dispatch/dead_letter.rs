//! The event that tells of a dead letter, so that routes can act on it.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::config::Routes;
use crate::event::{
    Attributes, DEAD, DEAD_LETTERS, DeliveryId, Event, NewEvent, Outcome, PluginName,
};

/// The largest body that is copied into the event, in bytes.
const MAX_COPIED_BYTES: usize = 64 << 10;

/// A delivery that has become a dead letter.
#[derive(Debug)]
pub(super) struct DeadLetter<'d> {
    pub(super) id: DeliveryId,
    pub(super) plugin: &'d PluginName,
    /// How often it has become one, this time included.
    pub(super) death: u32,
    /// The outcome and the error of its last attempt.
    pub(super) outcome: Outcome,
    pub(super) error: Option<&'d str>,
    /// Attempts since it was created or last retried by an operator.
    pub(super) attempts: u32,
    pub(super) event: &'d Event,
}

impl DeadLetter<'_> {
    /// The event that tells of it, at this time (Unix ms), if it leads to anything or if there is a
    /// remark on why it does not. Nothing is told of the death of a delivery that tells of one.
    pub(super) fn event(&self, routes: &Routes, now_ms: i64) -> Option<NewEvent> {
        let of = self.event;
        if of.attributes.kind == DEAD || **self.plugin == *DEAD_LETTERS {
            return None;
        }
        let source: Arc<str> = format!("plugins/{}", self.plugin).into();
        // Asked first, so that a body is made only if somebody takes it.
        if !routes.takes(&source, DEAD) {
            return None;
        }
        let mut event = NewEvent {
            parent: Some(of.id),
            hops: of.hops + 1,
            ..NewEvent::from(Attributes {
                source,
                kind: DEAD.to_owned(),
                subject: of.attributes.subject.clone(),
                content_type: Some("application/json".to_owned()),
                time_ms: now_ms,
                body: Bytes::from(self.data().to_string()),
            })
        };
        routes.route(&mut event);
        let leads_on =
            !event.deliveries.is_empty() || !event.members.is_empty() || !event.cancels.is_empty();
        (leads_on || event.note.is_some()).then_some(event)
    }

    fn data(&self) -> Value {
        let attributes = &self.event.attributes;
        let mut event = json!({
            "id": self.event.id.to_string(),
            "type": attributes.kind,
            "source": &*attributes.source,
        });
        if attributes.body.len() <= MAX_COPIED_BYTES {
            let (name, body) = match serde_json::from_slice(&attributes.body) {
                Ok(body) => ("data", body),
                Err(_) => ("data_base64", Value::String(STANDARD.encode(&attributes.body))),
            };
            event[name] = body;
        }
        json!({
            "delivery": self.id.to_string(),
            "plugin": &**self.plugin,
            "death": self.death,
            "outcome": self.outcome.name(),
            "error": self.error,
            "attempts": self.attempts,
            "event": event,
        })
    }
}
