//! Operations on a running host: what is done to many deliveries, once each, whatever happens.

use serde_json::{Value, json};

use crate::support::{Host, ROUTE, SOURCE, Site, wait_for};

mod unreadable;

/// Does as its configuration says under `do`.
const AS_TOLD: &str = include_str!("guests/as-told.wat");

fn config(what: &str) -> String {
    format!(
        "{SOURCE}{ROUTE}[plugins.worker.retry]\ninitial = \"1h\"\nmax = \"1h\"\n\
         [plugins.worker.config]\ndo = \"{what}\"\n"
    )
}

/// A host with so many dead deliveries.
fn dead(count: u64) -> (Site, Host) {
    let site = Site::new(&config("reject"), &[("worker.wat", AS_TOLD.as_bytes())]);
    let host = Host::start(&site);
    for n in 0..count {
        host.send("step.one", format!("order_{n}"));
    }
    until(&host, "dead", count);
    (site, host)
}

fn until(host: &Host, state: &str, count: u64) {
    wait_for(state, || {
        let stats = host.api("/api/v1/stats");
        (stats["deliveries"][state] == json!(count)).then_some(())
    });
}

/// Has the worker do something else from now on.
fn tell(site: &Site, host: &Host, what: &str) {
    let before = host.api("/readyz")["generation"].clone();
    site.put_config(&config(what));
    wait_for("the new configuration", || {
        (host.api("/readyz")["generation"] != before).then_some(())
    });
}

fn post(host: &Host, path: &str, body: Value) -> Value {
    let (status, answer) = host.api_status("POST", path, Some(body));
    assert!(status == 200 || status == 201, "{path}: {status} {answer}");
    answer
}

fn plan(host: &Host, what: Value) -> String {
    post(host, "/api/v1/operations", what)["id"].as_str().unwrap().to_owned()
}

fn start(host: &Host, id: &str, options: Value) {
    post(host, &format!("/api/v1/operations/{id}/start"), options);
}

fn look(host: &Host, id: &str) -> Value {
    host.api(&format!("/api/v1/operations/{id}"))
}

fn until_state(host: &Host, id: &str, state: &str) -> Value {
    wait_for(state, || Some(look(host, id)).filter(|now| now["state"] == state))
}

fn of_all(action: &str) -> Value {
    json!({ "action": action, "state": "dead" })
}

