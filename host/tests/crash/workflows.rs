//! The laws of workflows under `kill -9`, all in one configuration: keyed order, steps and calls
//! again, joins, counters, schedules, and the events of dead letters.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use hookbox::fail::{POINTS, RECORD_POINTS};

use super::{Ended, Journal, LIFE, LONG_EVERY, LONG_LIFE, copy_of, count, hold, live_under};
use crate::support::{Host, PATIENCE, SOURCE, Site, guest};

/// Cycles of a usual run; `HOOKBOX_CRASH_CYCLES` sets another number.
const CYCLES: usize = 60;

/// Clients that send at once: fewer than elsewhere, because each event has six deliveries.
const SENDERS: usize = 2;

/// `relay` keeps the order of each lane: it records a step, asks to be called again, and then emits
/// one `guest.echoed` for each event. `sum` counts them. `refuse` refuses those of one lane. A join
/// waits for both types, and another one for what never comes. Every death is told.
const SECTIONS: &str = r#"
[routes]
"step.one" = ["relay", "sum", { plugin = "refuse", when = 'data.lane == "3"' }]
"guest.echoed" = "sink"
"pair.done" = "sink"
"joins/pairs:hookbox.late" = "sink"
"hookbox.dead" = "sink"
"schedules/beat:beat.due" = "sink"

[plugins.relay]
key = { json = "/lane" }

[plugins.sink]
key = "subject"
per_key = 2

[joins.pairs]
on = ["step.one", "guest.echoed"]
types = ["step.one", "guest.echoed"]
key = "subject"
within = "1h"
emit = "pair.done"

[joins.waits]
on = "step.one"
types = ["step.one", "step.never"]
key = { json = "/lane" }
within = "2s"
emit = "never.done"

[schedules.beat]
every = "1s"
missed = "all"
emit = "beat.due"
"#;

/// Rows that must never be stored: a name, and a query that finds them.
const NEVER: [(&str, &str); 12] = [
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
    // A dead letter that an operator retries has lost its place.
    (
        "one that began before another of its lane, which came earlier, had ended",
        "SELECT 1 FROM (
          SELECT min(a.started_ms) AS first,
                 lag(max(a.started_ms)) OVER (PARTITION BY d.key ORDER BY d.event) AS before
          FROM deliveries d JOIN attempts a ON a.event = d.event AND a.ordinal = d.ordinal
          WHERE d.plugin = 'relay' AND (d.deaths = 0 OR d.state = 4) GROUP BY d.event, d.ordinal) WHERE first < before",
    ),
    (
        "what a lane emitted twice, or never, or early",
        "SELECT 1 FROM deliveries d WHERE d.plugin = 'relay' AND (d.state = 3) <>
          (SELECT count(*) FROM events c WHERE c.parent = d.event AND c.type = 'guest.echoed')",
    ),
    (
        "a key whose join ended twice",
        "SELECT subject FROM events WHERE source = 'joins/pairs' GROUP BY subject HAVING count(*) > 1",
    ),
    (
        "a join that has waited in vain and does not say so once",
        "SELECT 1 FROM deliveries d WHERE d.plugin = 'joins/waits' AND (d.state = 3) <>
          (SELECT count(*) FROM events l WHERE l.parent = d.event AND l.source = 'joins/waits' AND l.type = 'hookbox.late')",
    ),
    (
        "a join that is complete without both of its types",
        "SELECT 1 FROM events j WHERE j.type = 'pair.done' AND
          (SELECT count(DISTINCT type) FROM events m WHERE m.subject = j.subject
            AND m.type IN ('step.one', 'guest.echoed')) < 2",
    ),
    (
        "a death that is neither told nor about to be, or that is told twice",
        "SELECT 1 FROM deliveries d JOIN events e ON e.id = d.event
          WHERE e.type <> 'hookbox.dead' AND d.plugin IN ('relay', 'sum', 'refuse', 'sink') AND d.deaths <>
            (SELECT count(*) FROM events c WHERE c.parent = d.event AND c.type = 'hookbox.dead'
              AND c.body ->> '$.plugin' = d.plugin) +
            (SELECT count(*) FROM dead_notices n JOIN deliveries t ON t.event = n.event AND t.ordinal = n.ordinal
              WHERE n.event = d.event AND n.dead_ordinal = d.ordinal AND t.state <> 3)",
    ),
    (
        "a death that is told under a number of another",
        "SELECT 1 FROM events WHERE type = 'hookbox.dead'
          GROUP BY parent, body ->> '$.delivery', body ->> '$.death' HAVING count(*) > 1",
    ),
    (
        "dead letters for another reason than two crashes or a refusal",
        "SELECT 1 FROM deliveries d WHERE d.state = 4 AND d.plugin <> 'refuse' AND (SELECT count(*)
          FROM attempts a WHERE a.event = d.event AND a.ordinal = d.ordinal AND a.outcome = 7) < 2",
    ),
    (
        "a number that is not as great as the deliveries that added to it are many",
        "SELECT 1 FROM kv WHERE plugin = 'sum' AND hex(value) <> (SELECT printf('%02X%02X%02X%02X00000000',
            count(*) & 255, count(*) >> 8 & 255, count(*) >> 16 & 255, count(*) >> 24)
          FROM deliveries WHERE plugin = 'sum' AND state = 3)",
    ),
    (
        "a tick that came twice, or is missing between the first and the last",
        "SELECT 1 FROM (SELECT count(*) AS came, count(DISTINCT time_ms) AS times, max(time_ms) - min(time_ms) AS ms
          FROM events WHERE source = 'schedules/beat') WHERE came > 0 AND (came <> times OR
            (came - 1 + (SELECT coalesce(sum(ticks), 0) FROM skipped_ticks)) * 1000 <> ms)",
    ),
];

