//! Counts of a host: what is ready and since when, what comes next, and the command that watches.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Host, Site, guest};

#[test]
fn counts_say_since_when_something_is_ready_when_the_next_one_is_due_and_what_is_paused() {
    let later = "\"step.two\" = { plugin = \"worker\", delay = \"1h\" }\n";
    let site = Site::of_worker(&guest("ok"), later);
    let host = Host::start(&site);
    let stats = host.api("/api/v1/stats");
    assert_eq!((&stats["oldest_ready_at"], &stats["next_due_at"]), (&Value::Null, &Value::Null));
    host.send("step.two", 1);
    let stats = host.api("/api/v1/stats");
    assert_eq!(stats["deliveries"]["waiting"], 1);
    assert_eq!(stats["oldest_ready_at"], Value::Null);
    assert!(stats["next_due_at"].as_str() > stats["at"].as_str(), "{stats}");
    let pause = json!({ "reason": "a test" });
    assert_eq!(host.api_status("POST", "/api/v1/plugins/worker/pause", Some(pause)).0, 200);
    host.send("step.one", 2);
    let stats = host.api("/api/v1/stats");
    let oldest = stats["oldest_ready_at"].as_str().unwrap();
    assert!(oldest <= stats["at"].as_str().unwrap(), "{stats}");
    let worker = &stats["plugins"]["worker"];
    assert_eq!((&worker["paused"], &worker["running"]), (&json!(true), &json!(0)));
    assert_eq!((&worker["discarded"], &worker["oldest_ready_at"]), (&json!(0), &json!(oldest)));
    let said = site.ask(&host, &["stats"]).said();
    assert!(said.starts_with("accepted ") && said.contains("  ready 1 (oldest "), "{said}");
    let (_, next) = said.split_once("waiting 1 (next in ").unwrap();
    assert!(next.starts_with("1.00 h)") || next.starts_with("59."), "an hour: {said}");
    let row = said.lines().find(|line| line.starts_with("worker")).unwrap();
    assert!(row.ends_with("paused"), "{said}");
    let told = site.ask(&host, &["stats", "--json"]).json();
    assert_eq!(told["plugins"]["worker"]["ready"], 1);
}

#[test]
fn a_host_is_watched_line_by_line_also_beyond_a_restart() {
    let site = Site::of_worker(&guest("ok"), "");
    let host = Host::start(&site);
    let mut command = site.command(&["stats", "--watch", "--admin", &host.admin_url]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    let first = next();
    assert!(first.starts_with("accepted 0/s") && first.ends_with("dead 0"), "{first}");
    assert_eq!(next(), first, "a line of its own where nothing is redrawn");
    host.stop();
    while next() != "no answer, trying again" {}
    child.kill().unwrap();
    child.wait().unwrap();
    let never = site.run(&["stats", "--watch", "--admin", "127.9.9.9:8"]);
    assert_eq!(never.code, 1, "{never:?}");
}
