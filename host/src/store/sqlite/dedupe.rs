//! Dedupe keys: the newest in the writer's memory, the older ones in the table `dedupe`.
//!
//! A key is a hash. Keys that go into the table in the order of their arrival change a page each, and every such page is
//! written to the log, synced and moved. A new key is therefore only in the row of its event, which is written anyway,
//! and in memory. By their first byte keys belong to one of [`SEGMENTS`]. The segments take turns: the one that has
//! waited longest moves into the table, whole and in the table's order, so that many keys share a page; and
//! `dedupe_moved` says up to which event its keys are there.
//!
//! Invariant: a key of an event that has not given up its keys (`swept.dedupe_up_to`) is in memory if that event is
//! newer than the last move of the key's segment, and in the table if not; never in both. All this rests on is in the
//! database and changes within one transaction, so a start loads exactly what the last commit left in memory. Memory
//! itself changes after the commit: a batch that fails has changed nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::{Connection, OptionalExtension, params};

use super::batch::Batch;
use super::lease::read_text;
use crate::event::{DedupeKey, EventId, NewEvent};

#[cfg(test)]
mod tests;

/// Each segment moves once while so many events are stored. So memory holds the keys of half as many (some 4 MB, with
/// two keys an event), a start reads as many, and a segment that moves brings the keys of 256 events.
pub(super) const ROUND_EVENTS: u64 = 65_536;

/// As many as a byte has values; they are rows of `dedupe_moved`.
const SEGMENTS: usize = 256;

/// A source and a key of one of its events, ordered as in the table.
type Key = (Arc<str>, DedupeKey);

fn segment_of(key: &DedupeKey) -> usize {
    usize::from(key[0])
}

/// The keys that are not in the table yet.
#[derive(Debug)]
pub(super) struct Recent {
    segments: Vec<Segment>,
    round_events: u64,
    /// Turns that are due, in parts of which `round_events` are a turn: an event is worth [`SEGMENTS`].
    due: u64,
    /// Events up to here were stored by a host before schema version 5, and have its keys until they give them up.
    legacy_up_to: EventId,
    /// Whether one of them has not.
    has_legacy: Arc<AtomicBool>,
}

/// The keys with one first byte, of the events after `up_to`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment {
    up_to: EventId,
    keys: BTreeMap<Key, EventId>,
}

impl Segment {
    fn moved(up_to: EventId) -> Self {
        Self { up_to, keys: BTreeMap::new() }
    }
}

/// What a batch changes in [`Recent`] once it is durable.
#[derive(Debug, Default)]
pub(super) struct KeyChanges {
    /// Taken for an event, or given up.
    keys: BTreeMap<Key, Option<EventId>>,
    /// Segments whose keys, those taken by this batch included, are in the table now.
    moved: Vec<usize>,
    /// Events stored.
    stored: u64,
    /// The last event that has given up its keys, if any has.
    pub(super) given_up_to: Option<EventId>,
}

