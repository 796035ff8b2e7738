//! The result of an attempt as JSON. Its members stay as they are, because scripts and tests
//! compare them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::event::Outcome;
use crate::sandbox::{Emitted, Invocation, Verdict};

/// The outcome's name, why it is not `ok`, and after which time in milliseconds a retry is wished.
pub(in crate::cli) fn outcome(verdict: &Verdict) -> (Outcome, Option<&str>, Option<u64>) {
    match verdict {
        Verdict::Ok(_) => (Outcome::Ok, None, None),
        Verdict::Retry { reason, after_ms } => (Outcome::Retry, Some(reason), *after_ms),
        Verdict::Reject(reason) => (Outcome::Reject, Some(reason), None),
        Verdict::Trap(reason) => (Outcome::Trap, Some(reason), None),
        Verdict::Timeout(reason) => (Outcome::Timeout, Some(reason), None),
        Verdict::Memory(reason) => (Outcome::Memory, Some(reason), None),
        Verdict::Error(reason) => (Outcome::Error, Some(reason), None),
        Verdict::NoCapacity => (Outcome::Error, Some("there was no room for an instance"), None),
    }
}

/// The events that it returned.
pub(in crate::cli) fn emitted(verdict: &Verdict) -> &[Emitted] {
    match verdict {
        Verdict::Ok(emitted) => emitted,
        _ => &[],
    }
}

/// The whole answer.
pub(in crate::cli) fn to_json(invocation: &Invocation) -> Value {
    let (outcome, reason, retry_after_ms) = outcome(&invocation.verdict);
    let reads = invocation
        .kv_reads
        .iter()
        .map(|(key, version)| json!({ "key": key, "found": version.is_some() }));
    let writes = invocation.kv_writes.iter().map(write_to_json);
    json!({
        "outcome": outcome.name(),
        "reason": reason,
        "retry_after_ms": retry_after_ms,
        "emitted": emitted(&invocation.verdict).iter().map(event_to_json).collect::<Vec<_>>(),
        "logs": invocation.logs,
        "calls": invocation.calls,
        "kv": { "reads": reads.collect::<Vec<_>>(), "writes": writes.collect::<Vec<_>>() },
        "duration_us": invocation.duration_us,
        "memory_peak_bytes": invocation.memory_peak_bytes,
    })
}

/// An event that a plugin returned.
pub(in crate::cli) fn event_to_json(event: &Emitted) -> Map<String, Value> {
    let mut members = Map::from_iter([
        ("type".to_owned(), json!(event.kind)),
        ("subject".to_owned(), json!(event.subject)),
        ("datacontenttype".to_owned(), json!(event.content_type)),
        ("delay_ms".to_owned(), json!(event.delay_ms)),
    ]);
    // As in a CloudEvents document: JSON as it is, anything else in base64.
    match serde_json::from_slice(&event.data) {
        Ok(value) => members.insert("data".to_owned(), value),
        Err(_) => members.insert("data_base64".to_owned(), json!(STANDARD.encode(&event.data))),
    };
    members
}

fn write_to_json((key, value): &(String, Option<Vec<u8>>)) -> Value {
    match value.as_deref().map(|value| (value, std::str::from_utf8(value))) {
        None => json!({ "key": key, "deleted": true }),
        Some((_, Ok(text))) => json!({ "key": key, "value": text }),
        Some((value, Err(_))) => json!({ "key": key, "value_base64": STANDARD.encode(value) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::LogLine;

    fn invocation(verdict: Verdict) -> Invocation {
        Invocation {
            verdict,
            calls: Vec::new(),
            logs: vec![LogLine { level: "info".to_owned(), message: "hello".to_owned() }],
            kv_reads: vec![("a".to_owned(), None)],
            kv_lists: Vec::new(),
            kv_writes: vec![("b".to_owned(), Some(vec![0xff])), ("c".to_owned(), None)],
            kv_adds: Vec::new(),
            steps: Vec::new(),
            again: None,
            memory_peak_bytes: 65_536,
            duration_us: 1_234,
        }
    }

    #[test]
    fn the_json_report_is_stable() {
        let emitted = Emitted {
            kind: "order.video_ready".to_owned(),
            subject: Some("order_1".to_owned()),
            content_type: Some("application/json".to_owned()),
            data: b"{\"url\":\"u\"}".to_vec(),
            delay_ms: 5,
        };
        let report = to_json(&invocation(Verdict::Ok(vec![emitted])));
        let expected = json!({
            "outcome": "ok", "reason": null, "retry_after_ms": null,
            "emitted": [{ "type": "order.video_ready", "subject": "order_1", "datacontenttype": "application/json",
                "delay_ms": 5, "data": { "url": "u" } }],
            "logs": [{ "level": "info", "message": "hello" }], "calls": [],
            "kv": { "reads": [{ "key": "a", "found": false }],
                "writes": [{ "key": "b", "value_base64": "/w==" }, { "key": "c", "deleted": true }] },
            "duration_us": 1_234, "memory_peak_bytes": 65_536,
        });
        assert_eq!(report, expected);
    }

    #[test]
    fn a_failure_has_a_reason() {
        let report =
            to_json(&invocation(Verdict::Retry { reason: "busy".to_owned(), after_ms: Some(9) }));
        assert_eq!(
            (&report["outcome"], &report["reason"], &report["retry_after_ms"]),
            (&json!("retry"), &json!("busy"), &json!(9))
        );
        assert_eq!(to_json(&invocation(Verdict::NoCapacity))["outcome"], "error");
    }
}
