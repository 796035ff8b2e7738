//! The members of `expected.json`, and what is compared.

use super::*;
use crate::event::LogLine;
use crate::sandbox::{Invocation, Verdict};

fn read(value: Value) -> Expected {
    Expected::read(value).unwrap()
}

fn invocation(verdict: Verdict) -> Calls {
    let logs = vec![LogLine { level: "info".to_owned(), message: "hello".to_owned() }];
    let emitted = answer::emitted(&verdict).to_vec();
    let last = Invocation {
        verdict,
        calls: Vec::new(),
        logs: logs.clone(),
        kv_reads: Vec::new(),
        kv_lists: Vec::new(),
        kv_writes: Vec::new(),
        kv_adds: Vec::new(),
        steps: Vec::new(),
        again: None,
        memory_peak_bytes: 1,
        cpu_us: 1,
        duration_us: 1,
    };
    let (values, steps) = (Values::new(), Values::new());
    Calls { last, count: 1, emitted, logs, values, steps }
}

fn event(data: &[u8]) -> Emitted {
    Emitted {
        kind: "order.paid".to_owned(),
        subject: None,
        content_type: Some("application/json".to_owned()),
        data: data.to_vec(),
        delay_ms: 0,
    }
}

#[test]
fn what_cannot_be_expected_is_refused_by_name() {
    for (value, reason) in [
        (json!([]), "not an object"),
        (json!({}), "no `outcome`: one of ok, retry, reject, trap, timeout, memory, error, again"),
        (json!({ "outcome": "crash" }), "`outcome` has to be one of"),
        (json!({ "outcome": "retyr" }), "did you mean `retry`?"),
        (
            json!({ "outcom": "ok" }),
            "`outcom` is not known; did you mean `outcome`? (there may be: outcome, reason,",
        ),
        (json!({ "outcome": "ok", "reason": 1 }), "`reason` has to be a string or null"),
        (
            json!({ "outcome": "ok", "retry_after_ms": -1 }),
            "`retry_after_ms` has to be a whole number",
        ),
        (json!({ "outcome": "ok", "logs": [{}] }), "`logs` has to be a list of strings"),
        (json!({ "outcome": "ok", "emitted": 1 }), "`emitted` has to be a list of objects"),
        (
            json!({ "outcome": "ok", "emitted": [{}, { "typ": "a" }] }),
            "`emitted[1].typ` is not known; did you mean `type`?",
        ),
        (
            json!({ "outcome": "ok", "emitted": [{ "data_base64": "!" }] }),
            "`emitted[0].data_base64` has to be",
        ),
        (
            json!({ "outcome": "ok", "emitted": [{ "delay_ms": "1" }] }),
            "`emitted[0].delay_ms` has to be",
        ),
    ] {
        let refused = Expected::read(value).unwrap_err();
        assert!(refused.contains(reason), "{reason}: {refused}");
    }
}

#[test]
fn only_named_members_are_compared() {
    let came = invocation(Verdict::Ok(vec![event(b"{\"n\": 1}")]));
    for same in [
        json!({ "outcome": "ok" }),
        json!({ "outcome": "ok", "reason": null, "retry_after_ms": null, "logs": ["hello"] }),
        json!({ "outcome": "ok", "emitted": [{}] }),
        json!({ "outcome": "ok", "emitted": [{ "type": "order.paid", "subject": null, "data": { "n": 1 }, "delay_ms": 0 }] }),
        // The bytes themselves, also if they are JSON.
        json!({ "outcome": "ok", "emitted": [{ "data_base64": "eyJuIjogMX0=" }] }),
    ] {
        let expected = read(same);
        assert_eq!(expected.same_of(&came), expected);
    }
    for (other, at) in [
        (json!({ "outcome": "reject" }), "outcome"),
        (json!({ "outcome": "ok", "reason": "a" }), "reason"),
        (json!({ "outcome": "ok", "logs": [] }), "logs[0]"),
        (json!({ "outcome": "ok", "emitted": [] }), "emitted[0]"),
        (json!({ "outcome": "ok", "emitted": [{}, {}] }), "emitted[1]"),
        (json!({ "outcome": "ok", "emitted": [{ "data": { "n": 2 } }] }), "emitted[0].data.n"),
        (
            json!({ "outcome": "ok", "emitted": [{ "data": { "n": 1, "m": 1 } }] }),
            "emitted[0].data.m",
        ),
        (
            json!({ "outcome": "ok", "emitted": [{ "data_base64": "AA==" }] }),
            "emitted[0].data_base64",
        ),
    ] {
        let expected = read(other);
        assert_eq!(expected.differences(&expected.same_of(&came)), [at]);
    }
}