impl Recent {
    /// Finds the keys again from their events. `round_events` is [`ROUND_EVENTS`], and less in tests.
    pub(super) fn load(connection: &Connection, round_events: u64) -> Result<Self, rusqlite::Error> {
        let mut segments = vec![Segment::moved(EventId::from_row(0)); SEGMENTS];
        let mut statement = connection.prepare("SELECT segment, up_to FROM dedupe_moved")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            segments[usize::from(row.get::<_, u8>(0)?)].up_to = EventId::from_row(row.get(1)?);
        }
        let (given_up_to, legacy_up_to) =
            connection.query_row("SELECT dedupe_up_to, legacy_keys_up_to FROM swept", [], |row| {
                Ok((EventId::from_row(row.get(0)?), EventId::from_row(row.get(1)?)))
            })?;
        let has_legacy = Arc::new(AtomicBool::new(given_up_to < legacy_up_to));
        let mut recent = Self { segments, round_events, due: 0, legacy_up_to, has_legacy };
        recent.load_keys(connection)?;
        Ok(recent)
    }

    fn load_keys(&mut self, connection: &Connection) -> Result<(), rusqlite::Error> {
        let newest = self.moved_up_to();
        // Keys that were given up are in neither place.
        let mut statement = connection.prepare(
            "SELECT id, source, dedupe FROM events
             WHERE id > ?1 AND id > (SELECT dedupe_up_to FROM swept) ORDER BY id",
        )?;
        let mut rows = statement.query([self.all_moved_up_to().row()])?;
        // One text for all keys of a source.
        let mut sources = BTreeSet::<Arc<str>>::new();
        while let Some(row) = rows.next()? {
            let source: Arc<str> = read_text(row, 1)?.unwrap_or_default().into();
            let (id, keys): (_, Option<Vec<u8>>) = (row.get(0)?, row.get(2)?);
            let id = EventId::from_row(id);
            if id > newest {
                self.due += SEGMENTS as u64;
            }
            let source = sources.get(&source).cloned().unwrap_or_else(|| {
                sources.insert(source.clone());
                source
            });
            for key in keys_of(keys.as_deref()) {
                let segment = &mut self.segments[segment_of(&key)];
                if id > segment.up_to {
                    segment.keys.insert((source.clone(), key), id);
                }
            }
        }
        Ok(())
    }

    /// The greatest id that a segment has moved up to: no event may get it or a smaller one.
    pub(super) fn moved_up_to(&self) -> EventId {
        self.segments.iter().map(|segment| segment.up_to).fold(EventId::from_row(0), EventId::max)
    }

    /// The smallest one: keys in memory are of events after it.
    fn all_moved_up_to(&self) -> EventId {
        self.segments.iter().map(|segment| segment.up_to).fold(EventId::from_row(i64::MAX), EventId::min)
    }

    /// Takes over what a durable batch has changed; `last_id` is the last id it gave out.
    pub(super) fn apply(&mut self, changes: KeyChanges, last_id: EventId) {
        self.due = self.due_after(changes.stored) % self.round_events;
        for (key, taken_for) in changes.keys {
            let keys = &mut self.segments[segment_of(&key.1)].keys;
            match taken_for {
                Some(event) => keys.insert(key, event),
                None => keys.remove(&key),
            };
        }
        for segment in changes.moved {
            self.segments[segment] = Segment::moved(last_id);
        }
        if let Some(given_up_to) = changes.given_up_to {
            self.has_legacy.store(given_up_to < self.legacy_up_to, Ordering::Relaxed);
        }
    }

    /// Whether an event still has keys as hosts before schema version 5 made them.
    pub(super) fn has_legacy(&self) -> Arc<AtomicBool> {
        self.has_legacy.clone()
    }

    fn due_after(&self, stored: u64) -> u64 {
        self.due + stored * SEGMENTS as u64
    }

    /// The segments whose turn it is after so many more events: those that moved the longest ago.
    fn turns_after(&self, stored: u64) -> Vec<usize> {
        let turns = usize::try_from(self.due_after(stored) / self.round_events).unwrap_or(SEGMENTS);
        if turns == 0 {
            return Vec::new();
        }
        let mut order: Vec<_> = (0..SEGMENTS).collect();
        order.sort_by_key(|segment| self.segments[*segment].up_to);
        order.truncate(turns);
        order
    }
}

