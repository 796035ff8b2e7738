//! An operator clears up on a running host: what no plugin takes any more, what runs, what is dead.

use serde_json::{Value, json};

use crate::hostile;
use crate::support::{Host, SOURCE, Site, guest, wait_for};

/// A guest that asks to be called again after so many milliseconds, asking for an hour instead.
fn later(guest: &str, ms: u32) -> String {
    let asked = format!("(i64.store (i32.const 48) (i64.const {ms}))");
    assert!(guest.contains(&asked), "{guest}");
    guest.replace(&asked, "(i64.store (i32.const 48) (i64.const 3600000))")
}

/// Runs `hookbox deliveries …` against the host: its answer.
fn deliveries(site: &Site, host: &Host, arguments: &[&str]) -> String {
    site.ask(host, &[&["deliveries"], arguments].concat()).said()
}

/// A host whose `worker` lets an event wait for an hour, and so many events that wait.
fn waiting(site: &Site, events: u64) -> Host {
    let host = Host::start(site);
    for number in 0..events {
        host.send("step.one", number);
    }
    wait_for("all to wait", || (host.count("waiting") == events).then_some(()));
    host
}

#[test]
fn a_backlog_of_a_plugin_whose_file_was_removed_can_be_cancelled_and_the_host_is_ready_again() {
    const BACKLOG: u64 = 40;
    let guest = later(include_str!("guests/retry.wat"), 1_500);
    let site = Site::of_worker(guest.as_bytes(), "");
    let host = waiting(&site, BACKLOG);
    // For good: neither a route nor a file is left.
    site.put_config(SOURCE);
    wait_for("the route to go", || {
        let plugin = host.plugin("worker");
        plugin["routes"].as_array().is_none_or(Vec::is_empty).then_some(())
    });
    std::fs::remove_file(site.path("plugins/worker.wat")).unwrap();
    let health = wait_for("the host to miss the plugin", || {
        let health = host.api("/readyz");
        (health["status"] == "degraded").then_some(health)
    });
    let detail = health["problems"][0]["detail"].as_str().unwrap();
    assert!(
        detail.contains("40 wait: ")
            && detail.contains("`hookbox deliveries cancel --plugin worker`"),
        "{health}"
    );
    let would = deliveries(&site, &host, &["cancel", "--plugin", "worker", "--dry-run", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&would).unwrap()["matched"], BACKLOG);
    assert_eq!(
        deliveries(&site, &host, &["cancel", "--plugin", "worker", "--yes"]),
        "40 cancelled\n"
    );
    assert_eq!((host.count("waiting"), host.count("cancelled")), (0, BACKLOG));
    assert_eq!(host.api("/readyz")["status"], "ready");
    assert_eq!(
        host.metric("hookbox_operator_changes_total{action=\"cancel\"}"),
        Some(BACKLOG as f64)
    );
}

/// The list of `hookbox plugins`.
fn plugins(host: &Host) -> Vec<(String, String)> {
    let listed = host.api("/api/v1/plugins");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|plugin| (text(&plugin["name"]), text(&plugin["state"])))
        .collect()
}

#[test]
fn the_backlog_of_a_plugin_that_was_renamed_is_seen_after_a_restart_and_moved_to_its_new_name() {
    let retrying = later(include_str!("guests/retry-once.wat"), 1);
    let config = format!("{SOURCE}[routes]\n\"step.one\" = \"old\"\n");
    let site = Site::new(&config, &[("old.wat", retrying.as_bytes())]);
    waiting(&site, 5).kill();
    std::fs::remove_file(site.path("plugins/old.wat")).unwrap();
    site.put_plugin("new.wat", &guest("ok"));
    site.put_config(&config.replace("\"old\"", "\"new\""));
    let host = Host::start(&site);
    let known = [("new".to_owned(), "loaded".to_owned()), ("old".to_owned(), "missing".to_owned())];
    wait_for("the new name", || (plugins(&host) == known).then_some(()));
    assert_eq!(host.plugin("old")["deliveries"]["waiting"], 5);
    let health = host.api("/readyz");
    let detail = health["problems"][0]["detail"].as_str().unwrap();
    assert!(
        health["status"] == "degraded" && detail.contains("5 wait: put its file back"),
        "{health}"
    );
    let page = host.api("/api/v1/deliveries?state=waiting&limit=1");
    let id = page["items"][0]["id"].as_str().unwrap();
    assert_eq!(deliveries(&site, &host, &["move", id, "--to", "new"]), "1 moved\n");
    let would = deliveries(&site, &host, &["move", "--plugin", "old", "--to", "new", "--dry-run"]);
    assert!(would.starts_with("4 would be moved\n"), "{would}");
    let moved =
        deliveries(&site, &host, &["move", "--plugin", "old", "--to", "new", "--yes", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&moved).unwrap()["moved"], 4);
    assert_eq!(plugins(&host), known[..1]);
    assert_eq!(host.api("/readyz")["status"], "ready");
    assert_eq!(deliveries(&site, &host, &["retry", "--state", "waiting", "--yes"]), "5 retried\n");
    wait_for("the new plugin to do them", || (host.count("done") == 5).then_some(()));
    let attempts = host.api(&format!("/api/v1/deliveries/{id}"))["attempts"].clone();
    let outcomes: Vec<_> =
        attempts.as_array().unwrap().iter().map(|attempt| &attempt["outcome"]).collect();
    assert_eq!(outcomes, ["retry", "ok"], "what the old one tried is still shown");
}

