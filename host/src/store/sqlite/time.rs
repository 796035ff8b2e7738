//! The store's side of a clock that may be wrong: host time is noted, and goes on from there at the next start; and an id,
//! which is given out by host time, is told from the time that its event has, which is the wall clock's.
//!
//! While both agree there is nothing to tell. Where they begin to differ by more than [`ERA_MS`], an *era* begins with the
//! next event, in its transaction: from its first id on, ids are so far ahead of the events' own times. So a bound on time
//! is a range of ids in each era, and an event costs nothing more.

use std::fmt::Write as _;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::Sqlite;
use super::batch::{Batch, NEVER_MS};
use super::lease::next_plugin;
use super::writer::Writer;
use crate::clock::{Belief, Clock, JUMP_MS, News, TimeNote};
use crate::event::{EventId, State};
use crate::store::{DeliveryView, MAX_CRASHES};

#[cfg(test)]
mod tests;

/// Since version 5: see [`Eras`], and what is noted of host time. `healed`: the eras of what an earlier version stored,
/// whose ids were not given out by host time.
pub(super) const SCHEMA: &str = "
    CREATE TABLE eras (first INTEGER PRIMARY KEY, ahead_ms INTEGER NOT NULL, healed INTEGER NOT NULL) STRICT;
    CREATE TABLE host_time (
        one     INTEGER PRIMARY KEY CHECK (one = 1),
        host_ms INTEGER NOT NULL,
        wall_ms INTEGER NOT NULL,
        belief  TEXT NOT NULL
    ) STRICT;
";

/// Ids and the times of their events may differ by this much without a new era, in milliseconds.
const ERA_MS: i64 = 60_000;

/// How often host time is noted while something is written, in milliseconds.
pub(super) const NOTE_EVERY_MS: i64 = 30_000;

/// The most eras that are made of what an earlier version stored.
const MAX_HEALED: i64 = 64;

/// From an id on, ids are so far ahead of their events' times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Era {
    first: i64,
    ahead_ms: i64,
    /// Whether it is of an earlier version.
    healed: bool,
}

impl Era {
    /// The first id of what happened at or after `unix_ms`, if it happened in this era.
    fn first_at(&self, unix_ms: i64) -> i64 {
        EventId::first_at(unix_ms.saturating_add(self.ahead_ms)).row()
    }

    fn begin_ms(&self) -> i64 {
        EventId::from_row(self.first).unix_ms().saturating_sub(self.ahead_ms)
    }
}

/// Every era there is an event of, oldest first; before the first one ids are their events' times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Eras(Vec<Era>);

/// Of a clock that has never been wrong.
pub(super) static NO_ERAS: Eras = Eras(Vec::new());

impl Eras {
    pub(super) fn load(connection: &Connection) -> Result<Self, rusqlite::Error> {
        let mut statement = connection.prepare_cached("SELECT first, ahead_ms, healed FROM eras ORDER BY first")?;
        let era = |row: &rusqlite::Row<'_>| Ok(Era { first: row.get(0)?, ahead_ms: row.get(1)?, healed: row.get(2)? });
        Ok(Self(statement.query_map([], era)?.collect::<Result<_, _>>()?))
    }

    /// Whether an event that is stored while host time is so far ahead begins another era.
    pub(super) fn ends_with(&self, ahead_ms: i64) -> bool {
        let last = self.0.last();
        last.is_some_and(|last| last.healed)
            || ahead_ms.abs_diff(last.map_or(0, |last| last.ahead_ms)) > ERA_MS.unsigned_abs()
    }

    /// Each era with the id after its last one.
    fn ranges(&self) -> impl Iterator<Item = (Era, i64)> {
        let plain = Era { first: 0, ahead_ms: 0, healed: self.0.first().is_some_and(|era| era.healed) };
        let ends = self.0.iter().map(|era| era.first).chain([i64::MAX]);
        std::iter::once(plain).chain(self.0.iter().copied()).zip(ends)
    }

    /// Where the events are whose own time is in these bounds; the first one inclusive, the last one exclusive.
    pub(super) fn span(&self, since_ms: Option<i64>, until_ms: Option<i64>) -> Span {
        let (mut low, mut end) = (i64::MAX, 0);
        for (era, next) in self.ranges() {
            // In a healed one ids say less: all of it is looked through.
            let (since_ms, until_ms) = if era.healed { (None, None) } else { (since_ms, until_ms) };
            let from = since_ms.map_or(era.first, |ms| era.first_at(ms.saturating_sub(ERA_MS)).max(era.first));
            let to = until_ms.map_or(next, |ms| era.first_at(ms.saturating_add(ERA_MS)).min(next));
            if from < to {
                (low, end) = (low.min(from), end.max(to));
            }
        }
        Span { low: low.min(end), end, since_ms, until_ms }
    }

