//! Lines of attempts in a tree: times, steps and requests.

use serde_json::Value;

use crate::cli::listing::elements;
use crate::cli::output::{duration_of, text};
use crate::text::duration;

/// An attempt: when, and how it ended.
pub(super) fn attempt(attempt: &Value) -> String {
    let settled = if attempt["settled"] == "cancelled" { ", cancelled meanwhile" } else { "" };
    let error = attempt["error"].as_str().map(|error| format!(": {error}")).unwrap_or_default();
    let (number, outcome) = (&attempt["number"], text(&attempt["outcome"]));
    format!("#{number}  {}  {outcome}{settled}{error}", ran(attempt))
}

/// The HTTP requests of an attempt, each when it was sent and what came of it.
pub(super) fn requests(attempt: &Value) -> Vec<String> {
    let mut lines: Vec<_> = elements(&attempt["calls"])
        .iter()
        .map(|call| {
            let came = match call["status"].as_u64() {
                Some(status) => status.to_string(),
                None if call["refused"] == true => "refused".to_owned(),
                None => "no answer".to_owned(),
            };
            let began = call["offset_ms"].as_i64().map(|ms| ms + after_ms(attempt));
            let began = began.map(|ms| format!("{}, ", at(ms))).unwrap_or_default();
            let took = duration_of(&call["duration_ms"]);
            format!("  {} {}  {came}  {began}{took}", text(&call["method"]), text(&call["url"]))
        })
        .collect();
    if attempt["more_calls"] == true {
        lines.push("  and more requests".to_owned());
    }
    lines
}

/// The steps of an attempt, if it has any.
pub(super) fn steps(attempt: &Value) -> Option<String> {
    let names: Vec<_> = elements(&attempt["steps"]).iter().map(text).collect();
    (!names.is_empty()).then(|| format!("#{} steps: {}", attempt["number"], names.join(", ")))
}

/// When an attempt began, and how long it took.
pub(super) fn ran(attempt: &Value) -> String {
    format!("{}, {}", after(&attempt["after_ms"]), duration_of(&attempt["duration_ms"]))
}

fn after_ms(attempt: &Value) -> i64 {
    attempt["after_ms"].as_i64().unwrap_or(0)
}

/// A time after the root.
pub(super) fn after(ms: &Value) -> String {
    at(ms.as_i64().unwrap_or(0))
}

fn at(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "+" };
    format!("{sign}{}", span(ms.unsigned_abs()))
}

/// A time after the root. Many lines of a long tree are far from it and close to each other: three
/// digits would not tell them apart.
fn span(ms: u64) -> String {
    match ms {
        ..600_000 => duration(ms as f64),
        600_000..36_000_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_far_from_the_root_are_told_apart() {
        for (ms, expected) in [
            (75_400, "+75.4 s"),
            (-2, "-2 ms"),
            (600_000, "+10 min 0 s"),
            (754_900, "+12 min 34 s"),
            (-755_000, "-12 min 35 s"),
            (35_999_999, "+599 min 59 s"),
            (36_000_000, "+10 h 0 min"),
            (93_900_000, "+26 h 5 min"),
        ] {
            assert_eq!(at(ms), expected);
        }
    }
}
