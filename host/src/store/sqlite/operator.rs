//! What an operator does to settled deliveries, and what the sweep deletes.

use std::sync::Arc;

use rusqlite::{OptionalExtension, params, params_from_iter};

use super::batch::Batch;
use super::lease::{EVENT_COLUMNS, read_event, read_state};
use super::read::Clauses;
use crate::event::{DeliveryId, EventId, PluginName, State};
use crate::fail;
use crate::store::{Keep, RetryWhich, StoreError};

/// The most dead deliveries one call makes ready; ask again for more.
const MAX_RETRIED: usize = 10_000;

/// The most deliveries an event may have, replays included.
const MAX_DELIVERIES: u32 = 1_000;

/// The most events one sweep looks at.
const MAX_SWEPT: usize = 500;

/// An answer within a batch: what the database says, or why the operator cannot have it.
type Answer<T> = Result<Result<T, StoreError>, rusqlite::Error>;

impl Batch<'_> {
    /// Makes dead deliveries ready. Their attempts so far are pardoned.
    pub(super) fn retry(&mut self, which: &RetryWhich) -> Answer<u64> {
        let dead = match which {
            RetryWhich::One(delivery) => match self.state_of(*delivery)? {
                None => return Ok(Err(StoreError::NotFound(format!("delivery `{delivery}`")))),
                Some((plugin, State::Dead)) => vec![(*delivery, plugin)],
                Some((_, state)) => {
                    let name = state.name();
                    return Ok(Err(StoreError::Conflict(format!(
                        "delivery `{delivery}` is {name}; only a dead one can be retried"
                    ))));
                }
            },
            RetryWhich::Matching(filter) => {
                let mut clauses = Clauses::deliveries(filter);
                clauses.add("d.state = ?", i64::from(State::Dead.code()));
                let sql = format!(
                    "SELECT d.event, d.ordinal, d.plugin FROM deliveries d JOIN events e ON e.id = d.event
                     WHERE d.state = 4 {} ORDER BY d.event, d.ordinal LIMIT {MAX_RETRIED}",
                    clauses.sql()
                );
                let mut statement = self.connection.prepare(&sql)?;
                let rows = statement.query_map(params_from_iter(clauses.values()), |row| {
                    let delivery = DeliveryId { event: EventId::from_row(row.get(0)?), ordinal: row.get(1)? };
                    Ok((delivery, PluginName::from(row.get::<_, String>(2)?)))
                })?;
                rows.collect::<Result<_, _>>()?
            }
        };
        for (delivery, plugin) in &dead {
            self.connection
                .prepare_cached(
                    "UPDATE deliveries SET state = ?3, due_ms = ?4, pardoned = attempt, crashes = 0
                     WHERE event = ?1 AND ordinal = ?2",
                )?
                .execute(params![delivery.event.row(), delivery.ordinal, State::Ready.code(), self.now_ms])?;
            self.delta.moved(plugin, Some(State::Dead), Some(State::Ready));
            self.posted.push((plugin.clone(), self.now_ms));
        }
        Ok(Ok(dead.len() as u64))
    }

    fn state_of(&self, delivery: DeliveryId) -> Result<Option<(PluginName, State)>, rusqlite::Error> {
        self.connection
            .prepare_cached("SELECT plugin, state FROM deliveries WHERE event = ?1 AND ordinal = ?2")?
            .query_row(params![delivery.event.row(), delivery.ordinal], |row| {
                Ok((row.get::<_, String>(0)?.into(), read_state(row, 1)?))
            })
            .optional()
    }

    /// Creates new deliveries of an old event.
    pub(super) fn replay(&mut self, event: EventId, plugins: &[PluginName]) -> Answer<Vec<DeliveryId>> {
        let sql = format!("SELECT {EVENT_COLUMNS} FROM events e WHERE e.id = ?1");
        let found = self.connection.prepare_cached(&sql)?.query_row([event.row()], read_event).optional()?;
        let Some(found) = found.map(Arc::new) else {
            return Ok(Err(StoreError::NotFound(format!("event `{event}`"))));
        };
        let first: u32 = self
            .connection
            .prepare_cached("SELECT coalesce(max(ordinal) + 1, 0) FROM deliveries WHERE event = ?1")?
            .query_row([event.row()], |row| row.get(0))?;
        if first as usize + plugins.len() > MAX_DELIVERIES as usize {
            return Ok(Err(StoreError::Conflict(format!(
                "event `{event}` has {first} deliveries already; an event can have {MAX_DELIVERIES}"
            ))));
        }
        let mut created = Vec::new();
        for (ordinal, plugin) in (first..).zip(plugins) {
            self.create_delivery(&found, ordinal, plugin, 0, true)?;
            created.push(DeliveryId { event, ordinal });
        }
        Ok(Ok(created))
    }

    /// Deletes what is older than it has to be kept, a bounded number; says whether there may be more.
    pub(super) fn sweep(&mut self, keep: &Keep) -> Result<bool, rusqlite::Error> {
        let more_keys = self.sweep_dedupe(EventId::first_at(keep.dedupe_since_ms))?;
        let more_events = self.sweep_events(EventId::first_at(keep.events_since_ms))?;
        let _ = fail::point("store.retention");
        Ok(more_keys || more_events)
    }

    fn sweep_dedupe(&mut self, until: EventId) -> Result<bool, rusqlite::Error> {
        let swept: i64 = self.connection.query_row("SELECT dedupe_up_to FROM swept", [], |row| row.get(0))?;
        let old: Vec<(i64, String, Option<Vec<u8>>)> = self
            .connection
            .prepare_cached("SELECT id, source, dedupe FROM events WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3")?
            .query_map(params![swept, until.row(), MAX_SWEPT], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<Result<_, _>>()?;
        let mut statement =
            self.connection.prepare_cached("DELETE FROM dedupe WHERE source = ?1 AND key = ?2 AND event = ?3")?;
        for (event, source, keys) in &old {
            for key in keys.iter().flat_map(|keys| keys.chunks(size_of::<crate::event::DedupeKey>())) {
                statement.execute(params![source, key, event])?;
            }
        }
        if let Some((last, ..)) = old.last() {
            self.connection.execute("UPDATE swept SET dedupe_up_to = ?1", [last])?;
        }
        Ok(old.len() == MAX_SWEPT)
    }

    /// Deletes old events whose keys are swept and whose deliveries are all settled; a dead letter is settled.
    fn sweep_events(&mut self, until: EventId) -> Result<bool, rusqlite::Error> {
        let old: Vec<i64> = self
            .connection
            .prepare_cached(
                "SELECT e.id FROM events e
                 WHERE e.id < ?1 AND e.id <= (SELECT dedupe_up_to FROM swept)
                   AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event = e.id AND d.due_ms IS NOT NULL)
                 ORDER BY e.id LIMIT ?2",
            )?
            .query_map(params![until.row(), MAX_SWEPT], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for event in &old {
            self.delete_event(*event)?;
        }
        Ok(old.len() == MAX_SWEPT)
    }

    fn delete_event(&mut self, event: i64) -> Result<(), rusqlite::Error> {
        let settled: Vec<(String, State)> = self
            .connection
            .prepare_cached("DELETE FROM deliveries WHERE event = ?1 RETURNING plugin, state")?
            .query_map([event], |row| Ok((row.get(0)?, read_state(row, 1)?)))?
            .collect::<Result<_, _>>()?;
        for (plugin, state) in settled {
            self.delta.moved(&plugin.into(), Some(state), None);
        }
        self.connection.prepare_cached("DELETE FROM attempts WHERE event = ?1")?.execute([event])?;
        self.connection.prepare_cached("DELETE FROM events WHERE id = ?1")?.execute([event])?;
        self.delta.events -= 1;
        Ok(())
    }
}
