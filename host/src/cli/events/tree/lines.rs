//! Lines of attempts in a tree: times, steps and requests.

use serde_json::Value;

use crate::cli::listing::elements;
use crate::cli::output::text;

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
            let took = span(call["duration_ms"].as_i64().unwrap_or(0));
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
    let ms = attempt["duration_ms"].as_f64().unwrap_or(0.0);
    let took = if ms < 10.0 { format!("{ms:.1} ms") } else { span(ms as i64) };
    format!("{}, {took}", after(&attempt["after_ms"]))
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
    format!("{sign}{}", span(ms.abs()))
}

/// A time in the unit that shows it best.
fn span(ms: i64) -> String {
    match ms {
        ..10_000 => format!("{ms} ms"),
        10_000..600_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        600_000..36_000_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}
