//! `test`: a plugin against a folder of cases.

use std::fs;

use serde_json::{Value, json};

use super::{REJECT, site};
use crate::support::{Ran, Site};

const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"order_1",
    "time":"2026-02-02T02:40:00Z","data":{"url":"u","n":1}}"#;

/// The result of `emit.wat` for the event.
const ECHO: &str = r#"{"outcome": "ok", "logs": [], "emitted": [{"type": "guest.echoed", "subject": "order_1",
    "datacontenttype": "application/json", "data": {"n": 1, "url": "u"}, "delay_ms": 20}]}"#;

const EMIT: &str = include_str!("../guests/emit.wat");

fn put(site: &Site, file: &str, content: &str) {
    fs::create_dir_all(site.path(file).parent().unwrap()).unwrap();
    site.put(file, content);
}

fn case(site: &Site, name: &str, expected: &str) {
    put(site, &format!("echo/cases/{name}/event.json"), EVENT);
    put(site, &format!("echo/cases/{name}/expected.json"), expected);
}

/// A folder `echo` with a plugin that echoes and a case that says so.
fn echo() -> Site {
    let site = site();
    case(&site, "good", ECHO);
    put(&site, "echo/echo.wat", EMIT);
    site
}

#[track_caller]
fn refused(ran: &Ran, code: i32, hints: &[&str]) {
    assert!(ran.code == code && ran.out.is_empty(), "{ran:?}");
    for hint in hints {
        assert!(ran.err.contains(hint), "{hint}: {ran:?}");
    }
}

#[test]
fn cases_that_come_out_as_expected_are_exit_code_0() {
    let site = echo();
    case(&site, "brief", r#"{"outcome": "ok"}"#);
    for arguments in [&["test", "echo"][..], &["test", "echo/cases"], &["test", "echo/"]] {
        let ran = site.run(arguments);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
        assert!(
            ran.out.starts_with("ok      brief\nok      good\n2 passed, 0 failed ("),
            "{ran:?}"
        );
        assert!(!ran.out.contains('\u{1b}'), "no colour where there is no terminal");
    }
    let within = site.command(&["test", "."]).current_dir(site.path("echo")).output().unwrap();
    assert_eq!(within.status.code(), Some(0), "{within:?}");
}

#[test]
fn a_case_that_comes_out_otherwise_is_exit_code_1_and_a_diff_that_names_the_member() {
    let site = echo();
    case(
        &site,
        "other",
        r#"{"outcome": "ok", "emitted": [{"type": "guest.echoed", "data": {"n": 2, "url": "u"}}]}"#,
    );
    let ran = site.run(&["test", "echo"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, ""), "{ran:?}");
    let shown = "\
ok      good
FAILED  other: emitted[0].data.n
    - expected  + actual
        \"outcome\": \"ok\",
        \"emitted\": [
          {
            \"type\": \"guest.echoed\",
            \"data\": {
    -         \"n\": 2,
    +         \"n\": 1,
              \"url\": \"u\"
            }
          }
        ]
      }
1 passed, 1 failed (echo/echo.wat)
";
    assert_eq!(ran.out, shown);
}

