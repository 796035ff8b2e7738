//! Groups of failures: written when an attempt fails, and counted by what its deliveries have come
//! to since.
//!
//! `deliveries.failure` names the group of the last attempt, if that failed. A batch gathers what
//! its groups gain and lose, and writes each group once.

use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::batch::WriteBatch;
use super::pages::Clauses;
use super::rows::read_group_id;
use crate::event::{
    AttemptRecord, DeliveryId, EventId, FailureId, OTHER, Outcome, PluginName, State, failure_text,
};
use crate::store::model::{FileCounts, MAX_FAILURE_GROUPS, Trend};
use crate::store::{FailureCursor, FailureFilter, FailureView, MAX_PAGE};

/// Since version 8.
pub(super) const SCHEMA: &str = "
    -- outcome: NULL for the group of what exceeds the number of groups of a plugin.
    CREATE TABLE failures (
        id       INTEGER PRIMARY KEY,
        plugin   TEXT NOT NULL,
        outcome  INTEGER,
        text     TEXT NOT NULL,
        first_ms INTEGER NOT NULL,
        last_ms  INTEGER NOT NULL,
        dead     INTEGER NOT NULL,
        waiting  INTEGER NOT NULL,
        trend    BLOB NOT NULL,
        files    BLOB NOT NULL
    ) STRICT;
    CREATE INDEX failures_plugin ON failures (plugin, outcome);
    CREATE INDEX failures_ended ON failures (last_ms) WHERE dead = 0 AND waiting = 0;
    ALTER TABLE deliveries ADD COLUMN failure INTEGER;
    CREATE INDEX deliveries_failure ON deliveries (failure, event, ordinal) WHERE failure IS NOT NULL;
";

/// The most groups that one sweep deletes.
const MAX_SWEPT: usize = 500;

