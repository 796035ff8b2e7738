//! P1 and P2 under `kill -9`: the host is killed at each named point between receive and settle,
//! under load, and a journal kept outside it is held against what it stored.
//!
//! `HOOKBOX_CRASH_CYCLES` sets the number of cycles (300 by default).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::support::{Host, PATIENCE, SOURCE, Site, agent, body, guest, post};

mod deaths;
mod steps;
mod storms;
mod workflows;

/// Clients that send at once.
const SENDERS: usize = 8;

/// How long one host lives at most; then it is killed from outside.
const LIFE: Duration = Duration::from_millis(400);

/// Every so many cycles a host lives long enough to take up what earlier ones were killed over, and
/// is killed at it.
const LONG_EVERY: usize = 25;

/// How long such a host lives.
const LONG_LIFE: Duration = Duration::from_millis(1_500);

/// The time after a start from which a host runs quarantined deliveries.
const QUARANTINE_DELAY: Duration = Duration::from_secs(1);

/// `relay` emits one `guest.echoed` for each event, a little delayed; `sink` takes it.
const ROUTES: &str = "[routes]\n\"step.one\" = \"relay\"\n\"guest.echoed\" = \"sink\"\n";

/// The senders' knowledge: every body they ever sent, by correlation key, and the ids that were
/// acknowledged.
#[derive(Default)]
struct Journal {
    /// Acknowledged: correlation key → event id.
    acknowledged: HashMap<String, String>,
    /// Sent without an answer: to be sent again.
    unanswered: Vec<String>,
}

#[test]
fn an_acknowledged_event_survives_a_kill_at_every_point_and_settles_once() {
    let cycles = std::env::var("HOOKBOX_CRASH_CYCLES")
        .map_or(300, |text| text.parse().expect("a number of cycles"));
    let plugins: [(&str, &[u8]); 2] = [("relay.wat", &guest("emit")), ("sink.wat", &guest("ok"))];
    let site = Site::new(&format!("{SOURCE}{ROUTES}"), &plugins);
    let journal = Arc::new(Mutex::new(Journal::default()));
    let sent = Arc::new(AtomicUsize::new(0));
    let mut died_at = HashMap::<&str, usize>::new();
    let (mut ran_quarantined, mut found) = (false, Found::default());
    for cycle in 0..cycles {
        let point = hookbox::fail::POINTS[cycle % hookbox::fail::POINTS.len()];
        // A different depth into the load each time, without a random generator to seed.
        let long = cycle % LONG_EVERY == LONG_EVERY - 1;
        let passages = match point {
            _ if long => usize::MAX >> 1,
            "store.retention" => 1,
            _ => 1 + (cycle * 7919) % 97,
        };
        let life = if long { LONG_LIFE } else { LIFE };
        let begun = Instant::now();
        let ended = live(&site, &format!("{point}:{passages}"), life, &journal, &sent, |_| {});
        let lived_long = begun.elapsed() >= QUARANTINE_DELAY;
        if !matches!(ended, Ended::Killed) {
            *died_at.entry(point).or_default() += 1;
        }
        if matches!(ended, Ended::BeforeItServed) {
            ran_quarantined |= lived_long;
            continue;
        }
        let before = std::mem::replace(
            &mut found,
            check(&site.path("data/hookbox.db"), &journal.lock().unwrap()),
        );
        // Quarantined deliveries run some time after a start: no host that lived shorter can have
        // been killed while it ran one. The next host records what the host before did.
        assert!(
            ran_quarantined || found.dead == before.dead,
            "cycle {cycle}: quarantined without having run twice"
        );
        ran_quarantined = lived_long;
    }
    for point in hookbox::fail::POINTS {
        assert!(
            died_at.get(point).is_some_and(|times| *times > 0),
            "no host died at {point}: {died_at:?}"
        );
    }
    finish(&site, &journal);
    let journal = journal.lock().unwrap();
    println!(
        "{cycles} cycles, {} events acknowledged of {} sent, {} attempts running when a host died, {} quarantined, \
         killed inside at {died_at:?}",
        journal.acknowledged.len(),
        sent.load(Ordering::Relaxed),
        found.crashes,
        found.dead,
    );
    assert!(journal.acknowledged.len() > cycles, "there was no load to speak of");
}

