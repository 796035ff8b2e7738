//! An operator pauses a plugin and lets it go on, on a running host.

use serde_json::{Value, json};

use crate::support::{Host, SOURCE, Site, guest, wait_for};

const ROUTES: &str = "[routes]\n\"step.one\" = \"worker\"\n\"step.two\" = \"other\"\n";

/// Whether a plugin is paused, by what three parts of the API say.
fn is_paused(host: &Host) -> bool {
    let shown = !host.plugin("worker")["paused"].is_null();
    let counted = host.api("/api/v1/stats")["plugins"]["worker"]["paused"] == true;
    let measured = host.metric("hookbox_plugin_paused{plugin=\"worker\"}") == Some(1.0);
    assert_eq!((shown, counted), (measured, measured));
    shown
}

#[test]
fn a_plugin_that_is_paused_under_load_begins_nothing_until_it_goes_on_also_after_a_restart() {
    const EVENTS: usize = 200;
    let ok = guest("ok");
    let site = Site::new(&format!("{SOURCE}{ROUTES}"), &[("worker.wat", &ok), ("other.wat", &ok)]);
    let host = Host::start(&site);
    assert!(!is_paused(&host));
    let mut ids = std::thread::scope(|scope| {
        let sends = || (0..EVENTS).map(|n| host.send("step.one", n)).collect::<Vec<_>>();
        let sender = scope.spawn(sends);
        wait_for("some to be done", || (host.count("done") > 10).then_some(()));
        let said = site.ask(&host, &["plugins", "pause", "worker", "--reason", "a flood"]).said();
        assert_eq!(said, "worker is paused: a flood\n");
        sender.join().unwrap()
    });
    // The attempts that ran have ended, and no other has begun.
    host.none_in(&["leased"]);
    let done = host.count("done");
    assert!(is_paused(&host));
    ids.push(host.send("step.one", "late"));
    let open = ids.len() as u64 - done;
    assert_eq!((host.count("ready"), host.count("done")), (open, done));
    host.until_done(&host.send("step.two", "o"));
    host.kill();
    let host = Host::start(&site);
    assert!(is_paused(&host));
    host.until_done(&host.send("step.two", "p"));
    assert_eq!((host.count("ready"), host.count("done")), (open, done + 2));
    let waits = host.event(ids.last().unwrap())["deliveries"][0]["waits_for"].clone();
    assert_eq!(waits["kind"], "paused", "{waits}");
    assert!(waits["text"].as_str().unwrap().contains("paused by local: a flood"), "{waits}");
    let health = host.api("/readyz");
    assert_eq!(health["status"], "degraded", "{health}");
    let listed = site.ask(&host, &["plugins"]).said();
    assert!(listed.contains("a flood"), "{listed}");
    assert_eq!(site.ask(&host, &["plugins", "resume", "worker"]).said(), "worker goes on\n");
    host.settled();
    assert!(!is_paused(&host));
    for id in &ids {
        let delivery = host.event(id)["deliveries"][0].clone();
        assert_eq!(delivery["state"], "done", "{delivery}");
        assert_eq!(delivery["attempts"].as_array().map(Vec::len), Some(1), "{delivery}");
    }
    let refused = site.ask(&host, &["plugins", "resume", "worker"]);
    assert!(refused.code == 1 && refused.err.contains("is not paused"), "{refused:?}");
}

#[test]
fn what_is_leased_when_its_plugin_is_paused_is_given_back_and_spends_no_attempt() {
    let config = format!("{SOURCE}{ROUTES}[plugins.worker]\nrate = \"1/h\"\n");
    let site = Site::new(&config, &[("worker.wat", &guest("ok"))]);
    let host = Host::start(&site);
    host.send("step.one", "first");
    let id = host.send("step.one", "second");
    wait_for("the second to be leased", || (host.count("leased") == 1).then_some(()));
    site.ask(&host, &["plugins", "pause", "worker", "--reason", "a test"]).said();
    host.none_in(&["leased"]);
    let delivery = &host.event(&id)["deliveries"][0];
    assert_eq!((&delivery["state"], &delivery["attempts"]), (&json!("ready"), &json!([])));
}

#[test]
fn a_paused_schedule_does_not_tick_and_misses_what_falls_into_the_pause() {
    use hookbox::clock::Clock;
    const START_MS: i64 = 1_774_656_000_000;
    let section = "[schedules.hourly]\nevery = \"1h\"\nemit = \"report.due\"\nmissed = \"skip\"\n";
    let site = Site::new(&format!("{SOURCE}{section}"), &[]);
    let clock = Clock::manual(START_MS);
    let host = Host::start_by(&site, &clock);
    let shown = || host.api("/api/v1/schedules")["items"][0].clone();
    let events = || host.api("/api/v1/events?type=report.due")["items"].as_array().unwrap().len();
    wait_for("its beginning", || shown()["next"].is_string().then_some(()));
    clock.set(START_MS + 3_600_000);
    wait_for("a tick", || (events() == 1).then_some(()));
    let pause = ["schedules", "pause", "hourly", "--reason", "no reports"];
    assert_eq!(site.ask(&host, &pause).said(), "hourly is paused: no reports\n");
    assert_eq!(
        (&shown()["next"], &shown()["paused"]["reason"]),
        (&Value::Null, &json!("no reports"))
    );
    // A tick that is late by more than a minute is missed.
    clock.set(START_MS + 3 * 3_600_000 + 120_000);
    assert_eq!(site.ask(&host, &["schedules", "resume", "hourly"]).said(), "hourly goes on\n");
    wait_for("the ticks to be missed", || {
        (!shown()["skipped"].as_array().unwrap().is_empty()).then_some(())
    });
    clock.set(START_MS + 4 * 3_600_000);
    wait_for("the next tick", || (events() == 2).then_some(()));
    let ran = site.ask(&host, &["schedules", "run", "hourly", "--json"]).said();
    let ran: Value = serde_json::from_str(&ran).unwrap();
    let event = host.event(ran["event_id"].as_str().unwrap());
    assert!(event["note"].as_str().unwrap().starts_with("manual: local"), "{event}");
    host.stop();
}

#[test]
fn a_key_is_set_and_deleted_by_commands_that_name_what_is_there() {
    let site = Site::new(&format!("{SOURCE}{ROUTES}"), &[("worker.wat", &guest("ok"))]);
    let host = Host::start(&site);
    let kv = |arguments: &[&str]| site.ask(&host, &[&["kv"], arguments].concat());
    let set = kv(&["set", "worker", "a/b", "open", "--if-absent"]).said();
    let version = set.trim().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(kv(&["worker", "a/b"]).said(), "open\n");
    let again = kv(&["set", "worker", "a/b", "late", "--if-absent"]);
    assert!(again.code == 1 && again.err.contains(&version), "{again:?}");
    site.put("value.bin", b"\xff\n");
    let file = ["set", "worker", "a/b", "--file", "value.bin", "--if-version", &version];
    assert!(kv(&file).said().starts_with("a/b is set, version "));
    assert!(kv(&["worker", "a/b"]).said().contains("/wo="));
    assert_eq!(kv(&["delete", "worker", "a/b", "--if-version", &version]).code, 1);
    assert_eq!(kv(&["delete", "worker", "a/b", "--force"]).said(), "a/b is deleted\n");
    kv(&["set", "worker", "n", "--number", "-5", "--force"]).said();
    assert!(kv(&["worker", "n"]).said().contains("-5"));
    let unsure = kv(&["set", "worker", "n", "x"]);
    assert!(unsure.code == 2 && unsure.err.contains("--if-version"), "{unsure:?}");
}
