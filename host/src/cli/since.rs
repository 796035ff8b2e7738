//! Times on the command line: what the API takes, and besides `90s`, `15m`, `2h`, `3d` ago.

use crate::clock::{self, Clock};

/// Turns a time of the command line into one the API takes.
pub(super) fn time(text: &str) -> Result<String, String> {
    if let Some(ms) = ago_ms(text) {
        return Ok(clock::rfc3339(Clock::system().now_ms().saturating_sub(ms)));
    }
    let is_unix = !text.is_empty()
        && text.len() <= MAX_UNIX_DIGITS
        && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_unix || text.parse::<jiff::Timestamp>().is_ok() {
        return Ok(text.to_owned());
    }
    Err("write how long ago it was (`90s`, `15m`, `2h`, `3d`), RFC 3339 (`2026-11-23T15:04:05Z`) or Unix seconds"
        .to_owned())
}

/// Reads how long something lasts, in seconds.
pub(super) fn seconds(text: &str) -> Result<u32, String> {
    let seconds = ago_ms(text).and_then(|ms| u32::try_from(ms / 1_000).ok());
    seconds.ok_or_else(|| "write how long, such as `90s`, `10m` or `1h`".to_owned())
}

/// Seconds of more digits are milliseconds by mistake.
const MAX_UNIX_DIGITS: usize = 11;

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
        for text in ["", "h", "2", "2 h", "2w", "-1h", "99999999999999999d", "2026-11-23T15:04:05Z"]
        {
            assert_eq!(ago_ms(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_of_the_api_is_handed_on_and_anything_else_is_told_what_would_be_one() {
        for text in ["1770000000", "2026-11-23T15:04:05Z", "2026-11-23T15:04:05+01:00"] {
            assert_eq!(time(text).as_deref(), Ok(text));
        }
        assert!(time("3d").is_ok());
        for text in ["yesterday", "2w", "1770000000000", "-5", "2026-11-23", ""] {
            let told = time(text).unwrap_err();
            assert!(
                ["`2h`", "`3d`", "RFC 3339", "Unix"].iter().all(|form| told.contains(form)),
                "{text}: {told}"
            );
        }
    }
}
