//! The laws of workflows under `kill -9`: keyed order, joins and the events of dead letters.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use rusqlite::Connection;

use super::{Journal, LIFE, LONG_EVERY, LONG_LIFE, live};
use crate::support::{Host, SOURCE, Site, guest};

/// Cycles of a usual run; `HOOKBOX_CRASH_CYCLES` sets another number.
const CYCLES: usize = 60;

/// `relay` emits one `guest.echoed` for each event and keeps the order of each lane. A join waits
/// for both.
const SECTIONS: &str = r#"
[routes]
"step.one" = "relay"
"guest.echoed" = "sink"
"pair.done" = "sink"
"joins/pairs:hookbox.late" = "sink"
"plugins/relay:hookbox.dead" = "sink"

[plugins.relay]
key = { json = "/lane" }

[plugins.sink]
key = "subject"
per_key = 2

[joins.pairs]
on = ["step.one", "guest.echoed"]
types = ["step.one", "guest.echoed"]
key = "subject"
within = "30s"
emit = "pair.done"
"#;

/// Rows that must never be stored: a name, and a query that finds them.
const NEVER: [(&str, &str); 7] = [
    (
        "more of a key open than may be",
        "SELECT 1 FROM deliveries WHERE entered IS NOT NULL AND due_ms IS NOT NULL AND due_ms <> 9223372036854775806
          GROUP BY plugin, key HAVING count(*) > CASE plugin WHEN 'sink' THEN 2 ELSE 1 END",
    ),
    (
        "a key that waits although nothing of it is open",
        "SELECT 1 FROM deliveries w WHERE w.due_ms = 9223372036854775806 AND NOT EXISTS
          (SELECT 1 FROM deliveries o WHERE o.plugin = w.plugin AND o.key = w.key AND o.entered IS NOT NULL
            AND o.due_ms IS NOT NULL AND o.due_ms <> 9223372036854775806)",
    ),
    (
        "one that began before another of its lane, which came earlier, had ended",
        "SELECT 1 FROM (
          SELECT min(a.started_ms) AS first,
                 lag(max(a.started_ms)) OVER (PARTITION BY d.key ORDER BY d.event) AS before
          FROM deliveries d JOIN attempts a ON a.event = d.event AND a.ordinal = d.ordinal
          WHERE d.plugin = 'relay' GROUP BY d.event, d.ordinal) WHERE first < before",
    ),
    (
        "a key whose join ended twice",
        "SELECT subject FROM events WHERE source = 'joins/pairs' GROUP BY subject HAVING count(*) > 1",
    ),
    (
        "a join that is complete without both of its types",
        "SELECT 1 FROM events j WHERE j.type = 'pair.done' AND
          (SELECT count(DISTINCT type) FROM events m WHERE m.subject = j.subject
            AND m.type IN ('step.one', 'guest.echoed')) < 2",
    ),
    (
        "a dead letter of `relay` without the event that tells of it, or with two, or that event without it",
        "SELECT 1 FROM events e JOIN deliveries d ON d.event = e.id AND d.plugin = 'relay'
          WHERE (d.deaths + 0) < (SELECT count(*) FROM events c WHERE c.parent = e.id AND c.type = 'hookbox.dead')",
    ),
    (
        "deliveries settled twice",
        "SELECT 1 FROM attempts WHERE outcome = 0 GROUP BY event, ordinal HAVING count(*) > 1",
    ),
];

#[test]
fn keyed_order_joins_and_told_deaths_survive_a_kill_at_every_point() {
    let cycles = std::env::var("HOOKBOX_CRASH_CYCLES")
        .map_or(CYCLES, |text| text.parse().expect("a number of cycles"));
    let plugins: [(&str, &[u8]); 2] = [("relay.wat", &guest("emit")), ("sink.wat", &guest("ok"))];
    let site = Site::new(&format!("{SOURCE}{SECTIONS}"), &plugins);
    let journal = Arc::new(Mutex::new(Journal::default()));
    let sent = Arc::new(AtomicUsize::new(0));
    for cycle in 0..cycles {
        let point = hookbox::fail::POINTS[cycle % hookbox::fail::POINTS.len()];
        let long = cycle % LONG_EVERY == LONG_EVERY - 1;
        let passages = match point {
            _ if long => usize::MAX >> 1,
            "store.retention" => 1,
            _ => 1 + (cycle * 7919) % 97,
        };
        let life = if long { LONG_LIFE } else { LIFE };
        live(&site, &format!("{point}:{passages}"), life, &journal, &sent, |_| {});
        check(&site.path("data/hookbox.db"));
    }
    let host = Host::start(&site);
    host.settled();
    host.stop();
    let ended = check(&site.path("data/hookbox.db"));
    let journal = journal.lock().unwrap();
    for key in journal.acknowledged.keys() {
        let kinds = ended.joins.get(key);
        assert!(kinds.is_some(), "the join of {key} has not ended");
    }
    assert!(journal.acknowledged.len() > cycles, "there was no load to speak of");
    let late = ended.joins.values().filter(|kind| *kind != "pair.done").count();
    println!(
        "{cycles} cycles, {} events acknowledged, {} joins ended, {late} of them late, {} deaths told",
        journal.acknowledged.len(),
        ended.joins.len(),
        ended.told,
    );
}

/// What is stored at the end.
struct Ended {
    /// The type of the event of each join that has ended, by its key.
    joins: HashMap<String, String>,
    /// Deaths that were told of.
    told: i64,
}

/// Looks for rows that must not be, in a copy of what a dead host has stored.
fn check(database: &Path) -> Ended {
    let copy = tempfile::tempdir().unwrap();
    for ending in ["db", "db-wal"] {
        let file = database.with_extension(ending);
        if file.exists() {
            std::fs::copy(&file, copy.path().join("copy").with_extension(ending)).unwrap();
        }
    }
    let store = Connection::open(copy.path().join("copy.db")).unwrap();
    let count = |sql: &str| -> i64 {
        store.query_row(&format!("SELECT count(*) FROM ({sql})"), [], |row| row.get(0)).unwrap()
    };
    for (what, sql) in NEVER {
        assert_eq!(count(sql), 0, "{what}");
    }
    let mut statement =
        store.prepare("SELECT subject, type FROM events WHERE source = 'joins/pairs'").unwrap();
    let joins = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    Ended {
        joins: joins.map(Result::unwrap).collect(),
        told: count("SELECT 1 FROM events WHERE type = 'hookbox.dead'"),
    }
}
