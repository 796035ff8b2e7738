//! `run`: one plugin on one event.

use std::fs;

use serde_json::{Value, json};

use super::site;

const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"s","type":"t","time":"2026-02-02T02:40:00Z","data":{"n":1}}"#;

#[test]
fn a_plugin_that_succeeds_is_exit_code_0() {
    let site = site();
    site.put("event.json", EVENT);
    let ran = site.run(&["run", "plugins/fine.wat", "--event", "event.json"]);
    assert!(ran.code == 0 && ran.out.starts_with("ok\n"), "{ran:?}");
    let says = |unit: &str| ran.out.contains(&format!(" {unit}, "));
    assert!(["µs", "ms", "s", "min"].into_iter().any(says), "{ran:?}");
}

#[test]
fn the_report_in_json_has_the_same_members_always() {
    let site = site();
    let ran = site.run_with(&["run", "plugins/fine.wat", "--event", "-", "--json"], EVENT);
    let report = ran.json();
    assert_eq!(ran.code, 0, "{ran:?}");
    let members: Vec<&str> = report.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "again_after_ms",
        "calls",
        "duration_us",
        "emitted",
        "kv",
        "logs",
        "memory_peak_bytes",
        "outcome",
        "reason",
        "retry_after_ms",
        "steps",
    ];
    assert_eq!(members, expected);
    assert_eq!(
        (&report["outcome"], &report["kv"]),
        (&json!("ok"), &json!({ "reads": [], "lists": [], "writes": [], "adds": [] }))
    );
    assert!(report["memory_peak_bytes"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn a_plugin_that_does_not_succeed_is_exit_code_1_with_its_outcome() {
    let site = site();
    let cases = [
        ("guests/reject", "reject"),
        ("guests/retry", "retry"),
        ("hostile/trap", "trap"),
        ("hostile/memory", "memory"),
        ("hostile/loop", "timeout"),
    ];
    for (guest, outcome) in cases {
        let file = format!("{}/tests/{guest}.wat", env!("CARGO_MANIFEST_DIR"));
        let arguments = [
            "run",
            &file,
            "--event",
            "-",
            "--type",
            "t",
            "--json",
            "--timeout-ms",
            "200",
            "--memory-mib",
            "16",
        ];
        let ran = site.run_with(&arguments, "{}");
        assert_eq!((ran.code, &ran.json()["outcome"]), (1, &json!(outcome)), "{guest}: {ran:?}");
        assert!(ran.json()["reason"].is_string(), "{guest}: {ran:?}");
    }
}

#[test]
fn what_a_plugin_emits_is_shown() {
    let site = site();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guests/emit.wat");
    let ran = site.run_with(&["run", file, "--event", "-", "--json"], EVENT);
    assert!(ran.code == 0 && ran.json()["emitted"][0]["type"].is_string(), "{ran:?}");
}

#[test]
fn a_body_without_a_type_and_a_file_that_is_no_plugin_are_refused() {
    let site = site();
    let ran = site.run_with(&["run", "plugins/fine.wat", "--event", "-"], "{}");
    assert!(ran.code == 2 && ran.err.contains("--type"), "{ran:?}");
    let ran = site.run_with(&["run", "config.toml", "--event", "-", "--type", "t"], "{}");
    assert!(ran.code == 1 && ran.err.contains("not WebAssembly"), "{ran:?}");
    let ran = site.run_with(&["run", "missing.wasm", "--event", "-", "--type", "t"], "{}");
    assert!(ran.code == 2 && ran.err.contains("missing.wasm"), "{ran:?}");
}

#[test]
fn a_mistake_on_standard_input_is_named_so() {
    let site = site();
    let ran =
        site.run_with(&["run", "plugins/fine.wat", "--event", "-"], "{\"specversion\":\"1.0\",}");
    assert!(
        ran.code == 2 && ran.err.contains("standard input: it is not JSON: trailing comma"),
        "{ran:?}"
    );
    assert!(!ran.err.contains("--type"), "{ran:?}");
}

#[test]
fn a_plugin_runs_with_what_the_configuration_says_of_it() {
    let site = site();
    let config = fs::read_to_string(site.path("config.toml")).unwrap();
    let section =
        "[plugins.greets]\nconfig = { greeting = \"good evening\" }\nlimits = { cpu = \"50ms\" }\n";
    fs::write(site.path("config.toml"), format!("{config}\n{section}")).unwrap();
    let guests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guests");
    fs::copy(format!("{guests}/config.wat"), site.path("plugins/greets.wat")).unwrap();
    let run = |file: &str, name: &str| {
        site.run_with(&["run", file, "--event", "-", "--type", "t", "--json", "--as", name], "{}")
    };
    let ran = run("plugins/greets.wat", "greets");
    assert_eq!(ran.json()["logs"][0]["message"], "good evening", "{ran:?}");
    let looped = run(&format!("{guests}/../hostile/loop.wat"), "greets");
    assert!(
        looped.json()["reason"].as_str().unwrap().contains("computed for more than 50 ms"),
        "{looped:?}"
    );
    fs::write(site.path("config.toml"), format!("{config}\n[store]\nretention = \"x\"\n{section}"))
        .unwrap();
    let ran = run("plugins/greets.wat", "greets");
    assert_eq!(ran.json()["logs"][0]["message"], "good evening", "a mistake elsewhere: {ran:?}");
    assert!(ran.err.contains("config.toml has a problem"), "{ran:?}");
    fs::write(site.path("config.toml"), format!("{config}\n{section}timeout = \"x\"\n")).unwrap();
    let wrong = run("plugins/greets.wat", "greets");
    assert!(wrong.code == 2 && wrong.err.contains("`plugins.greets.timeout`"), "{wrong:?}");
    let unknown = run("plugins/greets.wat", "greetings");
    assert!(
        unknown.code == 2 && unknown.err.contains("no section [plugins.greetings]"),
        "{unknown:?}"
    );
}

#[test]
fn a_run_calls_as_often_as_it_is_told_and_hands_on_what_was_kept() {
    let site = site();
    let file = format!("{}/tests/guests/poll.wat", env!("CARGO_MANIFEST_DIR"));
    let run = ["run", &file, "--event", "-", "--calls", "9", "--json"];
    let ran = site.run_with(&run, EVENT);
    assert_eq!(ran.code, 0, "{ran:?}");
    let calls: Vec<Value> =
        ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> =
        calls.iter().map(|call| (&call["outcome"], &call["again_after_ms"])).collect();
    assert_eq!(told, [(&json!("again"), &json!(20)), (&json!("ok"), &Value::Null)]);
    assert_eq!(
        calls[1]["steps"],
        json!([{ "name": "charge", "bytes": 4, "recorded_after_ms": null }])
    );
    let once = site.run_with(&["run", &file, "--event", "-"], EVENT);
    assert!(once.out.contains("again (asks to be called again in 20 ms)"), "{once:?}");
    assert!(once.out.contains("step charge recorded after"), "{once:?}");
    let file = format!("{}/tests/guests/kv.wat", env!("CARGO_MANIFEST_DIR"));
    site.put("state.json", r#"{"seen": "xx", "old": {"number": 1}}"#);
    let ran = site.run_with(&["run", &file, "--event", "-", "--kv", "state.json"], EVENT);
    assert!(ran.out.contains("writes seen = xxx"), "{ran:?}");
    site.put("state.json", r#"{"seen": {"number": "x"}}"#);
    let ran = site.run_with(&["run", &file, "--event", "-", "--kv", "state.json"], EVENT);
    assert!(ran.code == 2 && ran.err.contains("state.json: `seen`: `number` has to be"), "{ran:?}");
}
