//! Durations and sizes as people write them: `10s`, `1h30m`, `64MiB`.

use std::fmt::Write as _;

use bytesize::ByteSize;

pub(super) const SECOND_MS: u64 = 1_000;
pub(super) const MINUTE_MS: u64 = 60 * SECOND_MS;
pub(super) const HOUR_MS: u64 = 60 * MINUTE_MS;
pub(super) const DAY_MS: u64 = 24 * HOUR_MS;

/// Units of time, the largest first.
const UNITS: [(&str, u64); 5] =
    [("d", DAY_MS), ("h", HOUR_MS), ("m", MINUTE_MS), ("s", SECOND_MS), ("ms", 1)];

/// Reads whole numbers with units, from the largest unit to the smallest: `90s`, `1h30m`. In
/// milliseconds.
///
/// `None` if it is anything else, also with a sign, a fraction, a space, or more than 64 bits.
pub(super) fn parse_ms(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total_ms = 0u64;
    let mut smallest_ms = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        let unit_ms = UNITS.into_iter().find(|(name, _)| *name == unit)?.1;
        if unit_ms >= smallest_ms {
            return None;
        }
        smallest_ms = unit_ms;
        total_ms = total_ms.checked_add(number.parse::<u64>().ok()?.checked_mul(unit_ms)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total_ms)
}

/// Writes what [`parse_ms`] reads.
pub(super) fn show_ms(ms: u64) -> String {
    let mut text = String::new();
    let mut left_ms = ms;
    for (unit, unit_ms) in UNITS {
        if left_ms >= unit_ms {
            // Writing to a string cannot fail.
            let _ = write!(text, "{}{unit}", left_ms / unit_ms);
            left_ms %= unit_ms;
        }
    }
    if text.is_empty() { "0ms".to_owned() } else { text }
}

/// Reads a size with its unit, `64MiB` or `100kB`, in bytes. A number alone leaves open what it
/// counts, and is refused.
pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').trim_start();
    if unit.is_empty() { None } else { text.parse::<ByteSize>().ok().map(|size| size.as_u64()) }
}

/// Writes a size in binary units without losing a byte.
pub(super) fn show_bytes(bytes: u64) -> String {
    match bytes {
        _ if bytes >= 1 << 30 && bytes.is_multiple_of(1 << 30) => format!("{}GiB", bytes >> 30),
        _ if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_unit_is_read() {
        let cases = [
            ("250ms", 250),
            ("10s", 10_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("14d", 1_209_600_000),
        ];
        for (text, ms) in cases {
            assert_eq!(parse_ms(text), Some(ms), "{text}");
        }
        assert_eq!(parse_ms("1h30m"), Some(5_400_000));
        assert_eq!(parse_bytes("1MiB"), Some(1 << 20));
        assert_eq!(parse_bytes("100kB"), Some(100_000));
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in [
            "",
            "10",
            "s",
            "-1s",
            "+1s",
            "1.5s",
            "10 s",
            "10parsecs",
            "5m1h",
            "1s1s",
            "1M",
            "99999999999999999999s",
            "213503982335d",
            "١s",
        ] {
            assert_eq!(parse_ms(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in ["", "10", "1.5", "MiB", "-1MiB", "ten MiB", "1MiBs"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_duration_is_read_back_as_it_is_written(ms in any::<u64>()) {
            prop_assert_eq!(parse_ms(&show_ms(ms)), Some(ms));
        }

        #[test]
        fn no_text_makes_the_readers_panic(text in "\\PC{0,20}") {
            let _ = (parse_ms(&text), parse_bytes(&text));
        }

        #[test]
        fn a_size_is_read_back_as_it_is_written(bytes in any::<u64>()) {
            prop_assert_eq!(parse_bytes(&show_bytes(bytes)), Some(bytes));
        }
    }
}