impl WriteBatch<'_> {
    /// Puts a delivery, whose attempt has just ended, into the group of its failure, and takes it
    /// out of the one it was in. `recorded` is the record of the attempt, if it has one.
    pub(super) fn settled_in_group(
        &mut self,
        (delivery, plugin): (DeliveryId, &PluginName),
        before: Option<FailureId>,
        recorded: Option<&AttemptRecord>,
        to: State,
    ) -> Result<(), rusqlite::Error> {
        let after = match recorded {
            // The attempt of one that was cancelled is nobody's trouble.
            Some(_) | None if to == State::Cancelled => before,
            Some(record) if record.outcome.is_failure() => Some(self.meet(plugin, record)?),
            Some(_) => None,
            None => before,
        };
        if before != after {
            self.set_group(delivery, after)?;
        }
        match (before, after) {
            (Some(before), Some(after)) if before == after => {
                self.groups.moved(before, Some(State::Leased), Some(to));
            }
            (before, after) => {
                if let Some(before) = before {
                    self.groups.moved(before, Some(State::Leased), None);
                }
                if let Some(after) = after {
                    self.groups.moved(after, None, Some(to));
                }
            }
        }
        Ok(())
    }

    /// A delivery of a group, if it is in one, came to be in another state or was deleted.
    pub(super) fn moved_in_group(
        &mut self,
        group: Option<FailureId>,
        from: State,
        to: Option<State>,
    ) {
        if let Some(group) = group {
            self.groups.moved(group, Some(from), to);
        }
    }

    /// Takes a delivery out of its group: what failed there is another plugin's.
    pub(super) fn leave_group(
        &mut self,
        delivery: DeliveryId,
        group: Option<FailureId>,
        state: State,
    ) -> Result<(), rusqlite::Error> {
        let Some(group) = group else { return Ok(()) };
        self.groups.moved(group, Some(state), None);
        self.set_group(delivery, None)
    }

    /// The group that a delivery is in.
    pub(super) fn group_of(
        &self,
        delivery: DeliveryId,
    ) -> Result<Option<FailureId>, rusqlite::Error> {
        self.connection
            .prepare_cached("SELECT failure FROM deliveries WHERE event = ?1 AND ordinal = ?2")?
            .query_row(params![delivery.event.row(), delivery.ordinal], |row| read_group_id(row, 0))
    }

    fn set_group(
        &self,
        delivery: DeliveryId,
        group: Option<FailureId>,
    ) -> Result<(), rusqlite::Error> {
        self.connection
            .prepare_cached("UPDATE deliveries SET failure = ?3 WHERE event = ?1 AND ordinal = ?2")?
            .execute(params![delivery.event.row(), delivery.ordinal, group.map(FailureId::row)])?;
        Ok(())
    }

    /// Counts a failure in its group, which is made if there is none and room for one.
    fn meet(
        &mut self,
        plugin: &PluginName,
        record: &AttemptRecord,
    ) -> Result<FailureId, rusqlite::Error> {
        let text = failure_text(record.outcome, record.error.as_deref());
        let mut id = FailureId::of(plugin, record.outcome, &text);
        if !self.is_group(id)? {
            let groups: usize = self
                .connection
                .prepare_cached(
                    "SELECT count(*) FROM failures WHERE plugin = ?1 AND outcome IS NOT NULL",
                )?
                .query_row([plugin], |row| row.get(0))?;
            if groups < MAX_FAILURE_GROUPS {
                self.make_group(id, plugin, Some(record.outcome), &text)?;
            } else {
                id = FailureId::other(plugin);
                if !self.is_group(id)? {
                    self.make_group(id, plugin, None, OTHER)?;
                }
            }
        }
        let change = self.groups.of(id);
        change.met += 1;
        if let Some(digest) = record.plugin_digest {
            match change.files.iter_mut().find(|(file, _)| *file == digest) {
                Some((_, count)) => *count += 1,
                None => change.files.push((digest, 1)),
            }
        }
        Ok(id)
    }

    fn is_group(&self, id: FailureId) -> Result<bool, rusqlite::Error> {
        self.connection.prepare_cached("SELECT 1 FROM failures WHERE id = ?1")?.exists([id.row()])
    }

    fn make_group(
        &self,
        id: FailureId,
        plugin: &PluginName,
        outcome: Option<Outcome>,
        text: &str,
    ) -> Result<(), rusqlite::Error> {
        self.connection
            .prepare_cached(
                "INSERT INTO failures (id, plugin, outcome, text, first_ms, last_ms, dead, waiting, trend, files)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?5, 0, 0, x'', x'')",
            )?
            .execute(params![id.row(), plugin, outcome.map(Outcome::code), text, self.wall_ms])?;
        Ok(())
    }

    /// Writes what the groups have gained and lost.
    pub(super) fn flush_groups(&mut self) -> Result<(), rusqlite::Error> {
        for (id, change) in self.groups.take() {
            self.connection
                .prepare_cached(
                    "UPDATE failures SET dead = dead + ?2, waiting = waiting + ?3 WHERE id = ?1",
                )?
                .execute(params![id.row(), change.dead, change.waiting])?;
            if change.met == 0 {
                continue;
            }
            let (mut trend, mut files) = self
                .connection
                .prepare_cached("SELECT trend, files FROM failures WHERE id = ?1")?
                .query_row([id.row()], |row| Ok((trend(row, 0)?, files(row, 1)?)))?;
            trend.count(self.wall_ms, change.met);
            for (file, count) in change.files {
                files.count(file, count);
            }
            self.connection
                .prepare_cached(
                    "UPDATE failures SET trend = ?2, files = ?3, last_ms = max(last_ms, ?4) WHERE id = ?1",
                )?
                .execute(params![id.row(), trend.bytes(), files.bytes(), self.wall_ms])?;
        }
        Ok(())
    }

    /// Deletes groups that were met last before this time, and that no delivery is in.
    pub(super) fn sweep_groups(&mut self, before_ms: i64) -> Result<bool, rusqlite::Error> {
        let deleted = self
            .connection
            .prepare_cached(
                "DELETE FROM failures WHERE id IN (
                     SELECT id FROM failures f WHERE last_ms < ?1 AND dead = 0 AND waiting = 0
                        AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.failure = f.id) LIMIT ?2)",
            )?
            .execute(params![before_ms, MAX_SWEPT])?;
        Ok(deleted == MAX_SWEPT)
    }
}

