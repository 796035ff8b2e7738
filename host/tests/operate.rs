//! An operator clears up on a running host: what no plugin takes any more, what runs, what is dead.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{self, Host, SOURCE, Site, wait_for};
use crate::hostile;

fn body(kind: &str, key: &str) -> String {
    format!(r#"{{"event_type":"{kind}","event_data":{{"callback_id":"{key}"}}}}"#)
}

/// A guest that asks to be called again after so many milliseconds, asking for an hour instead.
fn later(guest: &str, ms: u32) -> String {
    let asked = format!("(i64.store (i32.const 48) (i64.const {ms}))");
    assert!(guest.contains(&asked), "{guest}");
    guest.replace(&asked, "(i64.store (i32.const 48) (i64.const 3600000))")
}

/// Runs `hookbox deliveries …` against the host: its answer.
fn deliveries(site: &Site, host: &Host, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hookbox"));
    command.arg("deliveries").args(arguments).arg("--admin").arg(format!("http://{}", host.admin));
    let ran = command.current_dir(site.path(".")).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    String::from_utf8(ran.stdout).unwrap()
}

fn count(host: &Host, state: &str) -> u64 {
    host.api("/api/v1/stats")["deliveries"][state].as_u64().unwrap()
}

#[test]
fn a_backlog_of_a_plugin_whose_file_was_removed_can_be_cancelled_and_the_host_is_ready_again() {
    const BACKLOG: u64 = 40;
    let guest = later(include_str!("guests/retry.wat"), 1_500);
    let config = format!("{SOURCE}[routes]\n\"step.one\" = \"worker\"\n");
    let site = Site::new(&config, &[("worker.wat", guest.as_bytes())]);
    let host = harness::start(&site);
    for number in 0..BACKLOG {
        host.provide(&body("step.one", &format!("key_{number}")));
    }
    wait_for("a backlog", || (count(&host, "waiting") == BACKLOG).then_some(()));
    // For good: neither a route nor a file is left.
    site.put_config(SOURCE);
    wait_for("the route to go", || {
        let plugin = host.api("/api/v1/plugins/worker");
        plugin["routes"].as_array().is_none_or(Vec::is_empty).then_some(())
    });
    std::fs::remove_file(site.path("plugins").join("worker.wat")).unwrap();
    let health = wait_for("the host to miss the plugin", || {
        let health = host.api("/readyz");
        (health["status"] == "degraded").then_some(health)
    });
    let detail = health["problems"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("40 wait: `hookbox deliveries cancel --plugin worker`"), "{health}");
    let would = deliveries(&site, &host, &["cancel", "--plugin", "worker", "--dry-run", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&would).unwrap()["matched"], BACKLOG);
    assert_eq!(deliveries(&site, &host, &["cancel", "--plugin", "worker"]), "40 cancelled\n");
    assert_eq!((count(&host, "waiting"), count(&host, "cancelled")), (0, BACKLOG));
    assert_eq!(host.api("/readyz")["status"], "ready");
    let metrics = host.api("/metrics");
    let expected = format!("hookbox_operator_changes_total{{action=\"cancel\"}} {BACKLOG}");
    assert!(metrics.as_str().unwrap().contains(&expected), "{metrics}");
}

#[test]
fn of_a_delivery_that_is_cancelled_while_its_guest_sleeps_only_the_attempt_is_left() {
    let config = format!("{SOURCE}[routes]\n\"step.one\" = \"sleeper\"\n[plugins.sleeper]\ntimeout = \"5s\"\n");
    let site = Site::new(&config, &[("sleeper.wat", hostile::file("sleep").as_slice())]);
    let host = harness::start(&site);
    let event = host.provide(&body("step.one", "key"))["id"].as_str().unwrap().to_owned();
    let delivery = || host.api(&format!("/api/v1/events/{event}"))["deliveries"][0].clone();
    wait_for("the attempt to run", || (delivery()["state"] == "leased").then_some(()));
    let id = delivery()["id"].as_str().unwrap().to_owned();
    let (status, answer) = host.api_status("POST", &format!("/api/v1/deliveries/{id}/cancel"), None);
    assert_eq!((status, answer), (200, json!({ "cancelled": 1 })));
    let shown = delivery();
    assert_eq!((&shown["state"], &shown["cancelling"]), (&json!("leased"), &json!(true)), "{shown}");
    assert!(deliveries(&site, &host, &[&id]).contains("leased, cancelled: ends with this attempt"));
    let ended = wait_for("the attempt to end", || Some(delivery()).filter(|delivery| delivery["state"] != "leased"));
    assert_eq!((&ended["state"], &ended["cancelling"]), (&json!("cancelled"), &json!(false)), "{ended}");
    let outcomes: Vec<_> = ended["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["outcome"]).collect();
    assert_eq!(outcomes, ["timeout"], "no retry follows: {ended}");
}

#[test]
fn what_waits_is_retried_at_once_on_an_operators_word() {
    let guest = later(include_str!("guests/retry-once.wat"), 1);
    let config = format!("{SOURCE}[routes]\n\"step.one\" = \"worker\"\n");
    let site = Site::new(&config, &[("worker.wat", guest.as_bytes())]);
    let host = harness::start(&site);
    for number in 0..5 {
        host.provide(&body("step.one", &format!("key_{number}")));
    }
    wait_for("all to wait", || (count(&host, "waiting") == 5).then_some(()));
    let page = host.api("/api/v1/deliveries?state=waiting&limit=1");
    let id = page["items"][0]["id"].as_str().unwrap();
    assert_eq!(deliveries(&site, &host, &["retry", id]), "1 retried\n");
    wait_for("the first one", || (count(&host, "done") == 1).then_some(()));
    assert_eq!(deliveries(&site, &host, &["retry", "--plugin", "worker"]), "0 retried\n", "none is dead");
    assert_eq!(deliveries(&site, &host, &["retry", "--state", "waiting"]), "4 retried\n");
    wait_for("the others", || (count(&host, "done") == 5).then_some(()));
}
