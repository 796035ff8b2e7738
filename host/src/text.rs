//! Makes text from a guest fit for a log, a terminal and a page: bounded, and without characters
//! that control how text is shown. Also numbers and lines as commands and pages show them.

use std::collections::BTreeSet;

/// The longest error text, in bytes.
pub const MAX_ERROR_BYTES: usize = 2 << 10;

/// The mark of a text that was cut.
const CUT: &str = "…";

/// Escapes control characters, and cuts the text to `max_bytes`.
///
/// Time and memory depend on the result, not on the length of `text`.
pub fn plain(text: &str, max_bytes: usize) -> String {
    let mut kept = String::new();
    for c in text.chars() {
        let before = kept.len();
        if needs_escape(c) {
            kept.extend(c.escape_default())
        } else {
            kept.push(c)
        }
        if kept.len() > max_bytes {
            kept.truncate(before);
            while kept.len() + CUT.len() > max_bytes && kept.pop().is_some() {}
            kept.push_str(CUT);
            break;
        }
    }
    kept
}

/// Does the same for an error text, within [`MAX_ERROR_BYTES`].
pub fn error(text: &str) -> String {
    plain(text, MAX_ERROR_BYTES)
}

/// Formats a number with its digits in groups of three: `6,600`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A measured duration with its unit, in three digits: `412 µs`, `1.10 ms`, `3.41 s`, `65 s`,
/// `59 min`.
pub fn duration(ms: f64) -> String {
    let ms = ms.max(0.0);
    // Each unit, and the value from which it is not used: a value that would be rounded to one of
    // the next unit is shown in that. But 65 s is read at once, 1.08 min is not.
    let units = [
        (ms * 1_000.0, 999.5, "µs"),
        (ms, 999.5, "ms"),
        (ms / 1_000.0, 120.0, "s"),
        (ms / 60_000.0, 59.95, "min"),
        (ms / 3_600_000.0, 23.95, "h"),
    ];
    let (value, unit) = if ms == 0.0 {
        (0.0, "ms")
    } else if ms == 60_000.0 {
        (1.0, "min")
    } else {
        let unit = units.into_iter().find(|(value, end, _)| value < end);
        unit.map_or((ms / 86_400_000.0, "d"), |(value, _, unit)| (value, unit))
    };
    format!("{} {unit}", three_digits(value))
}

/// A duration that was set or asked for, in the largest unit that needs no rounding: `90 s`.
pub fn exact_duration(ms: u64) -> String {
    let units = [("h", 3_600_000), ("min", 60_000), ("s", 1_000)];
    let whole = units.into_iter().find(|(_, unit)| ms >= *unit && ms.is_multiple_of(*unit));
    let (name, unit) = whole.unwrap_or(("ms", 1));
    format!("{} {name}", ms / unit)
}

/// A number in three digits; whole ones without a fraction.
pub fn three_digits(value: f64) -> String {
    if value >= 99.95 || value.fract() == 0.0 {
        return grouped(value.round() as u64);
    }
    if value >= 9.995 { format!("{value:.1}") } else { format!("{value:.2}") }
}

