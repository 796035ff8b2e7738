//! Many hosts start at once on a backlog.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::load::p99;
use super::super::{is_long, pass, sites};
use crate::support::{
    Host, SOURCE, agent, asked, body, cluster, guest, provide, show_as_file, sign, wait_for,
};

/// `worker` takes lists of events.
pub(super) const LISTS: &str = r#"
[sources.lists]
secrets = [{ env = "TEST_SECRET" }]
verify = { scheme = "hmac-sha256", header = "X-Signature" }
split = "/events"
type = { fixed = "job.due" }
id = { json = "/id" }
[routes]
"lists:job.due" = "worker"
"#;

/// Some of them have a lane.
///
/// The rate is of each host: none is done with all before the others know that they may begin.
const LANES: &str = "[plugins.worker]\nkey = { json = \"/lane\" }\nrate = \"1000/s\"\n";

/// The events of a request.
const AT_ONCE: usize = 100;

/// The events of the lane are one in so many.
const IN_LANE: usize = 10;

/// How often the others send.
const EVERY: Duration = Duration::from_millis(10);

/// The event of a number.
fn numbered(number: usize) -> Value {
    let id = number.to_string();
    let is_in_lane = number.is_multiple_of(IN_LANE);
    if is_in_lane { json!({ "id": id, "lane": "one" }) } else { json!({ "id": id }) }
}

/// Posts a list of events until it is acknowledged: one that is not stored in time is sent again.
pub(super) fn post_list(agent: &ureq::Agent, host: &Host, events: &[Value]) {
    let body = json!({ "events": events }).to_string();
    wait_for("an acknowledgement", || {
        let request = agent
            .post(format!("{}/webhook/lists", host.public_url))
            .header("content-type", "application/json")
            .header("x-signature", sign(body.as_bytes()));
        let mut response = request.send(&body).unwrap();
        let (status, text) = (response.status(), response.body_mut().read_to_string().unwrap());
        assert!(status == 200 || status == 503, "{status}: {text}");
        (status == 200).then_some(())
    });
}

/// Sends events of others, which no plugin takes, as long as there is something; the time that each
/// acknowledgement took.
fn others(hosts: &[Host], numbers: std::ops::Range<usize>, ends: &AtomicBool) -> Vec<Duration> {
    let (agent, mut times) = (agent(), Vec::new());
    for number in numbers {
        if ends.load(Ordering::Relaxed) {
            break;
        }
        let (host, began) = (&hosts[number % hosts.len()], Instant::now());
        provide(&agent, host.public, &body("step.one", number));
        times.push(began.elapsed());
        pass(EVERY.saturating_sub(began.elapsed()));
    }
    times
}

/// Prints how the others' acknowledgements were.
fn tell_of_others(busy: Vec<Duration>, quiet: Vec<Duration>) {
    let (count, busy, quiet) = (busy.len(), p99(busy), p99(quiet));
    println!(
        "others: p99 of {count} acknowledgements beside the backlog {busy:.1?}, without it \
         {quiet:.1?}: {:.2} times",
        busy.as_secs_f64() / quiet.as_secs_f64(),
    );
}

#[test]
fn six_hosts_that_start_at_once_finish_a_backlog_and_one_key_of_three_hosts_keeps_its_order() {
    let Some(cluster) = cluster(&[]) else { return };
    let events = if is_long() { 20_000 } else { 10_000 };
    let (ok, sections) = (guest("ok"), format!("{SOURCE}{LISTS}{LANES}"));
    let sites = sites(&cluster, 6, &sections, &[("worker.wat", &ok)]);
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
        let list: Vec<_> = (first..first + AT_ONCE).map(numbered).collect();
        post_list(&agent, &hosts[request % 3], &list);
    }
    assert_eq!(hosts[0].count("done"), 0);
    hosts.into_iter().for_each(Host::stop);
    let hosts: Vec<Host> = std::thread::scope(|scope| {
        let start = |site| scope.spawn(move || Host::start_with(site, &[]).expect("it starts"));
        let starting: Vec<_> = sites.iter().map(start).collect();
        starting.into_iter().map(|host| host.join().unwrap()).collect()
    });
    let (began, ends) = (Instant::now(), AtomicBool::new(false));
    let (took, busy) = std::thread::scope(|scope| {
        let busy = scope.spawn(|| others(&hosts, 0..usize::MAX, &ends));
        sites[5].ask(&hosts[5], &["plugins", "resume", "worker"]).said();
        hosts[0].settled();
        ends.store(true, Ordering::Relaxed);
        (began.elapsed(), busy.join().unwrap())
    });
    let quiet = others(&hosts, busy.len()..2 * busy.len(), &AtomicBool::new(false));
    tell_of_others(busy, quiet);
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

/// Each delivery of the queue was settled by a transaction that began after the one before had
/// settled. The number of a transaction is greater than that of each transaction that was over when
/// it began to write.
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
