//! Times on the command line: what the API takes, and besides `90s`, `15m`, `2h`, `3d` ago.

use crate::clock::{self, Clock};

/// Turns a time of the command line into one the API takes.
pub(super) fn time(text: &str) -> String {
    ago_ms(text).map_or_else(|| text.to_owned(), |ms| clock::rfc3339(Clock::system().now_ms().saturating_sub(ms)))
}

fn ago_ms(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).filter(|at| *at > 0)?;
    let (count, unit) = text.split_at(digits);
    let unit_ms: i64 = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    count.parse::<i64>().ok()?.checked_mul(unit_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_ago_has_a_number_and_a_unit() {
        assert_eq!(ago_ms("90s"), Some(90_000));
        assert_eq!(ago_ms("2d"), Some(172_800_000));
        for text in ["", "h", "2", "2 h", "2w", "-1h", "99999999999999999d", "2026-11-23T15:04:05Z"] {
            assert_eq!(ago_ms(text), None, "{text}");
        }
    }

    #[test]
    fn any_other_time_is_left_to_the_host() {
        assert_eq!(time("1770000000"), "1770000000");
    }
}
