//! Workflows as users write them: the real host, its configuration, and what its API tells.

use hookbox::clock::{Clock, parse_rfc3339};
use serde_json::{Value, json};

use crate::support::{Host, SOURCE, Site, body, guest, wait_for};

mod items;
mod order;
mod schedules;
mod seeing;
mod starts;

/// The time at which hosts start that go by a clock of the test, Unix ms.
const START_MS: i64 = 1_790_000_000_000;

/// A site with these sections, a plugin `ship` that refuses everything, and `refund` and `next`
/// that succeed.
pub(super) fn site(sections: &str) -> Site {
    let (reject, ok) = (guest("reject"), guest("ok"));
    let plugins: [(&str, &[u8]); 3] =
        [("ship.wat", &reject), ("refund.wat", &ok), ("next.wat", &ok)];
    Site::new(&format!("{SOURCE}{sections}"), &plugins)
}

/// A host that goes by a clock that the test sets.
fn by_hand(site: &Site) -> (Clock, Host) {
    site.keep_secret_in_file();
    let clock = Clock::manual(START_MS);
    let host = Host::start_by(site, &clock);
    (clock, host)
}

/// The events of a type, oldest first, each whole.
pub(super) fn events(host: &Host, kind: &str) -> Vec<Value> {
    let page = host.api(&format!("/api/v1/events?type={kind}&limit=100"));
    let ids = page["items"].as_array().unwrap().iter().rev();
    ids.map(|item| host.event(item["id"].as_str().unwrap())).collect()
}

