//! What is erased because somebody asked for it.

use crate::event::EventId;

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

/// What a call has erased.
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
    /// Whether there are more.
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
