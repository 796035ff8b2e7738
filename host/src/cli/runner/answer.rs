//! The result of an attempt as JSON. Its members stay as they are, because scripts and tests
//! compare them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::event::Outcome;
use crate::sandbox::{Emitted, Invocation, Verdict};

/// The outcome, why it is not `ok`, and after which time in milliseconds a retry is wished.
pub(in crate::cli) fn outcome(invocation: &Invocation) -> (Outcome, Option<&str>, Option<u64>) {
    match &invocation.verdict {
        Verdict::Ok(_) if invocation.again.is_some() => (Outcome::Again, None, None),
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
    let (outcome, reason, retry_after_ms) = outcome(invocation);
    let reads = invocation
        .kv_reads
        .iter()
        .map(|(key, version)| json!({ "key": key, "found": version.is_some() }));
    let writes = invocation.kv_writes.iter().map(write_to_json);
    let adds = invocation.kv_adds.iter().map(|(key, delta)| json!({ "key": key, "add": delta }));
    let lists = invocation.kv_lists.iter().map(
        |list| json!({ "prefix": list.prefix, "after": list.after, "found": list.keys.len() }),
    );
    json!({
        "outcome": outcome.name(),
        "reason": reason,
        "retry_after_ms": retry_after_ms,
        "again_after_ms": again_after_ms(invocation),
        "emitted": emitted(&invocation.verdict).iter().map(event_to_json).collect::<Vec<_>>(),
        "logs": invocation.logs,
        "calls": invocation.calls,
        "steps": invocation.steps,
        "kv": {
            "reads": reads.collect::<Vec<_>>(), "lists": lists.collect::<Vec<_>>(),
            "writes": writes.collect::<Vec<_>>(), "adds": adds.collect::<Vec<_>>(),
        },
        "duration_us": invocation.duration_us,
        "memory_peak_bytes": invocation.memory_peak_bytes,
    })
}

/// The time after which a handler that succeeded asks to be called again, in milliseconds.
pub(in crate::cli) fn again_after_ms(invocation: &Invocation) -> Option<u64> {
    if !matches!(invocation.verdict, Verdict::Ok(_)) {
        return None;
    }
    invocation.again.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX))
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
    use std::time::Duration;

    use super::*;
    use crate::event::{LogLine, StepUse};
    use crate::sandbox::KvList;

    fn invocation(verdict: Verdict) -> Invocation {
        Invocation {
            verdict,
            calls: Vec::new(),
            logs: vec![LogLine { level: "info".to_owned(), message: "hello".to_owned() }],
            kv_reads: vec![("a".to_owned(), None)],
            kv_lists: vec![KvList {
                prefix: "b".to_owned(),
                after: None,
                limit: 9,
                keys: vec!["b".to_owned()],
            }],
            kv_writes: vec![("b".to_owned(), Some(vec![0xff])), ("c".to_owned(), None)],
            kv_adds: vec![("n".to_owned(), -1)],
            steps: vec![StepUse {
                name: "charge".to_owned(),
                bytes: 4,
                recorded_after_ms: Some(7),
            }],
            again: Some(Duration::from_secs(30)),
            call_spans: Vec::new(),
            is_cold: true,
            memory_peak_bytes: 65_536,
            cpu_us: 1,
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
            "outcome": "again", "reason": null, "retry_after_ms": null, "again_after_ms": 30_000,
            "emitted": [{ "type": "order.video_ready", "subject": "order_1", "datacontenttype": "application/json",
                "delay_ms": 5, "data": { "url": "u" } }],
            "logs": [{ "level": "info", "message": "hello" }], "calls": [],
            "steps": [{ "name": "charge", "bytes": 4, "recorded_after_ms": 7 }],
            "kv": { "reads": [{ "key": "a", "found": false }],
                "lists": [{ "prefix": "b", "after": null, "found": 1 }],
                "writes": [{ "key": "b", "value_base64": "/w==" }, { "key": "c", "deleted": true }],
                "adds": [{ "key": "n", "add": -1 }] },
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
