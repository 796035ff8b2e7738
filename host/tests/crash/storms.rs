//! The same beside plugins that keep the store busy: nothing acknowledged is lost, and a host that
//! was killed under them takes webhooks at once when it is started again.
//!
//! `HOOKBOX_STORM_CYCLES` sets the number of cycles (40 by default, since each is slower).

use super::*;
use crate::support::wait_for;

/// `storm` returns 256 events of the type it is called with.
const STORM: &str = r#"
"t.storm" = "storm"
"plugins/storm:t.storm" = "storm"
"#;

/// The event that `storm` makes of a webhook fails again and again, and says when it wants to be
/// tried again.
const RETRYING: &str = r#"
"test:t.retry" = "storm"
"plugins/storm:t.retry" = "retrying"
[plugins.retrying]
retry = { max_attempts = 1000 }
"#;

/// 118 times 256 are some 30,000.
const WEBHOOKS_FOR_30_000: usize = 118;

fn site(routes: &str) -> Site {
    let files = ["emit", "ok", "storm", "retry"].map(guest);
    let names = ["relay.wat", "sink.wat", "storm.wat", "retrying.wat"];
    let plugins: Vec<_> = names.into_iter().zip(files.iter().map(Vec::as_slice)).collect();
    Site::new(&format!("{SOURCE}{ROUTES}{routes}"), &plugins)
}

/// Kills hosts under load, at each point in turn; before each dies it is sent what `meanwhile`
/// sends. Every host that serves acknowledges an event, whatever the one before has left.
fn kill_again_and_again(
    site: &Site,
    meanwhile: impl Fn(SocketAddr, usize),
) -> (Arc<Mutex<Journal>>, usize) {
    let cycles = std::env::var("HOOKBOX_STORM_CYCLES")
        .map_or(40, |text| text.parse().expect("a number of cycles"));
    let journal = Arc::new(Mutex::new(Journal::default()));
    let sent = Arc::new(AtomicUsize::new(0));
    let mut served = 0;
    for cycle in 0..cycles {
        let point = hookbox::fail::POINTS[cycle % hookbox::fail::POINTS.len()];
        // At points that only the end of a host or its first moments pass, this one is killed from
        // outside.
        let passages = 20 + (cycle * 7919) % 397;
        let before = journal.lock().unwrap().acknowledged.len();
        let ended = live(site, &format!("{point}:{passages}"), 2 * LIFE, &journal, &sent, |to| {
            meanwhile(to, cycle)
        });
        check(&site.path("data/hookbox.db"), &journal.lock().unwrap());
        let acknowledged = journal.lock().unwrap().acknowledged.len() - before;
        // A host that was killed from outside has lived long enough to answer somebody.
        assert!(
            !matches!(ended, Ended::Killed) || acknowledged > 0,
            "cycle {cycle}: nothing was acknowledged"
        );
        served += usize::from(acknowledged > 0);
    }
    assert!(served * 2 > cycles, "of {cycles} hosts only {served} acknowledged anything");
    (journal, cycles)
}

/// Lets a last host finish what the good plugins have to do.
fn finish_good(site: &Site, journal: &Mutex<Journal>) {
    let host = Host::start(site);
    host.send("step.one", "the_last");
    wait_for("the good plugins to be done", || {
        let plugins = &host.api("/api/v1/stats")["plugins"];
        let open = |name: &str| -> u64 {
            ["ready", "leased", "waiting"]
                .iter()
                .map(|state| plugins[name][state].as_u64().unwrap())
                .sum()
        };
        (open("relay") + open("sink") == 0).then_some(())
    });
    host.kill();
    check(&site.path("data/hookbox.db"), &journal.lock().unwrap());
}

#[test]
fn nothing_is_lost_beside_a_storm_of_events_and_a_killed_host_takes_webhooks_again() {
    let site = site(STORM);
    let (journal, cycles) = kill_again_and_again(&site, |to, cycle| {
        // Perhaps the host is faster to die of it than to answer.
        let _ = post(&agent(), to, &body("t.storm", cycle));
    });
    finish_good(&site, &journal);
    let store = Connection::open(site.path("data/hookbox.db")).unwrap();
    let stormed: i64 = store
        .query_row("SELECT count(*) FROM events WHERE type = 't.storm'", [], |row| row.get(0))
        .unwrap();
    println!(
        "{cycles} cycles beside a storm of {stormed} events, {} acknowledged",
        journal.lock().unwrap().acknowledged.len()
    );
    assert!(stormed > 256, "there was no storm");
}

#[test]
fn nothing_is_lost_beside_30_000_retrying_deliveries_and_a_killed_host_takes_webhooks_again() {
    let site = site(RETRYING);
    let host = Host::start(&site);
    for number in 0..WEBHOOKS_FOR_30_000 {
        host.send("t.retry", number);
    }
    wait_for("30,000 deliveries to be tried again", || {
        let stats = host.api("/api/v1/stats");
        let retrying = &stats["plugins"]["retrying"];
        let open: u64 = ["ready", "leased", "waiting"]
            .iter()
            .map(|state| retrying[state].as_u64().unwrap_or(0))
            .sum();
        (open == 256 * WEBHOOKS_FOR_30_000 as u64).then_some(())
    });
    host.kill();
    let (journal, cycles) = kill_again_and_again(&site, |_, _| {});
    finish_good(&site, &journal);
    println!(
        "{cycles} cycles beside 30,000 retrying, {} acknowledged",
        journal.lock().unwrap().acknowledged.len()
    );
}
