//! Identifiers of events and deliveries, as people see them.
//!
//! An [`EventId`] is a positive 63-bit integer: Unix milliseconds of host time in the upper 43
//! bits, a counter in the lower 20. It is the row key in the store, so "newest first", `since` and
//! `until` need no index of their own. Its text is `evt_` and 16 hex digits. A [`DeliveryId`] is
//! the event and the ordinal of the delivery within it.

use std::fmt;
use std::str::FromStr;

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

    /// The time at which it was given out, by host time in Unix milliseconds.
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

/// The reason why a text is not an identifier.
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
    let plain =
        digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if plain { i64::from_str_radix(digits, 16).ok() } else { None }
}

/// Identifies a delivery: one event for one plugin. Its text is also the idempotency key of every
/// attempt.
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
                if !canonical {
                    return None;
                }
                let ordinal = ordinal.parse().ok()?;
                Some(Self { event: EventId(parse_hex(event)?), ordinal })
            })
            .ok_or_else(|| BadId {
                text: text.chars().take(80).collect(),
                expected: "a delivery id (`dlv_`, 16 hex digits, `_` and a number)",
            })
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
        for text in [
            "dlv_0000000000000001",
            "dlv_0000000000000001_",
            "dlv_0000000000000001_+1",
            "dlv_0000000000000001_01",
        ] {
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
