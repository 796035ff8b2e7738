//! Numbers for people: durations and rates of three digits, sizes, counts.

use crate::text::grouped;

/// A duration with its unit, in three digits: `1.10 ms`, `3.41 s`, `59 min`.
pub(in crate::admin::page) fn duration(ms: f64) -> String {
    const UNITS: [(f64, &str); 4] =
        [(86_400_000.0, "d"), (3_600_000.0, "h"), (60_000.0, "min"), (1_000.0, "s")];
    let ms = ms.max(0.0);
    let (value, unit) = UNITS
        .into_iter()
        // A value that would be rounded to one of a unit is shown in it.
        .find(|(size, _)| ms * 1.0005 >= *size)
        .map_or((ms, "ms"), |(size, unit)| (ms / size, unit));
    format!("{} {unit}", three_digits(value))
}

/// A number in three digits; whole ones without a fraction.
pub(in crate::admin::page) fn three_digits(value: f64) -> String {
    if value >= 99.95 || value.fract() == 0.0 {
        return grouped(value.round() as u64);
    }
    if value >= 9.995 { format!("{value:.1}") } else { format!("{value:.2}") }
}

/// A number of bytes: `665 B`, `1.20 KiB`.
pub(in crate::admin::page) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1_024.0 {
            return format!("{} {unit}", three_digits(value));
        }
        value /= 1_024.0;
    }
    format!("{} TiB", three_digits(value))
}

/// A part of a whole in percent; `–` of nothing.
pub(in crate::admin::page) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    // 99.96 % is not all.
    let tenths = (u128::from(part) * 1_000 / u128::from(whole)) as f64;
    format!("{:.1} %", tenths / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_and_three_digits() {
        for (ms, expected) in [
            (0.0, "0 ms"),
            (0.2, "0.20 ms"),
            (1.1, "1.10 ms"),
            (812.4, "812 ms"),
            (3_410.0, "3.41 s"),
            (60_000.0, "1 min"),
            (3_540_000.0, "59 min"),
            (3_599_999.0, "1.00 h"),
            (5_400_000.0, "1.50 h"),
            (864_000_000.0, "10 d"),
        ] {
            assert_eq!(duration(ms), expected, "{ms}");
        }
    }

    #[test]
    fn sizes_and_parts_are_short() {
        assert_eq!(bytes(665), "665 B");
        assert_eq!(bytes(1 << 20), "1 MiB");
        assert_eq!(bytes(1_234), "1.21 KiB");
        assert_eq!(bytes(u64::MAX), "16,777,216 TiB");
        assert_eq!(percent(9_999, 10_000), "99.9 %");
        assert_eq!(percent(0, 0), "–");
        assert_eq!(percent(3, 3), "100.0 %");
    }
}
