//! Numbers for people: sizes and shares.

use crate::text::three_digits;

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