/// Whether a character controls how text is shown: control characters, line separators, and the
/// characters with the Unicode property `Bidi_Control`.
pub fn needs_escape(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// How hosts differ in a plugin, by their names and files: they run several files of it, or some
/// have loaded none, because they compile their first one or have no file.
pub fn differences(plugin: &str, hosts: &[(String, Option<&str>)]) -> Vec<String> {
    let files: BTreeSet<&str> = hosts.iter().filter_map(|(_, file)| *file).collect();
    let without = hosts.iter().filter(|(_, file)| file.is_none());
    let without: Vec<&str> = without.map(|(name, _)| &**name).collect();
    let several =
        (files.len() > 1).then(|| format!("not every host runs the same file of {plugin}"));
    let none =
        (!without.is_empty()).then(|| format!("{plugin} is not loaded on {}", without.join(", ")));
    several.into_iter().chain(none).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(plain("a\nb\u{1b}[31mc\u{202e}\0é", 100), "a\\nb\\u{1b}[31mc\\u{202e}\\u{0}é");
    }

    #[test]
    fn large_numbers_are_grouped() {
        let cases =
            [(0, "0"), (999, "999"), (1_000, "1,000"), (6_600, "6,600"), (1_234_567, "1,234,567")];
        for (number, expected) in cases {
            assert_eq!(grouped(number), expected);
        }
    }

    #[test]
    fn durations_have_a_unit_and_three_digits() {
        for (ms, expected) in [
            (0.0, "0 ms"),
            (0.004, "4 µs"),
            (0.0123, "12.3 µs"),
            (0.2, "200 µs"),
            (0.412, "412 µs"),
            (1.1, "1.10 ms"),
            (12.34, "12.3 ms"),
            (812.4, "812 ms"),
            (3_410.0, "3.41 s"),
            (60_000.0, "1 min"),
            (65_000.0, "65 s"),
            (90_500.0, "90.5 s"),
            (119_900.0, "120 s"),
            (120_000.0, "2 min"),
            (129_000.0, "2.15 min"),
            (3_540_000.0, "59 min"),
            (3_599_999.0, "1.00 h"),
            (5_400_000.0, "1.50 h"),
            (864_000_000.0, "10 d"),
        ] {
            assert_eq!(duration(ms), expected, "{ms}");
        }
    }

    #[test]
    fn a_duration_that_is_rounded_to_one_of_the_next_unit_is_shown_in_it() {
        for (ms, expected) in [
            (0.999_4, "999 µs"),
            (0.999_6, "1.00 ms"),
            (999.4, "999 ms"),
            (999.5, "1.00 s"),
            (1_000.0, "1 s"),
            (59_940.0, "59.9 s"),
            (59_955.0, "60.0 s"),
            (59_975.0, "60.0 s"),
            (60_001.0, "60.0 s"),
            (119_990.0, "120 s"),
            (120_001.0, "2.00 min"),
            (3_596_000.0, "59.9 min"),
            (3_597_000.0, "1.00 h"),
            (86_200_000.0, "23.9 h"),
            (86_356_000.0, "1.00 d"),
        ] {
            assert_eq!(duration(ms), expected, "{ms}");
        }
    }

    #[test]
    fn a_longer_duration_is_never_shown_as_a_shorter_one() {
        let shown_ms = |ms: f64| {
            let text = duration(ms);
            let (value, unit) = text.split_once(' ').unwrap();
            let unit_ms = match unit {
                "µs" => 0.001,
                "ms" => 1.0,
                "s" => 1_000.0,
                "min" => 60_000.0,
                "h" => 3_600_000.0,
                "d" => 86_400_000.0,
                other => panic!("{other}"),
            };
            value.replace(',', "").parse::<f64>().unwrap() * unit_ms
        };
        let spread = std::iter::successors(Some(0.001), |ms| Some(ms * 1.000_2));
        let mut steps: Vec<f64> = spread.take_while(|ms| *ms < 1e9).collect();
        for border in [1_000, 60_000, 120_000, 3_600_000, 86_400_000] {
            steps.extend((border - 200..=border + 200).map(f64::from));
        }
        steps.sort_by(f64::total_cmp);
        for pair in steps.windows(2) {
            assert!(shown_ms(pair[0]) <= shown_ms(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn a_duration_that_was_asked_for_is_not_rounded() {
        for (ms, expected) in [
            (0, "0 ms"),
            (20, "20 ms"),
            (90_000, "90 s"),
            (119_999, "119999 ms"),
            (3_600_000, "1 h"),
            (5_400_000, "90 min"),
            (86_400_000, "24 h"),
        ] {
            assert_eq!(exact_duration(ms), expected);
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(plain("éééééé", 12), "éééééé");
        assert_eq!(plain("ééééééé", 12), "éééé…");
        assert_eq!(plain("\n\n\n\n", 7), "\\n\\n…");
        assert!(plain(&"\u{1b}".repeat(9), 20).len() <= 20);
    }

    #[test]
    fn a_host_that_has_loaded_no_file_of_a_plugin_does_not_run_another_one() {
        let host = |name: &str, file| (name.to_owned(), file);
        let hosts = [host("east", Some("1")), host("west", None), host("north", None)];
        assert_eq!(differences("a", &hosts), ["a is not loaded on west, north"]);
        let hosts = [host("east", Some("1")), host("west", Some("2")), host("north", None)];
        let both = ["not every host runs the same file of a", "a is not loaded on north"];
        assert_eq!(differences("a", &hosts), both);
        assert_eq!(differences("a", &hosts[..2]), both[..1]);
    }
}
