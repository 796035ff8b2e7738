//! A plugin's file that asks for more than it may, on a running host: what goes on, what lets it
//! in, what survives a kill.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::{Host, ROUTE, SOURCE, Senders, Site, agent, guest, wait_for};

/// The smallest plugin, which asks for nothing.
fn modest() -> String {
    String::from_utf8(guest("ok")).unwrap()
}

/// The same with its hand out; `mark` tells one from another.
fn asks(mark: u32) -> String {
    let imports = "(import \"wasi:http/outgoing-handler@0.2.0\" (instance)) (import \"hookbox:plugin/kv@0.1.0\" (instance))";
    format!("{}\n;; {mark}\n", modest().replacen("(component", &format!("(component {imports}"), 1))
}

fn site(settings: &str) -> Site {
    Site::of_worker(modest().as_bytes(), settings)
}

fn worker(host: &Host) -> Value {
    host.plugin("worker")
}

fn until_runs(host: &Host, digest: &str) {
    wait_for("the other file to run", || (worker(host)["digest"] == digest).then_some(()));
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// Puts a file that asks for more, and waits until it is held; its digest.
fn hold(site: &Site, host: &Host, mark: u32) -> String {
    let before = worker(host)["held"]["digest"].clone();
    site.put_plugin("worker.wat", asks(mark).as_bytes());
    wait_for("the file to be held", || {
        let held = &worker(host)["held"]["digest"];
        (held.is_string() && *held != before).then(|| text(held))
    })
}

fn approve(host: &Host, digest: &str) -> (u16, Value) {
    host.api_status("POST", "/api/v1/plugins/worker/approve", Some(json!({ "digest": digest })))
}

/// Runs `hookbox plugins …` against the host: whether it succeeded, and what it said.
fn ask(site: &Site, host: &Host, arguments: &[&str]) -> (bool, String) {
    let ran = site.ask(host, &[&["plugins"], arguments].concat());
    (ran.code == 0, ran.out + &ran.err)
}

fn digests_of_attempts(host: &Host, newest: usize) -> HashSet<String> {
    let page = host.api(&format!("/api/v1/deliveries?limit={newest}"));
    let items = page["items"].as_array().unwrap();
    items.iter().map(|delivery| text(&delivery["attempts"][0]["plugin_digest"])).collect()
}

#[test]
fn the_old_file_serves_under_load_while_the_new_one_is_held_and_an_approval_lets_exactly_that_one_in()
 {
    let site = site("");
    let host = Host::start(&site);
    let senders = Senders::start(&host, 1);
    senders.after(50);
    let old = text(&worker(&host)["digest"]);
    let new = hold(&site, &host, 1);
    let plugin = worker(&host);
    assert_eq!((&plugin["state"], &plugin["digest"]), (&json!("held"), &json!(old)));
    assert_eq!(plugin["held"]["capabilities_added"], json!(["http", "kv"]));
    let imports = json!(["hookbox:plugin/kv@0.1.0", "wasi:http/outgoing-handler@0.2.0"]);
    assert_eq!(plugin["held"]["imports_added"], imports);
    let lines = [
        ("http", "http = [{ host = \"api.example.com\", methods = [\"GET\"] }]"),
        ("kv", "kv = { bucket = \"worker\" }"),
    ];
    let lines = lines.map(|(capability, line)| {
        json!({ "capability": capability, "section": "[plugins.worker]", "line": line })
    });
    assert_eq!(plugin["held"]["granted_by"], json!(lines));
    assert_eq!(host.api("/readyz")["status"], "ready", "nothing is broken");
    senders.after(50);
    let (fine, listed) = ask(&site, &host, &[]);
    assert!(fine && listed.contains("held") && listed.contains("asks for http, kv"), "{listed}");
    let (fine, shown) = ask(&site, &host, &["worker"]);
    assert!(
        fine && shown.contains(&format!("hookbox plugins approve worker --digest {new}")),
        "{shown}"
    );
    let (fine, said) = ask(&site, &host, &["approve", "worker"]);
    assert!(
        fine && said.contains(&format!("worker may run {new}, which asks for http, kv")),
        "{said}"
    );
    until_runs(&host, &new);
    assert_eq!((&worker(&host)["state"], &worker(&host)["held"]), (&json!("loaded"), &Value::Null));
    senders.after(50);
    let total = senders.stop();
    let stats = host.settled();
    assert_eq!(stats["deliveries"]["done"], total, "{stats}");
    assert_eq!(
        digests_of_attempts(&host, 20),
        HashSet::from([new.clone()]),
        "later events are of the new file"
    );
    assert!(digests_of_attempts(&host, 500).is_subset(&HashSet::from([old, new])));
    let said = site.log();
    assert_eq!(said.matches("plugin file held").count(), 1, "{said}");
    assert!(
        said.contains("`hookbox plugins approve worker --digest")
            && said.contains("under `[plugins.worker]`"),
        "{said}"
    );
}

#[test]
fn an_approval_of_what_is_not_held_is_refused_with_what_would_be_right() {
    let site = site("");
    let host = Host::start(&site);
    let path = "/api/v1/plugins/worker/approve";
    let (status, refused) = host.api_status("POST", path, None);
    assert_eq!(status, 409, "{refused}");
    let new = hold(&site, &host, 1);
    let (status, refused) = approve(&host, &"0".repeat(64));
    assert!(status == 409 && text(&refused["detail"]).contains(&new), "{refused}");
    let (status, refused) = approve(&host, "abc");
    assert!(status == 400 && text(&refused["detail"]).contains("64 hex digits"), "{refused}");
    let (status, refused) = host.api_status("POST", "/api/v1/plugins/workr/approve", None);
    assert!(
        status == 404 && text(&refused["detail"]).contains("did you mean `worker`?"),
        "{refused}"
    );
    // The file that the operator saw is replaced before it is approved.
    let other = hold(&site, &host, 2);
    let (fine, said) = ask(&site, &host, &["approve", "worker", "--digest", &new]);
    assert!(!fine && said.contains(&other), "{said}");
    assert_eq!(worker(&host)["state"], "held");
}

#[test]
fn two_approvals_at_once_are_as_good_as_one() {
    let site = site("");
    let host = Host::start(&site);
    let new = hold(&site, &host, 1);
    let statuses = std::thread::scope(|scope| {
        let both = [(), ()].map(|()| scope.spawn(|| approve(&host, &new).0));
        both.map(|one| one.join().unwrap())
    });
    assert_eq!(statuses, [200, 200]);
    until_runs(&host, &new);
    assert_eq!(approve(&host, &new).0, 200, "it runs already");
}

#[test]
fn a_restart_while_a_file_is_held_goes_on_with_the_old_one_or_waits() {
    let site = site("");
    let host = Host::start(&site);
    let old = text(&worker(&host)["digest"]);
    let new = hold(&site, &host, 1);
    host.kill();
    let host = Host::start(&site);
    let plugin = host.until_plugin("worker", "held");
    assert_eq!((&plugin["digest"], &plugin["held"]["digest"]), (&json!(old), &json!(new)));
    host.send("step.one", "first");
    assert_eq!(host.settled()["deliveries"]["done"], 1);
    host.kill();
    std::fs::remove_file(site.path("data/compiled").join(format!("{old}.plugin"))).unwrap();
    let host = Host::start(&site);
    let plugin = host.until_plugin("worker", "held");
    assert_eq!(plugin["digest"], Value::Null, "nothing runs");
    host.send("step.one", "second");
    let ready = host.api("/readyz");
    assert_eq!(
        (&ready["status"], &ready["problems"][0]["name"]),
        (&json!("degraded"), &json!("worker"))
    );
    assert_eq!(worker(&host)["deliveries"]["ready"], 1, "it waits, and nothing is lost");
    assert_eq!(approve(&host, &new).0, 200);
    assert_eq!(host.settled()["deliveries"]["done"], 2);
    until_runs(&host, &new);
}

#[test]
fn a_kill_after_an_approval_loses_neither_the_approval_nor_an_event() {
    for point in hookbox::fail::APPROVAL_POINTS {
        let site = site("");
        let host = Host::start(&site);
        let new = hold(&site, &host, 1);
        host.kill();
        // The file that ran last is kept, and noted already: only the approved file is missing.
        let mut host =
            Host::start_with(&site, &[("HOOKBOX_FAIL", point)]).expect("the host starts");
        host.until_plugin("worker", "held");
        host.send("step.one", "key");
        // The host may be gone before it has answered.
        let _ =
            agent().post(format!("{}/api/v1/plugins/worker/approve", host.admin_url)).send_empty();
        wait_for("the host to be killed", || host.ended());
        let host = Host::start(&site);
        until_runs(&host, &new);
        assert_eq!(worker(&host)["state"], "loaded", "{point}");
        assert_eq!(host.settled()["deliveries"]["done"], 1, "{point}");
    }
}

#[test]
fn an_approval_that_could_not_be_made_safe_is_refused_and_does_not_count_after_a_restart() {
    let site = site("");
    let host = Host::start(&site);
    let old = text(&worker(&host)["digest"]);
    let new = hold(&site, &host, 1);
    host.kill();
    // The note is in its place, and it cannot be made certain that it stays there.
    let plan = "plugins.note_placed:1:io";
    let host = Host::start_with(&site, &[("HOOKBOX_FAIL", plan)]).expect("the host starts");
    host.until_plugin("worker", "held");
    let (status, refused) = approve(&host, &new);
    assert!(
        status == 503 && text(&refused["detail"]).contains("may count after a restart"),
        "{refused}"
    );
    assert_eq!((&worker(&host)["state"], &worker(&host)["digest"]), (&json!("held"), &json!(old)));
    host.kill();
    let host = Host::start(&site);
    assert_eq!(host.until_plugin("worker", "held")["digest"], old.as_str());
    assert_eq!(approve(&host, &new).0, 200);
    until_runs(&host, &new);
}

#[test]
fn approve_auto_takes_a_file_up_at_once_and_says_what_it_asks_for() {
    let site = site("[plugins.worker]\napprove = \"auto\"\n");
    let host = Host::start(&site);
    let old = text(&worker(&host)["digest"]);
    site.put_plugin("worker.wat", asks(1).as_bytes());
    wait_for("the new file to run", || (worker(&host)["digest"] != old.as_str()).then_some(()));
    assert_eq!(worker(&host)["state"], "loaded");
    let said = site.log();
    assert!(
        said.contains("http, kv") && said.contains("auto") && !said.contains("plugin file held"),
        "{said}"
    );
}

#[test]
fn a_held_file_is_taken_up_when_the_configuration_says_so() {
    let site = site("");
    let host = Host::start(&site);
    let new = hold(&site, &host, 1);
    site.put_config(&format!("{SOURCE}{ROUTE}[plugins.worker]\napprove = \"auto\"\n"));
    until_runs(&host, &new);
}

#[test]
fn notes_that_are_garbage_are_reported_and_widen_nothing() {
    let site = Site::of_worker(asks(1).as_bytes(), "");
    let host = Host::start(&site);
    assert_eq!(worker(&host)["state"], "loaded", "the first file is taken as it is");
    host.kill();
    let store = rusqlite::Connection::open(site.path("data/hookbox.db")).unwrap();
    store.execute("UPDATE approvals SET capabilities = 'garbage'", []).unwrap();
    drop(store);
    let host = Host::start(&site);
    let plugin = host.until_plugin("worker", "held");
    assert_eq!(plugin["digest"], Value::Null);
    assert!(text(&plugin["warnings"][0]).contains("what plugin `worker` may do"), "{plugin}");
    assert!(site.log().contains("what plugin `worker` may do"));
    let said = site.run(&["check"]).said();
    assert!(
        said.contains("warning: ") && said.contains("what plugin `worker` may do cannot be read"),
        "{said}"
    );
    assert_eq!(approve(&host, &text(&plugin["held"]["digest"])).0, 200);
    host.until_plugin("worker", "loaded");
}

#[test]
fn what_a_plugin_has_used_is_counted_across_its_files() {
    let counting = guest("kv");
    let site = Site::of_worker(&counting, "[plugins.worker]\nconfig = { a = 1 }\n");
    let host = Host::start(&site);
    host.send("step.one", "first");
    host.settled();
    let old = text(&worker(&host)["digest"]);
    site.put_plugin("worker.wat", &[&counting[..], b"\n;; another edition\n"].concat());
    wait_for("the new file to run", || (worker(&host)["digest"] != old.as_str()).then_some(()));
    host.send("step.one", "second");
    host.settled();
    let plugin = worker(&host);
    // One key is read, one written, one deleted.
    assert_eq!(plugin["used"]["kv"], json!({ "reads": 2, "writes": 4 }));
    assert_eq!(
        plugin["used"]["http"],
        json!({
            "answered": 0, "refused": 0, "unanswered": 0,
            "last_refused": null, "last_unanswered": null,
        })
    );
    assert_eq!(plugin["grants"], json!(["config: 1 value"]));
    let warning =
        "`config` says nothing to plugin `worker`: it does not import hookbox:plugin/config";
    assert_eq!(plugin["warnings"], json!([warning]));
    assert!(site.log().contains(warning));
    let said = site.run(&["check"]).said();
    assert!(said.contains(warning), "{said}");
    assert!(
        site.path("data/compiled").join(format!("{}.plugin", text(&plugin["digest"]))).exists()
    );
}
