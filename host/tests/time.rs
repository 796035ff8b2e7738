//! A host whose clock is wrong: it runs in this process, by a clock that is moved by hand.

use hookbox::clock::Clock;
use serde_json::Value;

use crate::support::{Host, Site, guest, wait_for};

const START_MS: i64 = 1_770_000_000_000;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

const CONFIG: &str = r#"
[store]
retention = "48h"
dedupe_window = "47h"
[sources.test]
verify = { scheme = "none" }
type = { json = "/type" }
id = { json = "/id" }
[routes]
"step" = "worker"
"#;

/// Sends an event with an id of the provider's own: what it is to the host.
fn send(host: &Host, id: &str) -> String {
    let (_, reply) = host.post(&format!(r#"{{"type":"step","id":"{id}"}}"#)).unwrap();
    reply["status"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned()
}

fn events(host: &Host) -> usize {
    host.api("/api/v1/events")["items"].as_array().unwrap().len()
}

fn is_done(host: &Host, deliveries: u64) {
    wait_for("deliveries to be done", || (host.count("done") == deliveries).then_some(()));
}

/// Waits until `/readyz` says this; what is wrong with the clock then.
fn is(host: &Host, status: &str) -> Option<String> {
    let health = wait_for("the health", || {
        Some(host.api("/readyz")).filter(|health| health["status"] == status)
    });
    let problem = health["problems"].as_array().unwrap().first()?.clone();
    assert_eq!(problem["part"], "clock", "{health}");
    Some(problem["detail"].as_str().unwrap().to_owned())
}

fn site() -> Site {
    Site::new(CONFIG, &[("worker.wat", &guest("ok"))])
}

fn moves(clock: &Clock, ms: i64) {
    clock.step(clock.now_ms() + ms);
}

#[test]
fn a_clock_that_jumps_while_the_host_runs_is_shown_and_nothing_is_deleted_until_it_is_accepted() {
    let (site, clock) = (site(), Clock::manual(START_MS));
    let host = Host::start_by(&site, &clock);
    assert_eq!(is(&host, "ready"), None);
    assert_eq!(send(&host, "first"), "accepted");
    is_done(&host, 1);
    moves(&clock, 30 * DAY_MS);
    let detail = is(&host, "degraded").unwrap();
    assert!(
        detail.contains("forward by 30 d 0 h") && detail.contains("`hookbox clock accept`"),
        "{detail}"
    );
    assert_eq!(
        (send(&host, "first").as_str(), send(&host, "second").as_str()),
        ("duplicate", "accepted")
    );
    is_done(&host, 2);
    // Long enough for a sweep, and for the window of neither.
    clock.set(clock.now_ms() + 11 * MINUTE_MS);
    assert_eq!((send(&host, "first").as_str(), events(&host)), ("duplicate", 2));
    let shown = site.ask(&host, &["clock"]).said();
    assert!(shown.contains("jumped") && shown.contains("forward by 30 d"), "{shown}");
    assert!(site.ask(&host, &["clock", "accept"]).said().starts_with("accepted: it is 2026-"));
    assert_eq!(is(&host, "ready"), None);
    assert_eq!(
        site.ask(&host, &["clock", "accept"]).said(),
        "there was nothing to accept: the clock is right\n"
    );
    // The next sweep goes by it.
    clock.set(clock.now_ms() + 11 * MINUTE_MS);
    wait_for("retention", || (events(&host) == 1).then_some(()));
    assert_eq!(
        (send(&host, "first").as_str(), send(&host, "second").as_str()),
        ("accepted", "duplicate")
    );
}

#[test]
fn a_jump_that_is_over_is_forgotten() {
    let (site, clock) = (site(), Clock::manual(START_MS));
    let host = Host::start_by(&site, &clock);
    send(&host, "first");
    for by_ms in [34 * 365 * DAY_MS, -DAY_MS] {
        moves(&clock, by_ms);
        assert!(is(&host, "degraded").is_some());
        moves(&clock, -by_ms);
        assert_eq!(is(&host, "ready"), None);
    }
    assert_eq!(
        (send(&host, "first").as_str(), host.api("/api/v1/clock")["state"].as_str()),
        ("duplicate", Some("right"))
    );
}

#[test]
fn a_host_that_was_off_for_long_deletes_nothing_in_its_first_minute() {
    let (site, clock) = (site(), Clock::manual(START_MS));
    let host = Host::start_by(&site, &clock);
    send(&host, "first");
    is_done(&host, 1);
    host.stop();
    // For so long that all would be gone: somebody should look.
    clock.set(START_MS + 40 * DAY_MS);
    let host = Host::start_by(&site, &clock);
    let detail = is(&host, "degraded").unwrap();
    assert!(
        detail.starts_with("the host was off for 40 d")
            && detail.contains("`hookbox clock accept`"),
        "{detail}"
    );
    assert_eq!((events(&host), send(&host, "first").as_str()), (1, "duplicate"));
    host.stop();
    let host = Host::start_by(&site, &clock);
    assert!(is(&host, "degraded").is_some(), "another start changes nothing");
    for hours in 1..=24 {
        assert_eq!((hours, events(&host)), (hours, 1));
        clock.set(clock.now_ms() + HOUR_MS);
    }
    assert_eq!(is(&host, "ready"), None);
    clock.set(clock.now_ms() + 11 * MINUTE_MS);
    wait_for("retention", || (events(&host) == 0).then_some(()));
}

#[test]
fn a_load_is_traced_on_a_host_whose_clock_was_set_back() {
    let (site, clock) = (site(), Clock::manual(START_MS));
    let host = Host::start_by(&site, &clock);
    moves(&clock, -DAY_MS);
    let load = [
        "bench",
        "test",
        "step",
        "--seconds",
        "1",
        "--connections",
        "2",
        "--json",
        "--url",
        &host.public_url,
    ];
    let report: Value = serde_json::from_str(&site.ask(&host, &load).said()).unwrap();
    assert_eq!((&report["unknown"], &report["lost"]), (&0.into(), &0.into()), "{report}");
    assert!(report["settled"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn what_was_never_tried_is_done_at_once_although_the_clock_went_back() {
    let (site, clock) = (site(), Clock::manual(START_MS));
    let host = Host::start_by(&site, &clock);
    let file = site.path("plugins/worker.wat");
    host.until_plugin("worker", "loaded");
    std::fs::rename(&file, site.path("away")).unwrap();
    host.until_plugin("worker", "missing");
    for number in 0..5 {
        send(&host, &format!("event_{number}"));
    }
    moves(&clock, -DAY_MS);
    std::fs::rename(site.path("away"), &file).unwrap();
    is_done(&host, 5);
}
