//! The dedupe keys of a batch: taken, looked up, given up, and flushed a shard at a time (see
//! `recent`).

use std::sync::Arc;

use rusqlite::{OptionalExtension, params};

use super::batch::WriteBatch;
use super::recent::{SourceKey, keys_of, shard_of};
use crate::event::{EventId, NewEvent};

#[cfg(test)]
mod tests;

/// The most bytes of an event's keys to which duplicates add more: those of 64 keys.
const MAX_KEY_BYTES: usize = 64 * 16;

impl WriteBatch<'_> {
    /// Takes the dedupe keys of an event that is being stored. If one is known, takes none of them
    /// and names the event that has it.
    pub(super) fn take_keys(
        &mut self,
        id: EventId,
        new: &NewEvent,
    ) -> Result<Option<EventId>, rusqlite::Error> {
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

    /// Takes a key of a duplicate for the event that it repeats, if nobody has it: in the row of
    /// the event, from which a start knows it, and where its shard is.
    pub(super) fn spend(&mut self, first: EventId, key: SourceKey) -> Result<(), rusqlite::Error> {
        if self.event_of(&key)?.is_some() {
            return Ok(());
        }
        let kept = self
            .connection
            .prepare_cached(
                "UPDATE events SET dedupe = CAST(coalesce(dedupe, x'') || ?2 AS BLOB) \
                 WHERE id = ?1 AND id > (SELECT dedupe_up_to FROM swept) \
                   AND length(coalesce(dedupe, x'')) < ?3",
            )?
            .execute(params![first.row(), key.1, MAX_KEY_BYTES])?;
        if kept == 0 {
            return Ok(());
        }
        if first > self.recent.shards[shard_of(&key.1)].up_to {
            self.keys.keys.insert(key, Some(first));
            return Ok(());
        }
        self.connection
            .prepare_cached(
                "INSERT OR IGNORE INTO dedupe (source, key, event) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![key.0, key.1, first.row()])?;
        Ok(())
    }

    /// The event that has a key: of this batch, in memory, or in the table.
    fn event_of(&self, key: &SourceKey) -> Result<Option<EventId>, rusqlite::Error> {
        if let Some(taken_for) = self.keys.keys.get(key) {
            return Ok(*taken_for);
        }
        let recent = &self.recent.shards[shard_of(&key.1)];
        if let Some(event) = recent.keys.get(key) {
            return Ok(Some(*event));
        }
        self.connection
            .prepare_cached("SELECT event FROM dedupe WHERE source = ?1 AND key = ?2")?
            .query_row(params![key.0, key.1], |row| row.get(0).map(EventId::from_row))
            .optional()
    }

    /// The event that a host before schema version 5 stored for the same request. Its key was over
    /// the body alone, so the type is compared, and the header that tells when it was sent.
    fn legacy_event_of(&self, new: &NewEvent) -> Result<Option<EventId>, rusqlite::Error> {
        if !self.recent.has_legacy() {
            return Ok(None);
        }
        let Some(legacy) = &new.legacy_key else { return Ok(None) };
        let Some(event) = self.event_of(&(new.attributes.source.clone(), legacy.key))? else {
            return Ok(None);
        };
        let stored: Option<(String, Option<String>)> = self
            .connection
            .prepare_cached("SELECT type, headers FROM events WHERE id = ?1")?
            .query_row([event.row()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let is_same = stored.is_some_and(|(kind, headers)| {
            kind == new.attributes.kind
                && legacy.header.as_ref().is_none_or(|name| has_same(name, headers, new))
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
            if event > self.recent.shards[shard_of(&key)].up_to {
                self.keys.keys.insert((source.clone(), key), None);
                continue;
            }
            self.connection
                .prepare_cached("DELETE FROM dedupe WHERE source = ?1 AND key = ?2 AND event = ?3")?
                .execute(params![source, key, event.row()])?;
        }
        Ok(())
    }

    /// Flushes the shards that are due into the table. The last thing a batch does: what it has
    /// taken and given up belongs to it, and all ids it has given out are behind the shard then.
    pub(super) fn flush_keys(&mut self) -> Result<(), rusqlite::Error> {
        self.keys.flushed = self.recent.shards_due_after(self.keys.stored);
        for shard in &self.keys.flushed {
            self.flush_shard(*shard)?;
        }
        Ok(())
    }

    fn flush_shard(&self, shard: usize) -> Result<(), rusqlite::Error> {
        let changed = &self.keys.keys;
        let before =
            self.recent.shards[shard].keys.iter().filter(|(key, _)| !changed.contains_key(*key));
        let taken = changed.iter().filter(|(key, _)| shard_of(&key.1) == shard);
        let taken = taken.filter_map(|(key, taken_for)| Some((key, taken_for.as_ref()?)));
        // None of them is there. If one ever were, it would be that of the first event.
        let mut insert = self.connection.prepare_cached(
            "INSERT OR IGNORE INTO dedupe (source, key, event) VALUES (?1, ?2, ?3)",
        )?;
        for ((source, key), event) in before.chain(taken) {
            let inserted = insert.execute(params![source, key, event.row()])?;
            debug_assert_eq!(inserted, 1, "a key is in memory or in the table, never in both");
        }
        self.connection
            .prepare_cached("UPDATE dedupe_moved SET up_to = ?2 WHERE segment = ?1")?
            .execute(params![shard, self.last_id.row()])?;
        Ok(())
    }
}

/// Whether a header stands in both, with one value.
fn has_same(name: &str, stored: Option<String>, new: &NewEvent) -> bool {
    let stored: Vec<(String, String)> =
        stored.and_then(|stored| serde_json::from_str(&stored).ok()).unwrap_or_default();
    let value = |headers: &[(String, String)]| {
        headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    };
    value(&stored).is_some_and(|stored| value(&new.headers) == Some(stored))
}
