//! Commands that talk to a running host.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::{OK, site};
use crate::support::{Host, Ran, Site, wait_for};

/// Sends one event and expects it to be accepted.
fn send(site: &Site, host: &Host, kind: &str, subject: &str) {
    let set = format!("event_data.callback_id={subject}");
    let ran = site.run(&["send", "heygen", kind, "--set", &set, "--url", &host.public_url]);
    assert!(ran.code == 0 && ran.out.contains("200 OK") && ran.out.contains("accepted"), "{ran:?}");
}

/// The only row of a JSON listing, once it is there.
fn row(site: &Site, host: &Host, arguments: &[&str]) -> Value {
    wait_for("a row", || {
        let mut page = site.ask(host, &[arguments, &["--json"]].concat()).json();
        let rows = page["items"].as_array_mut().unwrap();
        assert!(rows.len() <= 1, "{rows:?}");
        rows.pop()
    })
}

#[test]
fn what_was_sent_is_listed_shown_and_replayed() {
    let site = site();
    let host = Host::start(&site);
    send(&site, &host, "avatar_video.success", "order_1");
    let event =
        row(&site, &host, &["events", "--subject", "order_1", "--state", "done", "--since", "1h"]);
    let id = event["id"].as_str().unwrap();
    let listed = site.ask(&host, &["events"]);
    assert!(
        listed.code == 0 && listed.out.contains(id) && listed.out.contains("fine done"),
        "{listed:?}"
    );
    let shown = site.ask(&host, &["events", id]);
    assert!(
        shown.out.contains("\"callback_id\": \"order_1\"") && shown.out.contains("#1"),
        "{shown:?}"
    );
    assert_eq!(site.ask(&host, &["events", id, "--json"]).json()["id"], id);
    let replayed = site.ask(&host, &["events", "replay", id, "--plugin", "refuses", "--json"]);
    assert_eq!(
        (replayed.code, &replayed.json()["plugins"]),
        (0, &json!(["refuses"])),
        "{replayed:?}"
    );
    let refused = site.ask(&host, &["events", "replay", id, "--plugin", "refuse"]);
    assert!(refused.code == 1 && refused.err.contains("did you mean `refuses`?"), "{refused:?}");
}

#[test]
fn a_dead_delivery_is_found_and_retried() {
    let site = site();
    let host = Host::start(&site);
    send(&site, &host, "avatar_video.fail", "order_2");
    let delivery = row(&site, &host, &["deliveries", "--state", "dead"]);
    let id = delivery["id"].as_str().unwrap();
    let shown = site.ask(&host, &["deliveries", id]);
    assert!(shown.code == 0 && shown.out.contains("refuses  dead"), "{shown:?}");
    assert_eq!(site.ask(&host, &["deliveries", "retry", id]).out, "1 retried\n");
    wait_for("the second attempt", || {
        let shown = site.ask(&host, &["deliveries", id, "--json"]).json();
        (shown["attempts"].as_array().unwrap().len() == 2).then_some(())
    });
    row(&site, &host, &["deliveries", "--state", "dead"]);
    let retried = site.ask(
        &host,
        &["deliveries", "retry", "--state", "dead", "--plugin", "refuses", "--yes", "--json"],
    );
    assert_eq!(retried.json(), json!({ "retried": 1, "more": false, "next_cursor": null }));
}

