//! Random batches, some of which fail, held against a plain map; and after each of them what a
//! start would find is held against memory.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::super::operator::Expired;
use super::super::recent::{FLUSH_EVENTS, Recent};
use super::super::schema;
use super::super::start::last_id;
use super::*;
use crate::event::Attributes;

const NOW_MS: i64 = 1_770_000_000_000;

/// A step of a batch.
#[derive(Debug, Clone)]
enum Step {
    Append {
        source: u8,
        keys: Vec<u8>,
    },
    /// Events that were stored before so many ms ago give up their keys, and are deleted if so is
    /// said.
    Sweep {
        age_ms: i64,
        delete: bool,
    },
}

/// A batch, and how it ends.
#[derive(Debug, Clone)]
struct Work {
    pass_ms: i64,
    steps: Vec<Step>,
    fails: bool,
    /// The host ends after it, and another one starts.
    restart: bool,
}

fn any_work() -> impl Strategy<Value = Work> {
    let step = prop_oneof![
        20 => (0..2u8, prop::collection::vec(0..40u8, 0..3)).prop_map(|(source,
            keys)| Step::Append { source, keys }),
        1 => (-2..40i64, any::<bool>()).prop_map(|(age_ms, delete)| Step::Sweep { age_ms, delete }),
    ];
    let steps = prop::collection::vec(step, 0..12);
    (-1..4i64, steps, prop::bool::weighted(0.2), prop::bool::weighted(0.1))
        .prop_map(|(pass_ms, steps, fails, restart)| Work { pass_ms, steps, fails, restart })
}

/// Keys as the model has them, and when their events were stored.
type Model = BTreeMap<SourceKey, EventId>;

struct File {
    connection: Connection,
    _folder: TempDir,
    recent: Recent,
    last_id: EventId,
    now_ms: i64,
}

fn file(flush_events: u64) -> File {
    let folder = TempDir::new().unwrap();
    let connection = schema::open_writer(&folder.path().join("hookbox.db")).unwrap();
    // A start that finds what was committed is asked for, not a power cut.
    connection.pragma_update(None, "synchronous", "OFF").unwrap();
    let recent = Recent::load(&connection, flush_events).unwrap();
    File { connection, _folder: folder, recent, last_id: EventId::from_row(0), now_ms: NOW_MS }
}

fn event(source: u8, keys: &[u8]) -> NewEvent {
    NewEvent {
        dedupe: keys.iter().map(|key| [key.reverse_bits(); 16]).collect(),
        ..NewEvent::from(Attributes {
            source: format!("source{source}").into(),
            kind: "order.paid".to_owned(),
            subject: None,
            content_type: None,
            time_ms: NOW_MS,
            body: bytes::Bytes::new(),
        })
    }
}

