//! Ticks of schedules: the row of a schedule is compared and changed in the batch that stores the
//! tick's event.

use std::sync::Arc;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::Postgres;
use super::client::{SqlClient as Client, SqlStatement as Statement};
use super::command::PostgresCommand;
use super::created::AppendedAs;
use super::error::failed_query;
use super::work::{Work, WorkError, tried};
use crate::event::EventId;
use crate::store::{
    MAX_SKIP_RECORDS, Pending, ScheduleChange, ScheduleMark, Schedules, SkipReason, SkippedTicks,
    StoreError, StoredSchedule, Tick, TickStep, Ticked,
};

/// Calls `tick_v1`.
pub(super) const TICK: &str = "SELECT hookbox.tick_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

/// The first number of a tick. An event requires its tick by number as it requires a settlement by
/// place, so the numbers come after all places.
const FIRST_TICK: i32 = 1 << 20;

/// The ticks of a batch, each with the place of its event among those of the batch.
#[derive(Default)]
pub(super) struct TickRows<'c>(Vec<(&'c Tick, Option<usize>)>);

impl<'c> TickRows<'c> {
    /// The number of the tick that is added next.
    pub(super) fn next_number(&self) -> i32 {
        FIRST_TICK.saturating_add(i32::try_from(self.0.len()).unwrap_or(i32::MAX))
    }

    /// Adds a tick; returns its place.
    pub(super) fn add(&mut self, tick: &'c Tick, event: Option<usize>) -> usize {
        self.0.push((tick, event));
        self.0.len() - 1
    }

    /// The places in the order in which the rows are locked, which is the same for all hosts.
    pub(super) fn in_order(&self) -> Vec<usize> {
        let mut places: Vec<usize> = (0..self.0.len()).collect();
        places.sort_by_key(|place| &self.0[*place].0.name);
        places
    }

    /// Makes the tick at a place. Its event has one of these ids.
    pub(super) async fn call(
        &self,
        place: usize,
        client: &Client,
        statement: &Statement,
        ids: &[i64],
    ) -> Result<Vec<Row>, Error> {
        let (tick, event) = &self.0[place];
        let number = FIRST_TICK + i32::try_from(place).unwrap_or(i32::MAX - FIRST_TICK);
        let emitted = event.map(|at| ids[at]);
        let (skips_overlap, up_to_ms, missed) = match &tick.step {
            TickStep::Emit { skips_overlap, .. } => (*skips_overlap, tick.from_ms, 1),
            TickStep::Missed { last_ms, ticks } => {
                (false, *last_ms, i64::try_from(*ticks).unwrap_or(i64::MAX))
            }
        };
        let most = i32::try_from(MAX_SKIP_RECORDS).unwrap_or(i32::MAX);
        let name = &*tick.name;
        let parameters: [&(dyn ToSql + Sync); 10] = [
            &name,
            &tick.spec,
            &tick.from_ms,
            &tick.next_ms,
            &emitted,
            &number,
            &skips_overlap,
            &up_to_ms,
            &missed,
            &most,
        ];
        client.query(statement, &parameters).await
    }

    /// Reads the code of the tick at a place, whose batch was committed.
    pub(super) async fn look_back(
        &self,
        place: usize,
        client: &Client,
        ids: &[i64],
    ) -> Result<Vec<Row>, Error> {
        let (tick, event) = &self.0[place];
        let emitted = event.map(|at| ids[at]);
        let sql = "SELECT (CASE
                WHEN EXISTS (SELECT FROM hookbox.events WHERE id = $1) THEN 0
                WHEN $1 IS NULL AND EXISTS (SELECT FROM hookbox.schedules
                    WHERE name = $2 AND spec = $3 AND next_ms = $4) THEN 1
                ELSE 3 END)::smallint";
        client.query(sql, &[&emitted, &&*tick.name, &tick.spec, &tick.next_ms]).await
    }

    /// The results, from the codes that `tick_v1` has returned for each place.
    pub(super) fn results(&self, codes: &[i16], appended: &[AppendedAs]) -> Vec<Ticked> {
        let result = |((_, event), code): (&(&Tick, Option<usize>), &i16)| match code {
            0 => match event.map(|at| appended[at]) {
                Some(AppendedAs::New(id) | AppendedAs::DuplicateOf(id)) => Ticked::Emitted(id),
                // Events of schedules have no dedupe keys, so that nothing comes before them.
                _ => Ticked::Lost,
            },
            1 => Ticked::Skipped(SkipReason::Missed),
            2 => Ticked::Skipped(SkipReason::Overlap),
            _ => Ticked::Lost,
        };
        self.0.iter().zip(codes).map(result).collect()
    }
}