fn trend(row: &Row<'_>, column: usize) -> Result<Trend, rusqlite::Error> {
    Ok(Trend::from_bytes(row.get_ref(column)?.as_blob()?))
}

fn files(row: &Row<'_>, column: usize) -> Result<FileCounts, rusqlite::Error> {
    Ok(FileCounts::from_bytes(row.get_ref(column)?.as_blob()?))
}

/// The columns [`read_group`] reads.
const COLUMNS: &str =
    "f.id, f.plugin, f.outcome, f.text, f.first_ms, f.last_ms, f.dead, f.waiting, f.trend, f.files";

fn read_group(row: &Row<'_>) -> Result<FailureView, rusqlite::Error> {
    let code: Option<u8> = row.get(2)?;
    Ok(FailureView {
        id: FailureId::from_row(row.get(0)?),
        plugin: row.get::<_, String>(1)?.into(),
        outcome: code.and_then(Outcome::from_code),
        text: row.get(3)?,
        first_ms: row.get(4)?,
        last_ms: row.get(5)?,
        dead: row.get(6)?,
        waiting: row.get(7)?,
        trend: trend(row, 8)?,
        files: files(row, 9)?,
        sample: None,
    })
}

/// A page of groups, the one that was met first last before the others.
pub(super) fn failures(
    connection: &Connection,
    filter: &FailureFilter,
    limit: usize,
    after: Option<FailureCursor>,
) -> Result<(Vec<FailureView>, Option<FailureCursor>), rusqlite::Error> {
    let limit = limit.clamp(1, MAX_PAGE);
    let mut clauses = Clauses::default();
    clauses.maybe("f.plugin = ?", filter.plugin.clone());
    clauses.maybe("f.outcome = ?", filter.outcome.map(|outcome| i64::from(outcome.code())));
    clauses.maybe("f.last_ms >= ?", filter.since_ms);
    clauses.maybe("f.first_ms < ?", filter.until_ms);
    if filter.open {
        clauses.sql.push_str(" AND f.dead + f.waiting > 0");
    }
    if let Some(FailureCursor { first_ms, id }) = after {
        clauses.add(&format!("(f.first_ms, f.id) < (?, {})", id.row()), first_ms);
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM failures f WHERE 1 {} ORDER BY f.first_ms DESC, f.id DESC LIMIT {limit}",
        clauses.sql
    );
    let mut found = connection
        .prepare(&sql)?
        .query_map(params_from_iter(&clauses.values), read_group)?
        .collect::<Result<Vec<_>, _>>()?;
    for view in &mut found {
        view.sample = sample(connection, view.id)?;
    }
    let last = if found.len() == limit { found.last() } else { None };
    let next = last.map(|last| FailureCursor { first_ms: last.first_ms, id: last.id });
    Ok((found, next))
}

/// One group.
pub(super) fn failure(
    connection: &Connection,
    id: FailureId,
) -> Result<Option<FailureView>, rusqlite::Error> {
    let sql = format!("SELECT {COLUMNS} FROM failures f WHERE f.id = ?1");
    let found = connection.prepare_cached(&sql)?.query_row([id.row()], read_group).optional()?;
    let Some(mut view) = found else { return Ok(None) };
    view.sample = sample(connection, id)?;
    Ok(Some(view))
}

/// The newest delivery of a group.
fn sample(connection: &Connection, id: FailureId) -> Result<Option<DeliveryId>, rusqlite::Error> {
    connection
        .prepare_cached(
            "SELECT event, ordinal FROM deliveries WHERE failure = ?1 ORDER BY event DESC, ordinal DESC LIMIT 1",
        )?
        .query_row([id.row()], |row| {
            Ok(DeliveryId { event: EventId::from_row(row.get(0)?), ordinal: row.get(1)? })
        })
        .optional()
}