/// The only event of a type, once it is there and everything is settled.
fn only(host: &Host, kind: &str) -> Value {
    wait_for(kind, || (!events(host, kind).is_empty()).then_some(()));
    host.settled();
    let mut found = events(host, kind);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn every_dead_letter_that_a_route_names_is_followed_by_one_event() {
    let site =
        site("[routes]\n\"order.paid\" = \"ship\"\n\"plugins/ship:hookbox.dead\" = \"refund\"\n");
    let host = Host::start(&site);
    let id = host.send("order.paid", "order_1");
    let dead = only(&host, "hookbox.dead");
    let order = host.event(&id);
    assert_eq!(dead["parent_id"], order["id"], "{dead}");
    assert_eq!((&dead["source"], &dead["subject"]), (&json!("plugins/ship"), &json!("order_1")));
    let data = &dead["data"];
    assert_eq!(data["delivery"], order["deliveries"][0]["id"], "{data}");
    assert_eq!((&data["plugin"], &data["outcome"]), (&json!("ship"), &json!("reject")), "{data}");
    assert_eq!((&data["death"], &data["attempts"]), (&json!(1), &json!(1)), "{data}");
    assert!(data["error"].as_str().is_some_and(|error| !error.is_empty()), "{data}");
    let expected: Value = serde_json::from_str(&body("order.paid", "order_1")).unwrap();
    assert_eq!((&data["event"]["id"], &data["event"]["data"]), (&order["id"], &expected), "{data}");
    assert_eq!(dead["deliveries"][0]["plugin"], "refund", "{dead}");
    // A second death is told of once more.
    let delivery = data["delivery"].as_str().unwrap();
    site.ask(&host, &["deliveries", "retry", delivery]).said();
    wait_for("a second death", || (events(&host, "hookbox.dead").len() == 2).then_some(()));
    host.settled();
    assert_eq!(events(&host, "hookbox.dead")[1]["data"]["death"], 2);
}

#[test]
fn nothing_tells_of_a_dead_letter_that_no_route_names() {
    let site =
        site("[routes]\n\"order.paid\" = \"ship\"\n\"plugins/next:hookbox.dead\" = \"refund\"\n");
    let host = Host::start(&site);
    host.send("order.paid", "order_1");
    host.settled();
    assert_eq!(host.count("dead"), 1);
    assert!(events(&host, "hookbox.dead").is_empty());
}

#[test]
fn dead_letters_are_gathered_and_cancel_like_any_event() {
    let site = site(
        "[plugins.ship]\nkey = \"subject\"\non_dead = \"hold\"\nmax_waiting_per_key = 1\n\
         [routes]\n\"order.paid\" = [\"ship\", { plugin = \"next\", delay = \"1h\", cancel_on = \"hookbox.dead\" }]\n\
         alarm = \"refund\"\n\
         [batches.alarm]\non = \"hookbox.dead\"\nkey = \"source\"\nsize = 2\nwithin = \"1h\"\nemit = \"alarm\"\n",
    );
    let host = Host::start(&site);
    let first = host.send("order.paid", "order_1");
    wait_for("the first death", || (events(&host, "hookbox.dead").len() == 1).then_some(()));
    let reminder = wait_for("the cancel", || {
        let reminder = host.event(&first)["deliveries"][1].clone();
        (reminder["state"] == "cancelled").then_some(reminder)
    });
    assert_eq!(reminder["plugin"], "next");
    assert!(events(&host, "alarm").is_empty(), "the batch has one of two");
    // This one waits behind the dead letter; the next one the store gives up by itself.
    for n in 1..=2 {
        // Otherwise they were repeats of the first one.
        host.provide(&(body("order.paid", "order_1") + &" ".repeat(n)));
    }
    wait_for("the alarm", || (!events(&host, "alarm").is_empty()).then_some(()));
    let alarm = events(&host, "alarm").remove(0);
    let members = alarm["data"]["members"].as_array().unwrap();
    let outcomes: Vec<_> = members.iter().map(|member| &member["data"]["outcome"]).collect();
    assert_eq!(outcomes, [&json!("reject"), &json!("error")], "{alarm}");
    assert_eq!(alarm["source"], "batches/alarm");
    // Deliveries may still wait behind the dead letter; the test ends without them.
    host.kill();
}

#[test]
fn a_join_ends_with_the_last_of_its_events_in_any_order() {
    let site = site(
        "[routes]\n\"order.ready\" = \"next\"\n\
         [joins.videos]\non = \"video.*\"\nkey = \"subject\"\nneed = 3\nwithin = \"1h\"\nemit = \"order.ready\"\n",
    );
    let mut host = Host::start(&site);
    host.send("video.a", "order_1");
    host.send("video.b", "order_2");
    host.send("video.b", "order_1");
    assert!(events(&host, "order.ready").is_empty());
    // A kill in between changes nothing.
    host.kill();
    host = Host::start(&site);
    let last = host.send("video.c", "order_1");
    wait_for("the join", || (!events(&host, "order.ready").is_empty()).then_some(()));
    let ready = wait_for("the next plugin", || {
        let ready = events(&host, "order.ready").remove(0);
        (ready["deliveries"][0]["state"] == "done").then_some(ready)
    });
    assert_eq!((&ready["source"], &ready["subject"]), (&json!("joins/videos"), &json!("order_1")));
    assert_eq!(ready["parent_id"], json!(last), "{ready}");
    let data = &ready["data"];
    assert_eq!(
        (&data["key"], &data["complete"], &data["why"], &data["count"], &data["need"]),
        (&json!("order_1"), &json!(true), &json!("need"), &json!(3), &json!(3)),
        "{data}"
    );
    let kinds: Vec<_> =
        data["members"].as_array().unwrap().iter().map(|member| member["type"].clone()).collect();
    assert_eq!(kinds, [json!("video.a"), json!("video.b"), json!("video.c")]);
    assert_eq!(data["members"][0]["data"]["event_data"]["callback_id"], "order_1", "{data}");
    // A straggler is noted, and opens nothing.
    let late = host.send("video.d", "order_1");
    let note = host.event(&late)["note"].clone();
    assert!(note.as_str().is_some_and(|note| note.starts_with("late_member")), "{note}");
    assert_eq!(events(&host, "order.ready").len(), 1);
    // The other order's join is still open: it is no reason not to end.
    host.kill();
}

#[test]
fn an_approval_that_does_not_come_in_time_is_late_and_never_both() {
    let site = site(
        "[routes]\n\"order.approved\" = \"next\"\n\"order.expired\" = \"refund\"\n\
         [joins.approval]\non = \"approval.asked\"\nclose = \"approval.granted\"\nkey = \"subject\"\n\
         within = \"1s\"\nemit = \"order.approved\"\nlate = \"order.expired\"\n",
    );
    let (clock, host) = by_hand(&site);
    host.send("approval.asked", "order_1");
    host.send("approval.asked", "order_2");
    clock.set(START_MS + 999);
    host.send("approval.granted", "order_1");
    assert!(events(&host, "order.expired").is_empty(), "there is a millisecond left");
    clock.set(START_MS + 1_000);
    let approved = only(&host, "order.approved");
    assert_eq!(
        (&approved["subject"], &approved["data"]["why"]),
        (&json!("order_1"), &json!("close"))
    );
    let expired = only(&host, "order.expired");
    assert_eq!(
        (&expired["subject"], &expired["data"]["why"]),
        (&json!("order_2"), &json!("within"))
    );
    assert_eq!(expired["data"]["complete"], false);
    assert_eq!(expired["deliveries"][0]["plugin"], "refund");
}

#[test]
fn a_batch_gathers_what_comes_until_it_is_quiet() {
    let site = site(
        "[routes]\n\"contacts.changed\" = \"next\"\n\
         [batches.sync]\non = \"contact.*\"\nkey = \"source\"\nsize = 100\nquiet = \"300ms\"\nwithin = \"1m\"\n\
         keep = \"ids\"\nemit = \"contacts.changed\"\n",
    );
    let (clock, host) = by_hand(&site);
    let ids = (0..5).map(|number| {
        clock.set(START_MS + 299 * number);
        host.send("contact.updated", number)
    });
    let ids: Vec<_> = ids.collect();
    assert!(events(&host, "contacts.changed").is_empty(), "it is not quiet yet");
    clock.set(START_MS + 299 * 4 + 300);
    let changed = only(&host, "contacts.changed");
    let members: Vec<_> = ids.iter().map(|id| json!({ "id": id })).collect();
    assert_eq!(
        (&changed["data"]["members"], &changed["data"]["why"]),
        (&json!(members), &json!("quiet"))
    );
    assert_eq!(changed["subject"], Value::Null);
}

#[test]
fn a_gathering_whose_section_is_gone_waits_and_is_told_of() {
    let join = "[joins.videos]\non = \"video.*\"\nkey = \"subject\"\nneed = 2\nwithin = \"1h\"\nemit = \"order.ready\"\n";
    let site = site(join);
    let host = Host::start(&site);
    host.send("video.a", "order_1");
    site.put_config(SOURCE);
    let trouble = wait_for("the trouble", || {
        let health = host.api("/readyz");
        health["problems"]
            .as_array()
            .unwrap()
            .iter()
            .find(|it| it["name"] == "joins/videos")
            .cloned()
    });
    assert!(trouble["detail"].as_str().unwrap().contains("its section is gone"), "{trouble}");
    site.put_config(&format!("{SOURCE}{join}"));
    wait_for("the section", || (host.api("/readyz")["status"] == "ready").then_some(()));
    host.send("video.b", "order_1");
    only(&host, "order.ready");
}

#[test]
fn after_a_reload_an_open_join_ends_by_the_within_that_its_section_has_then() {
    let config = |within: &str| {
        format!(
            "[routes]\n\"order.ready\" = \"next\"\n\"order.late\" = \"refund\"\n\
             [joins.videos]\non = \"video.*\"\nkey = \"subject\"\nneed = 2\nwithin = \"{within}\"\n\
             emit = \"order.ready\"\nlate = \"order.late\"\n"
        )
    };
    let site = site(&config("1h"));
    let mut host = Host::start(&site);
    let first = host.send("video.a", "order_1");
    let ends_after_ms = |host: &Host| {
        let open: Value =
            serde_json::from_str(&site.ask(host, &["joins", "--json"]).said()).unwrap();
        let time = |key: &str| parse_rfc3339(open["items"][0][key].as_str().unwrap()).unwrap();
        time("until") - time("since")
    };
    assert_eq!(ends_after_ms(&host), 3_600_000);
    site.put_config(&format!("{SOURCE}{}", config("2h")));
    wait_for("more time", || (ends_after_ms(&host) == 7_200_000).then_some(()));
    // Settings that changed while the host was stopped hold from the start on.
    host.kill();
    site.put_config(&format!("{SOURCE}{}", config("3h")));
    host = Host::start(&site);
    assert_eq!(ends_after_ms(&host), 10_800_000);
    site.put_config(&format!("{SOURCE}{}", config("1ms")));
    let late = only(&host, "order.late");
    assert_eq!((&late["data"]["why"], &late["parent_id"]), (&json!("within"), &json!(first)));
    assert!(events(&host, "order.ready").is_empty());
}
