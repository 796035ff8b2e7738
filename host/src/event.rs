//! The nouns of the road: event, delivery, attempt, and the identifiers people see.
//!
//! An [`EventId`] is a positive 63-bit integer: Unix milliseconds of host time in the upper 43 bits, a counter in the
//! lower 20. It
//! is the row key in the store, so "newest first", `since` and `until` need no index of their own, and it is shown as
//! `evt_` and 16 hex digits. A [`DeliveryId`] is the event and the ordinal of the delivery within it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

mod attempt;
pub mod form;
pub mod name;

pub use attempt::{AttemptRecord, Digest, HttpCall, LogLine, NotADigest, Outcome};

/// The type an authentic request gets whose type cannot be read.
pub const UNIDENTIFIED: &str = "hookbox.unidentified";

/// The longest type, subject or source name that is stored, in bytes.
pub const MAX_NAME_BYTES: usize = 512;

/// Bits of an [`EventId`] below the millisecond.
const COUNTER_BITS: u32 = 20;

/// Identifies an event; ordered by the time of its arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(i64);

impl EventId {
    /// The id of a stored row.
    pub fn from_row(key: i64) -> Self {
        Self(key)
    }

    /// The row key.
    pub fn row(self) -> i64 {
        self.0
    }

    /// The first id that can be given out at `unix_ms`, milliseconds since the epoch.
    pub fn first_at(unix_ms: i64) -> Self {
        Self(unix_ms.clamp(0, (1 << 43) - 1) << COUNTER_BITS)
    }

    /// When it was given out, by host time in Unix milliseconds.
    pub fn unix_ms(self) -> i64 {
        self.0 >> COUNTER_BITS
    }

    /// The id after `self`, not before `unix_ms`: ids never repeat, also when the clock steps back.
    pub fn next(self, unix_ms: i64) -> Self {
        Self(Self::first_at(unix_ms).0.max(self.0 + 1))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "evt_{:016x}", self.0)
    }
}

/// Why a text is not an identifier.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not {expected}")]
pub struct BadId {
    text: String,
    expected: &'static str,
}

impl FromStr for EventId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        text.strip_prefix("evt_").and_then(parse_hex).map(Self).ok_or_else(|| BadId {
            text: text.chars().take(80).collect(),
            expected: "an event id (`evt_` and 16 hex digits)",
        })
    }
}

fn parse_hex(digits: &str) -> Option<i64> {
    let plain = digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    plain.then(|| i64::from_str_radix(digits, 16).ok()).flatten()
}

/// Identifies a delivery: one event for one plugin. Its text is also the idempotency key of every attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId {
    /// The event that is delivered.
    pub event: EventId,
    /// The ordinal of the delivery within its event, from 0; replays count on.
    pub ordinal: u32,
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dlv_{:016x}_{}", self.event.0, self.ordinal)
    }
}

impl FromStr for DeliveryId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        text.strip_prefix("dlv_")
            .and_then(|rest| rest.split_once('_'))
            .and_then(|(event, ordinal)| {
                let canonical = ordinal == "0" || !ordinal.starts_with(['0', '+']);
                let ordinal = canonical.then(|| ordinal.parse().ok()).flatten()?;
                Some(Self { event: EventId(parse_hex(event)?), ordinal })
            })
            .ok_or_else(|| BadId {
                text: text.chars().take(80).collect(),
                expected: "a delivery id (`dlv_`, 16 hex digits, `_` and a number)",
            })
    }
}

/// The name of a plugin: the file's name in the plugins folder without its ending.
pub type PluginName = Arc<str>;

/// A key under which a repeated request is recognised: the first 16 bytes of a SHA-256 (see `ingest::identify`).
pub type DedupeKey = [u8; 16];

/// A key over the body alone, as hosts before schema version 5 took it. It may be that of another event with an equal
/// body: only an event of the same type is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyKey {
    /// As such a host made it.
    pub key: DedupeKey,
    /// A kept header, in lower case, whose value must be the same too: that of the time of sending.
    pub header: Option<String>,
}

