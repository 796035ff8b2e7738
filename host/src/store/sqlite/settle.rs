//! Settling a lease: the delivery's outcome, what it emitted and what it wrote, or nothing at all.

use std::time::Duration;

use rusqlite::{OptionalExtension, params};

use super::batch::WriteBatch;
use super::deaths::Ending;
use crate::event::{AttemptRecord, LogLine, Outcome, PluginName, State};
use crate::fail;
use crate::store::model::LeaseTerms;
use crate::store::{KvTransaction, Lease, Next, Settled, Settlement};

/// The use of a settled attempt's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spent {
    /// The next attempt has it.
    No,
    /// It has a row.
    Recorded,
    /// It is counted, and has no row.
    Unrecorded,
}

/// Where a delivery went.
enum Move {
    /// To where the settlement wants it.
    There,
    /// To `cancelled`, because an operator wants it to end.
    Cancelled,
    /// Nowhere: this lease does not hold it any more.
    Lost,
}

impl WriteBatch<'_> {
    /// Settles `lease`, fenced by its attempt number.
    pub(super) fn settle(
        &mut self,
        lease: &Lease,
        settlement: &Settlement,
    ) -> Result<Settled, rusqlite::Error> {
        if let Next::Done { emitted, kv } = &settlement.next {
            if !self.reads_hold(&lease.plugin, kv)? {
                return Ok(match self.run_again(lease)? {
                    Move::There => Settled::Conflict,
                    Move::Cancelled => Settled::Cancelled,
                    Move::Lost => Settled::Lost,
                });
            }
            if let Some(excess) = self.tree_excess(lease.event.tree(), emitted)? {
                return self.refuse(lease, settlement.record.as_ref(), excess);
            }
        }
        let unspent = matches!(settlement.next, Next::GiveBack(_));
        let spent = match &settlement.record {
            _ if unspent => Spent::No,
            Some(_) => Spent::Recorded,
            None => Spent::Unrecorded,
        };
        let since = settlement
            .record
            .as_ref()
            .map_or(Duration::ZERO, |record| Duration::from_micros(record.duration_us));
        let next_start_ms = self.next_start_of(lease, since);
        let (mut state, mut due_ms) =
            (settlement.next.state(), settlement.next.due_ms(self.now_ms));
        if let Some(due_ms) = &mut due_ms
            && *due_ms < next_start_ms
        {
            (state, *due_ms) = (State::Waiting, next_start_ms);
        }
        let moved = self.move_on(lease, state, due_ms, spent)?;
        if matches!(moved, Move::Lost) {
            return Ok(Settled::Lost);
        }
        self.left(lease, &moved, state, next_start_ms)?;
        // An attempt that is not spent leaves no record: the next one bears its number.
        if let Some(record) = settlement.record.as_ref().filter(|_| !unspent) {
            self.record(lease, record)?;
        }
        if matches!(moved, Move::Cancelled) {
            return Ok(Settled::Cancelled);
        }
        self.store_results(lease, &settlement.next)?;
        let _ = fail::point("store.settle_written");
        Ok(Settled::Kept)
    }

    /// Stores what an attempt leaves beside its own delivery.
    fn store_results(&mut self, lease: &Lease, next: &Next) -> Result<(), rusqlite::Error> {
        match next {
            Next::Done { emitted, kv } => {
                self.add_to_tree(lease.event.tree(), emitted)?;
                for event in emitted {
                    self.append_to(Some(lease.event.tree()), event)?;
                }
                self.write_kv(&lease.plugin, kv)?;
            }
            Next::Dead(Some(event)) => {
                self.append_to(Some(lease.event.tree()), event)?;
            }
            Next::Dead(None) | Next::RetryIn(_) | Next::GiveBack(_) => {}
        }
        Ok(())
    }

    /// Makes a delivery due again whose attempt is not spent.
    fn run_again(&mut self, lease: &Lease) -> Result<Move, rusqlite::Error> {
        let due_ms = self.next_start_of(lease, Duration::ZERO);
        let state = if due_ms > self.now_ms { State::Waiting } else { State::Ready };
        let moved = self.move_on(lease, state, Some(due_ms), Spent::No)?;
        self.left(lease, &moved, state, due_ms)?;
        Ok(moved)
    }

    /// Makes a dead letter of a delivery whose attempt asked for more than its tree may have.
    fn refuse(
        &mut self,
        lease: &Lease,
        record: Option<&AttemptRecord>,
        excess: String,
    ) -> Result<Settled, rusqlite::Error> {
        let spent = if record.is_some() { Spent::Recorded } else { Spent::Unrecorded };
        let moved = self.move_on(lease, State::Dead, None, spent)?;
        if matches!(moved, Move::Lost) {
            return Ok(Settled::Lost);
        }
        self.left(lease, &moved, State::Dead, self.next_start_of(lease, Duration::ZERO))?;
        if let Some(record) = record {
            // Of attempts that only fail for this there may be thousands.
            let logs = Vec::new();
            let record = AttemptRecord {
                outcome: Outcome::Error,
                error: Some(excess),
                logs,
                ..record.clone()
            };
            self.record(lease, &record)?;
        }
        if matches!(moved, Move::Cancelled) {
            return Ok(Settled::Cancelled);
        }
        self.notice_death(lease.delivery, &lease.plugin)?;
        Ok(Settled::OverBudget)
    }

    /// The host time before which no further attempt of the lease's key begins.
    fn next_start_of(&self, lease: &Lease, since: Duration) -> i64 {
        match lease.terms.key {
            Some(_) => self.next_start_ms(&lease.plugin, since),
            None => self.now_ms,
        }
    }

    /// Does what the end of a delivery asks for beside its own row, if it has ended.
    fn left(
        &mut self,
        lease: &Lease,
        moved: &Move,
        state: State,
        next_start_ms: i64,
    ) -> Result<(), rusqlite::Error> {
        let state = if matches!(moved, Move::Cancelled) { State::Cancelled } else { state };
        let plain = lease.terms == LeaseTerms::default() && state != State::Dead;
        if plain || !state.is_settled() || matches!(moved, Move::Lost) {
            return Ok(());
        }
        let ending = Ending {
            id: lease.delivery,
            plugin: &lease.plugin,
            key: lease.terms.key.as_deref(),
            cancel_tag: lease.terms.cancel_tag,
            subject: lease.event.attributes.subject.as_deref(),
        };
        self.ended(&ending, state, next_start_ms)
    }

    /// Moves a delivery out of `leased`, if this lease still holds it. An attempt that is not spent
    /// is taken back, which is safe because the only holder of that number is the one who gives it
    /// back.
    fn move_on(
        &mut self,
        lease: &Lease,
        state: State,
        due_ms: Option<i64>,
        spent: Spent,
    ) -> Result<Move, rusqlite::Error> {
        let unspent = spent == Spent::No;
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE deliveries
                 SET state = ?5, due_ms = ?6, attempt = attempt - ?7, crashes = CASE WHEN ?7 THEN crashes ELSE 0 END,
                     unrecorded = unrecorded + ?8
                 WHERE event = ?1 AND ordinal = ?2 AND attempt = ?3 AND state = ?4 AND cancelled = 0",
            )?
            .execute(params![
                lease.delivery.event.row(),
                lease.delivery.ordinal,
                lease.attempt,
                State::Leased.code(),
                state.code(),
                due_ms,
                unspent,
                spent == Spent::Unrecorded,
            ])?;
        if changed == 0 {
            return self.move_cancelled(lease, spent);
        }
        self.delta.moved(&lease.plugin, Some(State::Leased), Some(state));
        if let Some(due_ms) = due_ms {
            self.waiting.push((lease.plugin.clone(), due_ms));
        }
        Ok(Move::There)
    }

    /// Ends a delivery that an operator has cancelled while this lease held it.
    fn move_cancelled(&mut self, lease: &Lease, spent: Spent) -> Result<Move, rusqlite::Error> {
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE deliveries SET state = ?5, due_ms = NULL, attempt = attempt - ?6, unrecorded = unrecorded + ?7,
                     cancelled = NOT ?6
                 WHERE event = ?1 AND ordinal = ?2 AND attempt = ?3 AND state = ?4 AND cancelled = 1",
            )?
            .execute(params![
                lease.delivery.event.row(),
                lease.delivery.ordinal,
                lease.attempt,
                State::Leased.code(),
                State::Cancelled.code(),
                spent == Spent::No,
                spent == Spent::Unrecorded,
            ])?;
        if changed == 0 {
            return Ok(Move::Lost);
        }
        self.delta.moved(&lease.plugin, Some(State::Leased), Some(State::Cancelled));
        Ok(Move::Cancelled)
    }

    fn record(&self, lease: &Lease, record: &AttemptRecord) -> Result<(), rusqlite::Error> {
        let logs = if self.cut_logs && !record.logs.is_empty() {
            json(&[cut()])
        } else {
            json(&record.logs)
        };
        let calls = json(&record.calls);
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
                .prepare_cached(
                    "DELETE FROM kv WHERE plugin = ?1 AND key = ?2 RETURNING length(value)",
                )?
                .query_row(params![plugin, key], |row| row.get(0))
                .optional()?;
            let key_bytes = i64::try_from(key.len()).unwrap_or(i64::MAX);
            let mut change = removed.map_or(0, |value_bytes| -value_bytes - key_bytes);
            if let Some(value) = value {
                let version = self.next_id().row();
                self.connection
                    .prepare_cached(
                        "INSERT INTO kv (plugin, key, value, version) VALUES (?1, ?2, ?3, ?4)",
                    )?
                    .execute(params![plugin, key, value, version])?;
                change += key_bytes + i64::try_from(value.len()).unwrap_or(i64::MAX);
            }
            self.delta.kv_bytes(plugin, change);
        }
        Ok(())
    }
}

/// The line in place of logs that a full store does not keep.
fn cut() -> LogLine {
    LogLine {
        level: "warn".to_owned(),
        message: "hookbox: the store is full or nearly so, and the log is not kept".to_owned(),
    }
}

/// A list as it is stored: as JSON, and as nothing if it is empty.
fn json<T: serde::Serialize>(list: &[T]) -> Option<String> {
    (!list.is_empty())
        .then(|| serde_json::to_string(list).expect("lines and calls are always JSON"))
}
