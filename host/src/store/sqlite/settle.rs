//! Settling a lease: the delivery's outcome, what it emitted and what it wrote, or nothing at all.

use std::time::Duration;

use rusqlite::params;

use super::batch::WriteBatch;
use super::deaths::Ending;
use crate::event::{AttemptRecord, LogLine, Outcome, State};
use crate::fail;
use crate::store::{Lease, Next, Settled, Settlement};

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
    /// To `cancelled`, because an operator or an event has cancelled it.
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
        if let Some((emitted, kv)) = settlement.next.results() {
            if !self.reads_hold(&lease.plugin, kv)? {
                return Ok(match self.run_again(lease, settlement)? {
                    Move::There => Settled::Conflict,
                    Move::Cancelled => Settled::Cancelled,
                    Move::Lost => Settled::Lost,
                });
            }
            if let Some(excess) = self.tree_excess(lease.event.tree(), emitted)? {
                return self.refuse(lease, settlement, excess, Settled::OverBudget);
            }
            if let Some(fault) = self.fault_of_adds(&lease.plugin, kv)? {
                return self.refuse(lease, settlement, fault, Settled::NotANumber);
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
        // An event that it emits may cancel the next one of its key.
        self.holding_keys(|work| {
            work.left(lease, &moved, state, next_start_ms)?;
            work.leave_traces(lease, settlement, (&moved, state), unspent)
        })
    }

    /// Stores what a settlement leaves of its attempt.
    fn leave_traces(
        &mut self,
        lease: &Lease,
        settlement: &Settlement,
        (moved, state): (&Move, State),
        unspent: bool,
    ) -> Result<Settled, rusqlite::Error> {
        let recorded = if unspent { None } else { settlement.record.as_ref() };
        self.group(lease, moved, recorded, state)?;
        // An attempt that is not spent leaves no record: the next one bears its number.
        if let Some(record) = recorded {
            self.record(lease, record)?;
        }
        if matches!(moved, Move::Cancelled) {
            return Ok(Settled::Cancelled);
        }
        self.store_results(lease, settlement)?;
        let _ = fail::point("store.settle_written");
        Ok(Settled::Kept)
    }

    /// Stores what an attempt leaves beside its own delivery.
    fn store_results(
        &mut self,
        lease: &Lease,
        settlement: &Settlement,
    ) -> Result<(), rusqlite::Error> {
        if let Some((emitted, kv)) = settlement.next.results() {
            self.add_to_tree(lease.event.tree(), emitted)?;
            for event in emitted {
                self.append_to(Some(lease.event.tree()), event)?;
            }
            self.write_kv(&lease.plugin, (lease.delivery, lease.attempt), kv)?;
        }
        match &settlement.next {
            Next::Done { .. } => {
                let steps = settlement.record.as_ref().map_or(&[][..], |record| &record.steps);
                if lease.terms.has_steps || !steps.is_empty() {
                    self.drop_steps(lease.delivery)?;
                }
            }
            Next::Again { .. } => self.count_again(lease.delivery)?,
            Next::Dead(Some(event)) => {
                self.append_to(Some(lease.event.tree()), event)?;
            }
            Next::Dead(None) | Next::RetryIn(_) | Next::GiveBack(_) => {}
        }
        Ok(())
    }

    /// Makes a delivery due again whose attempt is not spent.
    fn run_again(
        &mut self,
        lease: &Lease,
        settlement: &Settlement,
    ) -> Result<Move, rusqlite::Error> {
        // It runs no more if it was cancelled, and its attempt is the last one.
        if let Some(record) = &settlement.record
            && let Move::Cancelled = self.move_cancelled(lease, Spent::Recorded)?
        {
            self.left(lease, &Move::Cancelled, State::Cancelled, self.now_ms)?;
            self.group(lease, &Move::Cancelled, Some(record), State::Cancelled)?;
            self.record(lease, record)?;
            return Ok(Move::Cancelled);
        }
        let due_ms = self.next_start_of(lease, Duration::ZERO);
        let state = if due_ms > self.now_ms { State::Waiting } else { State::Ready };
        let moved = self.move_on(lease, state, Some(due_ms), Spent::No)?;
        self.left(lease, &moved, state, due_ms)?;
        self.group(lease, &moved, None, state)?;
        Ok(moved)
    }

    /// Makes a dead letter of a delivery whose attempt succeeded and left what cannot be stored.
    fn refuse(
        &mut self,
        lease: &Lease,
        settlement: &Settlement,
        fault: String,
        settled: Settled,
    ) -> Result<Settled, rusqlite::Error> {
        let record = settlement.record.as_ref();
        let spent = if record.is_some() { Spent::Recorded } else { Spent::Unrecorded };
        let moved = self.move_on(lease, State::Dead, None, spent)?;
        if matches!(moved, Move::Lost) {
            return Ok(Settled::Lost);
        }
        self.left(lease, &moved, State::Dead, self.next_start_of(lease, Duration::ZERO))?;
        // Of attempts that only fail for this there may be thousands.
        let (outcome, error, logs) = (Outcome::Error, Some(fault), Vec::new());
        let record = record.map(|record| AttemptRecord { outcome, error, logs, ..record.clone() });
        self.group(lease, &moved, record.as_ref(), State::Dead)?;
        if let Some(record) = &record {
            self.record(lease, record)?;
        }
        if matches!(moved, Move::Cancelled) {
            return Ok(Settled::Cancelled);
        }
        self.notice_death(lease.delivery, &lease.plugin)?;
        Ok(settled)
    }

    /// Puts the delivery into the group of its failure, if it failed or had failed before.
    fn group(
        &mut self,
        lease: &Lease,
        moved: &Move,
        recorded: Option<&AttemptRecord>,
        state: State,
    ) -> Result<(), rusqlite::Error> {
        let failed = recorded.is_some_and(|record| record.outcome.is_failure());
        let state = match moved {
            Move::Lost => return Ok(()),
            _ if !failed && lease.terms.failure.is_none() => return Ok(()),
            Move::Cancelled => State::Cancelled,
            Move::There => state,
        };
        let of = (lease.delivery, &lease.plugin);
        self.settled_in_group(of, lease.terms.failure, recorded, state)
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
        let plain = lease.terms.are_plain() && state != State::Dead;
        if plain || matches!(moved, Move::Lost) {
            return Ok(());
        }
        if !state.is_settled() {
            let key = lease.terms.key.as_deref();
            return key.map_or(Ok(()), |key| self.keep_apart(&lease.plugin, key, next_start_ms));
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

    /// Ends a delivery that was cancelled while this lease held it.
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
        let (calls, steps) = (json(&record.calls), json(&record.steps));
        self.connection
            .prepare_cached(
                "INSERT INTO attempts (event, ordinal, number, started_ms, duration_us, outcome, error, logs, digest, calls, steps, cpu_us, memory_kib)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )?
            .execute(params![
                lease.delivery.event.row(),
                lease.delivery.ordinal,
                lease.attempt,
                record.started_at_ms,
                signed(record.duration_us),
                record.outcome.code(),
                record.error,
                logs,
                record.plugin_digest.as_ref().map(|digest| digest.0),
                calls,
                steps,
                record.used.map(|used| signed(used.cpu_us)),
                record.used.map(|used| signed(used.memory_kib)),
            ])?;
        Ok(())
    }
}

/// A number as SQLite keeps it.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
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
        .then(|| serde_json::to_string(list).expect("lines, calls and steps are always JSON"))
}