#[test]
fn deliveries_are_moved_to_a_plugin_that_has_a_file_only() {
    let site = Site::of_worker(&guest("ok"), "");
    let host = Host::start(&site);
    let id = host.send("step.one", "key").replace("evt_", "dlv_") + "_0";
    wait_for("it to be done", || (host.count("done") == 1).then_some(()));
    for (path, status, hint) in [
        ("move?to=wroker&plugin=worker".to_owned(), 404, "did you mean `worker`?"),
        ("move?plugin=worker".to_owned(), 400, "`to` is missing"),
        ("move?to=worker".to_owned(), 400, "say `state=open` to move every open delivery"),
        ("move?to=worker&state=dead".to_owned(), 400, "move takes `ready`, `waiting`"),
        ("retry?to=worker&state=dead".to_owned(), 400, "there is no parameter `to`"),
        (format!("{id}/move?to=worker"), 409, "only one that is ready or waits can be moved"),
    ] {
        let (got, answer) = host.api_status("POST", &format!("/api/v1/deliveries/{path}"), None);
        assert!(
            got == status && answer["detail"].as_str().unwrap().contains(hint),
            "{path}: {got} {answer}"
        );
    }
}

#[test]
fn of_a_delivery_that_is_cancelled_while_its_guest_sleeps_only_the_attempt_is_left() {
    let site = Site::of_worker(&hostile::file("sleep"), "[plugins.worker]\ntimeout = \"5s\"\n");
    let host = Host::start(&site);
    let event = host.send("step.one", "key");
    let delivery = || host.event(&event)["deliveries"][0].clone();
    wait_for("the attempt to run", || (delivery()["state"] == "leased").then_some(()));
    let id = delivery()["id"].as_str().unwrap().to_owned();
    let (status, answer) =
        host.api_status("POST", &format!("/api/v1/deliveries/{id}/cancel"), None);
    assert_eq!((status, answer), (200, json!({ "cancelled": 1 })));
    let shown = delivery();
    assert_eq!(
        (&shown["state"], &shown["cancelling"]),
        (&json!("leased"), &json!(true)),
        "{shown}"
    );
    assert!(deliveries(&site, &host, &[&id]).contains("leased, cancelled: ends with this attempt"));
    let ended = wait_for("the attempt to end", || {
        Some(delivery()).filter(|delivery| delivery["state"] != "leased")
    });
    assert_eq!(
        (&ended["state"], &ended["cancelling"]),
        (&json!("cancelled"), &json!(false)),
        "{ended}"
    );
    let outcomes: Vec<_> =
        ended["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["outcome"]).collect();
    assert_eq!(outcomes, ["timeout"], "no retry follows: {ended}");
}

#[test]
fn what_waits_is_retried_at_once_on_an_operators_word() {
    let guest = later(include_str!("guests/retry-once.wat"), 1);
    let site = Site::of_worker(guest.as_bytes(), "");
    let host = waiting(&site, 5);
    let page = host.api("/api/v1/deliveries?state=waiting&limit=1");
    let id = page["items"][0]["id"].as_str().unwrap();
    assert_eq!(deliveries(&site, &host, &["retry", id]), "1 retried\n");
    wait_for("the first one", || (host.count("done") == 1).then_some(()));
    assert_eq!(
        deliveries(&site, &host, &["retry", "--plugin", "worker", "--yes"]),
        "0 retried\n",
        "none is dead"
    );
    assert_eq!(deliveries(&site, &host, &["retry", "--state", "waiting", "--yes"]), "4 retried\n");
    wait_for("the others", || (host.count("done") == 5).then_some(()));
}

#[test]
fn who_changed_what_is_told_by_the_audit_log() {
    let guest = later(include_str!("guests/retry.wat"), 1_500);
    let site = Site::of_worker(guest.as_bytes(), "");
    let host = waiting(&site, 3);
    assert_eq!(site.ask(&host, &["audit"]).said(), "no entry: nothing was changed\n");
    assert_eq!(
        deliveries(&site, &host, &["cancel", "--plugin", "worker", "--yes"]),
        "3 cancelled\n"
    );
    let said = site.ask(&host, &["audit", "--action", "deliveries"]).said();
    let rows: Vec<_> = said.lines().collect();
    assert_eq!(rows.len(), 2, "{said}");
    for word in ["local", "operator", "command", "deliveries.cancel", "plugin=worker", "  3"] {
        assert!(rows[1].contains(word), "{word}: {said}");
    }
    let json = site.ask(&host, &["audit", "--json"]).said();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["items"][0]["result"], 3);
}