impl Batch<'_> {
    /// Takes the dedupe keys of an event that is being stored. If one is known, takes none of them and names the event
    /// that has it.
    pub(super) fn take_keys(&mut self, id: EventId, new: &NewEvent) -> Result<Option<EventId>, rusqlite::Error> {
        let keys = || new.dedupe.iter().map(|key| (new.attributes.source.clone(), *key));
        for key in keys() {
            if let Some(first) = self.event_of(&key)? {
                return Ok(Some(first));
            }
        }
        if let Some(first) = self.legacy_event_of(new)? {
            return Ok(Some(first));
        }
        self.keys.keys.extend(keys().map(|key| (key, Some(id))));
        self.keys.stored += 1;
        Ok(None)
    }

    /// The event that has a key: of this batch, in memory, or in the table.
    fn event_of(&self, key: &Key) -> Result<Option<EventId>, rusqlite::Error> {
        if let Some(taken_for) = self.keys.keys.get(key) {
            return Ok(*taken_for);
        }
        let recent = &self.recent.segments[segment_of(&key.1)];
        if let Some(event) = recent.keys.get(key) {
            return Ok(Some(*event));
        }
        self.connection
            .prepare_cached("SELECT event FROM dedupe WHERE source = ?1 AND key = ?2")?
            .query_row(params![key.0, key.1], |row| row.get(0).map(EventId::from_row))
            .optional()
    }

    /// The event that a host before schema version 5 stored for the same request. Its key was over the body alone, so
    /// the type is compared, and the header that tells when it was sent.
    fn legacy_event_of(&self, new: &NewEvent) -> Result<Option<EventId>, rusqlite::Error> {
        let Some(legacy) = new.legacy_key.as_ref().filter(|_| self.recent.has_legacy.load(Ordering::Relaxed)) else {
            return Ok(None);
        };
        let Some(event) = self.event_of(&(new.attributes.source.clone(), legacy.key))? else { return Ok(None) };
        let stored: Option<(String, Option<String>)> = self
            .connection
            .prepare_cached("SELECT type, headers FROM events WHERE id = ?1")?
            .query_row([event.row()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let is_same = stored.is_some_and(|(kind, headers)| {
            kind == new.attributes.kind && legacy.header.as_ref().is_none_or(|name| has_same(name, headers, new))
        });
        Ok(is_same.then_some(event))
    }

    /// Gives up the keys of an event, which are stored with it as `keys`.
    pub(super) fn give_up_keys(
        &mut self,
        event: EventId,
        source: &Arc<str>,
        keys: Option<&[u8]>,
    ) -> Result<(), rusqlite::Error> {
        for key in keys_of(keys) {
            if event > self.recent.segments[segment_of(&key)].up_to {
                self.keys.keys.insert((source.clone(), key), None);
                continue;
            }
            self.connection
                .prepare_cached("DELETE FROM dedupe WHERE source = ?1 AND key = ?2 AND event = ?3")?
                .execute(params![source, key, event.row()])?;
        }
        Ok(())
    }

    /// Moves the segments whose turn it is into the table. The last thing a batch does: what it has taken and given up
    /// belongs to it, and all ids it has given out are behind the segment then.
    pub(super) fn move_keys(&mut self) -> Result<(), rusqlite::Error> {
        self.keys.moved = self.recent.turns_after(self.keys.stored);
        for segment in &self.keys.moved {
            self.move_segment(*segment)?;
        }
        Ok(())
    }

    fn move_segment(&self, segment: usize) -> Result<(), rusqlite::Error> {
        let changed = &self.keys.keys;
        let before = self.recent.segments[segment].keys.iter().filter(|(key, _)| !changed.contains_key(*key));
        let taken = changed.iter().filter(|(key, _)| segment_of(&key.1) == segment);
        let taken = taken.filter_map(|(key, taken_for)| Some((key, taken_for.as_ref()?)));
        // None of them is there. If one ever were, it would be that of the first event.
        let mut insert =
            self.connection.prepare_cached("INSERT OR IGNORE INTO dedupe (source, key, event) VALUES (?1, ?2, ?3)")?;
        for ((source, key), event) in before.chain(taken) {
            let inserted = insert.execute(params![source, key, event.row()])?;
            debug_assert_eq!(inserted, 1, "a key is in memory or in the table, never in both");
        }
        self.connection
            .prepare_cached("UPDATE dedupe_moved SET up_to = ?2 WHERE segment = ?1")?
            .execute(params![segment, self.last_id.row()])?;
        Ok(())
    }
}

/// Whether a header stands in both, with one value.
fn has_same(name: &str, stored: Option<String>, new: &NewEvent) -> bool {
    let stored: Vec<(String, String)> =
        stored.and_then(|stored| serde_json::from_str(&stored).ok()).unwrap_or_default();
    let value =
        |headers: &[(String, String)]| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    value(&stored).is_some_and(|stored| value(&new.headers) == Some(stored))
}

/// The keys of an event, as they are stored with it.
fn keys_of(stored: Option<&[u8]>) -> impl Iterator<Item = DedupeKey> {
    stored.unwrap_or_default().as_chunks().0.iter().copied()
}