impl File {
    /// Runs `steps` in a batch, which ends with an error if `fails` says so.
    fn batch<T>(&mut self, fails: bool, steps: impl FnOnce(&mut WriteBatch<'_>) -> T) -> T {
        self.connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut batch = WriteBatch::new(&self.connection, self.now_ms, self.last_id, &self.recent);
        let value = steps(&mut batch);
        batch.flush_keys().unwrap();
        if fails {
            self.connection.execute_batch("ROLLBACK").unwrap();
        } else {
            self.connection.execute_batch("COMMIT").unwrap();
            let WriteBatch { last_id, keys, .. } = batch;
            self.last_id = last_id;
            self.recent.apply(keys, last_id);
        }
        value
    }

    fn restart(&mut self) {
        self.recent = Recent::load(&self.connection, self.recent.flush_events).unwrap();
        self.last_id = last_id(&self.connection, &self.recent).unwrap();
    }

    fn in_memory(&self) -> impl Iterator<Item = (&SourceKey, &EventId)> {
        self.recent.shards.iter().flat_map(|shard| &shard.keys)
    }

    fn in_table(&self) -> Vec<(SourceKey, EventId)> {
        let mut statement =
            self.connection.prepare("SELECT source, key, event FROM dedupe").unwrap();
        let row = |row: &rusqlite::Row<'_>| {
            Ok(((row.get(0)?, row.get(1)?), EventId::from_row(row.get(2)?)))
        };
        statement.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// Every key is in one place, with its event, and a start would find memory as it is.
    fn check(&self, model: &Model) {
        let found = Recent::load(&self.connection, self.recent.flush_events).unwrap();
        assert_eq!(found.shards, self.recent.shards);
        let table = self.in_table();
        let mut keys: Vec<_> =
            table.iter().map(|(key, event)| (key, event)).chain(self.in_memory()).collect();
        keys.sort();
        assert_eq!(keys, model.iter().collect::<Vec<_>>());
    }

    /// How many events a start would read.
    fn unflushed(&self) -> u64 {
        let sql = "SELECT count(*) FROM events WHERE id > ?1";
        self.connection
            .query_row(sql, [self.recent.all_flushed_up_to().row()], |row| row.get(0))
            .unwrap()
    }
}

/// Makes a step, and compares its answer with that of the model.
fn run(batch: &mut WriteBatch<'_>, model: &mut Model, step: &Step) {
    match step {
        Step::Append { source, keys } => {
            let new = event(*source, keys);
            let keys = new.dedupe.iter().map(|key| (new.attributes.source.clone(), *key));
            let first = keys.clone().find_map(|key| model.get(&key).copied());
            let appended = batch.append(&new).unwrap();
            assert_eq!(appended.duplicate, first.is_some());
            assert_eq!(appended.id, first.unwrap_or(batch.last_id));
            if first.is_none() {
                model.extend(keys.map(|key| (key, appended.id)));
            }
        }
        Step::Sweep { age_ms, delete } => {
            let until_ms = batch.now_ms - age_ms;
            let events_before_ms = if *delete { until_ms } else { 0 };
            // On a busy machine one step may run out of time.
            while batch
                .sweep(Expired {
                    events_before_ms,
                    payloads_before_ms: 0,
                    keys_before_ms: until_ms,
                    audit_before_ms: 0,
                    now_ms: NOW_MS,
                })
                .unwrap()
            {}
            model.retain(|_, event| *event >= EventId::first_at(until_ms));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_key_is_in_memory_or_in_the_table_and_is_found_again_from_its_event(
        flush_events in prop_oneof![Just(1u64), 2..40u64, Just(FLUSH_EVENTS)],
        works in prop::collection::vec(any_work(), 1..40),
    ) {
        let mut file = file(flush_events);
        let mut model = Model::new();
        for work in works {
            file.now_ms += work.pass_ms;
            let mut after = model.clone();
            file.batch(work.fails, |batch| work.steps.iter().for_each(|step| run(batch, &mut after,
                step)));
            if !work.fails {
                model = after;
            }
            file.check(&model);
            if work.restart {
                file.restart();
            }
        }
    }
}

#[test]
fn every_key_is_flushed_within_a_round_and_a_little_at_a_time() {
    const ROUND: u64 = 512;
    let mut file = file(ROUND);
    let mut number = 0_usize;
    for (count, stored) in [1, 3, 7, 40].into_iter().cycle().take(200).enumerate() {
        let before = file.in_memory().count();
        file.batch(false, |batch| {
            for _ in 0..stored {
                // Spread over the shards like hashes, and none like another.
                let [source, key] =
                    [number / 256, number * 97 % 256].map(|part| u8::try_from(part).unwrap());
                assert!(!batch.append(&event(source, &[key])).unwrap().duplicate);
                number += 1;
            }
        });
        assert!(file.unflushed() <= ROUND + 40, "{}", file.unflushed());
        let moved = before + stored - file.in_memory().count();
        assert!(moved <= 2 * stored + 4, "{moved} keys moved for {stored} events");
        if count % 16 == 15 {
            file.restart();
        }
    }
    assert!(file.in_table().len() > number - 512);
}

#[test]
fn no_event_gets_an_id_that_a_shard_was_flushed_up_to() {
    let mut file = file(1);
    let moved = file.batch(false, |batch| {
        batch.append(&event(0, &[1])).unwrap();
        // The version of a value in a store of a plugin, which is gone by the next start.
        batch.next_id()
    });
    assert_eq!(file.recent.flushed_up_to(), moved);
    file.now_ms -= 1_000;
    file.restart();
    let second = file.batch(false, |batch| batch.append(&event(0, &[2])).unwrap());
    assert!(second.id > moved);
    file.restart();
    assert_eq!(file.batch(false, |batch| batch.append(&event(0, &[2])).unwrap()).id, second.id);
}
