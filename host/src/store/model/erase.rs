//! Data that is erased because somebody asked for it.

use crate::event::{EventId, HttpCall};
use crate::store::StoreError;

/// The events whose data is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erasure {
    /// This one.
    Event(EventId),
    /// All with exactly this subject.
    Subject(String),
}

/// The deletion of an event's data. Its row stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emptied {
    /// When, Unix ms.
    pub at_ms: i64,
    /// Whether a client asked for it; otherwise it was past `store.payload_retention`.
    pub asked: bool,
}

impl Emptied {
    /// The end of a sentence that begins with the event.
    pub fn reason(self) -> &'static str {
        match self.asked {
            true => "was erased",
            false => "is past `store.payload_retention`",
        }
    }
}

/// The counts of a call that erases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Erased {
    /// Events whose data is gone, copies of them among these.
    pub events: u64,
    /// Deliveries that were cancelled or discarded for it.
    pub ended: u64,
    /// Events that still have an attempt that runs. They are cancelled, and erased by a later call.
    pub running: u64,
    /// Values of key-value buckets that are deleted.
    pub keys: u64,
    /// Whether there are more, which the next call erases.
    pub more: bool,
}

impl Erased {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            events: self.events + other.events,
            ended: self.ended + other.ended,
            running: self.running + other.running,
            keys: self.keys + other.keys,
            more: other.more,
        }
    }

    /// Whether anything was changed.
    pub fn is_some(&self) -> bool {
        self.events + self.ended + self.keys > 0
    }
}

/// Why an event cannot be handled again.
pub(in crate::store) fn refusal_of_emptied(event: EventId, emptied: Emptied) -> StoreError {
    StoreError::Conflict(format!(
        "event `{event}` {}: there is nothing left that a plugin could get",
        emptied.reason()
    ))
}

/// Requests without their paths; nothing of those that cannot be read.
pub(in crate::store) fn without_paths(calls: &str) -> Option<String> {
    let mut calls: Vec<HttpCall> = serde_json::from_str(calls).ok()?;
    for call in &mut calls {
        let host = call.url.find("://").map_or(0, |at| at + 3);
        let end = call.url[host..].find(['/', '?', '#']).map_or(call.url.len(), |at| host + at);
        call.url.truncate(end);
        call.error = call.error.take().map(|_| "erased".to_owned());
    }
    serde_json::to_string(&calls).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_request_its_host_is_left() {
        let call = |url: &str| HttpCall {
            method: "GET".to_owned(),
            url: url.to_owned(),
            status: Some(503),
            error: Some("order_1 is not there".to_owned()),
            refused: false,
            sent_bytes: 1,
            received_bytes: 2,
            duration_ms: 3,
            offset_ms: None,
        };
        let urls = ["https://api.example/orders/order_1?q", "http://[::1]:80", "nonsense"];
        let calls = serde_json::to_string(&urls.map(call)).unwrap();
        let left: Vec<HttpCall> = serde_json::from_str(&without_paths(&calls).unwrap()).unwrap();
        let urls: Vec<_> = left.iter().map(|call| call.url.as_str()).collect();
        assert_eq!(urls, ["https://api.example", "http://[::1]:80", "nonsense"]);
        assert!(left.iter().all(|call| call.error.as_deref() == Some("erased")));
        assert_eq!(without_paths("no JSON"), None);
    }
}
