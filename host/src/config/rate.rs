//! Rates as people write them: `10/s`, `100/h`.

use std::fmt;
use std::time::Duration;

use super::raw::Item;
use super::units::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};

/// The units of time in a rate.
const UNITS: [(&str, u64); 4] = [("s", SECOND_MS), ("m", MINUTE_MS), ("h", HOUR_MS), ("d", DAY_MS)];

/// The most starts in one unit of time.
const MAX_STARTS: u32 = 10_000;

/// So many starts in a second, a minute, an hour or a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    starts: u32,
    unit: &'static str,
    unit_ms: u64,
}

impl Rate {
    /// The time between two starts that are spread evenly.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.unit_ms) / self.starts
    }
}

impl fmt::Display for Rate {
    /// As it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.starts, self.unit)
    }
}

/// Reads a rate.
pub(super) fn read(item: &Item<'_>) -> Option<Rate> {
    let text = item.text("\"10/s\"")?;
    let rate = parse(text);
    if rate.is_none() {
        let help = format!(
            "write a whole number from 1 to {MAX_STARTS}, a `/`, and s, m, h or d, such as \"10/s\" or \"100/h\""
        );
        item.refuse(format_args!("is \"{text}\", which is not a rate"), help);
    }
    rate
}

fn parse(text: &str) -> Option<Rate> {
    let (number, unit) = text.split_once('/')?;
    if !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let starts = number.parse().ok()?;
    let (unit, unit_ms) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    (1..=MAX_STARTS).contains(&starts).then_some(Rate { starts, unit, unit_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_in_a_unit_of_time() {
        for (text, interval_us) in [
            ("1/s", 1_000_000),
            ("10/s", 100_000),
            ("10000/s", 100),
            ("10/m", 6_000_000),
            ("100/h", 36_000_000),
            ("1/d", 86_400_000_000),
        ] {
            let rate = parse(text).expect(text);
            assert_eq!(rate.interval(), Duration::from_micros(interval_us), "{text}");
            assert_eq!(rate.to_string(), text);
        }
        for text in [
            "",
            "1",
            "/s",
            "0/s",
            "10001/s",
            "+1/s",
            "1.5/s",
            "1/w",
            "1 /s",
            "1/s ",
            "99999999999/s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
