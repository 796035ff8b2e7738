//! The newest dedupe keys, in the writer's memory until they are flushed into the table `dedupe`.
//!
//! A key is a hash. Keys that go into the table in the order of their arrival change a page each,
//! and every such page is written to the WAL, synced and checkpointed. A new key is therefore only
//! in the row of its event, which is written anyway, and in memory. By their first byte keys belong
//! to one of [`SHARDS`]. The shard that was flushed longest ago is flushed next, whole and in the
//! table's order, so that many keys share a page; `dedupe_moved` says up to which event a shard's
//! keys are there.
//!
//! Invariant: a key whose event is not swept yet (`swept.dedupe_up_to`) is in one place. It is in
//! memory if the event is newer than the last flush of the key's shard, and in the table if not.
//! All of this follows from the database and changes in one transaction, so a start loads the keys
//! that the last commit left in memory. Memory changes after the commit, so a failed batch changes
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;

use super::rows::read_text;
use crate::event::{DedupeKey, EventId};

/// Each shard is flushed once while so many events are stored. So memory holds the keys of half as
/// many (some 4 MB, with two keys an event), a start reads as many, and a flush brings the keys of
/// 256 events.
pub(super) const FLUSH_EVENTS: u64 = 65_536;

/// As many as a byte has values; they are rows of `dedupe_moved`.
const SHARDS: usize = 256;

/// A source and a key of one of its events, ordered as in the table.
pub(super) type SourceKey = (Arc<str>, DedupeKey);

pub(super) fn shard_of(key: &DedupeKey) -> usize {
    usize::from(key[0])
}

/// The keys that are not in the table yet.
#[derive(Debug)]
pub(super) struct Recent {
    pub(super) shards: Vec<Shard>,
    pub(super) flush_events: u64,
    /// Flushes that are due, in parts of which `flush_events` make one: an event is worth
    /// [`SHARDS`].
    due: u64,
    /// Events up to here were stored by a host before schema version 5, and have its keys until
    /// they give them up.
    legacy_up_to: EventId,
    /// Whether one of them has not.
    has_legacy: Arc<AtomicBool>,
}

/// The keys with one first byte, of the events after `up_to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) up_to: EventId,
    pub(super) keys: BTreeMap<SourceKey, EventId>,
}

impl Shard {
    fn flushed(up_to: EventId) -> Self {
        Self { up_to, keys: BTreeMap::new() }
    }
}

/// The changes of a batch to [`Recent`], made once it is durable.
#[derive(Debug, Default)]
pub(super) struct KeyChanges {
    /// Taken for an event, or given up.
    pub(super) keys: BTreeMap<SourceKey, Option<EventId>>,
    /// Shards whose keys, those taken by this batch included, are in the table now.
    pub(super) flushed: Vec<usize>,
    /// Events stored.
    pub(super) stored: u64,
    /// The last event that has given up its keys, if any has.
    pub(super) given_up_to: Option<EventId>,
}