#[test]
fn what_fails_is_shown_by_groups_and_retried_by_one() {
    let site = site();
    let host = Host::start(&site);
    send(&site, &host, "avatar_video.fail", "order_2");
    row(&site, &host, &["deliveries", "--state", "dead"]);
    let group = row(&site, &host, &["failures"]);
    let id = group["id"].as_str().unwrap();
    assert_eq!((&group["plugin"], &group["dead"]), (&json!("refuses"), &json!(1)));
    assert_eq!(group["on_running"], "fails");
    let listed = site.ask(&host, &["failures", "--plugin", "refuses", "--outcome", "reject"]);
    assert!(listed.code == 0 && listed.out.contains(id), "{listed:?}");
    assert!(listed.out.contains("(runs)"), "{listed:?}");
    let shown = site.ask(&host, &["failures", id]);
    assert!(shown.code == 0 && shown.out.contains(group["text"].as_str().unwrap()), "{shown:?}");
    let none = site.ask(&host, &["failures", "--plugin", "fine"]);
    assert!(none.code == 0 && none.out.contains("nothing fails"), "{none:?}");
    row(&site, &host, &["deliveries", "--failure", id, "--min-attempts", "1"]);
    assert_eq!(
        site.ask(&host, &["deliveries", "retry", "--failure", id, "--yes"]).out,
        "1 retried\n"
    );
    wait_for("the second failure", || {
        let group = site.ask(&host, &["failures", id, "--json"]).json();
        let met = group["files"][0]["count"] == 2;
        (met && group["dead"] == 1 && group["waiting"] == 0).then_some(())
    });
    let wrong = site.run(&["failures", "f_12"]);
    assert!(wrong.code == 2 && wrong.err.contains("`f_` and 12 hex digits"), "{wrong:?}");
}

#[test]
fn a_dead_delivery_is_discarded_and_can_be_had_back() {
    let site = site();
    let host = Host::start(&site);
    send(&site, &host, "avatar_video.fail", "order_2");
    let delivery = row(&site, &host, &["deliveries", "--state", "dead"]);
    let id = delivery["id"].as_str().unwrap();
    let would = site.ask(&host, &["deliveries", "discard", "--plugin", "refuses", "--dry-run"]);
    assert!(would.out.starts_with("1 would be discarded\n") && would.out.contains(id), "{would:?}");
    assert_eq!(
        site.ask(&host, &["deliveries", "discard", "--plugin", "refuses", "--yes"]).out,
        "1 discarded\n"
    );
    row(&site, &host, &["deliveries", "--state", "discarded"]);
    let refused = site.ask(&host, &["deliveries", "discard", id]);
    assert!(refused.code == 1 && refused.err.contains("discarded already"), "{refused:?}");
    assert_eq!(
        site.ask(&host, &["deliveries", "retry", id, "--json"]).json(),
        json!({ "retried": 1 })
    );
    row(&site, &host, &["deliveries", "--state", "dead"]);
}