#[test]
fn order_steps_joins_counters_ticks_and_told_deaths_survive_a_kill_at_every_point() {
    let cycles = std::env::var("HOOKBOX_CRASH_CYCLES")
        .map_or(CYCLES, |text| text.parse().expect("a number of cycles"));
    let files = ["poll", "add", "reject", "ok"].map(guest);
    let names = ["relay.wat", "sum.wat", "refuse.wat", "sink.wat"];
    let plugins: Vec<_> = names.into_iter().zip(files.iter().map(Vec::as_slice)).collect();
    let site = Site::new(&format!("{SOURCE}{SECTIONS}"), &plugins);
    let checked = site.run(&["check"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    let (journal, sent) = (Arc::<Mutex<Journal>>::default(), Arc::<AtomicUsize>::default());
    let points: Vec<_> = POINTS.into_iter().chain(RECORD_POINTS).collect();
    let mut died_at = HashMap::<&str, usize>::new();
    for cycle in 0..cycles {
        let point = points[cycle % points.len()];
        let long = cycle % LONG_EVERY == LONG_EVERY - 1;
        let passages = match point {
            _ if long => usize::MAX >> 1,
            "store.retention" => 1,
            // At first soon, and deeper in the load from round to round.
            _ => 1 + (cycle * 7919) % (1 + 8 * (cycle / points.len())),
        };
        // Each event records one step only.
        let seldom = RECORD_POINTS.contains(&point);
        let life = if long || seldom { LONG_LIFE } else { LIFE };
        let plan = format!("{point}:{passages}");
        match live_under(SENDERS, &site, &plan, life, &journal, &sent, |_| {}) {
            Ended::Killed => *died_at.entry("outside").or_default() += 1,
            Ended::Inside | Ended::BeforeItServed => *died_at.entry(point).or_default() += 1,
        }
        check(&site.path("data/hookbox.db"), &journal.lock().unwrap());
    }
    if cycles >= CYCLES {
        for point in &points {
            assert!(died_at.contains_key(point), "no host died at {point}: {died_at:?}");
        }
    }
    let (first, last) = finish(&site, &journal);
    let journal = journal.lock().unwrap();
    let acknowledged = journal.acknowledged.len();
    for key in journal.acknowledged.keys() {
        assert!(last.joins.contains_key(key), "the join of {key} has not ended");
    }
    println!(
        "{cycles} cycles, {acknowledged} events acknowledged, {} joins ended and {} were late, \
         {} ticks, {} deaths told of {} dead letters, {} of them quarantined, killed at {died_at:?}",
        last.joins.len(),
        last.late,
        last.ticks,
        last.told,
        first.told,
        first.quarantined,
    );
    assert!(acknowledged > cycles, "there was no load to speak of");
    assert!(first.told > 0 && last.ticks > 1, "nothing died, or no tick came");
    assert!(last.late > 0, "no join was late");
}

/// Lets a last host finish everything, and then again after an operator has retried every dead
/// letter: what is stored after the one and after the other.
fn finish(site: &Site, journal: &Mutex<Journal>) -> (Stored, Stored) {
    let database = site.path("data/hookbox.db");
    let host = Host::start(site);
    drain(&host);
    let first = check(&database, &journal.lock().unwrap());
    let (status, retried) = host.api_status("POST", "/api/v1/deliveries/retry?state=dead", None);
    assert_eq!(status, 200, "{retried}");
    drain(&host);
    host.stop();
    let last = check(&database, &journal.lock().unwrap());
    assert_eq!(first.told, first.dead, "each dead letter is told of once");
    assert_eq!(last.told, first.told + last.dead, "and once more when it died again");
    assert_eq!(last.counted, last.roots, "the counter reads as many as there were events");
    (first, last)
}

/// Waits until nothing is open, for as long as there is progress. A join that waits for what a dead
/// letter has not emitted does not count.
fn drain(host: &Host) {
    let (mut least, mut since) = (u64::MAX, Instant::now());
    loop {
        let plugins = &host.api("/api/v1/stats")["plugins"];
        let open = |plugin: &serde_json::Value| -> u64 {
            ["ready", "leased", "waiting"].iter().filter_map(|state| plugin[state].as_u64()).sum()
        };
        let all: u64 = plugins.as_object().unwrap().values().map(open).sum();
        let in_vain = plugins["relay"]["dead"].as_u64().unwrap_or(0);
        let open = all - in_vain.min(plugins["joins/pairs"]["waiting"].as_u64().unwrap_or(0));
        if open == 0 {
            return;
        }
        if open < least {
            (least, since) = (open, Instant::now());
        }
        assert!(since.elapsed() < PATIENCE, "nothing ends any more: {plugins}");
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
}

/// The contents of the store at the end.
struct Stored {
    /// The type of the event of each join that has ended, by its key.
    joins: HashMap<String, String>,
    /// Events that came from outside.
    roots: i64,
    /// Deliveries that `sum` has counted.
    counted: i64,
    /// Joins that ended late.
    late: i64,
    ticks: i64,
    dead: i64,
    /// Dead letters for two crashes.
    quarantined: i64,
    /// Deaths that were told of.
    told: i64,
}

/// Looks for rows that must not be, in a copy of what a dead host has stored.
fn check(database: &Path, journal: &Journal) -> Stored {
    let (_copy, store) = copy_of(database);
    hold(&store, journal, &NEVER);
    let mut statement =
        store.prepare("SELECT subject, type FROM events WHERE source = 'joins/pairs'").unwrap();
    let joins = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let count = |sql: &str| count(&store, sql);
    Stored {
        joins: joins.map(Result::unwrap).collect(),
        roots: count("SELECT 1 FROM events WHERE type = 'step.one'"),
        counted: count("SELECT 1 FROM deliveries WHERE plugin = 'sum' AND state = 3"),
        late: count("SELECT 1 FROM events WHERE type = 'hookbox.late'"),
        ticks: count("SELECT 1 FROM events WHERE source = 'schedules/beat'"),
        dead: count("SELECT 1 FROM deliveries WHERE state = 4"),
        quarantined: count("SELECT 1 FROM deliveries WHERE state = 4 AND plugin <> 'refuse'"),
        told: count("SELECT 1 FROM events WHERE type = 'hookbox.dead'"),
    }
}
