//! The time of sending: whether it is there, and whether it is near enough.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderName};

use super::field::Items;
use super::place::{PointedRequest, Spot};
use super::refusal::Refusal;
use crate::config::source::{Field, Stale, TimeFormat, Timestamp};
use crate::ingest::identify::json::Pointers;

/// The most digits of a timestamp: seconds until the year 33658.
const MAX_DIGITS: usize = 12;

/// [`Timestamp`] with its header's name parsed.
#[derive(Debug)]
pub(super) struct TimestampCheck {
    spot: Spot,
    rule: Timestamp,
    /// A request without a readable timestamp is refused.
    required: bool,
}

impl TimestampCheck {
    pub(super) fn new(
        rule: &Timestamp,
        is_signed: bool,
        pointers: &mut Pointers,
    ) -> Result<Self, String> {
        let spot = Spot::new(&rule.field.place, pointers)?;
        Ok(Self { spot, rule: rule.clone(), required: rule.required || is_signed })
    }

    /// The header that it is in, if it is in one.
    pub(super) fn header(&self) -> Option<&HeaderName> {
        self.spot.header()
    }

    /// Whether it is in a header.
    pub(super) fn is_in_header(&self) -> bool {
        self.header().is_some()
    }

    /// The timestamp's text at its place, which may be signed.
    pub(super) fn value<'a>(
        &self,
        reading: PointedRequest<'a>,
    ) -> Result<Option<Cow<'a, [u8]>>, Refusal> {
        if self.is_in_header() {
            return Ok(self.text(&reading.head.headers)?.map(Cow::from));
        }
        match self.spot.value(reading)? {
            None if self.required => Err(Refusal::NoTimestamp),
            text => Ok(text),
        }
    }

    /// The timestamp's text, which may be signed. Two of them are refused: it would be open which
    /// one counts. In a list without labels it is the first item (Recurly).
    pub(super) fn text<'a>(&self, headers: &'a HeaderMap) -> Result<Option<&'a [u8]>, Refusal> {
        let Some(name) = self.header() else { return Ok(None) };
        let mut items = Items::of(headers, name, &self.rule.field)?;
        let Field { prefix, separator, .. } = &self.rule.field;
        let is_first = prefix.is_empty() && separator.is_some();
        let first = items.next();
        match (first, if is_first { None } else { items.next() }) {
            (None, _) if self.required => Err(Refusal::NoTimestamp),
            (_, Some(_)) => Err(Refusal::Repeated),
            (text, None) => Ok(text),
        }
    }

    /// The time that a text stands for, in Unix milliseconds.
    pub(super) fn unix_ms(&self, text: &[u8]) -> Option<i64> {
        match self.rule.format {
            TimeFormat::Seconds => number(text, MAX_DIGITS)?.checked_mul(1_000),
            TimeFormat::Milliseconds => number(text, MAX_DIGITS + 3),
            TimeFormat::Rfc3339 => crate::clock::parse_rfc3339(std::str::from_utf8(text).ok()?),
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
        let Some(sent_ms) = self.unix_ms(text) else {
            let note = || Ok(Some("unreadable timestamp".to_owned()));
            return if self.required { Err(Refusal::NoTimestamp) } else { note() };
        };
        let age_ms = now_ms.saturating_sub(sent_ms);
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

fn number(text: &[u8], max_digits: usize) -> Option<i64> {
    let plain = (1..=max_digits).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    if plain { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}