#[test]
fn bytes_are_shown_where_json_was_expected() {
    let expected = read(json!({ "outcome": "ok", "emitted": [{ "data": 1 }] }));
    let came = expected.same_of(&invocation(Verdict::Ok(vec![event(&[0xff])])));
    assert_eq!(expected.differences(&came), ["emitted[0].data", "emitted[0].data_base64"]);
}

#[test]
fn a_new_expectation_says_everything_in_the_usual_order() {
    let delayed = Emitted { delay_ms: 5, subject: Some("order_1".to_owned()), ..event(b"null") };
    let new = Expected::all_of(&invocation(Verdict::Ok(vec![event(&[0xff]), delayed])));
    let text = r#"{
  "outcome": "ok",
  "emitted": [
    {
      "type": "order.paid",
      "datacontenttype": "application/json",
      "data_base64": "/w=="
    },
    {
      "type": "order.paid",
      "subject": "order_1",
      "datacontenttype": "application/json",
      "data": null,
      "delay_ms": 5
    }
  ],
  "logs": [
    "hello"
  ]
}"#;
    assert_eq!(new.text(), text);
    let retry = Expected::all_of(&invocation(Verdict::Retry {
        reason: "busy".to_owned(),
        after_ms: Some(9),
    }));
    let expected = json!({ "outcome": "retry", "reason": "busy", "retry_after_ms": 9, "emitted": [], "logs": ["hello"] });
    assert_eq!(retry, read(expected));
}

fn kept() -> Calls {
    let values = [("n", 3_i64.to_le_bytes().to_vec()), ("state", b"{\"a\": 1}".to_vec())];
    let steps = [("charge", b"paid".to_vec())];
    let owned = |(name, value): (&str, Vec<u8>)| (name.to_owned(), value);
    Calls {
        count: 2,
        values: values.into_iter().map(owned).collect(),
        steps: steps.into_iter().map(owned).collect(),
        ..invocation(Verdict::Ok(Vec::new()))
    }
}

#[test]
fn what_was_kept_is_compared_by_its_bytes_or_as_json() {
    let came = kept();
    for same in [
        json!({ "outcome": "ok", "calls": 2, "again_after_ms": null }),
        json!({ "outcome": "ok", "kv": { "n": { "number": 3 }, "gone": null } }),
        json!({ "outcome": "ok", "kv": { "state": { "a": 1 } }, "steps": { "charge": "paid" } }),
        json!({ "outcome": "ok", "kv": { "state": "{\"a\": 1}" } }),
    ] {
        let expected = read(same);
        assert_eq!(expected.same_of(&came), expected);
    }
    for (other, at) in [
        (json!({ "outcome": "ok", "calls": 3 }), "calls"),
        (json!({ "outcome": "ok", "kv": { "n": { "number": 4 } } }), "kv.n.number"),
        (json!({ "outcome": "ok", "kv": { "n": null } }), "kv.n"),
        (json!({ "outcome": "ok", "kv": { "other": "1" } }), "kv.other"),
        (json!({ "outcome": "ok", "kv": { "state": { "a": 2 } } }), "kv.state"),
        (json!({ "outcome": "ok", "steps": {} }), "steps.charge"),
        (json!({ "outcome": "ok", "steps": { "charge": "due" } }), "steps.charge"),
    ] {
        let expected = read(other);
        assert_eq!(expected.differences(&expected.same_of(&came)), [at]);
    }
    let expected = json!({
        "outcome": "ok", "emitted": [], "logs": ["hello"], "calls": 2, "steps": { "charge": "paid" },
        "kv": { "n": { "number": 3 }, "state": "{\"a\": 1}" },
    });
    assert_eq!(Expected::all_of(&came), read(expected));
    for (value, why) in [
        (json!({ "outcome": "ok", "calls": 0 }), "`calls` has to be a number from 1 to 100"),
        (json!({ "outcome": "ok", "kv": [] }), "`kv` has to be an object"),
        (json!({ "outcome": "ok", "steps": { "a": { "number": "1" } } }), "`steps.a`: `number`"),
    ] {
        let refused = Expected::read(value).unwrap_err();
        assert!(refused.contains(why), "{why}: {refused}");
    }
}
