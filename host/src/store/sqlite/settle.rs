//! Settling a lease: the delivery's outcome, what it emitted and what it wrote, or nothing at all.

use rusqlite::{OptionalExtension, params};

use super::batch::{Batch, due};
use crate::event::{AttemptRecord, PluginName, State};
use crate::fail;
use crate::store::{KvTransaction, Lease, Next, Settled, Settlement};

impl Batch<'_> {
    /// Settles `lease`, fenced by its attempt number.
    pub(super) fn settle(&mut self, lease: &Lease, settlement: &Settlement) -> Result<Settled, rusqlite::Error> {
        if let Next::Done { kv, .. } = &settlement.next
            && !self.reads_hold(&lease.plugin, kv)?
        {
            let lost = !self.move_on(lease, State::Ready, Some(self.now_ms), true)?;
            return Ok(if lost { Settled::Lost } else { Settled::Conflict });
        }
        let (state, due_ms, unspent) = match &settlement.next {
            Next::Done { .. } => (State::Done, None, false),
            Next::Dead => (State::Dead, None, false),
            Next::RetryAt(due_ms) => (State::Waiting, Some(due(*due_ms)), false),
            Next::GiveBack(due_ms) if *due_ms > self.now_ms => (State::Waiting, Some(due(*due_ms)), true),
            Next::GiveBack(due_ms) => (State::Ready, Some(*due_ms), true),
        };
        if !self.move_on(lease, state, due_ms, unspent)? {
            return Ok(Settled::Lost);
        }
        // An attempt that is not spent leaves no record: the next one bears its number.
        if let Some(record) = settlement.record.as_ref().filter(|_| !unspent) {
            self.record(lease, record)?;
        }
        if let Next::Done { emitted, kv } = &settlement.next {
            for event in emitted {
                self.append(event)?;
            }
            self.write_kv(&lease.plugin, kv)?;
        }
        let _ = fail::point("store.settle_written");
        Ok(Settled::Kept)
    }

    /// Moves a delivery out of `leased`, if this lease still holds it. `unspent` takes the attempt back, which is safe
    /// because the only holder of that number is the one who gives it back.
    fn move_on(
        &mut self,
        lease: &Lease,
        state: State,
        due_ms: Option<i64>,
        unspent: bool,
    ) -> Result<bool, rusqlite::Error> {
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE deliveries
                 SET state = ?5, due_ms = ?6, attempt = attempt - ?7, crashes = CASE WHEN ?7 THEN crashes ELSE 0 END
                 WHERE event = ?1 AND ordinal = ?2 AND attempt = ?3 AND state = ?4",
            )?
            .execute(params![
                lease.delivery.event.row(),
                lease.delivery.ordinal,
                lease.attempt,
                State::Leased.code(),
                state.code(),
                due_ms,
                unspent,
            ])?;
        if changed == 0 {
            return Ok(false);
        }
        self.delta.moved(&lease.plugin, Some(State::Leased), Some(state));
        if let Some(due_ms) = due_ms {
            self.posted.push((lease.plugin.clone(), due_ms));
        }
        Ok(true)
    }

    fn record(&self, lease: &Lease, record: &AttemptRecord) -> Result<(), rusqlite::Error> {
        let (logs, calls) = (json(&record.logs), json(&record.calls));
        self.connection
            .prepare_cached(
                "INSERT INTO attempts (event, ordinal, number, started_ms, duration_us, outcome, error, logs, digest, calls)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                lease.delivery.event.row(),
                lease.delivery.ordinal,
                lease.attempt,
                record.started_at_ms,
                i64::try_from(record.duration_us).unwrap_or(i64::MAX),
                record.outcome.code(),
                record.error,
                logs,
                record.plugin_digest.as_ref().map(|digest| digest.0),
                calls,
            ])?;
        Ok(())
    }

    /// Whether every key still has the version the attempt saw.
    fn reads_hold(&self, plugin: &PluginName, kv: &KvTransaction) -> Result<bool, rusqlite::Error> {
        for (key, seen) in &kv.reads {
            let version: Option<i64> = self
                .connection
                .prepare_cached("SELECT version FROM kv WHERE plugin = ?1 AND key = ?2")?
                .query_row(params![plugin, key], |row| row.get(0))
                .optional()?;
            if version != *seen {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn write_kv(&mut self, plugin: &PluginName, kv: &KvTransaction) -> Result<(), rusqlite::Error> {
        for (key, value) in &kv.writes {
            let removed: Option<i64> = self
                .connection
                .prepare_cached("DELETE FROM kv WHERE plugin = ?1 AND key = ?2 RETURNING length(value)")?
                .query_row(params![plugin, key], |row| row.get(0))
                .optional()?;
            let key_bytes = i64::try_from(key.len()).unwrap_or(i64::MAX);
            let mut change = removed.map_or(0, |value_bytes| -value_bytes - key_bytes);
            if let Some(value) = value {
                let version = self.next_id().row();
                self.connection
                    .prepare_cached("INSERT INTO kv (plugin, key, value, version) VALUES (?1, ?2, ?3, ?4)")?
                    .execute(params![plugin, key, value, version])?;
                change += key_bytes + i64::try_from(value.len()).unwrap_or(i64::MAX);
            }
            self.delta.kv_bytes(plugin, change);
        }
        Ok(())
    }
}

/// A list as it is stored: as JSON, and as nothing if it is empty.
fn json<T: serde::Serialize>(list: &[T]) -> Option<String> {
    (!list.is_empty()).then(|| serde_json::to_string(list).expect("lines and calls are always JSON"))
}