/// An event that is not stored yet: what a verified request or a plugin's answer becomes.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// CloudEvents attributes and body.
    pub attributes: Attributes,
    /// The provider's own id of the delivery, if it sent one.
    pub provider_id: Option<String>,
    /// A repeated key within the dedupe window makes this a duplicate; empty for emitted events.
    pub dedupe: Vec<DedupeKey>,
    /// Makes a duplicate as well, and is never taken; only while [`Queue::has_legacy_keys`](crate::store::Queue).
    pub legacy_key: Option<LegacyKey>,
    /// Request headers kept by allow-list, names in lower case.
    pub headers: Vec<(String, String)>,
    /// What an operator should know of this event: a stale timestamp, a body that did not parse.
    pub note: Option<String>,
    /// The event whose handling emitted this one.
    pub parent: Option<EventId>,
    /// How many plugins an event has passed since it came in from outside; 0 for a request.
    pub hops: u32,
    /// The plugins that get it, each once.
    pub targets: Vec<PluginName>,
    /// Deliveries are not due before this many milliseconds from now.
    pub delay_ms: u64,
}

/// The attributes of an event in the sense of CloudEvents 1.0, and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// The source's name, or `plugins/NAME` for an emitted event.
    pub source: Arc<str>,
    /// The event type, for example `avatar_video.success`.
    pub kind: String,
    /// What the event is about: the correlation key.
    pub subject: Option<String>,
    /// The media type of `body`.
    pub content_type: Option<String>,
    /// Arrival, Unix milliseconds.
    pub time_ms: i64,
    /// Byte for byte as it came.
    pub body: Bytes,
}

/// A stored event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Given by the store.
    pub id: EventId,
    /// CloudEvents attributes and body.
    pub attributes: Attributes,
    /// The event whose handling emitted this one.
    pub parent: Option<EventId>,
    /// The event from outside that everything in this one's tree descends from; absent for such an event itself.
    pub root: Option<EventId>,
    /// How many plugins it has passed.
    pub hops: u32,
}

impl Event {
    /// The root of the tree that this event belongs to: itself, if it came from outside.
    pub fn tree(&self) -> EventId {
        self.root.unwrap_or(self.id)
    }
}

/// Where a delivery stands. See the diagram in [`crate::store`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Due, and nobody holds it.
    Ready,
    /// A worker holds it.
    Leased,
    /// Not due yet: a retry or a delayed event.
    Waiting,
    /// Settled with success.
    Done,
    /// Settled without: a dead letter.
    Dead,
    /// Ended before it was settled, by an operator: nothing of it is stored but the attempts.
    Cancelled,
    /// A dead letter that an operator has put away.
    Discarded,
}

impl State {
    /// Every state, in the order of [`State::code`].
    pub const ALL: [Self; 7] =
        [Self::Ready, Self::Leased, Self::Waiting, Self::Done, Self::Dead, Self::Cancelled, Self::Discarded];

    /// The stored form.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Reads the stored form.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The name people see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Leased => "leased",
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
            Self::Discarded => "discarded",
        }
    }

    /// Reads the name people write.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_back_as_they_are_shown() {
        let event = EventId::first_at(1_770_000_000_123).next(0);
        assert_eq!(event.to_string().parse(), Ok(event));
        let delivery = DeliveryId { event, ordinal: 12 };
        assert_eq!(delivery.to_string().parse(), Ok(delivery));
    }

    #[test]
    fn a_text_that_is_not_an_id_is_refused() {
        for text in [
            "",
            "evt_",
            "evt_1",
            "evt_00000000000000zz",
            "evt_ffffffffffffffff",
            "dlv_0000000000000001",
            "evt_+000000000000001",
        ] {
            assert!(text.parse::<EventId>().is_err(), "{text}");
        }
        for text in
            ["dlv_0000000000000001", "dlv_0000000000000001_", "dlv_0000000000000001_+1", "dlv_0000000000000001_01"]
        {
            assert!(text.parse::<DeliveryId>().is_err(), "{text}");
        }
    }

    #[test]
    fn ids_grow_when_the_clock_steps_back() {
        let late = EventId::first_at(2_000);
        assert!(late.next(1_000) > late);
        assert_eq!(late.next(3_000), EventId::first_at(3_000));
        assert_eq!(late.next(1_000).unix_ms(), 2_000);
    }
}