#[test]
fn ctrl_c_ends_a_change_of_many_after_a_step_and_says_how_far_it_got() {
    let site = site();
    for more in [&[][..], &["--json"]] {
        let (admin, steps) = super::pretender::endless();
        let mut command =
            site.command(&["deliveries", "cancel", "--state", "open", "--yes", "--admin", &admin]);
        let command = command
            .args(more)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let child = command.spawn().unwrap();
        // It listens for ctrl-c before it asks.
        steps.recv().unwrap();
        let sent =
            std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        let output = child.wait_with_output().unwrap();
        let [out, err] =
            [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert_eq!(output.status.code(), Some(1), "{out} {err}");
        assert!(err.contains("the same command goes on"), "{err}");
        if more.is_empty() {
            assert!(out.ends_with("0 cancelled\n"), "{out}");
        } else {
            let answer: Value = serde_json::from_str(&out).unwrap();
            assert_eq!((&answer["more"], &answer["next_cursor"]), (&json!(true), &json!("next")));
            assert!(answer["cancelled"].as_u64().unwrap() >= 10, "{answer}");
        }
    }
}

#[test]
fn a_change_of_many_needs_a_filter() {
    let site = site();
    for (verb, hint) in
        [("retry", "--state dead"), ("cancel", "--state open"), ("discard", "--state dead")]
    {
        let ran = site.run(&["deliveries", verb]);
        assert!(ran.code == 2 && ran.err.contains(hint), "{ran:?}");
    }
    let ran = site.run(&["deliveries", "cancel", "dlv_0000000000000001_0", "--plugin", "fine"]);
    assert!(ran.code == 2 && ran.err.contains("cannot be used with"), "{ran:?}");
}

#[test]
fn many_events_are_sent_and_summed_up() {
    let site = site();
    let host = Host::start(&site);
    let ran = site.run(&[
        "send",
        "heygen",
        "avatar_video.success",
        "--count",
        "50",
        "--connections",
        "4",
        "--url",
        &host.public_url,
    ]);
    assert!(ran.code == 0 && ran.out.contains("50  200 OK") && ran.out.contains("p99"), "{ran:?}");
    assert!(!ran.out.contains("duplicates"), "each is another event: {ran:?}");
    let ran = site.run(&[
        "send",
        "heygen",
        "x",
        "--count",
        "3",
        "--url",
        &format!("{}/webhook/nobody", host.public_url),
    ]);
    assert!(ran.code == 1 && ran.out.contains("3  404 Not Found"), "{ran:?}");
}

#[test]
fn the_same_body_again_is_a_duplicate() {
    let site = site();
    let host = Host::start(&site);
    site.put("body.json", r#"{"event_type":"avatar_video.success","event_data":{"video_id":"v"}}"#);
    let arguments = [
        "send",
        "heygen",
        "avatar_video.success",
        "--data",
        "body.json",
        "--url",
        &host.public_url,
    ];
    let first = site.run(&arguments);
    assert!(first.out.contains("accepted") && !first.out.contains("duplicate"), "{first:?}");
    let event = row(&site, &host, &["events"]);
    let id = event["id"].as_str().unwrap();
    let again = site.run(&arguments);
    let what = format!("duplicate of {id}: nothing new was stored, and no plugin runs for it");
    for said in [&what, &format!("hookbox events replay {id}"), "--set PATH=VALUE"] {
        assert!(again.code == 0 && again.out.contains(said), "{said}: {again:?}");
    }
    let json = site.run(&[&arguments[..], &["--json"]].concat());
    let answer = json.json();
    assert_eq!(
        (json.code, &answer["duplicate_of"], &answer["http_status"]),
        (0, &json!(id), &json!(200)),
        "{json:?}"
    );
    assert_eq!(answer["reply"], json!({ "id": id, "status": "duplicate" }), "{json:?}");
    let many = site.run(&[&arguments[..], &["--count", "3"]].concat());
    let what = format!("the first {what}");
    assert!(
        many.code == 0 && many.out.contains("3  of them duplicates") && many.out.contains(&what),
        "{many:?}"
    );
    let many = site.run(&[&arguments[..], &["--count", "3", "--json"]].concat()).json();
    assert_eq!(
        (&many["duplicates"], &many["duplicate_of"], &many["sent"]),
        (&json!(3), &json!(id), &json!(3)),
        "{many}"
    );
    let shown = site.ask(&host, &["events", id]);
    assert!(shown.out.contains("duplicates      8, the last at 20"), "{shown:?}");
    // And sent as it says, it is another event.
    let other =
        site.run(&[&arguments[..], &["--set", "event_data.video_id=w", "--json"]].concat()).json();
    assert_eq!(
        (&other["reply"]["status"], &other["duplicate_of"]),
        (&json!("accepted"), &Value::Null),
        "{other}"
    );
}

#[test]
fn a_refused_request_is_exit_code_1() {
    let site = site();
    let host = Host::start(&site);
    let url = format!("{}/webhook/nobody", host.public_url);
    let ran = site.run(&["send", "heygen", "avatar_video.success", "--url", &url]);
    assert!(ran.code == 1 && ran.out.contains("404 Not Found"), "{ran:?}");
    assert!(!ran.out.contains("says why"), "there is no source to ask: {ran:?}");
    let mut wrong = site.command(&["send", "heygen", "a.b", "--url", &host.public_url]);
    let wrong: Ran =
        wrong.env("HEYGEN_WEBHOOK_SECRET", "0123456789abcdef").output().unwrap().into();
    assert!(wrong.code == 1 && wrong.out.contains("401 Unauthorized"), "{wrong:?}");
    assert!(wrong.out.contains("`hookbox sources heygen` says why"), "{wrong:?}");
}

#[test]
fn plugins_are_listed_and_shown() {
    let site = site();
    let host = Host::start(&site);
    let listed = site.ask(&host, &["plugins"]);
    assert!(
        listed.code == 0 && listed.out.contains("fine     loaded  handler@0.1.0"),
        "{listed:?}"
    );
    assert_eq!(site.ask(&host, &["plugins", "--json"]).json()["items"][1]["name"], "refuses");
    assert!(site.ask(&host, &["plugins", "fine"]).out.contains("avatar_video.success"));
    let missing = site.ask(&host, &["plugins", "fin"]);
    assert!(missing.code == 1 && missing.err.contains("did you mean `fine`?"), "{missing:?}");
}

#[test]
fn a_plugin_has_its_attempts_of_each_hour_also_those_before_a_restart() {
    let site = site();
    let host = Host::start(&site);
    send(&site, &host, "avatar_video.success", "order_1");
    row(&site, &host, &["events", "--subject", "order_1", "--state", "done"]);
    host.signal("TERM");
    host.wait();
    let host = Host::start(&site);
    let shown = site.ask(&host, &["plugins", "fine"]).said();
    let (_, hours) = shown.split_once("HOUR FROM").unwrap_or_else(|| panic!("{shown}"));
    let mut lines = hours.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(lines.next().unwrap(), ["SUCCEEDED", "P95"]);
    let hour = lines.next().unwrap();
    assert!(hour[0].ends_with('Z') && hour[1] == "1", "{shown}");
}

#[test]
fn check_names_the_file_that_would_be_held_and_what_lets_it_in() {
    let site = site();
    let host = Host::start(&site);
    host.signal("TERM");
    host.wait();
    let asks =
        OK.replacen("(component", "(component (import \"hookbox:plugin/kv@0.1.0\" (instance))", 1);
    site.put("plugins/fine.wat", asks);
    let ran = site.run(&["check"]);
    assert!(ran.code == 0 && ran.out.contains("held: the newest file asks for kv"), "{ran:?}");
    let warning = "warning: the newest file of `fine` asks for kv and waits; `hookbox plugins approve fine --digest ";
    assert!(ran.out.contains(warning), "{ran:?}");
    assert!(ran.out.contains("fine     handler@0.1.0"), "the old one would go on: {ran:?}");
    assert!(!ran.out.contains("newest file of `refuses`"), "{ran:?}");
    // A store that is not believed is no problem of the configuration.
    std::fs::set_permissions(site.path("data/hookbox.db"), std::fs::Permissions::from_mode(0o666))
        .unwrap();
    let ran = site.run(&["check"]);
    assert!(
        ran.code == 0
            && ran.err.contains("warning: which plugin files would be held cannot be told"),
        "{ran:?}"
    );
}

#[test]
fn a_listing_that_nobody_reads_to_its_end_is_no_failure() {
    let site = site();
    let host = Host::start(&site);
    let mut child = site
        .command(&["events", "--json", "--admin", &host.admin_url])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
}

#[test]
fn a_signal_drains_and_ends_the_host_with_exit_code_0() {
    let site = site();
    for signal in ["TERM", "INT"] {
        let host = Host::start(&site);
        host.signal(signal);
        assert_eq!(host.wait().code(), Some(0), "{signal}");
    }
}

#[test]
fn a_second_signal_leaves_at_once() {
    let site = site();
    site.put("plugins/fine.wat", include_str!("../hostile/loop.wat"));
    let host = Host::start(&site);
    send(&site, &host, "avatar_video.success", "order_1");
    row(&site, &host, &["deliveries", "--state", "leased"]);
    host.signal("TERM");
    let address = host.public;
    // The door is closed while the attempt goes on: the first signal was heard.
    wait_for("the door to close", || std::net::TcpStream::connect(address).err());
    host.signal("TERM");
    assert_eq!(host.wait().code(), Some(128 + 15));
}

#[test]
fn an_address_that_is_taken_is_named() {
    let site = site();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    site.put("config.toml", format!("[server]\nlisten = \"{address}\"\nadmin = \"127.0.0.1:0\"\n"));
    let ran = site.run(&["serve"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains(&address.to_string()) && ran.err.contains("server.listen"), "{ran:?}");
    assert!(ran.err.contains("another program, perhaps another hookbox, listens there"), "{ran:?}");
}

#[test]
fn a_running_host_is_live_and_ready() {
    let site = site();
    let host = Host::start(&site);
    for (arguments, state) in [(&["health"][..], "ready"), (&["health", "--live"], "live")] {
        let ran = site.ask(&host, arguments);
        assert_eq!((ran.code, ran.out.trim_end()), (0, state), "{ran:?}");
    }
    assert!(site.ask(&host, &["plugins", "fine"]).out.contains("log             store"));
}