#[test]
fn the_data_of_an_event_is_deleted_for_ever_and_is_not_in_the_file() {
    const SECRET: &str = "jo_of_acme_street_17";
    let guest = later(include_str!("guests/retry.wat"), 1_500);
    let site = Site::of_worker(guest.as_bytes(), "");
    let host = Host::start(&site);
    let id = host.send("step.one", SECRET);
    wait_for("it to wait", || (host.count("waiting") == 1).then_some(()));
    let found = |site: &Site| {
        let bytes = std::fs::read(site.path("data/hookbox.db")).unwrap();
        bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes())
    };
    host.stop();
    assert!(found(&site), "otherwise this test would see nothing");
    let host = Host::start(&site);
    let erase = ["events", "erase", "--id", &id];
    let unsure = site.ask(&host, &erase);
    assert!(unsure.err.contains("--yes"), "{}", unsure.err);
    let said = site.ask(&host, &["events", "erase", &id, "--yes"]).said();
    assert_eq!(said, "1 erased, 1 deliveries ended, 0 keys deleted\n");
    let event = host.event(&id);
    assert!(event["erased_at"].is_string() && event["data_bytes"] == 0, "{event}");
    assert_eq!(event["deliveries"][0]["state"], "cancelled");
    let replayed = site.ask(&host, &["events", "replay", &id, "--plugin", "worker"]);
    assert!(replayed.err.contains("was erased"), "{}", replayed.err);
    let said = site.ask(&host, &["audit", "--action", "events.erase"]).said();
    assert!(said.contains(&id), "{said}");
    host.stop();
    assert!(!found(&site));
}

#[test]
fn events_of_one_host_are_exported_and_imported_by_another() {
    let guest = include_str!("guests/ok.wat");
    let (old, new) = (Site::of_worker(guest.as_bytes(), ""), Site::of_worker(guest.as_bytes(), ""));
    let host = Host::start(&old);
    for number in 0..120 {
        host.send("step.one", number);
    }
    host.settled();
    let lines = old.ask(&host, &["events", "export", "--type", "step.one"]).said();
    assert_eq!(lines.lines().count(), 120);
    host.stop();
    let host = Host::start(&new);
    new.put("events.ndjson", &lines);
    let import = ["events", "import", "events.ndjson"];
    let said = new.ask(&host, &import).said();
    assert_eq!(said, "120 imported, 0 duplicates, 0 without data\n");
    let said = new.ask(&host, &[&import[..], &["--json"]].concat()).said();
    let again: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(again["duplicates"], 120);
    assert_eq!(host.count("done"), 0);
    new.put("events.ndjson", lines.replacen('{', "", 1));
    let wrong = new.ask(&host, &import);
    assert!(wrong.code != 0 && wrong.err.contains("line 1"), "{}", wrong.err);
    let missing = new.ask(&host, &["events", "import", "missing.ndjson"]);
    assert!(missing.err.contains("missing.ndjson cannot be read"), "{}", missing.err);
}

#[test]
fn every_metric_that_a_host_shows_says_what_it_is() {
    let site = Site::of_worker(include_bytes!("guests/ok.wat"), "");
    let host = Host::start(&site);
    host.until_done(&host.send("step.one", 1));
    // It is counted after it is settled.
    wait_for("the settlement's count", || {
        host.metric("hookbox_settlements_total{plugin=\"worker\",result=\"kept\"}")
    });
    let metrics = host.api("/metrics").as_str().unwrap().to_owned();
    let told = |kind: &str| -> Vec<&str> {
        let lines = metrics.lines().filter_map(|line| line.strip_prefix(kind));
        lines.map(|line| line.split(' ').next().unwrap()).collect()
    };
    let (helps, types) = (told("# HELP "), told("# TYPE "));
    assert!(types.len() > 12, "{metrics}");
    for name in &types {
        assert!(helps.contains(name), "{name} has no help");
    }
    for name in ["hookbox_build_info", "hookbox_settlements_total", "hookbox_store_size_bytes"] {
        assert!(types.contains(&name), "{name}: {metrics}");
    }
    assert_eq!(
        host.metric("hookbox_settlements_total{plugin=\"worker\",result=\"kept\"}"),
        Some(1.0)
    );
}