    /// Every event before this id is older than `since_ms`, by its own time as well as by host time, which is ahead of the
    /// wall clock by `ahead_ms` now. Where a later event has an earlier time, that was the time of both or before: so one
    /// that was stored while the clock was ahead is not kept until then.
    pub(super) fn older_than(&self, since_ms: i64, ahead_ms: i64) -> EventId {
        let by_host = EventId::first_at(since_ms.saturating_add(ahead_ms)).row();
        let healed_end = self.ranges().filter(|(era, _)| era.healed).map(|(_, end)| end).last().unwrap_or(0);
        EventId::from_row(self.older_by_own_time(since_ms).min(by_host.max(healed_end)))
    }

    fn older_by_own_time(&self, since_ms: i64) -> i64 {
        let mut later = None::<i64>;
        let mut until = i64::MAX;
        // From the last era to the first one with an event that is not older: all before it are.
        for (era, end) in self.ranges().collect::<Vec<_>>().into_iter().rev() {
            if later.is_none_or(|begin_ms| begin_ms >= since_ms) {
                until = era.first_at(since_ms).clamp(era.first, end);
            }
            later = Some(later.map_or(era.begin_ms(), |begin_ms| begin_ms.min(era.begin_ms())));
        }
        until
    }
}

/// A range of ids, and the bounds on the own times of their events: ids and times differ by up to [`ERA_MS`] in an era.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// The first id that may be meant.
    pub(super) low: i64,
    /// The id after the last one that may be meant.
    pub(super) end: i64,
    since_ms: Option<i64>,
    until_ms: Option<i64>,
}

impl Span {
    /// ` AND …` for a column of ids.
    pub(super) fn by_time(&self, column: &str) -> String {
        let mut sql = String::new();
        for (is, bound) in [(">=", self.since_ms), ("<", self.until_ms)] {
            if let Some(ms) = bound {
                let _ = write!(sql, " AND (SELECT t.time_ms FROM events t WHERE t.id = {column}) {is} {ms}");
            }
        }
        sql
    }
}

impl Batch<'_> {
    /// Every event before this id is older than `since_ms`, a time of the wall clock. It may be less than should be deleted.
    pub(super) fn older_than(&self, since_ms: i64) -> EventId {
        self.eras.older_than(since_ms, self.now_ms - self.wall_ms)
    }

    /// From which time on an attempt keeps its dead letter, where events are kept since `since_ms`. An attempt that began
    /// later than the first time that is returned says nothing, and so its event has to be older than the id.
    pub(super) fn attempts_since(&self, since_ms: i64) -> (i64, (i64, EventId)) {
        let kept_ms = self.wall_ms.saturating_sub(since_ms);
        let since_by_host_ms = since_ms.saturating_add((self.now_ms - self.wall_ms).min(0));
        let twice = self.older_than(since_ms.saturating_sub(kept_ms));
        (since_by_host_ms, (self.wall_ms.saturating_add(JUMP_MS), twice))
    }

    /// Begins an era with this event.
    pub(super) fn begin_era(&mut self, first: EventId) -> Result<(), rusqlite::Error> {
        self.connection
            .execute("INSERT INTO eras VALUES (?1, ?2, FALSE)", params![first.row(), self.now_ms - self.wall_ms])?;
        (self.era_ends, self.eras_changed) = (false, true);
        Ok(())
    }

    /// Forgets eras that no event is left of.
    pub(super) fn forget_eras(&mut self) -> Result<(), rusqlite::Error> {
        if self.eras.0.len() > 1 {
            let sql = "DELETE FROM eras WHERE first < (SELECT max(first) FROM eras WHERE first <= coalesce(
                           (SELECT min(id) FROM events), 9223372036854775807))";
            self.eras_changed |= self.connection.execute(sql, [])? > 0;
        }
        Ok(())
    }

    /// Notes host time for the next start.
    pub(super) fn note_time(&mut self) -> Result<(), rusqlite::Error> {
        if let Some(clock) = self.clock {
            write_note(self.connection, &clock.note())?;
            self.noted = true;
        }
        Ok(())
    }
}

impl Writer {
    /// Lets everybody know the eras that were committed.
    pub(super) fn publish_eras(&self) -> Result<(), rusqlite::Error> {
        self.shared.eras.store(Arc::new(Eras::load(&self.connection)?));
        Ok(())
    }
}

impl Sqlite {
    /// Where the events of this time are.
    pub(super) fn span(&self, since_ms: Option<i64>, until_ms: Option<i64>) -> Span {
        self.shared.eras.load().span(since_ms, until_ms)
    }