#[test]
fn an_event_too_few_or_too_many_is_a_failure() {
    let site = echo();
    case(&site, "few", r#"{"outcome": "ok", "emitted": [{}, {"type": "b"}]}"#);
    case(&site, "many", r#"{"outcome": "ok", "emitted": []}"#);
    let ran = site.run(&["test", "echo"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    for said in ["FAILED  few: emitted[1]\n", "FAILED  many: emitted[0]\n", "1 passed, 2 failed"] {
        assert!(ran.out.contains(said), "{said}: {ran:?}");
    }
}

#[test]
fn an_outcome_that_is_another_is_shown_with_its_reason() {
    let site = echo();
    put(&site, "refuses.wat", REJECT);
    let ran = site.run(&["test", "echo", "--plugin", "refuses.wat"]);
    assert!(ran.code == 1 && ran.out.contains("FAILED  good: outcome, emitted[0]\n"), "{ran:?}");
    assert!(
        ran.out.contains("\n    reject: ") && ran.out.contains("0 passed, 1 failed (refuses.wat)"),
        "{ran:?}"
    );
}

#[test]
fn the_configuration_of_a_case_is_read_by_the_plugin() {
    let site = site();
    put(&site, "greets/greets.wat", include_str!("../guests/config.wat"));
    for (name, config, greeting) in [("text", r#""hi""#, "hi"), ("list", "[1, true]", "[1,true]")] {
        put(&site, &format!("greets/cases/{name}/event.json"), EVENT);
        put(
            &site,
            &format!("greets/cases/{name}/config.json"),
            &format!("{{\"greeting\": {config}}}"),
        );
        let expected = json!({ "outcome": "ok", "logs": [greeting] });
        put(&site, &format!("greets/cases/{name}/expected.json"), &expected.to_string());
    }
    put(&site, "greets/cases/none/event.json", EVENT);
    put(&site, "greets/cases/none/expected.json", r#"{"outcome": "reject"}"#);
    let ran = site.run(&["test", "greets"]);
    assert!(ran.code == 0 && ran.out.contains("3 passed, 0 failed"), "{ran:?}");
}

#[test]
fn limits_are_those_of_the_command_line() {
    let site = site();
    put(&site, "spins/spins.wat", include_str!("../hostile/loop.wat"));
    put(&site, "spins/cases/one/event.json", EVENT);
    put(&site, "spins/cases/one/expected.json", r#"{"outcome": "timeout"}"#);
    let ran = site.run(&["test", "spins", "--timeout-ms", "100"]);
    assert!(ran.code == 0 && ran.out.contains("1 passed"), "{ran:?}");
}

#[test]
fn a_report_in_json_says_the_same() {
    let site = echo();
    case(&site, "other", r#"{"outcome": "retry"}"#);
    let ran = site.run(&["test", "echo", "--json"]);
    let report = ran.json();
    assert_eq!(
        (ran.code, &report["passed"], &report["failed"]),
        (1, &json!(1), &json!(1)),
        "{ran:?}"
    );
    let [good, other] = [0, 1].map(|index| &report["cases"][index]);
    assert_eq!(
        (&good["name"], &good["result"], &good["differs"]),
        (&json!("good"), &json!("ok"), &json!([]))
    );
    assert_eq!((&other["result"], &other["differs"]), (&json!("failed"), &json!(["outcome"])));
    assert_eq!(
        (&other["expected"]["outcome"], &other["actual"]["outcome"]),
        (&json!("retry"), &json!("ok"))
    );
}

#[test]
fn only_the_cases_asked_for_are_run() {
    let site = echo();
    case(&site, "other", r#"{"outcome": "retry"}"#);
    let ran = site.run(&["test", "echo", "--case", "good"]);
    assert!(ran.code == 0 && ran.out.contains("1 passed, 0 failed"), "{ran:?}");
    refused(
        &site.run(&["test", "echo", "--case", "goof"]),
        2,
        &["did you mean `good`?", "good, other"],
    );
}

#[test]
fn everything_that_is_wrong_with_cases_is_said_at_once_and_nothing_is_run() {
    let site = echo();
    case(&site, "member", r#"{"outcome": "ok", "emited": []}"#);
    case(&site, "event", r#"{"outcome": "ok", "emitted": [{"subjct": "a"}]}"#);
    case(&site, "json", "{\"outcome\": ");
    case(&site, "config", r#"{"outcome": "ok"}"#);
    put(&site, "echo/cases/config/config.json", "[]");
    put(&site, "echo/cases/no-event/expected.json", r#"{"outcome": "ok"}"#);
    put(&site, "echo/cases/no-expected/event.json", EVENT);
    put(&site, "echo/cases/no-document/event.json", "{\"n\": 1}");
    refused(
        &site.run(&["test", "echo"]),
        2,
        &[
            "member/expected.json: `emited` is not known; did you mean `emitted`? (there may be: outcome, reason, ",
            "event/expected.json: `emitted[0].subjct` is not known; did you mean `subject`? (there may be: type, subject,",
            "json/expected.json is not JSON: ",
            "config/config.json is not an object",
            "no-event/event.json is missing",
            "no-expected/expected.json is missing",
            "no-document/event.json: it is not a CloudEvents document",
        ],
    );
}

#[test]
fn a_folder_without_cases_or_plugin_is_exit_code_2() {
    let site = echo();
    refused(
        &site.run(&["test", "plugins"]),
        2,
        &["plugins holds no cases: put one in plugins/cases/NAME/event.json"],
    );
    refused(&site.run(&["test", "nowhere"]), 2, &["failed to read nowhere"]);
    fs::remove_file(site.path("echo/echo.wat")).unwrap();
    refused(
        &site.run(&["test", "echo"]),
        2,
        &["no plugin to test: looked for echo/echo.wasm,", "--plugin"],
    );
    refused(&site.run(&["test", "echo", "--plugin", "missing.wasm"]), 2, &["missing.wasm"]);
}

#[test]
fn a_plugin_that_does_not_load_is_exit_code_1() {
    let site = echo();
    put(&site, "echo/echo.wat", "(component");
    refused(&site.run(&["test", "echo"]), 1, &["echo/echo.wat is not taken"]);
}

#[test]
fn update_writes_what_happened_and_then_all_cases_pass() {
    let site = echo();
    let expected = |name: &str| -> Value {
        serde_json::from_slice(
            &fs::read(site.path(&format!("echo/cases/{name}/expected.json"))).unwrap(),
        )
        .unwrap()
    };
    case(
        &site,
        "changed",
        r#"{"outcome": "retry", "reason": "r", "emitted": [{"type": "other"}]}"#,
    );
    put(&site, "echo/cases/fresh/event.json", EVENT);
    let ran = site.run(&["test", "echo", "--update"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for said in [
        "updated changed: outcome, reason, emitted[0].type\n",
        "new     fresh\n",
        "ok      good\n",
        "2 written",
    ] {
        assert!(ran.out.contains(said), "{said}: {ran:?}");
    }
    // A changed case goes on naming what it named; a new one names everything.
    let changed =
        json!({ "outcome": "ok", "reason": null, "emitted": [{ "type": "guest.echoed" }] });
    assert_eq!(expected("changed"), changed);
    assert_eq!(expected("fresh"), serde_json::from_str::<Value>(ECHO).unwrap());
    let ran = site.run(&["test", "echo"]);
    assert!(ran.code == 0 && ran.out.contains("3 passed, 0 failed"), "{ran:?}");
}

#[test]
fn a_case_says_what_a_plugin_is_given_and_what_it_keeps() {
    let site = site();
    put(&site, "polls/polls.wat", include_str!("../guests/poll.wat"));
    put(&site, "polls/cases/all/event.json", EVENT);
    let all = r#"{"outcome": "ok", "calls": 5, "steps": {"charge": "paid"}, "emitted": [{"type": "guest.echoed"}]}"#;
    put(&site, "polls/cases/all/expected.json", all);
    put(&site, "polls/cases/first/event.json", EVENT);
    let first =
        r#"{"outcome": "again", "again_after_ms": 20, "steps": {"charge": "paid"}, "emitted": []}"#;
    put(&site, "polls/cases/first/expected.json", first);
    let ran = site.run(&["test", "polls"]);
    assert!(ran.code == 1 && ran.out.contains("FAILED  all: calls"), "five are too many: {ran:?}");
    put(&site, "polls/cases/all/expected.json", &all.replace('5', "2"));
    let ran = site.run(&["test", "polls"]);
    assert_eq!(ran.code, 0, "{ran:?}");

    put(&site, "counts/counts.wat", include_str!("../guests/kv.wat"));
    put(&site, "counts/cases/one/event.json", EVENT);
    put(&site, "counts/cases/one/kv.json", r#"{"seen": "xx", "old": "1", "other": [1]}"#);
    let kept = r#"{"outcome": "ok", "kv": {"seen": "xxx", "old": null, "other": [1]}}"#;
    put(&site, "counts/cases/one/expected.json", kept);
    assert_eq!(site.run(&["test", "counts"]).code, 0);
    put(&site, "counts/cases/one/kv.json", "[]");
    refused(&site.run(&["test", "counts"]), 2, &["kv.json: it is not an object"]);
    put(&site, "counts/cases/one/kv.json", "{}");
    let ran = site.run(&["test", "counts"]);
    assert!(ran.code == 1 && ran.out.contains("FAILED  one: kv"), "{ran:?}");
}
