//! What came of the delivery that an operation has tried first, beside the attempt before.

use serde_json::{Value, json};

use crate::cli::client::AdminClient;
use crate::cli::failure::Failure;
use crate::cli::listing::elements;
use crate::cli::output::{printable, text};
use crate::event::{Outcome, failure_text};

/// The first attempt of an operation; for programs.
pub(super) fn tried(
    client: &AdminClient,
    path: &str,
    operation: &Value,
) -> Result<Option<Value>, Failure> {
    // The rest follows the first success only.
    let result = if operation["ok"] == 0 { "failed" } else { "ok" };
    let found = client.get(path, &[("result", Some(result))])?;
    let Some(id) = found["items"][0]["id"].as_str() else { return Ok(None) };
    let delivery = client.get(&format!("/api/v1/deliveries/{id}"), &[])?;
    Ok(of_attempts(id, elements(&delivery["attempts"])))
}

fn of_attempts(id: &str, attempts: &[Value]) -> Option<Value> {
    let (now, before) = attempts.split_last()?;
    let before = before.last();
    Some(json!({
        "id": id,
        "outcome": now["outcome"],
        "error": now["error"],
        "duration_ms": now["duration_ms"],
        "was": before.map(|before| before["outcome"].clone()),
        "verdict": before.and_then(|before| verdict(before, now)),
    }))
}

/// The words for an attempt beside the one before.
fn verdict(before: &Value, now: &Value) -> Option<&'static str> {
    let outcome = |attempt: &Value| Outcome::from_name(attempt["outcome"].as_str()?);
    let (was, is) = (outcome(before)?, outcome(now)?);
    let error = |outcome, attempt: &Value| failure_text(outcome, attempt["error"].as_str());
    Some(match (was.is_failure(), is.is_failure()) {
        (true, false) => "fixed",
        (false, false) => "still well",
        (false, true) => "fails now",
        (true, true) if was == is && error(was, before) == error(is, now) => "same error",
        (true, true) => "other error",
    })
}

/// The same in a line; for people.
pub(super) fn line(tried: &Value) -> String {
    let was = tried["was"].as_str().map(|was| format!(" (was {was})")).unwrap_or_default();
    let verdict = tried["verdict"].as_str().map(|it| format!(": {it}")).unwrap_or_default();
    let error = match (tried["verdict"].as_str(), tried["error"].as_str()) {
        (Some("other error" | "fails now") | None, Some(error)) => format!(": {error}"),
        _ => String::new(),
    };
    printable(&format!(
        "first: {} {} in {} ms{was}{verdict}{error}",
        text(&tried["id"]),
        text(&tried["outcome"]),
        tried["duration_ms"]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(outcome: &str, error: Option<&str>) -> Value {
        json!({ "outcome": outcome, "error": error, "duration_ms": 1.1 })
    }

    #[test]
    fn the_first_attempt_is_set_beside_the_one_before() {
        let trap = || attempt("trap", Some("unreachable in order 17"));
        for (before, now, expected) in [
            (trap(), attempt("ok", None), "first: d ok in 1.1 ms (was trap): fixed"),
            (
                trap(),
                attempt("trap", Some("unreachable in order 18")),
                "first: d trap in 1.1 ms (was trap): same error",
            ),
            (
                trap(),
                attempt("reject", Some("no such order")),
                "first: d reject in 1.1 ms (was trap): other error: no such order",
            ),
        ] {
            let tried = of_attempts("d", &[trap(), before, now]).unwrap();
            assert_eq!(line(&tried), expected);
        }
        let only = of_attempts("d", &[attempt("reject", Some("no"))]).unwrap();
        assert_eq!(line(&only), "first: d reject in 1.1 ms: no");
        assert_eq!(of_attempts("d", &[]), None);
    }
}
