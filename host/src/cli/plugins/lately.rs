//! The attempts of a plugin in the last minute, by the words of the API.

use serde_json::{Value, json};

use crate::cli::output::Printout;
use crate::text::duration;

/// The last minute in two cells.
pub(super) struct LatelyCells {
    /// Attempts a second; `-` before anything was measured, and of a host of an older version.
    pub(super) per_second: String,
    /// The share that succeeded.
    pub(super) succeeded: String,
}

/// The last minute of a plugin in two cells.
pub(super) fn lately(recent: &Value) -> LatelyCells {
    let none = || "-".to_owned();
    let count = |name: &str| recent[name].as_u64().unwrap_or_default();
    let (attempts, failed) = (count("attempts"), count("failed"));
    let share = |part: u64| format!("{:.1} %", (part * 1_000 / attempts.max(1)) as f64 / 10.0);
    LatelyCells {
        per_second: recent["per_s"].as_f64().map_or_else(none, |rate| format!("{rate:.1}")),
        succeeded: if attempts == 0 { none() } else { share(attempts.saturating_sub(failed)) },
    }
}

/// Adds the last minute, if anything ran in it.
pub(super) fn fields(out: &mut Printout, recent: &Value) {
    let cells = lately(recent);
    if cells.succeeded == "-" {
        return;
    }
    out.field("attempts/s", &json!(cells.per_second));
    out.field("succeeded", &json!(cells.succeeded));
    for (name, member) in [("p50", "p50_ms"), ("p95", "p95_ms"), ("p99", "p99_ms")] {
        if let Some(ms) = recent[member].as_f64() {
            out.field(name, &json!(duration(ms)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_without_attempts_has_no_share() {
        let cells = lately(&json!({ "attempts": 3, "failed": 1, "per_s": 0.05 }));
        assert_eq!((cells.per_second.as_str(), cells.succeeded.as_str()), ("0.1", "66.6 %"));
        let cells = lately(&json!({ "attempts": 0, "failed": 0, "per_s": 0.0 }));
        assert_eq!((cells.per_second.as_str(), cells.succeeded.as_str()), ("0.0", "-"));
        assert_eq!(lately(&Value::Null).per_second, "-");
    }
}