    /// People read when something is due by the wall clock.
    pub(super) fn by_wall_clock(&self, deliveries: &mut [DeliveryView]) {
        let ahead_ms = self.clock.ahead_ms();
        for due_ms in deliveries.iter_mut().filter_map(|delivery| delivery.due_ms.as_mut()) {
            *due_ms = due_ms.saturating_sub(ahead_ms);
        }
    }
}

fn write_note(connection: &Connection, note: &TimeNote) -> Result<(), rusqlite::Error> {
    let belief = serde_json::to_string(&note.belief).expect("numbers are always JSON");
    connection
        .prepare_cached("INSERT OR REPLACE INTO host_time VALUES (1, ?1, ?2, ?3)")?
        .execute(params![note.host_ms, note.wall_ms, belief])
        .map(drop)
}

fn read_note(connection: &Connection) -> Result<Option<TimeNote>, rusqlite::Error> {
    connection
        .query_row("SELECT host_ms, wall_ms, belief FROM host_time", [], |row| {
            let text: String = row.get(2)?;
            let belief: Belief = serde_json::from_str(&text).map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, Box::new(error))
            })?;
            Ok(TimeNote { host_ms: row.get(0)?, wall_ms: row.get(1)?, belief })
        })
        .optional()
}

/// Lets the clock go on from what is noted; `last_id` is the greatest id that was given out. What is ready has no time to
/// wait for, also if host time goes on from a little before the last of it was stored.
pub(super) fn begin(
    connection: &Connection,
    clock: &Clock,
    last_id: EventId,
) -> Result<(Eras, Vec<News>), rusqlite::Error> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let (least_ms, wall_ms) = (last_id.unix_ms(), clock.now_ms());
    let noted = read_note(connection)?;
    let found = noted.is_some();
    let note = noted.unwrap_or_else(|| match last_id.row() {
        0 => TimeNote::fresh(wall_ms),
        _ => TimeNote::of_newest_id(least_ms, wall_ms),
    });
    let shift_ms = note.belief.behind_ms;
    let news = clock.resume(note, least_ms);
    if !found && shift_ms > JUMP_MS {
        heal(connection, shift_ms, wall_ms)?;
    }
    let host_ms = clock.host_ms();
    let until_ms = if found { host_ms.saturating_add(4 * NOTE_EVERY_MS) } else { NEVER_MS - 1 };
    make_ready(connection, host_ms, until_ms)?;
    write_note(connection, &clock.note())?;
    connection.execute_batch("COMMIT")?;
    Ok((Eras::load(connection)?, news))
}

fn make_ready(connection: &Connection, host_ms: i64, until_ms: i64) -> Result<(), rusqlite::Error> {
    for crashes in 0..MAX_CRASHES {
        let mut after = String::new();
        while let Some(plugin) = next_plugin(connection, crashes, &after)? {
            connection
                .prepare_cached(
                    "UPDATE deliveries SET due_ms = ?3
                     WHERE crashes = ?1 AND plugin = ?2 AND due_ms > ?3 AND due_ms <= ?4 AND state = ?5",
                )?
                .execute(params![crashes, plugin, host_ms, until_ms, State::Ready.code()])?;
            after = plugin;
        }
    }
    Ok(())
}

/// The newest id of an earlier version is of a time to come, so later ones do not tell when they were given out: finds the
/// eras in the times of the events, and lets what waits wait no longer than it would have.
fn heal(connection: &Connection, shift_ms: i64, wall_ms: i64) -> Result<(), rusqlite::Error> {
    tracing::warn!(
        "the clock was ahead when events were stored: looking through all of them for their own times, once"
    );
    let mut events = connection.prepare("SELECT id, time_ms FROM events ORDER BY id")?;
    let mut insert = connection.prepare("INSERT INTO eras VALUES (?1, ?2, TRUE)")?;
    let mut rows = events.query([])?;
    let (mut ahead_ms, mut step_ms) = (0_i64, None);
    while let Some(row) = rows.next()? {
        let (id, time_ms): (i64, i64) = (row.get(0)?, row.get(1)?);
        // Ids that only counted on drift from their times: so many eras have to do.
        let step_ms = *step_ms.get_or_insert_with(|| JUMP_MS.max(wall_ms.saturating_sub(time_ms).max(0) / MAX_HEALED));
        let its_ms = EventId::from_row(id).unix_ms().saturating_sub(time_ms);
        if its_ms.abs_diff(ahead_ms) > step_ms.unsigned_abs() {
            insert.execute(params![id, its_ms])?;
            ahead_ms = its_ms;
        }
    }
    connection.execute(
        "UPDATE deliveries SET due_ms = due_ms + ?1 WHERE due_ms IS NOT NULL AND due_ms < ?2",
        params![shift_ms, wall_ms.saturating_add(shift_ms)],
    )?;
    Ok(())
}
