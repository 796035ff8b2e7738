//! Conditions: their meaning, what is refused, and what the worst of them cost.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::bounds::{MAX_DEPTH, MAX_KEPT_BYTES, MAX_LOOPS};
use super::*;
use crate::config::routes::Facts;
use crate::event::Attributes;

fn attributes(body: impl Into<Bytes>) -> Attributes {
    Attributes {
        source: "acme".into(),
        kind: "order.paid".to_owned(),
        subject: Some("order_1".to_owned()),
        content_type: None,
        time_ms: 1_770_000_000_120,
        body: body.into(),
    }
}

#[track_caller]
fn compile(text: &str) -> When {
    When::compile(text).unwrap_or_else(|error| panic!("{text}: {} ({})", error.what, error.help))
}

/// Whether the condition holds for an event with this body, and the number of variables it read.
#[track_caller]
fn counted(text: &str, body: impl Into<Bytes>) -> (Result<bool, String>, usize) {
    let when = compile(text);
    let attributes = attributes(body);
    let headers = [("x-a", "1"), ("x-b", "2"), ("x-a", "3")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let facts = Facts::new(&attributes, &headers, 2);
    let variables = Variables::new(&facts);
    let holds = when.holds(&variables);
    (holds, variables.reads.load(Ordering::Relaxed))
}

#[track_caller]
fn holds(text: &str, body: &'static str) -> Result<bool, String> {
    counted(text, body).0
}

#[track_caller]
fn refused(text: &str, says: &str) {
    let error = When::compile(text).expect_err(text);
    assert!(error.what.contains(says), "{text}: {}", error.what);
    assert!(!error.help.is_empty());
}

const ORDER: &str = r#"{"total":120.5,"n":3,"big":18446744073709551615,"kind":"b2b","none":null,
    "items":[{"sku":"a","n":1},{"sku":"b","n":4}],"tags":["x","y"]}"#;