impl Schedules for Postgres {
    fn ahead_of_wall_ms(&self) -> i64 {
        self.shared.ahead_of_wall_ms()
    }

    fn schedules(&self) -> Pending<'_, Vec<StoredSchedule>> {
        Box::pin(async move {
            self.shared.answers()?;
            let sql = "SELECT name, spec, next_ms, active, last_ms, skipped, event, event_ms
                FROM hookbox.schedules ORDER BY name";
            let rows = self.reads.client().await?.query(sql, &[]).await;
            Ok(rows.map_err(|error| failed_query(&error))?.iter().map(stored).collect())
        })
    }

    fn skipped_ticks(&self, name: Arc<str>) -> Pending<'_, Vec<SkippedTicks>> {
        Box::pin(async move {
            self.shared.answers()?;
            let sql = "SELECT first_ms, last_ms, ticks, reason FROM hookbox.skipped_ticks
                WHERE name = $1 ORDER BY first_ms DESC";
            let rows = self.reads.client().await?.query(sql, &[&&*name]).await;
            rows.map_err(|error| failed_query(&error))?.iter().map(skipped).collect()
        })
    }

    fn change_schedule(&self, change: ScheduleChange) -> Pending<'_, bool> {
        Box::pin(async move {
            self.shared.answers()?;
            let once = async || {
                let work = self.work.begin().await?;
                let changed = apply(&work, &change).await?;
                work.commit().await?;
                Ok::<_, WorkError>(changed > 0)
            };
            tried!(once())
        })
    }

    fn tick(&self, tick: Tick) -> Pending<'_, Ticked> {
        self.ask(|reply| PostgresCommand::Tick { tick: Box::new(tick), reply })
    }
}

/// Changes a schedule, if it is as the caller had seen it; returns how many rows were changed.
async fn apply(work: &Work<'_>, change: &ScheduleChange) -> Result<u64, Error> {
    match change {
        ScheduleChange::Begin { name, from: None, to } => {
            let sql = "INSERT INTO hookbox.schedules (name, spec, next_ms, active)
                VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
            work.execute(sql, &[&&**name, &to.spec, &to.next_ms, &to.active]).await
        }
        ScheduleChange::Begin { name, from: Some(from), to } => {
            let sql = "UPDATE hookbox.schedules SET spec = $5, next_ms = $6, active = $7,
                    last_ms = CASE WHEN last_ms < $6 THEN last_ms END
                WHERE name = $1 AND spec = $2 AND next_ms = $3 AND active = $4";
            let parameters: [&(dyn ToSql + Sync); 7] = [
                &&**name,
                &from.spec,
                &from.next_ms,
                &from.active,
                &to.spec,
                &to.next_ms,
                &to.active,
            ];
            work.execute(sql, &parameters).await
        }
        ScheduleChange::Pause(name) => {
            let sql = "UPDATE hookbox.schedules SET active = false WHERE name = $1";
            work.execute(sql, &[&&**name]).await
        }
        ScheduleChange::Forget(name) => {
            let forget =
                work.execute("DELETE FROM hookbox.schedules WHERE name = $1", &[&&**name]).await?;
            work.execute("DELETE FROM hookbox.skipped_ticks WHERE name = $1", &[&&**name]).await?;
            Ok(forget)
        }
    }
}

fn stored(row: &Row) -> StoredSchedule {
    let code: Option<i16> = row.get(5);
    let event: Option<i64> = row.get(6);
    StoredSchedule {
        name: row.get::<_, String>(0).into(),
        mark: ScheduleMark { spec: row.get(1), next_ms: row.get(2), active: row.get(3) },
        last_ms: row.get(4),
        skipped: code.and_then(reason),
        emitted: event.map(EventId::from_row).zip(row.get(7)),
    }
}

fn skipped(row: &Row) -> Result<SkippedTicks, StoreError> {
    let code: i16 = row.get(3);
    let unknown = || StoreError::Query(format!("there is no reason {code} to skip a tick"));
    Ok(SkippedTicks {
        first_ms: row.get(0),
        last_ms: row.get(1),
        ticks: row.get::<_, i64>(2).unsigned_abs(),
        reason: reason(code).ok_or_else(unknown)?,
    })
}

fn reason(code: i16) -> Option<SkipReason> {
    u8::try_from(code).ok().and_then(SkipReason::from_code)
}
