//! Deletes what events hold because somebody asked for it. Counts and trees stay.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::batch::WriteBatch;
use crate::event::{DEAD, DeliveryId, EventId, State};
pub(super) use crate::store::model::refusal_of_emptied as refusal;
use crate::store::model::without_paths;
use crate::store::{Action, Emptied, Erased, Erasure};

/// Since version 8: events that hold nothing any more. `asked`: by a client, and not by
/// `payload_retention`.
pub(super) const SCHEMA: &str = "
    CREATE TABLE erased (event INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, asked INTEGER NOT NULL) STRICT;
";

/// The most events of a subject that one command erases.
pub(super) const MAX_EVENTS: usize = if cfg!(test) { 3 } else { 50 };

/// The most events of a family, an event with its copies, that one command erases.
const MAX_COPIES: usize = if cfg!(test) { 8 } else { 1_000 };

/// A value that is to be deleted, if nobody writes it meanwhile: bucket, key and version.
pub(super) type FoundKey = (String, String, i64);

pub(super) type Found = (Vec<EventId>, Vec<FoundKey>, bool);

/// The events that are meant, one more than a command erases; the values that deliveries of them
/// and of their copies wrote last; and whether there was any such event.
pub(super) fn found(
    connection: &Connection,
    erasure: &Erasure,
    keys: bool,
) -> Result<Found, rusqlite::Error> {
    let (events, is_there): (Vec<EventId>, bool) = match erasure {
        Erasure::Event(id) => {
            let mut statement = connection.prepare_cached("SELECT 1 FROM events WHERE id = ?1")?;
            (vec![*id], statement.exists([id.row()])?)
        }
        Erasure::Subject(subject) => {
            let sql = "SELECT id FROM events WHERE subject = ?1 ORDER BY id LIMIT ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![subject, MAX_EVENTS + 1], |row| {
                row.get(0).map(EventId::from_row)
            })?;
            (rows.collect::<Result<_, _>>()?, true)
        }
    };
    let mut written = Vec::new();
    if keys {
        let all = events.iter().take(MAX_EVENTS);
        let with_copies = all.map(|event| with_copies(connection, *event));
        let ids: BTreeSet<i64> = with_copies
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .map(EventId::row)
            .collect();
        let mut statement = connection
            .prepare_cached("SELECT plugin, key, version, event FROM kv WHERE event IS NOT NULL")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if ids.contains(&row.get(3)?) {
                written.push((row.get(0)?, row.get(1)?, row.get(2)?));
            }
        }
    }
    Ok((events, written, is_there))
}

/// An event, the dead letters that tell of it, and what joins, batches and operators made of it.
fn with_copies(connection: &Connection, event: EventId) -> Result<Vec<EventId>, rusqlite::Error> {
    let (mut all, mut seen, mut at) = (vec![event], BTreeSet::from([event]), 0);
    while let Some(next) = all.get(at).copied() {
        at += 1;
        let mut statement = connection.prepare_cached(
            "SELECT id FROM events WHERE parent = ?1 AND type = ?2
             UNION ALL
             SELECT e.id FROM gathered m
             CROSS JOIN gatherings g ON g.event = m.gathering AND g.ordinal = m.ordinal
             CROSS JOIN gathered n ON n.gathering = g.event AND n.ordinal = g.ordinal
             CROSS JOIN events e ON e.parent = n.event AND e.source = g.plugin
             WHERE m.event = ?1
             UNION ALL
             SELECT event FROM edits WHERE replay_of = ?1",
        )?;
        let mut copies = statement.query(params![next.row(), DEAD])?;
        while let Some(row) = copies.next()? {
            let copy = EventId::from_row(row.get(0)?);
            if seen.insert(copy) {
                all.push(copy);
            }
        }
    }
    Ok(all)
}

/// The events of a family that one command erases, and whether none is left to the next one.
fn some_of(
    connection: &Connection,
    family: Vec<EventId>,
) -> Result<(Vec<EventId>, bool), rusqlite::Error> {
    if family.len() <= MAX_COPIES {
        return Ok((family, true));
    }
    let mut left = Vec::with_capacity(MAX_COPIES);
    for event in family {
        if emptied(connection, event)?.is_some_and(|emptied| emptied.asked) {
            continue;
        }
        if left.len() == MAX_COPIES {
            return Ok((left, false));
        }
        left.push(event);
    }
    Ok((left, true))
}

/// Whether an event was emptied, when and why.
pub(super) fn emptied(
    connection: &Connection,
    event: EventId,
) -> Result<Option<Emptied>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT at_ms, asked FROM erased WHERE event = ?1")?
        .query_row([event.row()], |row| Ok(Emptied { at_ms: row.get(0)?, asked: row.get(1)? }))
        .optional()
}

