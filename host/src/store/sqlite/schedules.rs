//! How far each schedule has come: one row, which a tick compares and changes in the transaction
//! that stores its event.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Sqlite;
use super::batch::WriteBatch;
use super::command::WriteCommand;
use crate::event::{EventId, NewEvent};
use crate::store::{
    MAX_SKIP_RECORDS, Pending, ScheduleChange, ScheduleMark, Schedules, SkipReason, SkippedTicks,
    StoreError, StoredSchedule, Tick, TickStep, Ticked,
};

/// Since version 7: how far each schedule has come, and what was skipped of it. `skipped` is the
/// reason for which the last tick was; `event` is that of the last tick that was emitted.
pub(super) const SCHEMA: &str = "
    CREATE TABLE schedules (
        name     TEXT PRIMARY KEY,
        spec     INTEGER NOT NULL,
        next_ms  INTEGER NOT NULL,
        active   INTEGER NOT NULL,
        last_ms  INTEGER,
        skipped  INTEGER,
        event    INTEGER,
        event_ms INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE skipped_ticks (
        name     TEXT NOT NULL,
        first_ms INTEGER NOT NULL,
        last_ms  INTEGER NOT NULL,
        ticks    INTEGER NOT NULL,
        reason   INTEGER NOT NULL,
        PRIMARY KEY (name, first_ms)
    ) STRICT, WITHOUT ROWID;
";

impl Schedules for Sqlite {
    fn schedules(&self) -> Pending<'_, Vec<StoredSchedule>> {
        Box::pin(self.readers.ask(stored))
    }

    fn skipped_ticks(&self, name: Arc<str>) -> Pending<'_, Vec<SkippedTicks>> {
        Box::pin(self.readers.ask(move |connection| skipped(connection, &name)))
    }

    fn change_schedule(&self, change: ScheduleChange) -> Pending<'_, bool> {
        self.ask(|reply| WriteCommand::ChangeSchedule { change, reply })
    }

    fn tick(&self, tick: Tick) -> Pending<'_, Ticked> {
        let emits = matches!(tick.step, TickStep::Emit { .. });
        if emits && let Some(reason) = self.published.full.load().as_ref() {
            let full = StoreError::Full(reason.to_string());
            return Box::pin(async move { Err(full) });
        }
        self.ask(|reply| WriteCommand::Tick { tick: Box::new(tick), reply })
    }
}

/// Every schedule, by name.
fn stored(connection: &Connection) -> Result<Vec<StoredSchedule>, rusqlite::Error> {
    let sql = "SELECT name, spec, next_ms, active, last_ms, skipped, event, event_ms FROM schedules ORDER BY name";
    let read = |row: &Row<'_>| {
        let mark = ScheduleMark { spec: row.get(1)?, next_ms: row.get(2)?, active: row.get(3)? };
        let event: Option<i64> = row.get(6)?;
        let event_ms: Option<i64> = row.get(7)?;
        Ok(StoredSchedule {
            name: row.get::<_, String>(0)?.into(),
            mark,
            last_ms: row.get(4)?,
            skipped: row.get::<_, Option<u8>>(5)?.and_then(SkipReason::from_code),
            emitted: event.map(EventId::from_row).zip(event_ms),
        })
    };
    connection.prepare_cached(sql)?.query_map([], read)?.collect()
}

/// The skipped ticks of a schedule, the newest first.
fn skipped(connection: &Connection, name: &str) -> Result<Vec<SkippedTicks>, rusqlite::Error> {
    let sql = "SELECT first_ms, last_ms, ticks, reason FROM skipped_ticks WHERE name = ?1 ORDER BY first_ms DESC";
    let read = |row: &Row<'_>| {
        let code = row.get(3)?;
        Ok(SkippedTicks {
            first_ms: row.get(0)?,
            last_ms: row.get(1)?,
            ticks: row.get(2)?,
            reason: SkipReason::from_code(code)
                .ok_or(rusqlite::Error::IntegralValueOutOfRange(3, i64::from(code)))?,
        })
    };
    connection.prepare_cached(sql)?.query_map([name], read)?.collect()
}

