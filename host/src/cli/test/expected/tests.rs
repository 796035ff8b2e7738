//! The members of `expected.json`, and what is compared.

use super::*;
use crate::event::LogLine;
use crate::sandbox::Verdict;

fn read(value: Value) -> Expected {
    Expected::read(value).unwrap()
}

fn invocation(verdict: Verdict) -> Invocation {
    Invocation {
        verdict,
        calls: Vec::new(),
        logs: vec![LogLine { level: "info".to_owned(), message: "hello".to_owned() }],
        kv_reads: Vec::new(),
        kv_lists: Vec::new(),
        kv_writes: Vec::new(),
        kv_adds: Vec::new(),
        steps: Vec::new(),
        again: None,
        memory_peak_bytes: 1,
        duration_us: 1,
    }
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
        (json!({}), "no `outcome`: one of ok, retry, reject, trap, timeout, memory, error"),
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
