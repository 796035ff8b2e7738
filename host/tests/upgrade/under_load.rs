//! The store of a host from before workflows, killed while it worked: taken along while senders
//! send, through a kill, with nothing lost and nothing settled twice.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use crate::support::{Host, SOURCE, Site, agent, body, guest, post, wait_for};

/// Clients that send at once.
const SENDERS: usize = 4;

/// Events of the type `step.one` in the store.
const OLD: usize = 20;

/// The store is older than events are kept by default. `later`, whose file was missing, is there
/// now and keeps an order; what was slow or failed before succeeds now.
const SECTIONS: &str = r#"
[store]
retention = "3650d"
dedupe_window = "3650d"

[routes]
"step.one" = ["unary", "later"]
"step.refused" = "refuse"
"step.retried" = "retrying"
"step.slow" = "slow"
"step.polled" = "poll"
"pair.done" = "later"
"guest.echoed" = "later"
"plugins/refuse:hookbox.dead" = "later"

[plugins.later]
key = "subject"

[joins.pairs]
on = ["pair.one", "pair.two"]
key = "subject"
types = ["pair.one", "pair.two"]
within = "1h"
emit = "pair.done"

[schedules.beat]
every = "1s"
emit = "beat.due"
"#;

/// Rows that must never be stored: a name, and a query that finds them.
const NEVER: [(&str, &str); 5] = [
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
        "events that are stored twice",
        "SELECT 1 FROM events WHERE source = 'test' GROUP BY type, subject HAVING count(*) > 1",
    ),
    (
        "events without each of their deliveries",
        "SELECT 1 FROM events e LEFT JOIN deliveries d ON d.event = e.id WHERE e.type = 'step.one'
          GROUP BY e.id HAVING count(DISTINCT d.plugin) <> 2 OR count(*) <> 2",
    ),
    (
        "counts that are wrong",
        "SELECT plugin, state, count(*) FROM deliveries GROUP BY 1, 2
          EXCEPT SELECT plugin, what, n FROM counts",
    ),
];

/// The site as it was left, with the configuration and the plugins of now.
fn left_by_version_6(listen: SocketAddr) -> Site {
    let files = ["kv", "reject", "ok", "ok", "ok", "poll"].map(guest);
    let names = ["unary", "refuse", "retrying", "slow", "later", "poll"];
    let names = names.map(|name| format!("{name}.wat"));
    let plugins: Vec<_> =
        names.iter().map(String::as_str).zip(files.iter().map(Vec::as_slice)).collect();
    let site = Site::new("", &plugins);
    site.put(
        "config.toml",
        format!("[server]\nlisten = \"{listen}\"\nadmin = \"127.0.0.1:0\"\n{SOURCE}{SECTIONS}"),
    );
    std::fs::create_dir(site.path("data")).unwrap();
    let store = Connection::open(site.path("data/hookbox.db")).unwrap();
    store.execute_batch(include_str!("store_6.sql")).unwrap();
    store.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    site.put("data/hookbox.db-running", include_bytes!("running_6"));
    site
}

fn reader(database: &Path) -> Connection {
    Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
}

fn number(store: &Connection, sql: &str) -> i64 {
    store.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// The events from outside: their ids, by type and subject.
fn stored(store: &Connection) -> HashMap<String, String> {
    let sql = "SELECT type || ' ' || subject, id FROM events WHERE source = 'test'";
    let mut statement = store.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?))).unwrap();
    rows.map(Result::unwrap).map(|(what, id)| (what, format!("evt_{id:016x}"))).collect()
}

/// Senders' knowledge: the ids that were acknowledged, by type and subject.
#[derive(Default)]
struct Journal {
    sent: AtomicUsize,
    stop: AtomicBool,
    acknowledged: Mutex<HashMap<String, String>>,
}

impl Journal {
    /// Sends as a provider does that has lost its memory: every other event is an old one. A
    /// request that is not acknowledged is sent again, whoever answers then.
    fn keep_sending(&self, to: SocketAddr) {
        let agent = agent();
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.sent.fetch_add(1, Ordering::Relaxed);
            let key = match number % 2 {
                0 => format!("old_{}", number / 2 % OLD),
                _ => format!("new_{number}"),
            };
            while !self.stop.load(Ordering::Relaxed) {
                match post(&agent, to, &body("step.one", &key)) {
                    Ok((200, reply)) => {
                        let id = reply["id"].as_str().unwrap().to_owned();
                        let mut acknowledged = self.acknowledged.lock().unwrap();
                        let known = acknowledged.insert(format!("step.one {key}"), id.clone());
                        assert!(known.is_none_or(|known| known == id), "{key} has two ids");
                        break;
                    }
                    Ok((503, _)) | Err(_) => std::thread::park_timeout(Duration::from_millis(2)),
                    Ok((status, reply)) => panic!("{key}: {status} {reply}"),
                }
            }
        }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }
}

