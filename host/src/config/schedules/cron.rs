//! Cron expressions by the local time of a zone.
//!
//! croner tells which local times match; which instants these are is decided here. A time of day
//! without `*` in minute and hour happens once a day: at the end of the gap if the clocks skip it,
//! and the first time if they repeat it. Anything with a `*` goes by the clock on the wall,
//! whatever that does: a skipped minute does not happen, and a repeated one happens twice.

use std::cmp::Ordering;

use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use croner::{CivilDate, CivilDateTime, CivilTime, Cron, CronDateTime, Resolution, Weekday};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// A time beyond which nobody waits: the longest that is between two leap days, and some days.
const LONGEST_MS: i64 = 2_930 * 24 * 3_600_000;

/// The times of a cron expression in a time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronTimes {
    /// The five fields, with a blank between them.
    pub text: String,
    /// The IANA name of the zone.
    pub zone_name: String,
    zone: TimeZone,
    cron: Cron,
    /// Whether minute and hour have no `*`.
    is_fixed: bool,
}

/// A local time, for which croner needs no zone.
#[derive(Debug, Clone, Copy)]
struct LocalTime(DateTime);

impl CronTimes {
    /// Reads an expression of five fields.
    ///
    /// # Errors
    /// The reason for which it is none, for people.
    pub(super) fn read(text: &str, zone_name: &str, zone: TimeZone) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minute, hour, _, _, _] = fields[..] else {
            return Err(match fields.len() {
                few @ 0..5 => format!("it has {few} of five fields"),
                many => format!("it has {many} fields, not five"),
            });
        };
        let is_fixed = !minute.contains('*') && !hour.contains('*');
        let parser =
            CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let text = fields.join(" ");
        let cron = parser.parse(&text).map_err(|error| said(&error))?;
        Ok(Self { text, zone_name: zone_name.to_owned(), zone, cron, is_fixed })
    }

    /// The first time after this one, Unix ms; `None` if there is none within 8 years.
    pub(super) fn next_after(&self, unix_ms: i64) -> Option<i64> {
        let after = Timestamp::from_millisecond(unix_ms).ok()?;
        let found = if self.is_fixed { self.next_fixed(after) } else { self.next_by_wall(after) };
        let found_ms = found?.as_millisecond();
        (found_ms.saturating_sub(unix_ms) <= LONGEST_MS).then_some(found_ms)
    }

    /// Local times in their order, each at the instant that stands for it.
    fn next_fixed(&self, after: Timestamp) -> Option<Timestamp> {
        let mut local = self.zone.to_datetime(after);
        loop {
            local = self.next_local(local, false)?;
            let found = self.zone.to_ambiguous_timestamp(local);
            let instant = match found.offset() {
                AmbiguousOffset::Gap { after: offset, .. } => {
                    // By the offset after the gap it lies before the gap, whose end comes next.
                    let before = offset.to_timestamp(local).ok()?;
                    self.zone.following(before).next()?.timestamp()
                }
                _ => found.earlier().ok()?,
            };
            if instant > after {
                return Some(instant);
            }
        }
    }

    /// Local times as long as the clocks are not changed, then on from the change.
    fn next_by_wall(&self, after: Timestamp) -> Option<Timestamp> {
        let (mut from, mut inclusive) = (after, false);
        loop {
            let offset = self.zone.to_offset(from);
            let found = self.next_local(offset.to_datetime(from), inclusive);
            let found = found.and_then(|local| offset.to_timestamp(local).ok());
            match self.zone.following(from).next() {
                Some(change) if found.is_none_or(|found| found >= change.timestamp()) => {
                    (from, inclusive) = (change.timestamp(), true);
                }
                _ => return found,
            }
            let waited_ms = from.as_millisecond().saturating_sub(after.as_millisecond());
            if waited_ms > LONGEST_MS {
                return None;
            }
        }
    }

    fn next_local(&self, from: DateTime, inclusive: bool) -> Option<DateTime> {
        let found = self.cron.find_next_occurrence(&LocalTime(from), inclusive).ok()?;
        Some(found.0)
    }
}

/// An error of the parser as the end of a sentence.
fn said(error: &CronError) -> String {
    let text = match error {
        CronError::InvalidPattern(text)
        | CronError::IllegalCharacters(text)
        | CronError::ComponentError(text) => text.clone(),
        other => other.to_string(),
    };
    let mut text = text.trim_end_matches('.').to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    text
}

impl CronDateTime for LocalTime {
    fn to_civil(&self) -> CivilDateTime {
        let part = |number: i8| u32::from(number.unsigned_abs());
        let date = CivilDate::from_parts_unchecked(
            i32::from(self.0.year()),
            part(self.0.month()),
            part(self.0.day()),
        );
        let (hour, minute, second) = (self.0.hour(), self.0.minute(), self.0.second());
        let time = CivilTime::from_parts_unchecked(part(hour), part(minute), part(second));
        CivilDateTime::new(date, time)
    }

    fn civil_weekday(&self) -> Weekday {
        let days = self.0.weekday().to_sunday_zero_offset();
        Weekday::from_days_from_sunday(u32::from(days.unsigned_abs()))
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let part = |number: u32| i8::try_from(number).map_err(|_| CronError::InvalidDate);
        let year = i16::try_from(civil.year()).map_err(|_| CronError::InvalidDate)?;
        let found = DateTime::new(
            year,
            part(civil.month())?,
            part(civil.day())?,
            part(civil.hour())?,
            part(civil.minute())?,
            part(civil.second())?,
            0,
        );
        Ok(Resolution::Single(Self(found.map_err(|_| CronError::InvalidDate)?)))
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(SignedDuration::from_secs(seconds)).ok().map(Self)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

#[cfg(test)]
mod tests;