impl WriteBatch<'_> {
    /// Changes a schedule; says whether it was as the caller had seen it.
    pub(super) fn change_schedule(&self, change: &ScheduleChange) -> Result<bool, rusqlite::Error> {
        let changed = match change {
            ScheduleChange::Begin { name, from: None, to } => self
                .connection
                .prepare_cached(
                    "INSERT OR IGNORE INTO schedules (name, spec, next_ms, active) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![name, to.spec, to.next_ms, to.active])?,
            ScheduleChange::Begin { name, from: Some(from), to } => self
                .connection
                .prepare_cached(
                    "UPDATE schedules SET spec = ?5, next_ms = ?6, active = ?7,
                            last_ms = CASE WHEN last_ms < ?6 THEN last_ms END
                     WHERE name = ?1 AND spec = ?2 AND next_ms = ?3 AND active = ?4",
                )?
                .execute(params![
                    name, from.spec, from.next_ms, from.active, to.spec, to.next_ms, to.active
                ])?,
            ScheduleChange::Pause(name) => self
                .connection
                .prepare_cached("UPDATE schedules SET active = 0 WHERE name = ?1")?
                .execute([name])?,
            ScheduleChange::Forget(name) => {
                self.connection
                    .prepare_cached("DELETE FROM skipped_ticks WHERE name = ?1")?
                    .execute([name])?;
                self.connection
                    .prepare_cached("DELETE FROM schedules WHERE name = ?1")?
                    .execute([name])?
            }
        };
        Ok(changed > 0)
    }

    /// Makes a step of a schedule, if its tick is the next one.
    pub(super) fn tick(&mut self, tick: &Tick) -> Result<Ticked, rusqlite::Error> {
        let row: Option<(Option<i64>, Option<i64>, Option<u8>)> = self
            .connection
            .prepare_cached(
                "SELECT event, last_ms, skipped FROM schedules
                 WHERE name = ?1 AND spec = ?2 AND next_ms = ?3 AND active = 1",
            )?
            .query_row(params![tick.name, tick.spec, tick.from_ms], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        let Some((event, last_ms, last_skipped)) = row else { return Ok(Ticked::Lost) };
        let before = last_ms.zip(last_skipped.and_then(SkipReason::from_code));
        match &tick.step {
            TickStep::Missed { last_ms, ticks } => {
                self.skip(tick, *last_ms, *ticks, SkipReason::Missed, before)
            }
            TickStep::Emit { skips_overlap: true, .. } if self.has_open(event)? => {
                self.skip(tick, tick.from_ms, 1, SkipReason::Overlap, before)
            }
            TickStep::Emit { event, .. } => self.emit(tick, event),
        }
    }

    fn emit(&mut self, tick: &Tick, event: &NewEvent) -> Result<Ticked, rusqlite::Error> {
        let id = self.append(event)?.id;
        self.connection
            .prepare_cached(
                "UPDATE schedules SET next_ms = ?2, last_ms = ?3, skipped = NULL, event = ?4, event_ms = ?3
                 WHERE name = ?1",
            )?
            .execute(params![tick.name, tick.next_ms, tick.from_ms, id.row()])?;
        Ok(Ticked::Emitted(id))
    }

    /// Records that ticks were skipped: with those right before them, if these were skipped for the
    /// same reason.
    fn skip(
        &self,
        tick: &Tick,
        last_ms: i64,
        ticks: u64,
        reason: SkipReason,
        before: Option<(i64, SkipReason)>,
    ) -> Result<Ticked, rusqlite::Error> {
        let joined = match before.filter(|(_, its)| *its == reason) {
            Some((before_ms, _)) => self
                .connection
                .prepare_cached(
                    "UPDATE skipped_ticks SET last_ms = ?3, ticks = ticks + ?4
                     WHERE name = ?1 AND last_ms = ?2 AND reason = ?5
                       AND first_ms = (SELECT max(first_ms) FROM skipped_ticks WHERE name = ?1)",
                )?
                .execute(params![tick.name, before_ms, last_ms, ticks, reason.code()])?,
            None => 0,
        };
        if joined == 0 {
            self.connection
                .prepare_cached("INSERT OR REPLACE INTO skipped_ticks VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![tick.name, tick.from_ms, last_ms, ticks, reason.code()])?;
            self.connection
                .prepare_cached(
                    "DELETE FROM skipped_ticks WHERE name = ?1 AND first_ms <
                     (SELECT first_ms FROM skipped_ticks WHERE name = ?1 ORDER BY first_ms DESC LIMIT 1 OFFSET ?2)",
                )?
                .execute(params![tick.name, MAX_SKIP_RECORDS - 1])?;
        }
        self.connection
            .prepare_cached(
                "UPDATE schedules SET next_ms = ?2, last_ms = ?3, skipped = ?4 WHERE name = ?1",
            )?
            .execute(params![tick.name, tick.next_ms, last_ms, reason.code()])?;
        Ok(Ticked::Skipped(reason))
    }

    fn has_open(&self, event: Option<i64>) -> Result<bool, rusqlite::Error> {
        let Some(event) = event else { return Ok(false) };
        let sql = "SELECT 1 FROM deliveries WHERE event = ?1 AND due_ms IS NOT NULL LIMIT 1";
        let open = self.connection.prepare_cached(sql)?.query_row([event], |_| Ok(()));
        Ok(open.optional()?.is_some())
    }
}