/// How a host came to its end.
enum Ended {
    BeforeItServed,
    /// At the point where it was to.
    Inside,
    /// From outside.
    Killed,
}

/// The life of one host under load, to its death at `plan`, or until `life` is over and it has
/// acknowledged something; `meanwhile` is called once, with its address.
fn live(
    site: &Site,
    plan: &str,
    life: Duration,
    journal: &Arc<Mutex<Journal>>,
    sent: &Arc<AtomicUsize>,
    meanwhile: impl FnOnce(SocketAddr),
) -> Ended {
    live_under(SENDERS, site, plan, life, journal, sent, meanwhile)
}

/// The same under the load of so many senders.
fn live_under(
    senders: usize,
    site: &Site,
    plan: &str,
    life: Duration,
    journal: &Arc<Mutex<Journal>>,
    sent: &Arc<AtomicUsize>,
    meanwhile: impl FnOnce(SocketAddr),
) -> Ended {
    let Some(mut host) = Host::start_with(site, &[("HOOKBOX_FAIL", plan)]) else {
        return Ended::BeforeItServed;
    };
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..senders)
        .map(|_| {
            let (journal, sent, stop, to) =
                (journal.clone(), sent.clone(), stop.clone(), host.public);
            std::thread::spawn(move || send(to, &journal, &sent, &stop))
        })
        .collect();
    let (started, before) = (Instant::now(), journal.lock().unwrap().acknowledged.len());
    meanwhile(host.public);
    let is_young = || {
        let lived = started.elapsed();
        let is_silent = || journal.lock().unwrap().acknowledged.len() == before;
        lived < life || lived < PATIENCE && is_silent()
    };
    while host.ended().is_none() && is_young() {
        std::thread::park_timeout(Duration::from_millis(2));
    }
    let ended = if host.ended().is_some() { Ended::Inside } else { Ended::Killed };
    host.kill();
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.join().unwrap();
    }
    ended
}

/// Sends until told to stop or the host is gone. An unanswered request is sent again first, as
/// providers do.
fn send(to: SocketAddr, journal: &Mutex<Journal>, sent: &AtomicUsize, stop: &AtomicBool) {
    let agent = agent();
    while !stop.load(Ordering::Relaxed) {
        let again = journal.lock().unwrap().unanswered.pop();
        let key = again.unwrap_or_else(|| format!("key_{}", sent.fetch_add(1, Ordering::Relaxed)));
        let answer = post(&agent, to, &in_a_lane(&key));
        let mut journal = journal.lock().unwrap();
        match answer {
            Ok((200, reply)) => {
                let id = reply["id"].as_str().unwrap().to_owned();
                let known = journal.acknowledged.insert(key.clone(), id.clone());
                assert!(
                    known.is_none_or(|known| known == id),
                    "{key} was acknowledged under two ids"
                );
            }
            Ok((503, _)) => journal.unanswered.push(key),
            Ok((status, reply)) => panic!("{key}: {status} {reply}"),
            Err(_) => {
                journal.unanswered.push(key);
                return;
            }
        }
    }
}

