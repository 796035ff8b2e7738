//! The store's side of a clock that may be wrong: host time is noted, and goes on from there at the
//! next start. How ids are told from the times of their events is in `eras`.

use rusqlite::{Connection, OptionalExtension, params};

use super::Sqlite;
use super::batch::{NEVER_MS, WriteBatch};
use super::eras::{Eras, Span};
use super::rows::next_plugin;
use crate::clock::{Clock, ClockChange, ClockState, JUMP_MS, TimeNote};
use crate::event::{EventId, State};
use crate::store::{DeliveryView, GatheringState, MAX_CRASHES};

/// How often host time is noted while something is written, in milliseconds.
pub(super) const NOTE_EVERY_MS: i64 = 30_000;

/// The most eras that are made of what an earlier version stored.
const MAX_HEALED: i64 = 64;

impl WriteBatch<'_> {
    /// Every event before this id is older than `since_ms`, a time of the wall clock. It may be
    /// less than should be deleted.
    pub(super) fn older_than(&self, since_ms: i64) -> EventId {
        self.eras.older_than(since_ms, self.now_ms - self.wall_ms)
    }

    /// From which time on an attempt keeps its dead letter, where events are kept since `since_ms`.
    /// An attempt that began later than the first time that is returned says nothing, and so its
    /// event has to be older than the id.
    pub(super) fn attempts_since(&self, since_ms: i64) -> (i64, (i64, EventId)) {
        let kept_ms = self.wall_ms.saturating_sub(since_ms);
        let since_by_host_ms = since_ms.saturating_add((self.now_ms - self.wall_ms).min(0));
        let twice = self.older_than(since_ms.saturating_sub(kept_ms));
        (since_by_host_ms, (self.wall_ms.saturating_add(JUMP_MS), twice))
    }

    /// Begins an era with this event.
    pub(super) fn begin_era(&mut self, first: EventId) -> Result<(), rusqlite::Error> {
        self.connection.execute(
            "INSERT INTO eras VALUES (?1, ?2, FALSE)",
            params![first.row(), self.now_ms - self.wall_ms],
        )?;
        (self.era_ends, self.eras_changed) = (false, true);
        Ok(())
    }

    /// Forgets eras that no event is left of.
    pub(super) fn forget_eras(&mut self) -> Result<(), rusqlite::Error> {
        if self.eras.count() > 1 {
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

impl Sqlite {
    /// Where the events of this time are.
    pub(super) fn span(&self, since_ms: Option<i64>, until_ms: Option<i64>) -> Span {
        self.published.eras.load().span(since_ms, until_ms)
    }

    /// People read when something is due by the wall clock.
    pub(super) fn by_wall_clock(&self, deliveries: &mut [DeliveryView]) {
        let ahead_ms = self.clock.ahead_ms();
        for delivery in deliveries {
            if let Some(due_ms) = &mut delivery.due_ms {
                *due_ms = due_ms.saturating_sub(ahead_ms);
            }
            if let Some(gathering) = &mut delivery.gathering {
                gathering_by_wall_clock(gathering, ahead_ms);
            }
        }
    }
}

/// The same of a gathering, when the host's time is ahead of the wall clock by this much.
pub(super) fn gathering_by_wall_clock(gathering: &mut GatheringState, ahead_ms: i64) {
    gathering.since_ms = gathering.since_ms.saturating_sub(ahead_ms);
    gathering.until_ms = gathering.until_ms.saturating_sub(ahead_ms);
}

fn write_note(connection: &Connection, note: &TimeNote) -> Result<(), rusqlite::Error> {
    let state = serde_json::to_string(&note.state).expect("numbers are always JSON");
    connection
        .prepare_cached("INSERT OR REPLACE INTO host_time VALUES (1, ?1, ?2, ?3)")?
        .execute(params![note.host_ms, note.wall_ms, state])
        .map(drop)
}

fn read_note(connection: &Connection) -> Result<Option<TimeNote>, rusqlite::Error> {
    connection
        .query_row("SELECT host_ms, wall_ms, belief FROM host_time", [], |row| {
            let text: String = row.get(2)?;
            let state: ClockState = serde_json::from_str(&text).map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(
                    2,
                    rusqlite::types::Type::Text,
                    Box::new(error),
                )
            })?;
            Ok(TimeNote { host_ms: row.get(0)?, wall_ms: row.get(1)?, state })
        })
        .optional()
}

/// Lets the clock go on from what is noted; `last_id` is the greatest id that was given out. A
/// ready delivery has no time to wait for, also if host time goes on from a little before the last
/// one was stored.
pub(super) fn begin(
    connection: &Connection,
    clock: &Clock,
    last_id: EventId,
) -> Result<(Eras, Vec<ClockChange>), rusqlite::Error> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let (least_ms, wall_ms) = (last_id.unix_ms(), clock.now_ms());
    let noted = read_note(connection)?;
    let found = noted.is_some();
    let note = noted.unwrap_or_else(|| match last_id.row() {
        0 => TimeNote::fresh(wall_ms),
        _ => TimeNote::of_newest_id(least_ms, wall_ms),
    });
    let shift_ms = note.state.behind_ms;
    let changes = clock.resume(note, least_ms);
    if !found && shift_ms > JUMP_MS {
        heal(connection, shift_ms, wall_ms)?;
    }
    let host_ms = clock.host_ms();
    let until_ms = if found { host_ms.saturating_add(4 * NOTE_EVERY_MS) } else { NEVER_MS - 1 };
    make_ready(connection, host_ms, until_ms)?;
    write_note(connection, &clock.note())?;
    connection.execute_batch("COMMIT")?;
    Ok((Eras::load(connection)?, changes))
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

/// Repairs the times after an earlier version whose newest id lies in the future, so that later ids
/// do not tell when they were made. Finds the eras in the times of the events, and shifts due times
/// so that no delivery waits longer than it would have.
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
        let step_ms = *step_ms.get_or_insert_with(|| {
            JUMP_MS.max(wall_ms.saturating_sub(time_ms).max(0) / MAX_HEALED)
        });
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
