//! What came of a run: for people, or as JSON whose members stay as they are, because scripts compare them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::cli::failure::Failure;
use crate::cli::output::{Ink, Page, bytes, print_json, printable};
use crate::event::Outcome;
use crate::sandbox::{Emitted, Invocation, Verdict};

pub(super) fn print(invocation: &Invocation, as_json: bool) -> Result<(), Failure> {
    if as_json { print_json(&to_json(invocation)) } else { page(invocation).print() }
}

/// The outcome's name, why it is not `ok`, and after which time a retry is wished.
fn outcome(verdict: &Verdict) -> (Outcome, Option<&str>, Option<u64>) {
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

fn emitted(verdict: &Verdict) -> &[Emitted] {
    match verdict {
        Verdict::Ok(emitted) => emitted,
        _ => &[],
    }
}

fn to_json(invocation: &Invocation) -> Value {
    let (outcome, reason, retry_after_ms) = outcome(&invocation.verdict);
    let reads = invocation.kv_reads.iter().map(|(key, version)| json!({ "key": key, "found": version.is_some() }));
    let writes = invocation.kv_writes.iter().map(|(key, value)| {
        let mut write = Map::from_iter([("key".to_owned(), json!(key))]);
        let (name, value) = value.as_deref().map_or(("deleted".to_owned(), json!(true)), |value| data("value", value));
        write.insert(name, value);
        Value::Object(write)
    });
    json!({
        "outcome": outcome.name(),
        "reason": reason,
        "retry_after_ms": retry_after_ms,
        "emitted": emitted(&invocation.verdict).iter().map(event_to_json).collect::<Vec<_>>(),
        "logs": invocation.logs,
        "kv": { "reads": reads.collect::<Vec<_>>(), "writes": writes.collect::<Vec<_>>() },
        "duration_us": invocation.duration_us,
        "memory_peak_bytes": invocation.memory_peak_bytes,
    })
}

fn event_to_json(event: &Emitted) -> Value {
    let mut members = Map::from_iter([
        ("type".to_owned(), json!(event.kind)),
        ("subject".to_owned(), json!(event.subject)),
        ("datacontenttype".to_owned(), json!(event.content_type)),
        ("delay_ms".to_owned(), json!(event.delay_ms)),
    ]);
    let (name, value) = match serde_json::from_slice::<Value>(&event.data) {
        Ok(value) => ("data".to_owned(), value),
        Err(_) => data("data", &event.data),
    };
    members.insert(name, value);
    Value::Object(members)
}

/// Bytes as text if they are, otherwise under another name in base64.
fn data(name: &str, bytes: &[u8]) -> (String, Value) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (name.to_owned(), json!(text)),
        Err(_) => (format!("{name}_base64"), json!(STANDARD.encode(bytes))),
    }
}

fn page(invocation: &Invocation) -> Page {
    let mut page = Page::new();
    let (outcome, reason, retry_after_ms) = outcome(&invocation.verdict);
    let reason = reason.map(|reason| format!(": {}", printable(reason))).unwrap_or_default();
    let after = retry_after_ms.map(|ms| format!(" (not before {ms} ms from now)")).unwrap_or_default();
    page.line(format!("{}{reason}{after}", page.state(outcome.name())));
    for log in &invocation.logs {
        page.line(format!("  {:<5} {}", printable(&log.level), printable(&log.message)));
    }
    for event in emitted(&invocation.verdict) {
        let subject = event.subject.as_deref().map(|subject| format!(" for {subject}")).unwrap_or_default();
        let delay = if event.delay_ms == 0 { String::new() } else { format!(" in {} ms", event.delay_ms) };
        page.line(format!(
            "{} {}",
            page.ink(Ink::Bold, "emits"),
            printable(&format!("{}{subject}{delay}", event.kind))
        ));
        page.line(format!("  {}", printable(&String::from_utf8_lossy(&event.data))));
    }
    for (key, _) in &invocation.kv_reads {
        page.line(format!("reads  {}", printable(key)));
    }
    for (key, value) in &invocation.kv_writes {
        let value = value.as_deref().map_or("nothing (deletes it)".into(), String::from_utf8_lossy);
        page.line(format!("writes {} = {}", printable(key), printable(&value)));
    }
    let (us, memory) = (invocation.duration_us, bytes(invocation.memory_peak_bytes as u64));
    page.line(page.ink(Ink::Dim, &format!("{:.3} ms, {memory} of memory", us as f64 / 1000.0)));
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::LogLine;

    fn invocation(verdict: Verdict) -> Invocation {
        Invocation {
            verdict,
            logs: vec![LogLine { level: "info".to_owned(), message: "hello".to_owned() }],
            kv_reads: vec![("a".to_owned(), None)],
            kv_writes: vec![("b".to_owned(), Some(vec![0xff])), ("c".to_owned(), None)],
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
            "logs": [{ "level": "info", "message": "hello" }],
            "kv": { "reads": [{ "key": "a", "found": false }],
                "writes": [{ "key": "b", "value_base64": "/w==" }, { "key": "c", "deleted": true }] },
            "duration_us": 1_234, "memory_peak_bytes": 65_536,
        });
        assert_eq!(report, expected);
    }

    #[test]
    fn a_failure_has_a_reason() {
        let report = to_json(&invocation(Verdict::Retry { reason: "busy".to_owned(), after_ms: Some(9) }));
        assert_eq!(
            (&report["outcome"], &report["reason"], &report["retry_after_ms"]),
            (&json!("retry"), &json!("busy"), &json!(9))
        );
        assert_eq!(to_json(&invocation(Verdict::NoCapacity))["outcome"], "error");
    }
}