/// The body of an event with this key, in one of a few lanes.
fn in_a_lane(key: &str) -> String {
    let lane = key.bytes().map(u32::from).sum::<u32>() % 16;
    format!(r#"{{"event_type":"step.one","event_data":{{"callback_id":"{key}"}},"lane":"{lane}"}}"#)
}

/// The records of a dead host.
#[derive(Default)]
struct Found {
    /// Attempts that were running when a host died.
    crashes: i64,
    /// Dead letters.
    dead: i64,
}

/// Rows that must never be stored, whatever the routes: a name, and a query that finds them.
const NEVER_AT_ALL: [(&str, &str); 6] = [
    (
        "deliveries settled twice",
        "SELECT 1 FROM attempts WHERE outcome = 0 GROUP BY event, ordinal HAVING count(*) > 1",
    ),
    (
        "done without a successful attempt, or the other way round",
        "SELECT 1 FROM deliveries d WHERE (d.state = 3) <>
          EXISTS (SELECT 1 FROM attempts a WHERE a.event = d.event AND a.ordinal = d.ordinal AND a.outcome = 0)",
    ),
    (
        "trees that are counted wrong, or beyond their budget",
        "SELECT root, count(*) FROM events WHERE root IS NOT NULL AND type <> 'hookbox.dead' GROUP BY root
          EXCEPT SELECT root, events FROM trees WHERE events <= 10000",
    ),
    (
        "steps of a delivery that is done",
        "SELECT 1 FROM steps s JOIN deliveries d ON d.event = s.event AND d.ordinal = s.ordinal WHERE d.state = 3",
    ),
    (
        "steps that were recorded twice",
        "SELECT 1 FROM attempts WHERE json_extract(steps, '$[0].recorded_after_ms') IS NOT NULL
          GROUP BY event, ordinal HAVING count(*) > 1",
    ),
    (
        "counts that are wrong",
        "SELECT plugin, state, count(*) FROM deliveries GROUP BY 1, 2
          EXCEPT SELECT plugin, what, n FROM counts",
    ),
];

/// The same for [`ROUTES`].
const NEVER: [(&str, &str); 3] = [
    (
        "events without exactly one delivery",
        "SELECT e.id FROM events e LEFT JOIN deliveries d ON d.event = e.id WHERE e.type IN ('step.one', 'guest.echoed')
          GROUP BY e.id HAVING count(d.event) <> 1",
    ),
    (
        "child events emitted twice, or never, or early",
        "SELECT 1 FROM events e JOIN deliveries d ON d.event = e.id
          WHERE e.type = 'step.one' AND (SELECT count(*) FROM events c WHERE c.parent = e.id) <> (d.state = 3)",
    ),
    (
        "dead letters for another reason than two crashes",
        "SELECT 1 FROM deliveries d WHERE d.state = 4 AND d.plugin IN ('relay', 'sink') AND (SELECT
          count(*) FROM attempts a WHERE a.event = d.event AND a.ordinal = d.ordinal AND a.outcome = 7) < 2",
    ),
];

/// A copy of what a dead host stored.
fn copy_of(database: &Path) -> (tempfile::TempDir, Connection) {
    let copy = tempfile::tempdir().unwrap();
    for ending in ["db", "db-wal"] {
        let file = database.with_extension(ending);
        if file.exists() {
            std::fs::copy(&file, copy.path().join("copy").with_extension(ending)).unwrap();
        }
    }
    let store = Connection::open(copy.path().join("copy.db")).unwrap();
    (copy, store)
}

/// Nothing that was acknowledged is lost or stored twice, and no row is there that must not be.
fn hold(store: &Connection, journal: &Journal, never: &[(&str, &str)]) {
    let mut stored = HashMap::new();
    let mut statement = store
        .prepare("SELECT subject, id FROM events WHERE parent IS NULL AND type = 'step.one'")
        .unwrap();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (key, id): (String, i64) = (row.get(0).unwrap(), row.get(1).unwrap());
        assert!(
            stored.insert(key.clone(), format!("evt_{id:016x}")).is_none(),
            "{key} is stored twice"
        );
    }
    for (key, id) in &journal.acknowledged {
        assert_eq!(stored.get(key), Some(id), "{key} was acknowledged and is lost");
    }
    for (what, sql) in NEVER_AT_ALL.iter().chain(never) {
        assert_eq!(count(store, sql), 0, "{what}");
    }
}