impl Recent {
    /// Finds the keys again from their events. `flush_events` is [`FLUSH_EVENTS`], and less in
    /// tests.
    pub(super) fn load(
        connection: &Connection,
        flush_events: u64,
    ) -> Result<Self, rusqlite::Error> {
        let mut shards = vec![Shard::flushed(EventId::from_row(0)); SHARDS];
        let mut statement = connection.prepare("SELECT segment, up_to FROM dedupe_moved")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            shards[usize::from(row.get::<_, u8>(0)?)].up_to = EventId::from_row(row.get(1)?);
        }
        let (given_up_to, legacy_up_to) = connection.query_row(
            "SELECT dedupe_up_to, legacy_keys_up_to FROM swept",
            [],
            |row| Ok((EventId::from_row(row.get(0)?), EventId::from_row(row.get(1)?))),
        )?;
        let has_legacy = Arc::new(AtomicBool::new(given_up_to < legacy_up_to));
        let mut recent = Self { shards, flush_events, due: 0, legacy_up_to, has_legacy };
        recent.load_keys(connection)?;
        Ok(recent)
    }

    fn load_keys(&mut self, connection: &Connection) -> Result<(), rusqlite::Error> {
        let newest = self.flushed_up_to();
        // Keys that were given up are in neither place.
        let mut statement = connection.prepare(
            "SELECT id, source, dedupe FROM events
             WHERE id > ?1 AND id > (SELECT dedupe_up_to FROM swept) ORDER BY id",
        )?;
        let mut rows = statement.query([self.all_flushed_up_to().row()])?;
        // One text for all keys of a source.
        let mut sources = BTreeSet::<Arc<str>>::new();
        while let Some(row) = rows.next()? {
            let source: Arc<str> = read_text(row, 1)?.unwrap_or_default().into();
            let (id, keys): (_, Option<Vec<u8>>) = (row.get(0)?, row.get(2)?);
            let id = EventId::from_row(id);
            if id > newest {
                self.due += SHARDS as u64;
            }
            let source = sources.get(&source).cloned().unwrap_or_else(|| {
                sources.insert(source.clone());
                source
            });
            for key in keys_of(keys.as_deref()) {
                let shard = &mut self.shards[shard_of(&key)];
                if id > shard.up_to {
                    shard.keys.insert((source.clone(), key), id);
                }
            }
        }
        Ok(())
    }

    /// The greatest id that a shard was flushed up to: no event may get it or a smaller one.
    pub(super) fn flushed_up_to(&self) -> EventId {
        self.shards.iter().map(|shard| shard.up_to).fold(EventId::from_row(0), EventId::max)
    }

    /// The smallest one: keys in memory are of events after it.
    pub(super) fn all_flushed_up_to(&self) -> EventId {
        self.shards.iter().map(|shard| shard.up_to).fold(EventId::from_row(i64::MAX), EventId::min)
    }

    /// Takes over what a durable batch has changed; `last_id` is the last id it gave out.
    pub(super) fn apply(&mut self, changes: KeyChanges, last_id: EventId) {
        self.due = self.due_after(changes.stored) % self.flush_events;
        for (key, taken_for) in changes.keys {
            let keys = &mut self.shards[shard_of(&key.1)].keys;
            match taken_for {
                Some(event) => keys.insert(key, event),
                None => keys.remove(&key),
            };
        }
        for shard in changes.flushed {
            self.shards[shard] = Shard::flushed(last_id);
        }
        if let Some(given_up_to) = changes.given_up_to {
            self.has_legacy.store(given_up_to < self.legacy_up_to, Ordering::Relaxed);
        }
    }

    /// Whether an event still has keys as hosts before schema version 5 made them.
    pub(super) fn has_legacy(&self) -> bool {
        self.has_legacy.load(Ordering::Relaxed)
    }

    /// The same, for those who ask beside the writer.
    pub(super) fn legacy_flag(&self) -> Arc<AtomicBool> {
        self.has_legacy.clone()
    }

    /// The last event that was stored by a host before schema version 5, as long as there are its
    /// keys.
    pub(super) fn legacy_up_to(&self) -> Option<EventId> {
        self.has_legacy().then_some(self.legacy_up_to)
    }

    fn due_after(&self, stored: u64) -> u64 {
        self.due + stored * SHARDS as u64
    }

    /// The shards to flush after so many more events: those that were flushed longest ago.
    pub(super) fn shards_due_after(&self, stored: u64) -> Vec<usize> {
        let due = usize::try_from(self.due_after(stored) / self.flush_events).unwrap_or(SHARDS);
        if due == 0 {
            return Vec::new();
        }
        let mut order: Vec<_> = (0..SHARDS).collect();
        order.sort_by_key(|shard| self.shards[*shard].up_to);
        order.truncate(due);
        order
    }
}

/// The keys of an event, as they are stored with it.
pub(super) fn keys_of(stored: Option<&[u8]>) -> impl Iterator<Item = DedupeKey> {
    stored.unwrap_or_default().as_chunks().0.iter().copied()
}
