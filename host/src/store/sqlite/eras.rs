//! Eras: how an id, which is given out by host time, is told from the time that its event has,
//! which is the wall clock's.
//!
//! While both agree there is nothing to tell. Where they begin to differ by more than [`ERA_MS`],
//! an *era* begins with the next event, in its transaction: from its first id on, ids are so far
//! ahead of the events' own times. So a bound on time is a range of ids in each era, and an event
//! costs nothing more.

use std::fmt::Write as _;

use rusqlite::Connection;

use crate::event::EventId;

#[cfg(test)]
mod tests;

/// Since version 5: see [`Eras`], and what is noted of host time. `healed`: the eras of what an
/// earlier version stored, whose ids were not given out by host time.
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
        let mut statement =
            connection.prepare_cached("SELECT first, ahead_ms, healed FROM eras ORDER BY first")?;
        let era = |row: &rusqlite::Row<'_>| {
            Ok(Era { first: row.get(0)?, ahead_ms: row.get(1)?, healed: row.get(2)? })
        };
        Ok(Self(statement.query_map([], era)?.collect::<Result<_, _>>()?))
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether an event that is stored while host time is so far ahead begins another era.
    pub(super) fn ends_with(&self, ahead_ms: i64) -> bool {
        let last = self.0.last();
        last.is_some_and(|last| last.healed)
            || ahead_ms.abs_diff(last.map_or(0, |last| last.ahead_ms)) > ERA_MS.unsigned_abs()
    }

    /// Each era with the id after its last one.
    fn ranges(&self) -> impl Iterator<Item = (Era, i64)> {
        let plain =
            Era { first: 0, ahead_ms: 0, healed: self.0.first().is_some_and(|era| era.healed) };
        let ends = self.0.iter().map(|era| era.first).chain([i64::MAX]);
        std::iter::once(plain).chain(self.0.iter().copied()).zip(ends)
    }

    /// Where the events are whose own time is in these bounds; the first one inclusive, the last
    /// one exclusive.
    pub(super) fn span(&self, since_ms: Option<i64>, until_ms: Option<i64>) -> Span {
        let (mut low, mut end) = (i64::MAX, 0);
        for (era, next) in self.ranges() {
            // In a healed one ids say less: all of it is looked through.
            let (since_ms, until_ms) = if era.healed { (None, None) } else { (since_ms, until_ms) };
            let from = since_ms
                .map_or(era.first, |ms| era.first_at(ms.saturating_sub(ERA_MS)).max(era.first));
            let to = until_ms.map_or(next, |ms| era.first_at(ms.saturating_add(ERA_MS)).min(next));
            if from < to {
                (low, end) = (low.min(from), end.max(to));
            }
        }
        Span { low: low.min(end), end, since_ms, until_ms }
    }

    /// Every event before this id is older than `since_ms`, by its own time as well as by host
    /// time, which is ahead of the wall clock by `ahead_ms` now. Where a later event has an earlier
    /// time, that was the time of both or before: so one that was stored while the clock was ahead
    /// is not kept until then.
    pub(super) fn older_than(&self, since_ms: i64, ahead_ms: i64) -> EventId {
        let by_host = EventId::first_at(since_ms.saturating_add(ahead_ms)).row();
        let healed_end =
            self.ranges().filter(|(era, _)| era.healed).map(|(_, end)| end).last().unwrap_or(0);
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

/// A range of ids, and the bounds on the own times of their events: ids and times differ by up to
/// [`ERA_MS`] in an era.
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
                let _ = write!(
                    sql,
                    " AND (SELECT t.time_ms FROM events t WHERE t.id = {column}) {is} {ms}"
                );
            }
        }
        sql
    }
}