#[test]
fn one_is_tried_first_and_the_rest_is_not_touched_if_that_fails_again() {
    let (site, host) = dead(5);
    let id = plan(&host, of_all("retry"));
    let planned = look(&host, &id);
    assert_eq!((&planned["total"], &planned["state"]), (&json!(5), &json!("planned")));
    start(&host, &id, json!({ "first": true }));
    let stopped = until_state(&host, &id, "stopped");
    assert!(stopped["reason"].as_str().unwrap().contains("the first one failed again"));
    assert_eq!((&stopped["failed"], &stopped["done"]), (&json!(1), &json!(1)));
    assert_eq!(stopped["items"].as_array().unwrap().len(), 1, "the failed one is named");
    let first = &stopped["first_tried"];
    assert_eq!((&first["verdict"], &first["before"]), (&json!("same error"), &json!("reject")));
    assert_eq!(first["delivery_id"], stopped["items"][0]["id"]);
    let attempts: u64 = host.api("/api/v1/deliveries?state=dead")["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|delivery| delivery["attempt"].as_u64().unwrap())
        .sum();
    assert_eq!(attempts, 6, "five and one more");
    // The handler is mended, and it goes on.
    tell(&site, &host, "well");
    post(&host, &format!("/api/v1/operations/{id}/resume"), json!({}));
    let done = until_state(&host, &id, "done");
    assert_eq!((&done["ok"], &done["failed"]), (&json!(4), &json!(1)));
    until(&host, "done", 4);
    let audit = host.api("/api/v1/audit?action=operations");
    let actions: Vec<&str> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    let expected = [
        "operations.done",
        "operations.resume",
        "operations.stopped",
        "operations.start",
        "operations.plan",
    ];
    assert_eq!(actions, expected);
    assert_eq!(audit["items"][0]["result"], json!({ "ok": 4, "failed": 1, "skipped": 0 }));
}

#[test]
fn the_command_says_whether_the_first_one_is_fixed() {
    let (site, host) = dead(3);
    let retry = ["deliveries", "retry", "--state", "dead", "--first", "--yes"];
    let ran = site.ask(&host, &retry);
    assert_eq!(ran.code, 1, "{ran:?}");
    let first = ran.out.lines().next().unwrap();
    assert!(first.starts_with("first: dlv_") && first.contains(" reject in "), "{first}");
    let ends = |unit: &str| first.ends_with(&format!(" {unit} (was reject): same error"));
    assert!(["µs", "ms", "s", "min"].into_iter().any(ends), "{first}");
    tell(&site, &host, "trap");
    let first = site.ask(&host, &retry).out.lines().next().unwrap().to_owned();
    assert!(first.contains(" trap in ") && first.contains(": other error: "), "{first}");
    tell(&site, &host, "well");
    let ran = site.ask(&host, &[&retry[..], &["--json"]].concat()).json();
    assert_eq!(ran["first_tried"]["verdict"], "fixed", "{ran}");
    assert_eq!((&ran["first_tried"]["outcome"], &ran["ok"]), (&json!("ok"), &ran["total"]));
}

#[test]
fn a_first_one_that_succeeds_lets_the_rest_go_on_to_the_end() {
    let (site, host) = dead(5);
    tell(&site, &host, "well");
    let ran =
        site.ask(&host, &["deliveries", "retry", "--state", "dead", "--first", "--yes", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!((&ran.json()["ok"], &ran.json()["state"]), (&json!(5), &json!("done")));
    let listed = site.ask(&host, &["operations"]).said();
    assert!(listed.contains("op_1") && listed.contains("state=dead"), "{listed}");
    let one = site.ask(&host, &["operations", "op_1"]).said();
    assert!(one.contains("5 ok  0 failed  0 skipped"), "{one}");
    assert!(one.contains("(was reject): fixed"), "{one}");
}

/// A host whose worker has handled so many events.
fn handled(count: u64) -> (Site, Host) {
    let site = Site::new(&config("well"), &[("worker.wat", AS_TOLD.as_bytes())]);
    let host = Host::start(&site);
    for n in 0..count {
        host.send("step.one", format!("order_{n}"));
    }
    until(&host, "done", count);
    (site, host)
}

/// The number of deliveries of each event, and of those that a replay has made.
fn deliveries_of_each(host: &Host) -> Vec<(usize, usize)> {
    let events = host.api("/api/v1/events?limit=500")["items"].as_array().unwrap().clone();
    let count = |event: &Value| {
        let event = host.api(&format!("/api/v1/events/{}", event["id"].as_str().unwrap()));
        let all = event["deliveries"].as_array().unwrap();
        (all.len(), all.iter().filter(|delivery| delivery["replay"] == true).count())
    };
    events.iter().map(count).collect()
}

#[test]
fn a_replay_goes_on_after_kill_9_and_each_event_is_replayed_once() {
    let (site, host) = handled(40);
    let what = json!({ "action": "replay", "type": "step.*", "state": "done" });
    let planned = post(&host, "/api/v1/operations", what);
    assert_eq!((&planned["total"], planned["events"].as_array().unwrap().len()), (&json!(40), 5));
    let id = planned["id"].as_str().unwrap().to_owned();
    // An event that comes after the preview is not replayed.
    host.send("step.one", "late");
    until(&host, "done", 41);
    start(&host, &id, json!({ "pace": 20 }));
    wait_for("some", || (look(&host, &id)["done"].as_u64()? >= 5).then_some(()));
    post(&host, &format!("/api/v1/operations/{id}/pause"), json!({}));
    host.kill();
    let host = Host::start(&site);
    assert_eq!(look(&host, &id)["state"], "paused");
    post(&host, &format!("/api/v1/operations/{id}/resume"), json!({}));
    wait_for("some more", || (look(&host, &id)["done"].as_u64()? >= 15).then_some(()));
    host.kill();
    let host = Host::start(&site);
    let done = until_state(&host, &id, "done");
    let counts = [&done["ok"], &done["failed"], &done["skipped"], &done["total"]];
    assert_eq!(counts, [&json!(40), &json!(0), &json!(0), &json!(40)], "{done}");
    let each = deliveries_of_each(&host);
    assert_eq!(each[0], (1, 0), "the late one");
    assert!(each[1..].iter().all(|counts| *counts == (2, 1)), "{each:?}");
}

#[test]
fn the_first_event_of_a_replay_is_told_beside_its_attempt_before_and_stops_it() {
    let (site, host) = handled(3);
    tell(&site, &host, "reject");
    let ids: Vec<String> = host.api("/api/v1/events")["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["id"].as_str().unwrap().to_owned())
        .collect();
    let what = json!({ "action": "replay", "ids": ids.join(","), "to": "worker" });
    let id = plan(&host, what);
    assert_eq!(look(&host, &id)["to"], json!(["worker"]));
    start(&host, &id, json!({ "first": true }));
    let stopped = until_state(&host, &id, "stopped");
    assert_eq!((&stopped["failed"], &stopped["done"]), (&json!(1), &json!(1)), "{stopped}");
    assert_eq!(stopped["first_tried"]["verdict"], "fails now");
    assert_eq!(stopped["events"], json!([ids[2]]), "the oldest");
    assert_eq!(stopped["items"][0]["event_id"], json!(ids[2]));
    assert_eq!(deliveries_of_each(&host), [(1, 0), (1, 0), (2, 1)]);
    tell(&site, &host, "well");
    post(&host, &format!("/api/v1/operations/{id}/resume"), json!({}));
    let done = until_state(&host, &id, "done");
    assert_eq!((&done["ok"], &done["failed"]), (&json!(2), &json!(1)), "{done}");
}

#[test]
fn a_command_replays_what_matches_and_asks_before() {
    let (site, host) = handled(3);
    let refused = site.ask(&host, &["events", "replay", "--type", "step.one"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    let ran =
        site.ask(&host, &["events", "replay", "--type", "step.*", "--first", "--yes", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!((&ran.json()["ok"], &ran.json()["state"]), (&json!(3), &json!("done")));
    assert_eq!(ran.json()["first_tried"]["verdict"], "still well");
    assert_eq!(deliveries_of_each(&host), [(2, 1), (2, 1), (2, 1)]);
    let listed = site.ask(&host, &["operations"]).said();
    assert!(listed.contains("replay") && listed.contains("type=step.*"), "{listed}");
    let none = site.ask(&host, &["events", "replay", "--subject", "nobody", "--yes"]);
    assert_ne!(none.code, 0, "{none:?}");
}

#[test]
fn what_waits_behind_a_failure_is_retried_by_its_group_before_it_is_due() {
    let site = Site::new(&config("fail"), &[("worker.wat", AS_TOLD.as_bytes())]);
    let host = Host::start(&site);
    (0..4).for_each(|n| drop(host.send("step.one", format!("order_{n}"))));
    until(&host, "waiting", 4);
    let group = host.api("/api/v1/failures")["items"][0].clone();
    assert_eq!((&group["waiting"], &group["dead"]), (&json!(4), &json!(0)));
    let group = group["id"].as_str().unwrap();
    let dead = json!({ "action": "retry", "failure": group });
    assert_eq!(post(&host, "/api/v1/operations", dead)["total"], 0, "a retry is of dead ones");
    let id = plan(&host, json!({ "action": "retry", "failure": group, "state": "waiting" }));
    start(&host, &id, json!({ "first": true }));
    let stopped = until_state(&host, &id, "stopped");
    assert_eq!((&stopped["total"], &stopped["failed"]), (&json!(4), &json!(1)), "{stopped}");
    until(&host, "waiting", 4);
    tell(&site, &host, "well");
    let retry = ["deliveries", "retry", "--failure", group, "--state", "waiting"];
    let refused = site.ask(&host, &retry);
    assert!(refused.code == 2 && refused.err.contains("add --yes"), "{refused:?}");
    assert!(site.ask(&host, &[&retry[..], &["--yes"]].concat()).said().contains("4 retried"));
    until(&host, "done", 4);
    let attempts = host.api("/api/v1/deliveries?state=done")["items"].clone();
    let attempts: Vec<_> = attempts.as_array().unwrap().iter().map(|it| &it["attempt"]).collect();
    assert_eq!(attempts, [2, 2, 2, 3], "they count on");
}

#[test]
fn what_dies_after_the_preview_is_untouched() {
    let (_site, host) = dead(3);
    let id = plan(&host, of_all("discard"));
    host.send("step.one", "late");
    until(&host, "dead", 4);
    // And one of those that were counted dies again.
    let first = host.api("/api/v1/deliveries?state=dead&limit=4")["items"][3]["id"].clone();
    let first = first.as_str().unwrap();
    post(&host, &format!("/api/v1/deliveries/{first}/retry"), json!({}));
    wait_for("its second death", || {
        let now = host.api(&format!("/api/v1/deliveries/{first}"));
        (now["state"] == "dead" && now["attempt"] == 2).then_some(())
    });
    start(&host, &id, json!({}));
    let done = until_state(&host, &id, "done");
    assert_eq!((&done["ok"], &done["skipped"]), (&json!(2), &json!(1)), "{done}");
    until(&host, "dead", 2);
    assert_eq!(host.api(&format!("/api/v1/deliveries/{first}"))["state"], "dead");
}

#[test]
fn a_discard_is_undone_whole() {
    let (site, host) = dead(4);
    let id = plan(&host, of_all("discard"));
    start(&host, &id, json!({}));
    assert_eq!(until_state(&host, &id, "done")["can_undo"], true);
    until(&host, "discarded", 4);
    let undo = site.ask(&host, &["operations", "undo", &id, "--json"]).json();
    let undone = until_state(&host, undo["id"].as_str().unwrap(), "done");
    assert_eq!((&undone["ok"], &undone["undoes"]), (&json!(4), &json!(id)));
    until(&host, "dead", 4);
    assert_eq!(host.api("/api/v1/failures")["items"][0]["dead"], 4);
    // Nothing is left of it, so that another undo changes nothing.
    let again = post(&host, &format!("/api/v1/operations/{id}/undo"), json!({}));
    let again = until_state(&host, again["id"].as_str().unwrap(), "done");
    assert_eq!((&again["ok"], &again["skipped"]), (&json!(0), &json!(4)));
}

#[test]
fn a_paused_operation_goes_on_after_kill_9_and_each_delivery_is_tried_once() {
    let (site, host) = dead(40);
    tell(&site, &host, "well");
    let id = plan(&host, of_all("retry"));
    start(&host, &id, json!({ "pace": 20 }));
    wait_for("some", || (look(&host, &id)["done"].as_u64()? >= 5).then_some(()));
    post(&host, &format!("/api/v1/operations/{id}/pause"), json!({}));
    host.kill();
    let host = Host::start(&site);
    assert_eq!(look(&host, &id)["state"], "paused");
    post(&host, &format!("/api/v1/operations/{id}/resume"), json!({}));
    wait_for("some more", || (look(&host, &id)["done"].as_u64()? >= 15).then_some(()));
    host.kill();
    let host = Host::start(&site);
    let done = until_state(&host, &id, "done");
    assert_eq!((&done["ok"], &done["failed"], &done["total"]), (&json!(40), &json!(0), &json!(40)));
    until(&host, "done", 40);
    // One attempt that was rejected, and one that was not; an attempt that a kill has cut short is
    // made again.
    let page = host.api("/api/v1/deliveries?state=done&limit=100");
    for delivery in page["items"].as_array().unwrap() {
        let path = format!("/api/v1/deliveries/{}", delivery["id"].as_str().unwrap());
        let delivery = host.api(&path);
        let ended: Vec<&str> = delivery["attempts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|attempt| attempt["outcome"].as_str().unwrap())
            .filter(|outcome| *outcome != "crash")
            .collect();
        assert_eq!(ended, ["reject", "ok"], "{delivery}");
    }
}

#[test]
fn it_stops_after_as_many_failures_as_it_was_told() {
    let (_site, host) = dead(30);
    let id = plan(&host, of_all("retry"));
    start(&host, &id, json!({ "stop_after": 3 }));
    let stopped = until_state(&host, &id, "stopped");
    let failed = stopped["failed"].as_u64().unwrap();
    assert!((3..=6).contains(&failed), "{stopped}");
    post(&host, &format!("/api/v1/operations/{id}/cancel"), json!({}));
    assert_eq!(look(&host, &id)["state"], "cancelled");
    let (status, problem) =
        host.api_status("POST", &format!("/api/v1/operations/{id}/resume"), None);
    assert_eq!(status, 409, "{problem}");
}

#[test]
fn what_is_asked_wrongly_is_refused_with_the_field() {
    let (_site, host) = dead(1);
    for (body, part) in [
        (json!({}), "`action` is missing"),
        (json!({ "action": "retri" }), "did you mean `retry`"),
        (json!({ "action": "retry" }), "no filter given"),
        (json!({ "action": "retry", "ids": "dlv_x" }), "`ids`"),
        (json!({ "action": "retry", "state": "dead", "to": "worker" }), "`action=replay`"),
        (json!({ "action": "replay" }), "type=**"),
        (json!({ "action": "replay", "failure": "f_0123456789ab" }), "no filter of events"),
        (json!({ "action": "replay", "ids": "dlv_0000000000000001_0" }), "`ids`"),
        (
            json!({ "action": "replay", "ids": "evt_0000000000000001", "type": "a" }),
            "leave the filters out",
        ),
        (
            json!({ "action": "retry", "ids": "dlv_0000000000000001_0", "state": "dead" }),
            "leave the filters out",
        ),
        (json!({ "action": "retry", "state": "dead", "as_of": "yesterday" }), "`as_of`"),
        (json!({ "action": "retry", "state": "dead", "colour": "red" }), "there is no parameter"),
    ] {
        let (status, problem) = host.api_status("POST", "/api/v1/operations", Some(body.clone()));
        assert_eq!(status, 400, "{body}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(part), "{body}: {problem}");
    }
    let (status, _) = host.api_status("GET", "/api/v1/operations/op_9", None);
    assert_eq!(status, 404);
    let id = plan(&host, of_all("retry"));
    for (body, part) in [
        (json!({ "pace": 0 }), "`pace`"),
        (json!({ "stop_after": "many" }), "`stop_after`"),
        (json!({ "first": "yes" }), "`first`"),
    ] {
        let path = format!("/api/v1/operations/{id}/start");
        let (status, problem) = host.api_status("POST", &path, Some(body));
        assert_eq!(status, 400);
        assert!(problem["detail"].as_str().unwrap().contains(part), "{problem}");
    }
}
