//! The replay of old events, and what the sweep deletes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{OptionalExtension, params};

use super::append::Creation;
use super::batch::WriteBatch;
use super::erase;
use super::rows::{EVENT_COLUMNS, read_event, read_group_id, read_state, read_text};
use super::sum;
use crate::event::{DeliveryId, EventId, FailureId, PluginName, State, Target};
use crate::fail;
use crate::store::StoreError;

/// The most deliveries an event may have, replays included.
const MAX_DELIVERIES: u32 = 1_000;

/// The most events that one sweep visits.
pub(super) const MAX_SWEPT: usize = 500;

/// The most body bytes one sweep deletes (and at least one event), because each of their pages has
/// to be read.
pub(super) const MAX_SWEPT_BYTES: i64 = 4 << 20;

/// The longest time for which a sweep deletes keys, and then events, because appends wait for it.
/// The size of an event's attempts and logs is not known before they are deleted.
pub(super) const LONGEST_SWEEP: Duration = Duration::from_millis(4);

/// Whether an event `e` has an open delivery, is to be a member of one, or has a dead letter whose
/// last attempt is not older than ?3. [`WriteBatch::attempts_since`] gives ?4 and ?5.
pub(super) const IS_NEEDED: &str = "
    (EXISTS (SELECT 1 FROM deliveries d WHERE d.event = e.id AND d.due_ms IS NOT NULL)
     OR EXISTS (SELECT 1 FROM deliveries d WHERE d.event = e.id AND d.state = 4
                AND EXISTS (SELECT 1 FROM attempts a WHERE a.event = d.event
                            AND a.ordinal = d.ordinal AND a.started_ms >= ?3
                            AND (a.started_ms <= ?4 OR e.id >= ?5)))
     OR EXISTS (SELECT 1 FROM gathered m
                JOIN deliveries d ON d.event = m.gathering AND d.ordinal = m.ordinal
                WHERE m.event = e.id AND d.due_ms IS NOT NULL))";

/// The times before which events and keys are deleted, Unix ms by the wall clock as far as deletion
/// trusts it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expired {
    pub(super) events_before_ms: i64,
    pub(super) payloads_before_ms: i64,
    pub(super) keys_before_ms: i64,
    pub(super) audit_before_ms: i64,
    /// The time by which values of key-value buckets expire; not later than host time.
    pub(super) now_ms: i64,
}

/// A delivery that is deleted: its plugin, state, ordinal, key and group of failures.
type Deleted = (PluginName, State, u32, Option<String>, Option<FailureId>);

