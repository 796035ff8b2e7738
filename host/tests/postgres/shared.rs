//! One host on Postgres says what another one says.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::pair;
use crate::support::{Host, SOURCE, Site, body, cluster, guest, wait_for};

/// `worker` succeeds, and `refuse` makes dead letters.
const ROUTES: &str = "[routes]\n\"step.one\" = \"worker\"\n\"step.two\" = \"refuse\"\n";

fn plugins() -> [(&'static str, Vec<u8>); 2] {
    [("worker.wat", guest("ok")), ("refuse.wat", guest("reject"))]
}

/// Two hosts with both plugins, and more of the configuration.
fn hosts(cluster: &hookbox_tools::cluster::Cluster, sections: &str) -> [(Site, Host); 2] {
    let plugins = plugins();
    let plugins: Vec<_> = plugins.iter().map(|(name, file)| (*name, file.as_slice())).collect();
    pair(cluster, &format!("{SOURCE}{ROUTES}{sections}"), &plugins)
}

/// Waits until both say the same of a path, which is returned.
fn agreed(hosts: [&Host; 2], path: &str) -> Value {
    wait_for(path, || {
        let [one, other] = hosts.map(|host| host.api(path));
        (one == other).then_some(one)
    })
}

/// The names of the hosts that a host knows.
fn names(host: &Host) -> BTreeSet<String> {
    let list = host.api("/api/v1/hosts");
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_webhook_is_stored_once_runs_on_one_host_and_is_seen_the_same_from_both() {
    const EVENTS: usize = 30;
    let Some(cluster) = cluster(&[]) else { return };
    let [(_east_site, east), (_west_site, west)] = hosts(&cluster, "");
    let both = [&east, &west];
    let kind = |number: usize| if number.is_multiple_of(3) { "step.two" } else { "step.one" };
    let mut ids = Vec::new();
    for number in 0..EVENTS {
        let (to, other) = (both[number % 2], both[(number + 1) % 2]);
        let body = body(kind(number), number);
        let (first, again) = (to.provide(&body), other.provide(&body));
        assert_eq!((&first["status"], &again["status"]), (&json!("accepted"), &json!("duplicate")));
        assert_eq!(first["id"], again["id"]);
        ids.push(first["id"].as_str().unwrap().to_owned());
    }
    let stats = east.settled();
    assert_eq!(stats["events"], EVENTS, "{stats}");
    for (number, id) in ids.iter().enumerate() {
        let event = agreed(both, &format!("/api/v1/events/{id}"));
        let deliveries = event["deliveries"].as_array().unwrap();
        let [delivery] = deliveries.as_slice() else { panic!("{event}") };
        let (plugin, state) = match kind(number) {
            "step.one" => ("worker", "done"),
            _ => ("refuse", "dead"),
        };
        assert_eq!((&delivery["plugin"], &delivery["state"]), (&json!(plugin), &json!(state)));
        assert_eq!(delivery["attempts"].as_array().map(Vec::len), Some(1), "{event}");
        assert_eq!(event["duplicates"], 1, "{event}");
    }
    let stats = ["events", "deliveries"].map(|part| {
        let [one, other] = both.map(|host| host.api("/api/v1/stats")[part].clone());
        assert_eq!(one, other);
        one
    });
    assert_eq!((&stats[1]["done"], &stats[1]["dead"]), (&json!(20), &json!(10)), "{stats:?}");
    let groups = agreed(both, "/api/v1/failures");
    assert_eq!(groups["items"].as_array().map(Vec::len), Some(1), "{groups}");
    assert_eq!(groups["items"][0]["dead"], 10, "{groups}");
    let dead = agreed(both, "/api/v1/deliveries?state=dead&limit=100");
    assert_eq!(dead["items"].as_array().map(Vec::len), Some(10), "{dead}");
    // An operator's change at one is the other's state.
    let id = dead["items"][0]["id"].as_str().unwrap();
    let (status, _) = east.api_status("POST", &format!("/api/v1/deliveries/{id}/discard"), None);
    assert_eq!(status, 200);
    assert_eq!(west.count("dead"), 9);
    let (status, again) =
        west.api_status("POST", &format!("/api/v1/deliveries/{id}/discard"), None);
    assert_eq!(status, 409, "{again}");
    agreed(both, "/api/v1/audit");
}

#[test]
fn hosts_that_share_a_server_list_each_other_and_one_that_is_stopped_is_gone() {
    let Some(cluster) = cluster(&[]) else { return };
    let [(site, east), (west_site, west)] = hosts(&cluster, "");
    for host in [&east, &west] {
        assert_eq!(names(host), ["east", "west"].map(str::to_owned).into());
    }
    let listed = wait_for("the files of each host's plugins", || {
        let list = west.api("/api/v1/hosts");
        let items = list["items"].as_array().unwrap().clone();
        let has_both = |host: &Value| host["plugins"].as_object().unwrap().len() == 2;
        items.iter().all(has_both).then_some(list)
    });
    let this = listed["items"].as_array().unwrap().iter().filter(|host| host["this"] == true);
    assert_eq!(this.map(|host| &host["name"]).collect::<Vec<_>>(), ["west"]);
    assert_eq!(listed["plugins_that_differ"], json!([]));
    west_site.put_plugin("worker.wat", &guest("retry"));
    wait_for("the difference to be known", || {
        (east.api("/api/v1/hosts")["plugins_that_differ"] == json!(["worker"])).then_some(())
    });
    let said = site.ask(&east, &["hosts"]).said();
    for part in ["east", "west", "asked", "not every host runs the same file of worker"] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    west.stop();
    assert_eq!(names(&east), ["east".to_owned()].into());
    let said = site.ask(&east, &["hosts", "--json"]).json();
    assert_eq!(said["items"][0]["name"], "east", "{said}");
}

#[test]
fn a_pause_and_an_approval_that_are_made_at_one_host_hold_at_the_other() {
    let Some(cluster) = cluster(&[]) else { return };
    let [(east_site, east), (west_site, west)] = hosts(&cluster, "");
    let is_paused = |host: &Host| !host.plugin("worker")["paused"].is_null();
    east_site.ask(&east, &["plugins", "pause", "worker", "--reason", "a test"]).said();
    wait_for("the pause to be known", || is_paused(&west).then_some(()));
    let ids = [&east, &west].map(|host| host.send("step.one", host.public));
    // Another plugin goes on at both.
    for host in [&east, &west] {
        let id = host.send("step.two", host.admin);
        let dead = || host.event(&id)["deliveries"][0]["state"] == "dead";
        wait_for("what is not paused", || dead().then_some(()));
    }
    assert_eq!((east.count("ready"), west.count("ready")), (2, 2));
    west_site.ask(&west, &["plugins", "resume", "worker"]).said();
    for id in &ids {
        east.until_done(id);
    }
    wait_for("the end of the pause to be known", || (!is_paused(&east)).then_some(()));

    let modest = String::from_utf8(guest("ok")).unwrap();
    let import = "(component (import \"hookbox:plugin/kv@0.1.0\" (instance))";
    let asks = modest.replacen("(component", import, 1);
    for (site, host) in [(&east_site, &east), (&west_site, &west)] {
        site.put_plugin("worker.wat", asks.as_bytes());
        host.until_plugin("worker", "held");
    }
    let digest = east.plugin("worker")["held"]["digest"].clone();
    let approve = Some(json!({ "digest": digest }));
    let (status, said) = west.api_status("POST", "/api/v1/plugins/worker/approve", approve);
    assert_eq!(status, 200, "{said}");
    for host in [&east, &west] {
        wait_for("the approved file to run", || {
            (host.plugin("worker")["digest"] == digest).then_some(())
        });
        host.until_done(&host.send("step.one", format!("of_{}", host.admin)));
    }
}

#[test]
fn of_two_hosts_with_one_schedule_one_stores_each_tick() {
    let Some(cluster) = cluster(&[]) else { return };
    let schedule = "[schedules.beat]\nevery = \"1s\"\nmissed = \"all\"\nemit = \"step.one\"\n";
    let [(_east_site, east), (_west_site, west)] = hosts(&cluster, schedule);
    wait_for("five ticks", || (east.api("/api/v1/stats")["events"].as_u64()? >= 5).then_some(()));
    east.stop();
    // The other one goes on alone.
    let before = west.api("/api/v1/stats")["events"].as_u64().unwrap();
    wait_for("more ticks", || {
        (west.api("/api/v1/stats")["events"].as_u64()? >= before + 2).then_some(())
    });
    west.stop();
    let odd = "SELECT count(*), count(DISTINCT time_ms) FROM hookbox.events
        HAVING count(*) <> count(DISTINCT time_ms)
            OR (count(*) - 1) * 1000 <> max(time_ms) - min(time_ms)";
    assert_eq!(cluster.sql(odd), "", "a tick came twice, or is missing");
    let without = "SELECT e.id FROM hookbox.events e WHERE 1 <>
        (SELECT count(*) FROM hookbox.settled s WHERE s.event = e.id AND s.state = 3) +
        (SELECT count(*) FROM hookbox.open o WHERE o.event = e.id)";
    assert_eq!(cluster.sql(without), "", "a tick was not handled once");
}
