//! Places for attempts, shared by plugins that keep them.

use crate::harness::{self, Host, SOURCE, Site, wait_for};
use crate::hostile;

/// Plugins that sleep in all their places: more of them than there are.
const SLEEPERS: usize = 40;

/// Attempts of each at once, by default.
const CONCURRENCY: usize = 16;

fn body(kind: &str, key: &str) -> String {
    format!(r#"{{"event_type":"{kind}","event_data":{{"callback_id":"{key}"}}}}"#)
}

/// The value of a metric without labels.
fn metric(host: &Host, name: &str) -> Option<f64> {
    let metrics = host.api("/metrics");
    let line = metrics.as_str().unwrap().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

fn running(host: &Host, attempts: f64) {
    wait_for("the attempts to run", || (metric(host, "hookbox_attempts_running")? == attempts).then_some(()));
}

#[test]
fn a_neighbours_event_is_handled_while_forty_plugins_sleep_in_all_their_places() {
    let sleep = hostile::file("sleep");
    let ok = include_bytes!("guests/ok.wat");
    let names: Vec<String> = (0..SLEEPERS).map(|number| format!("sleeper{number}.wat")).collect();
    let mut plugins: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), sleep.as_slice())).collect();
    plugins.extend([("late.wat", sleep.as_slice()), ("good.wat", ok.as_slice())]);
    let mut config = format!("{SOURCE}[routes]\n\"good.one\" = \"good\"\n\"late.one\" = \"late\"\n");
    let sections: String =
        (0..SLEEPERS).map(|number| format!("[plugins.sleeper{number}]\ntimeout = \"15m\"\n")).collect();
    config += &(0..SLEEPERS).map(|number| format!("\"sleep.{number}\" = \"sleeper{number}\"\n")).collect::<String>();
    config += &sections;
    config += "[plugins.late]\ntimeout = \"15m\"\n";
    let site = Site::new(&config, &plugins);
    let host = harness::start(&site);
    for round in 0..CONCURRENCY {
        for number in 0..SLEEPERS {
            host.provide(&body(&format!("sleep.{number}"), &format!("{number}_{round}")));
        }
    }
    // All but the two that are kept for plugins which run nothing.
    running(&host, 254.0);
    // The neighbour is served as often as it likes, and so is a plugin that comes late and sleeps as well.
    for round in 0..20 {
        handled(&host, &format!("good_{round}"));
    }
    host.provide(&body("late.one", "late"));
    running(&host, 255.0);
    handled(&host, "last");
    let stats = host.api("/api/v1/stats");
    assert_eq!(stats["deliveries"]["leased"], SLEEPERS * CONCURRENCY + 1, "{stats}");
    running(&host, 255.0);
}

/// Sends the neighbour an event, and waits until it is handled.
fn handled(host: &Host, key: &str) {
    let reply = host.provide(&body("good.one", key));
    let path = format!("/api/v1/events/{}", reply["id"].as_str().unwrap());
    wait_for("the neighbour's event", || (host.api(&path)["deliveries"][0]["state"] == "done").then_some(()));
}