/// Starts hosts and kills them, the first as soon as it has migrated the store and the second while
/// it works; the last one finishes what was open.
fn upgrade(site: &Site, journal: &Journal) -> Host {
    let database = site.path("data/hookbox.db");
    let mut command = site.command(&["serve"]);
    let mut first = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("the migration", || {
        (number(&reader(&database), "PRAGMA user_version") > 6).then_some(())
    });
    first.kill().unwrap();
    first.wait().unwrap();
    let second = Host::start_with(site, &[]).unwrap();
    wait_for("the second host to work under load", || {
        let later = &second.api("/api/v1/stats")["plugins"]["later"];
        (later["done"].as_u64() > Some(0) && journal.count() > OLD + 10).then_some(())
    });
    second.kill();
    let before = journal.count();
    let last = Host::start(site);
    wait_for("the last host to work under load", || (journal.count() > before + 10).then_some(()));
    journal.stop.store(true, Ordering::Relaxed);
    last
}

#[test]
fn a_store_from_before_workflows_is_migrated_under_load_and_nothing_is_lost_or_settled_twice() {
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let site = left_by_version_6(listen);
    let database = site.path("data/hookbox.db");
    let old = stored(&reader(&database));
    assert_eq!(old.len(), OLD + 3 + 5 + 2);
    let journal = Journal::default();
    let host = std::thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| journal.keep_sending(listen));
        }
        upgrade(&site, &journal)
    });
    let stats = host.settled();
    let plugins = &stats["plugins"];
    for (plugin, done) in [("retrying", 5), ("slow", 2), ("refuse", 0)] {
        assert_eq!(plugins[plugin]["done"], done, "what was open is handled: {stats}");
    }
    assert_eq!(stats["deliveries"]["dead"], 3, "what had failed has failed: {stats}");
    assert_eq!(plugins["unary"]["done"], plugins["later"]["done"], "{stats}");
    workflows_work(&host);
    host.stop();
    let store = reader(&database);
    for (what, sql) in NEVER {
        assert_eq!(number(&store, &format!("SELECT count(*) FROM ({sql})")), 0, "{what}");
    }
    let (now, acknowledged) = (stored(&store), journal.acknowledged.lock().unwrap());
    for (what, id) in old.iter().chain(acknowledged.iter()) {
        assert_eq!(now.get(what), Some(id), "{what} is there, under its id");
    }
    assert_eq!(
        number(&store, "SELECT length(value) FROM kv WHERE plugin = 'unary' AND key = 'seen'"),
        number(&store, "SELECT count(*) FROM deliveries WHERE plugin = 'unary' AND state = 3"),
        "the value goes on from what the old host had counted"
    );
    assert!(acknowledged.len() > OLD, "there was load");
}

/// The concepts of workflows work on what the old host has left.
fn workflows_work(host: &Host) {
    host.send("pair.one", "order_1");
    host.send("pair.two", "order_1");
    let polled = host.send("step.polled", "order_1");
    host.until_done(&polled);
    assert_eq!(host.event(&polled)["children"].as_array().unwrap().len(), 1, "a step, and again");
    let (status, retried) = host.api_status("POST", "/api/v1/deliveries/retry?state=dead", None);
    assert_eq!((status, &retried["retried"]), (200, &json!(3)), "{retried}");
    let listed = |kind: &str| host.api(&format!("/api/v1/events?type={kind}"))["items"].clone();
    wait_for("the join, and the deaths that are told of", || {
        let (joined, told) = (listed("pair.done"), listed("hookbox.dead"));
        let counts = [joined, told].map(|items| items.as_array().unwrap().len());
        (counts == [1, 3]).then_some(())
    });
    wait_for("a tick", || (!listed("beat.due").as_array().unwrap().is_empty()).then_some(()));
    host.settled();
}
