//! Settlements on the way into the database, as arrays.

use std::time::Duration;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::client::{SqlClient as Client, SqlStatement as Statement};
use super::shared::PostgresShared;
use crate::event::AttemptRecord;
use crate::store::{Lease, LeaseHolder, NewStep, Next, Recorded, Settled, Settlement};

/// Calls `settle_v1`.
pub(super) const SETTLE: &str = "SELECT result FROM hookbox.settle_v1($1, $2, $3, $4, $5, $6, $7, \
     $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)";

/// Calls `record_v1`.
pub(super) const RECORD: &str = "SELECT hookbox.record_v1($1, $2, $3, $4, $5, $6, $7, $8)";

/// The settlements of a batch.
#[derive(Default)]
pub(super) struct SettleRows<'c> {
    events: Vec<i64>,
    ordinals: Vec<i32>,
    attempts: Vec<i32>,
    nexts: Vec<i16>,
    afters: Vec<i64>,
    spents: Vec<i16>,
    started: Vec<Option<i64>>,
    durations: Vec<Option<i64>>,
    outcomes: Vec<Option<i16>>,
    errors: Vec<Option<&'c str>>,
    logs: Vec<Option<String>>,
    digests: Vec<Option<&'c [u8]>>,
    calls: Vec<Option<String>>,
    steps: Vec<Option<String>>,
    cpus: Vec<Option<i32>>,
    memories: Vec<Option<i32>>,
}

impl<'c> SettleRows<'c> {
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Adds a settlement; returns its place, counted from 1.
    pub(super) fn add(&mut self, lease: &Lease, settlement: &'c Settlement) -> i32 {
        let (next, after) = match &settlement.next {
            Next::Done { .. } => (0, Duration::ZERO),
            Next::Again { after, .. } => (1, *after),
            Next::RetryIn(after) => (2, *after),
            Next::Dead(_) => (3, Duration::ZERO),
            Next::GiveBack(after) => (4, *after),
        };
        // An attempt that is not spent leaves no record: the next one bears its number.
        let recorded = if next == 4 { None } else { settlement.record.as_ref() };
        let spent = match recorded {
            _ if next == 4 => 0,
            Some(_) => 1,
            None => 2,
        };
        self.events.push(lease.delivery.event.row());
        self.ordinals.push(small(lease.delivery.ordinal));
        self.attempts.push(small(lease.attempt));
        self.nexts.push(next);
        self.afters.push(i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
        self.spents.push(spent);
        self.add_record(recorded);
        i32::try_from(self.events.len()).expect("a batch is bounded")
    }

    /// Events, ordinals and attempts.
    pub(super) fn fences(&self) -> (&Vec<i64>, &Vec<i32>, &Vec<i32>) {
        (&self.events, &self.ordinals, &self.attempts)
    }

    fn add_record(&mut self, record: Option<&'c AttemptRecord>) {
        let duration = |it: &AttemptRecord| i64::try_from(it.duration_us).unwrap_or(i64::MAX);
        self.started.push(record.map(|it| it.started_at_ms));
        self.durations.push(record.map(duration));
        self.outcomes.push(record.map(|it| i16::from(it.outcome.code())));
        self.errors.push(record.and_then(|it| it.error.as_deref()));
        self.logs.push(record.and_then(|it| json(&it.logs)));
        self.digests.push(record.and_then(|it| it.plugin_digest.as_ref()).map(|it| &it.0[..]));
        self.calls.push(record.and_then(|it| json(&it.calls)));
        self.steps.push(record.and_then(|it| json(&it.steps)));
        let used = record.and_then(|it| it.used);
        let number = |number| i32::try_from(number).unwrap_or(i32::MAX);
        self.cpus.push(used.map(|it| number(it.cpu_us)));
        self.memories.push(used.map(|it| number(it.memory_kib)));
    }

    /// The number of settlements.
    pub(super) fn len(&self) -> i32 {
        i32::try_from(self.events.len()).expect("a batch is bounded")
    }

    /// Calls the function.
    pub(super) async fn call(
        &self,
        client: &Client,
        statement: &Statement,
        shared: &PostgresShared,
    ) -> Result<Vec<Row>, Error> {
        let (at, me) = (shared.at(), shared.run().incarnation);
        let parameters: [&(dyn ToSql + Sync); 18] = [
            &at,
            &me,
            &self.events,
            &self.ordinals,
            &self.attempts,
            &self.nexts,
            &self.afters,
            &self.spents,
            &self.started,
            &self.durations,
            &self.outcomes,
            &self.errors,
            &self.logs,
            &self.digests,
            &self.calls,
            &self.steps,
            &self.cpus,
            &self.memories,
        ];
        client.query(statement, &parameters).await
    }
}

/// Records a step.
pub(super) async fn record(
    client: &Client,
    statement: &Statement,
    shared: &PostgresShared,
    (holder, step): &(LeaseHolder, NewStep),
) -> Result<Vec<Row>, Error> {
    let (at, me) = (shared.at(), shared.run().incarnation);
    let (ordinal, attempt) = (small(holder.delivery.ordinal), small(holder.attempt));
    let (event, digest) = (holder.delivery.event.row(), step.digest.as_ref().map(|it| &it.0[..]));
    let parameters: [&(dyn ToSql + Sync); 8] =
        [&at, &me, &event, &ordinal, &attempt, &step.name, &step.value, &digest];
    client.query(statement, &parameters).await
}

/// Reads whether a step was kept, whose batch was committed.
pub(super) async fn look_back(
    client: &Client,
    (holder, step): &(LeaseHolder, NewStep),
) -> Result<Vec<Row>, Error> {
    let (event, ordinal) = (holder.delivery.event.row(), small(holder.delivery.ordinal));
    let sql = "SELECT EXISTS (SELECT FROM hookbox.steps
        WHERE event = $1 AND ordinal = $2 AND name = $3)";
    client.query(sql, &[&event, &ordinal, &step.name]).await
}

/// Reads whether a step was recorded.
pub(super) fn recorded(rows: &[Row]) -> Recorded {
    match rows.first().is_some_and(|row| row.get(0)) {
        true => Recorded::Kept,
        false => Recorded::Lost,
    }
}

/// Reads what became of each settlement.
pub(super) fn settled(rows: &[Row]) -> Vec<Settled> {
    let result = |row: &Row| match row.get::<_, i16>(0) {
        0 => Settled::Kept,
        2 => Settled::Cancelled,
        3 => Settled::Conflict,
        4 => Settled::NotANumber,
        5 => Settled::OverBudget,
        _ => Settled::Lost,
    };
    rows.iter().map(result).collect()
}

/// An ordinal or an attempt as the database has it.
pub(super) fn small(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A list as it is stored: as JSON, and as nothing if it is empty.
fn json<T: serde::Serialize>(list: &[T]) -> Option<String> {
    (!list.is_empty())
        .then(|| serde_json::to_string(list).expect("lines, calls and steps are always JSON"))
}

/// The time until a delivery is due again.
pub(super) fn due_again(next: &Next) -> Option<Duration> {
    match next {
        Next::Again { after, .. } | Next::RetryIn(after) | Next::GiveBack(after) => Some(*after),
        Next::Done { .. } | Next::Dead(_) => None,
    }
}
