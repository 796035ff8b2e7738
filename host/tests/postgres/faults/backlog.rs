//! Many hosts start at once on a backlog.

use std::collections::HashMap;
use std::time::Instant;

use serde_json::json;

use super::super::{is_long, sites};
use crate::support::{Host, SOURCE, agent, asked, cluster, guest, show_as_file, sign, wait_for};

/// `worker` takes lists of events, of which some have a lane.
const SECTIONS: &str = r#"
[sources.lists]
secrets = [{ env = "TEST_SECRET" }]
verify = { scheme = "hmac-sha256", header = "X-Signature" }
split = "/events"
type = { fixed = "job.due" }
id = { json = "/id" }
[routes]
"lists:job.due" = "worker"
[plugins.worker]
key = { json = "/lane" }
"#;

/// The events of a request.
const AT_ONCE: usize = 100;

/// The events of the lane are one in so many.
const IN_LANE: usize = 10;

/// Posts the events from this number on.
fn post(agent: &ureq::Agent, host: &Host, first: usize) {
    let event = |number: usize| {
        let id = number.to_string();
        let is_in_lane = number.is_multiple_of(IN_LANE);
        if is_in_lane { json!({ "id": id, "lane": "one" }) } else { json!({ "id": id }) }
    };
    let events: Vec<_> = (first..first + AT_ONCE).map(event).collect();
    let body = json!({ "events": events }).to_string();
    let request = agent
        .post(format!("{}/webhook/lists", host.public_url))
        .header("content-type", "application/json")
        .header("x-signature", sign(body.as_bytes()));
    let mut response = request.send(&body).unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    assert_eq!(response.status(), 200, "{text}");
}

#[test]
fn six_hosts_that_start_at_once_finish_a_backlog_and_one_key_of_three_hosts_keeps_its_order() {
    let Some(cluster) = cluster(&[]) else { return };
    let events = if is_long() { 20_000 } else { 10_000 };
    let ok = guest("ok");
    let sites = sites(&cluster, 6, &format!("{SOURCE}{SECTIONS}"), &[("worker.wat", &ok)]);
    let hosts: Vec<Host> = sites[..3].iter().map(Host::start).collect();
    show_as_file(&cluster);
    let agent = agent();
    sites[0].ask(&hosts[0], &["plugins", "pause", "worker", "--reason", "a test"]).said();
    for host in &hosts {
        wait_for("the pause to be known", || {
            (!host.plugin("worker")["paused"].is_null()).then_some(())
        });
    }
    for (request, first) in (0..events).step_by(AT_ONCE).enumerate() {
        post(&agent, &hosts[request % 3], first);
    }
    assert_eq!(hosts[0].count("done"), 0);
    hosts.into_iter().for_each(Host::stop);
    let hosts: Vec<Host> = std::thread::scope(|scope| {
        let start = |site| scope.spawn(move || Host::start_with(site, &[]).expect("it starts"));
        let starting: Vec<_> = sites.iter().map(start).collect();
        starting.into_iter().map(|host| host.join().unwrap()).collect()
    });
    let began = Instant::now();
    sites[5].ask(&hosts[5], &["plugins", "resume", "worker"]).said();
    hosts[0].settled();
    let took = began.elapsed();
    let ran: Vec<f64> = hosts.iter().map(ran_at).collect();
    println!(
        "{events} events, {} of them in one lane, took {took:.1?} and ran at {ran:?}",
        events / IN_LANE
    );
    assert!(ran.iter().filter(|count| **count > 0.0).count() > 1, "{ran:?}");
    hosts.into_iter().for_each(Host::stop);
    let all = "SELECT state, attempt, count(*) FROM deliveries GROUP BY 1, 2";
    assert_eq!(asked(&cluster, all), [format!("3 1 {events}")], "each was handled once");
    order_is_exact(&cluster, events / IN_LANE);
}

/// How many attempts a host has made.
fn ran_at(host: &Host) -> f64 {
    let name = "hookbox_attempts_total{plugin=\"worker\",outcome=\"ok\"}";
    host.metric(name).unwrap_or_default()
}

/// Each of the lane was settled by a transaction that began after the one before had settled: a
/// number of a transaction is greater than that of each that was over when it began to write.
fn order_is_exact(cluster: &hookbox_tools::cluster::Cluster, count: usize) {
    let settled = asked(
        cluster,
        "SELECT e.provider_id, s.xmin FROM hookbox.settled s JOIN hookbox.events e ON e.id = s.event
          WHERE s.key IS NOT NULL ORDER BY s.entered",
    );
    let number = |text: &str| text.parse::<usize>().unwrap();
    let settled: Vec<_> = settled
        .iter()
        .filter_map(|row| row.split_once(' '))
        .map(|(event, by)| (number(event), number(by)))
        .collect();
    assert_eq!(settled.len(), count);
    let places: HashMap<usize, usize> = settled.iter().copied().collect();
    assert_eq!(places.len(), count, "each once");
    for pair in settled.windows(2) {
        assert!(pair[0] < pair[1] && pair[0].1 < pair[1].1, "{pair:?} are out of order");
    }
}