impl WriteBatch<'_> {
    /// Erases events and their copies, and deletes these values.
    pub(super) fn erase(
        &mut self,
        events: &[EventId],
        keys: &[FoundKey],
    ) -> Result<Erased, rusqlite::Error> {
        // Deleted data is overwritten in the file.
        self.connection.execute_batch("PRAGMA secure_delete = ON")?;
        let erased = self.erase_all(events, keys);
        self.connection.execute_batch("PRAGMA secure_delete = OFF")?;
        erased
    }

    fn erase_all(
        &mut self,
        events: &[EventId],
        keys: &[FoundKey],
    ) -> Result<Erased, rusqlite::Error> {
        let mut erased = Erased::default();
        let (mut all, mut meant) = (Vec::with_capacity(events.len()), BTreeSet::new());
        for event in events {
            let copies = with_copies(self.connection, *event)?;
            meant.extend(copies.iter().map(|copy| copy.row()));
            all.push((*event, some_of(self.connection, copies)?));
        }
        for (first, (copies, is_whole)) in all {
            let (mut running, mut at_rest) = (0, Vec::with_capacity(copies.len()));
            erased.more |= !is_whole;
            for copy in copies {
                let (ended, is_running) = self.end_all(copy, &meant)?;
                erased.ended += ended;
                if is_running {
                    running += 1;
                } else {
                    at_rest.push(copy);
                }
            }
            // By its subject a later call finds the event, and so what is left of its family.
            let is_last = running == 0 && is_whole;
            for event in at_rest.into_iter().filter(|it| is_last || *it != first) {
                erased.events += u64::from(self.empty(event, true)?);
            }
            erased.running += running;
        }
        for (bucket, key, version) in keys {
            erased.keys += u64::from(self.remove_key(bucket, key, *version)?);
        }
        erased.more &= erased.is_some();
        Ok(erased)
    }

    /// Ends what is open of an event, and puts its dead letters away; says how many, and whether an
    /// attempt runs that has its data. A join or a batch ends only with the last of its members.
    fn end_all(
        &mut self,
        event: EventId,
        meant: &BTreeSet<i64>,
    ) -> Result<(u64, bool), rusqlite::Error> {
        let mut ids: Vec<DeliveryId> = self
            .connection
            .prepare_cached(
                "SELECT event, ordinal FROM deliveries WHERE event = ?1
                 UNION ALL SELECT gathering, ordinal FROM gathered WHERE event = ?1",
            )?
            .query_map([event.row()], |row| {
                Ok(DeliveryId { event: EventId::from_row(row.get(0)?), ordinal: row.get(1)? })
            })?
            .collect::<Result<_, _>>()?;
        ids.sort_unstable_by_key(|id| (id.event, id.ordinal));
        ids.dedup();
        let (mut ended, mut is_running) = (0, false);
        for id in ids {
            if !self.gathers_others(id, meant)? {
                for action in [Action::Cancel, Action::Discard] {
                    ended += self.change(&action, id)?.unwrap_or(0);
                }
            }
            let stands = self.stands(id)?;
            is_running |= stands.is_some_and(|stands| stands.state == State::Leased);
        }
        Ok((ended, is_running))
    }

    /// Whether a delivery is that of a join or a batch with a member that is neither erased nor
    /// meant to be.
    fn gathers_others(
        &self,
        id: DeliveryId,
        meant: &BTreeSet<i64>,
    ) -> Result<bool, rusqlite::Error> {
        let mut statement = self.connection.prepare_cached(
            "SELECT m.event FROM gathered m WHERE m.gathering = ?1 AND m.ordinal = ?2
             AND NOT EXISTS (SELECT 1 FROM erased r WHERE r.event = m.event AND r.asked = 1)",
        )?;
        let mut members = statement.query(params![id.event.row(), id.ordinal])?;
        while let Some(member) = members.next()? {
            if !meant.contains(&member.get(0)?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Empties an event with what its deliveries left; says whether it was there and held anything.
    pub(super) fn empty(&mut self, event: EventId, asked: bool) -> Result<bool, rusqlite::Error> {
        let row = event.row();
        let note = if asked { "erased" } else { "past `store.payload_retention`" };
        let emptied = self
            .connection
            .prepare_cached(
                "UPDATE events SET body = x'', headers = NULL, sum = NULL, note = ?2,
                        subject = CASE ?3 WHEN 1 THEN NULL ELSE subject END,
                        trace = CASE ?3 WHEN 1 THEN NULL ELSE trace END
                 WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM erased WHERE event = ?1 AND asked >= ?3)",
            )?
            .execute(params![row, note, asked])?;
        if emptied == 0 {
            return Ok(false);
        }
        self.strip_attempts(event)?;
        self.connection.prepare_cached("DELETE FROM steps WHERE event = ?1")?.execute([row])?;
        if asked {
            for sql in [
                "UPDATE deliveries SET key = NULL WHERE event = ?1 AND key IS NOT NULL",
                "UPDATE gathered SET member = NULL WHERE event = ?1 AND member IS NOT NULL",
            ] {
                self.connection.prepare_cached(sql)?.execute([row])?;
            }
        }
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO erased (event, at_ms, asked) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![row, self.wall_ms, asked])?;
        self.delta.emptied = true;
        Ok(true)
    }

    /// Leaves of attempts what can be counted: times, outcomes, files, and hosts that were asked.
    fn strip_attempts(&self, event: EventId) -> Result<(), rusqlite::Error> {
        let calls: Vec<(u32, u32, Option<String>)> = self
            .connection
            .prepare_cached("SELECT ordinal, number, calls FROM attempts WHERE event = ?1")?
            .query_map([event.row()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<Result<_, _>>()?;
        for (ordinal, number, calls) in calls {
            self.connection
                .prepare_cached(
                    "UPDATE attempts SET error = NULL, logs = NULL, steps = NULL, calls = ?4
                     WHERE event = ?1 AND ordinal = ?2 AND number = ?3",
                )?
                .execute(params![
                    event.row(),
                    ordinal,
                    number,
                    calls.as_deref().and_then(without_paths)
                ])?;
        }
        Ok(())
    }
}