#[test]
fn every_variable_is_what_the_event_has() {
    for text in [
        "type == 'order.paid'",
        "source == 'acme' && hops == 2",
        "subject != null && subject.startsWith('order_')",
        "time == '2026-02-02T02:40:00.120Z' && time > '2026-02-01'",
        "headers['x-a'] == '1, 3' && !('x-c' in headers)",
        "data.total > 100 && data.n == 3 && data.n < 3.5 && data.kind in ['b2b', 'b2c']",
        "data.big > 9000000000000000000u && data.none == null",
        "data.items.exists(i, i.sku == 'b' && i.n > 3)",
        "data.items.filter(i, i.n > 1).size() == 1",
        "'y' in data.tags && data.items[0].n + 1 == 2",
        "data.items.map(i, i.n * 2).exists_one(n, n == 8)",
        "has(data.kind) && !has(data.other)",
        "subject.matches('^order_[0-9]+$') && matches(data.kind, '(?i)B2B')",
        "type(data.items) == list && size(data.tags) == 2",
        "data.items.exists(i, i.n + i.n == 8)",
        "data.other.x == 1 || true",
    ] {
        assert_eq!(holds(text, ORDER), Ok(true), "{text}");
    }
    assert_eq!(holds("data == null", "no json"), Ok(true));
    assert_eq!(holds("data == null", "null"), Ok(true));
    assert_eq!(holds("data.a == 1", r#"{"a":2}"#), Ok(false));
}

#[test]
fn an_expression_that_cannot_be_evaluated_says_why() {
    for (text, says) in [
        ("data.other > 1", "other"),
        ("data.kind > 1", "overload"),
        ("data.kind", "string, not bool"),
        ("data.n / 0 == 1", "zero"),
        ("data.items[9].n == 1", "bounds"),
    ] {
        let why = holds(text, ORDER).expect_err(text);
        assert!(why.to_lowercase().contains(says), "{text}: {why}");
    }
    let long = serde_json::json!({ "a": "x".repeat(100_000) }).to_string();
    let why = counted("data.a + 1 == 2", long).0.expect_err("a text and a number");
    assert!(why.len() <= MAX_REASON_BYTES, "{} bytes", why.len());
    let long = serde_json::json!({ "a": "x".repeat(MAX_MATCHED_BYTES + 1) }).to_string();
    assert!(counted("data.a.matches('x')", long).0.is_err_and(|why| why.contains("longer")));
}

#[test]
fn a_body_is_read_only_by_an_expression_that_names_it_and_only_up_to_its_limit() {
    let attributes = attributes("{}");
    let facts = Facts::new(&attributes, &[], 0);
    let variables = Variables::new(&facts);
    assert_eq!(compile("hops == 0").holds(&variables), Ok(true));
    assert!(!format!("{facts:?}").contains("Object"), "the body is not parsed");
    assert_eq!(compile("data != null").holds(&variables), Ok(true));
    assert!(format!("{facts:?}").contains("Object"));
    let body = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    assert_eq!(counted("data != null", body(1 << 20)).0, Ok(true));
    assert_eq!(counted("data == null", body((1 << 20) + 1)).0, Ok(true));
}

#[test]
fn what_cannot_be_a_condition_is_refused() {
    for (text, says) in [
        ("", "no CEL expression"),
        ("data.total >", "no CEL expression"),
        ("data.total > 100 &", "column"),
        ("1 + 1", "neither true nor false"),
        ("'yes'", "neither true nor false"),
        ("daat.total > 1", "names `daat`"),
        ("data.items.exists(i, j.n > 1)", "names `j`"),
        ("lenght(data.kind) > 1", "calls `lenght`"),
        ("data.items.exists(i)", "calls `exists`"),
        ("data.kind.matches('(')", "pattern"),
        ("data.kind.matches(data.pattern)", "not written out"),
        ("'a'.matches(subject)", "not written out"),
        ("data.kind.matches('(\\\\w{200}){200}')", "pattern"),
        ("data.?kind.hasValue()", "no CEL expression"),
        ("optional.none().hasValue()", "calls `hasValue`"),
        ("Order{total: 1} == data", "makes a `Order`"),
    ] {
        refused(text, says);
    }
    refused(&format!("data.a == '{}'", "x".repeat(MAX_BYTES)), "bytes");
}

#[test]
fn an_expression_that_costs_more_than_the_size_of_an_event_is_refused() {
    for (text, says) in [
        ("data.a.exists(x, data.b.exists(y, y == 1))", "within the body"),
        ("data.a.exists(x, x.exists(y, y == 1))", "within the body"),
        ("data.a.exists(x, x in data.b)", "`in`"),
        ("data.a.exists(x, x == data.b)", "`==`"),
        ("data.a.all(x, x.a != x.b)", "`!=`"),
        ("data.a.exists(x, x.a.contains(x.b))", "`contains`"),
        ("data.a.exists(x, x.matches(x))", "not written out"),
        // A literal on one side does not make these cheap.
        ("data.a.exists(x, 'a' in data.b)", "reads `data`"),
        ("data.a.exists(x, data.b.contains('zz'))", "reads `data`"),
        ("data.a.exists(x, size(data.b) > 1)", "reads `data`"),
        ("data.a.exists(x, [data][0] == 1)", "reads `data`"),
        ("data.a.exists(x, data < 1)", "reads `data`"),
        ("data.a.exists(x, headers['a'] == '1')", "reads `headers`"),
        ("data.a.exists(x, .data == 1)", "reads `data`"),
        // Each of these doubles what it is given.
        ("data.a.map(x, [x, x]).map(x, [x, x]).size() > 1", "makes more"),
        ("data.a.map(x, x + x).map(x, x + x).size() > 1", "makes more"),
        ("data.a.map(x, {'a': x, 'b': x}).size() > 1", "makes more"),
        ("data.a.map(x, x.n > 1, [x]).size() > 1", "makes more"),
    ] {
        refused(text, says);
    }
    let kept = "x".repeat(MAX_KEPT_BYTES + 1);
    refused(&format!("data.a.map(x, '{kept}').size() > 1"), "makes more");
    refused(&["data.a.exists(x, x == 1)"; MAX_LOOPS + 1].join(" || "), "loops");
}

/// A body of so many elements.
fn elements(count: usize) -> String {
    format!("[0{}]", ",0".repeat(count - 1))
}

#[test]
fn the_worst_expression_reads_each_element_of_a_large_body_a_bounded_number_of_times() {
    let most = (1 << 20) / 2 - 1;
    let body = elements(most);
    assert!(body.len() <= 1 << 20 && body.len() > (1 << 20) - 8);
    // Every step of a loop reads `hops`, so the reads count the steps.
    let steps = |text: &str, body: &str| {
        let (holds, reads) = counted(text, body.to_owned());
        assert_eq!(holds, Ok(true), "{text}");
        reads
    };
    let one = "data.all(x, hops == 2)";
    let chain = format!("data{}.size() > 1", ".filter(x, hops == 2)".repeat(MAX_LOOPS));
    for (text, loops) in [(one, 1), (chain.as_str(), MAX_LOOPS)] {
        let whole = steps(text, &body);
        assert!(whole >= most * loops, "every element is looked at: {whole}");
        assert!(whole <= most * loops + 16, "and once in each loop: {whole}");
        let half = steps(text, &elements(most / 2));
        assert!(whole <= 2 * half + 16, "twice the body, twice the steps: {half} {whole}");
    }
}

#[test]
fn a_deep_expression_does_not_overflow_the_stack() {
    for text in [
        format!("{}true{}", "(".repeat(500), ")".repeat(500)),
        format!("{}true", "!".repeat(1_000)),
        format!("data{} == 1", "[0]".repeat(330)),
        format!("data{} == 1", ".a".repeat(500)),
        format!("1{} == 1", "+1".repeat(500)),
        format!("{}1{} == 1", "[".repeat(500), "]".repeat(500)),
        format!("{}true", "true ? false : ".repeat(65)),
        format!("{}true", "true && ".repeat(120)),
        format!("{}-1 == 1", "-".repeat(1_000)),
    ] {
        // It may be refused or not: what is admitted is evaluated on a small stack.
        let Ok(when) = When::compile(&text) else { continue };
        let evaluated = crate::tasks::thread_with_stack("small", 512 << 10, move || {
            let attributes = attributes("[[1]]");
            let facts = Facts::new(&attributes, &[], 0);
            let _ = when.holds(&Variables::new(&facts));
            drop(when);
        });
        evaluated.unwrap().join().expect("it ends");
    }
    let deepest = format!("data{} == 1", "[0]".repeat(MAX_DEPTH - 1));
    assert!(When::compile(&deepest).is_ok(), "that deep is allowed");
    refused(&format!("data{} == 1", "[0]".repeat(MAX_DEPTH + 1)), "levels deep");
}