impl WriteBatch<'_> {
    /// Creates new deliveries of an old event.
    pub(super) fn replay(
        &mut self,
        event: EventId,
        targets: &[Arc<Target>],
    ) -> Result<Result<Vec<DeliveryId>, StoreError>, rusqlite::Error> {
        let sql = format!("SELECT {EVENT_COLUMNS}, e.sum FROM events e WHERE e.id = ?1");
        let found = self.connection.prepare_cached(&sql)?.query_row([event.row()], |row| {
            let event = read_event(row)?;
            Ok((sum::damage(row, 10, &event.attributes)?, Arc::new(event)))
        });
        let found = match found.optional()? {
            Some((None, found)) => found,
            Some((Some(damage), _)) => return Ok(Err(StoreError::Conflict(damage))),
            None => return Ok(Err(StoreError::NotFound(format!("event `{event}`")))),
        };
        if let Some(emptied) = erase::emptied(self.connection, event)? {
            return Ok(Err(erase::refusal(event, emptied)));
        }
        let first = self.next_ordinal(event)?;
        if first as usize + targets.len() > MAX_DELIVERIES as usize {
            return Ok(Err(StoreError::Conflict(format!(
                "event `{event}` has {first} deliveries already; an event can have {MAX_DELIVERIES}"
            ))));
        }
        let mut created = Vec::new();
        for target in targets {
            // A replay is due at once; the deliveries before it may have left a notice behind them.
            let ordinal = self.next_ordinal(event)?;
            let key =
                target.options.key.as_ref().and_then(|key| key.key_of(&found.attributes).ok());
            let id = DeliveryId { event, ordinal };
            let died = self.create_delivery(
                &found,
                Creation {
                    ordinal,
                    plugin: &target.plugin,
                    options: &target.options,
                    key: key.map(|key| key.text(found.tree())),
                    delay_ms: 0,
                    replay: true,
                },
            )?;
            if died {
                self.notice_death(id, &target.plugin)?;
            }
            created.push(id);
        }
        Ok(Ok(created))
    }

    fn next_ordinal(&self, event: EventId) -> Result<u32, rusqlite::Error> {
        self.connection
            .prepare_cached(
                "SELECT coalesce(max(ordinal) + 1, 0) FROM deliveries WHERE event = ?1",
            )?
            .query_row([event.row()], |row| row.get(0))
    }

    /// Deletes what is older than it has to be kept, a bounded number; says whether there may be
    /// more.
    pub(super) fn sweep(&mut self, expired: Expired) -> Result<bool, rusqlite::Error> {
        let more_keys = self.sweep_dedupe(self.older_than(expired.keys_before_ms))?;
        let more_events = self.sweep_events(expired.events_before_ms)?;
        let more_payloads = self.sweep_payloads(expired.payloads_before_ms)?;
        let more_held = self.forget_held(MAX_SWEPT)?;
        let more_values = self.sweep_kv(expired.now_ms, MAX_SWEPT)?;
        let more_entries = self.sweep_audit(expired.audit_before_ms)?;
        let more_operations = self.sweep_operations()?;
        let more_groups = self.sweep_groups(expired.events_before_ms)?;
        let _ = fail::point("store.retention");
        Ok(more_keys
            || more_events
            || more_payloads
            || more_held
            || more_values
            || more_entries
            || more_operations
            || more_groups)
    }

    fn sweep_dedupe(&mut self, until: EventId) -> Result<bool, rusqlite::Error> {
        let swept: i64 =
            self.connection.query_row("SELECT dedupe_up_to FROM swept", [], |row| row.get(0))?;
        let old: Vec<(i64, Arc<str>, Option<Vec<u8>>)> = self
            .connection
            .prepare_cached("SELECT id, source, dedupe FROM events WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3")?
            .query_map(params![swept, until.row(), MAX_SWEPT], |row| {
                Ok((row.get(0)?, read_text(row, 1)?.unwrap_or_default().into(), row.get(2)?))
            })?
            .collect::<Result<_, _>>()?;
        let begun = Instant::now();
        let mut last = None;
        for (event, source, keys) in &old {
            self.give_up_keys(EventId::from_row(*event), source, keys.as_deref())?;
            last = Some(*event);
            if begun.elapsed() >= LONGEST_SWEEP {
                break;
            }
        }
        if let Some(last) = last {
            self.connection.execute("UPDATE swept SET dedupe_up_to = ?1", [last])?;
            self.keys.given_up_to = Some(EventId::from_row(last));
        }
        Ok(old.len() == MAX_SWEPT || last != old.last().map(|(event, ..)| *event))
    }

    /// Deletes old events whose keys are swept and whose deliveries are all settled. A dead letter
    /// is kept as long again after its last attempt, for people to see it, or until an operator
    /// discards it. The first event of a join is kept until the join's time is over: its key is
    /// closed so long, however long events are kept. A sweep goes on where the last one stopped, so
    /// that it passes old open events only once in each pass.
    fn sweep_events(&mut self, since_ms: i64) -> Result<bool, rusqlite::Error> {
        let until = self.older_than(since_ms);
        let (since_ms, times) = self.attempts_since(since_ms);
        let sql = format!(
            "SELECT e.id, length(e.body),
                        {IS_NEEDED}
                        OR EXISTS (SELECT 1 FROM gatherings g
                                   WHERE g.event = e.id AND g.plugin > 'joins/' AND g.plugin < 'joins0'
                                   AND ?6 < g.until_ms + iif(g.frozen AND g.why IS NULL,
                                                             g.until_ms - g.opened_ms, 0))
                 FROM events e
                 WHERE e.id > (SELECT events_up_to FROM swept) AND e.id < ?1
                   AND e.id <= (SELECT dedupe_up_to FROM swept)
                 ORDER BY e.id LIMIT ?2",
        );
        let looked_at: Vec<(i64, i64, bool)> = self
            .connection
            .prepare_cached(&sql)?
            .query_map(
                params![until.row(), MAX_SWEPT, since_ms, times.0, times.1.row(), self.now_ms],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )?
            .collect::<Result<_, _>>()?;
        let (mut up_to, mut bytes, begun) = (0, 0, Instant::now());
        for &(event, body_bytes, open) in &looked_at {
            if bytes >= MAX_SWEPT_BYTES || up_to != 0 && begun.elapsed() >= LONGEST_SWEEP {
                break;
            }
            if !open {
                self.delete_event(event)?;
                bytes += body_bytes;
            }
            up_to = event;
        }
        let finished =
            looked_at.len() < MAX_SWEPT && looked_at.last().is_none_or(|(last, ..)| *last == up_to);
        let up_to = if finished { 0 } else { up_to };
        self.connection
            .prepare_cached("UPDATE swept SET events_up_to = ?1 WHERE events_up_to <> ?1")?
            .execute([up_to])?;
        if finished {
            self.forget_eras()?;
        }
        Ok(!finished)
    }

    fn delete_event(&mut self, event: i64) -> Result<(), rusqlite::Error> {
        let settled: Vec<Deleted> = self
            .connection
            .prepare_cached(
                "DELETE FROM deliveries WHERE event = ?1 RETURNING plugin, state, ordinal, key, failure",
            )?
            .query_map([event], |row| {
                let plugin = row.get::<_, String>(0)?.into();
                let group = read_group_id(row, 4)?;
                Ok((plugin, read_state(row, 1)?, row.get(2)?, row.get(3)?, group))
            })?
            .collect::<Result<_, _>>()?;
        for (plugin, state, ordinal, key, group) in settled {
            self.delta.moved(&plugin, Some(state), None);
            self.moved_in_group(group, state, None);
            let id = DeliveryId { event: EventId::from_row(event), ordinal };
            if state == State::Dead
                && let Some(key) = key
                && self.let_go(&plugin, &key, id)?
            {
                self.open_next(&plugin, &key, self.now_ms)?;
            }
        }
        for rest in
            ["dead_notices WHERE event", "gatherings WHERE event", "gathered WHERE gathering"]
        {
            self.connection
                .prepare_cached(&format!("DELETE FROM {rest} = ?1"))?
                .execute([event])?;
        }
        self.connection
            .prepare_cached("DELETE FROM attempts WHERE event = ?1")?
            .execute([event])?;
        for rest in ["steps", "erased", "edits"] {
            self.connection
                .prepare_cached(&format!("DELETE FROM {rest} WHERE event = ?1"))?
                .execute([event])?;
        }
        self.connection
            .prepare_cached("DELETE FROM duplicates WHERE event = ?1")?
            .execute([event])?;
        let root: Option<Option<i64>> = self
            .connection
            .prepare_cached("DELETE FROM events WHERE id = ?1 RETURNING root")?
            .query_row([event], |row| row.get(0))
            .optional()?;
        self.forget_tree(root.flatten().unwrap_or(event))?;
        self.delta.events -= 1;
        Ok(())
    }
}
