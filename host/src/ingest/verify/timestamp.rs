//! The time of sending: whether it is there, and whether it is near enough.

use axum::http::{HeaderMap, HeaderName};

use super::field::Items;
use super::refusal::Refusal;
use crate::config::source::{Stale, Timestamp};
use crate::ingest::header;

/// The most digits of a timestamp: seconds until the year 33658.
const MAX_DIGITS: usize = 12;

/// [`Timestamp`] with its header's name parsed.
#[derive(Debug)]
pub(super) struct TimestampCheck {
    name: HeaderName,
    rule: Timestamp,
    /// A request without a readable timestamp is refused.
    required: bool,
}

impl TimestampCheck {
    pub(super) fn new(rule: &Timestamp, is_signed: bool) -> Result<Self, String> {
        let name = header::parse_name(&rule.field.header)?;
        Ok(Self { name, rule: rule.clone(), required: rule.required || is_signed })
    }

    /// The header that it is in.
    pub(super) fn header(&self) -> &HeaderName {
        &self.name
    }

    /// The timestamp's text, which may be signed. Two of them are refused: it would be open which
    /// one counts.
    pub(super) fn text<'a>(&self, headers: &'a HeaderMap) -> Result<Option<&'a [u8]>, Refusal> {
        let mut items = Items::of(headers, &self.name, &self.rule.field)?;
        match (items.next(), items.next()) {
            (None, _) if self.required => Err(Refusal::NoTimestamp),
            (_, Some(_)) => Err(Refusal::Repeated),
            (text, None) => Ok(text),
        }
    }

    /// Checks the distance from `now_ms` (Unix ms). Returns a note for the operator where a request
    /// is accepted in spite of its timestamp.
    pub(super) fn freshness(
        &self,
        text: Option<&[u8]>,
        now_ms: i64,
    ) -> Result<Option<String>, Refusal> {
        let Some(text) = text else { return Ok(None) };
        let Some(sent_s) = unix_seconds(text) else {
            let note = || Ok(Some("unreadable timestamp".to_owned()));
            return if self.required { Err(Refusal::NoTimestamp) } else { note() };
        };
        let age_ms = now_ms.saturating_sub(sent_s.saturating_mul(1_000));
        if age_ms.unsigned_abs() <= self.rule.tolerance_ms {
            return Ok(None);
        }
        match self.rule.stale {
            Stale::Reject => Err(Refusal::Stale),
            Stale::Accept => {
                let direction = if age_ms > 0 { "before" } else { "after" };
                let distance_s = age_ms.unsigned_abs() / 1_000;
                Ok(Some(format!("stale timestamp: sent {distance_s} s {direction} it arrived")))
            }
        }
    }
}

pub(super) fn unix_seconds(text: &[u8]) -> Option<i64> {
    let plain = (1..=MAX_DIGITS).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}