fn count(store: &Connection, sql: &str) -> i64 {
    store.query_row(&format!("SELECT count(*) FROM ({sql})"), [], |row| row.get(0)).unwrap()
}

/// Holds the journal against a copy of what a dead host stored: the next host has to recover the
/// log by itself.
fn check(database: &Path, journal: &Journal) -> Found {
    let (_copy, store) = copy_of(database);
    hold(&store, journal, &NEVER);
    Found {
        crashes: count(&store, "SELECT 1 FROM attempts WHERE outcome = 7"),
        dead: count(&store, "SELECT 1 FROM deliveries WHERE state = 4"),
    }
}

/// Lets a last host finish everything. A delivery that was quarantined on the way (a host was
/// killed twice while it ran it) is retried as an operator would.
fn finish(site: &Site, journal: &Mutex<Journal>) {
    let host = Host::start(site);
    host.settled();
    let (status, retried) = host.api_status("POST", "/api/v1/deliveries/retry?state=dead", None);
    assert_eq!(status, 200, "{retried}");
    let stats = host.settled();
    assert_eq!(stats["deliveries"]["dead"], 0, "{stats}");
    assert_eq!(stats["deliveries"]["done"], stats["events"], "{stats}");
    host.stop();
    check(&site.path("data/hookbox.db"), &journal.lock().unwrap());
}

#[test]
fn an_event_that_kills_two_hosts_is_quarantined() {
    let site = Site::of_worker(&guest("ok"), "");
    let deadly = || Host::start_with(&site, &[("HOOKBOX_FAIL", "dispatch.invoked:1")]).unwrap();
    let host = deadly();
    // Perhaps the host is faster to die of it than to answer.
    let _ = host.post(&body("step.one", "poison"));
    host.wait();
    // The next one dies of the same event, by itself.
    deadly().wait();
    let host = Host::start(&site);
    host.send("step.one", "innocent");
    let stats = host.settled();
    assert_eq!(
        (&stats["deliveries"]["done"], &stats["deliveries"]["dead"]),
        (&1.into(), &1.into()),
        "{stats}"
    );
    let page = host.api("/api/v1/deliveries?state=dead");
    let id = page["items"][0]["event_id"].as_str().unwrap();
    let event = host.event(id);
    assert_eq!(event["subject"], "poison", "{event}");
    let attempts = event["deliveries"][0]["attempts"].as_array().unwrap();
    assert!(
        attempts.len() == 2 && attempts.iter().all(|attempt| attempt["outcome"] == "crash"),
        "{event}"
    );
}

#[test]
fn a_log_that_cannot_be_moved_ends_the_host_and_loses_nothing_acknowledged() {
    let site = Site::new(SOURCE, &[]);
    let host = Host::start_with(&site, &[("HOOKBOX_FAIL", "store.log_long:1:io")]).unwrap();
    // Some 13 pages each: beside what the schema takes, some ten of them make the log long.
    let pad = "x".repeat(50_000);
    let body = |number: usize| {
        format!(
            r#"{{"event_type":"step.one","event_data":{{"callback_id":"{number}"}},"pad":"{pad}"}}"#
        )
    };
    let replies = (0..50).map_while(|number| {
        // An event that is not stored in time is sent again.
        let mut answers = std::iter::repeat_with(|| host.post(&body(number)).ok());
        let last =
            answers.find(|answer| answer.as_ref().is_none_or(|(status, _)| *status != 503))?;
        last.filter(|(status, _)| *status == 200)
    });
    let ids: Vec<String> =
        replies.map(|(_, reply)| reply["id"].as_str().unwrap().to_owned()).collect();
    assert!((8..50).contains(&ids.len()), "{} were acknowledged", ids.len());
    assert!(!host.wait().success());
    let host = Host::start(&site);
    for id in ids {
        host.event(&id);
    }
}
