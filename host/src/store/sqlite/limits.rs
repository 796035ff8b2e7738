//! The time limits of joins and batches, and the moves of those that are open when a limit changes.
//!
//! The table is right for the next gathering as soon as a limit is set. The open ones are then
//! walked by the index of due times, a bounded number at a time. The first walk is for those that
//! end earlier, from the first one on; the second for those that end later, from the last one back.
//! A moved one lies behind the walk, so that each is met once.

use std::time::Duration;

use rusqlite::{OptionalExtension, Row, params};

use super::batch::{BEHIND_MS, WriteBatch, due};
use super::rows::read_state;
use crate::event::{DeliveryId, EventId, PluginName, State};

/// Since version 8: how long the joins or batches of a plugin of the host take at most, and whether
/// all that were open when this was set end by it. Also when a gathering ends if no further member
/// comes.
pub(super) const SCHEMA: &str = "
    CREATE TABLE time_limits (
        plugin    TEXT PRIMARY KEY,
        within_ms INTEGER NOT NULL,
        moved     INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    ALTER TABLE gatherings ADD COLUMN quiet_until_ms INTEGER;
    UPDATE gatherings SET quiet_until_ms = d.due_ms FROM deliveries d
        WHERE d.event = gatherings.event AND d.ordinal = gatherings.ordinal
          AND NOT gatherings.frozen AND gatherings.why IS NULL AND d.due_ms < gatherings.until_ms;
";

/// The gatherings that one step of a walk looks at.
const LOOKED_AT: usize = 500;

/// A place in the order of what is due: the due time, the event and the ordinal.
type DuePlace = (i64, i64, u32);

/// A walk through the open gatherings of a plugin whose limit has changed.
#[derive(Debug, Clone)]
pub(super) struct LimitWalk {
    plugin: PluginName,
    within_ms: i64,
    /// Whether those that end later are moved, which comes second.
    later: bool,
    /// The last one that was looked at.
    from: DuePlace,
    moved: u64,
    is_over: bool,
}

/// A step of the work on time limits.
#[derive(Debug)]
pub(super) enum LimitWork {
    /// Sets limits.
    Set(Vec<(PluginName, Duration)>),
    /// Goes on with a walk.
    Move(LimitWalk),
}

/// An open gathering on a walk, and how its delivery stands.
struct OpenEnd {
    id: DeliveryId,
    due_ms: i64,
    state: State,
    opened_ms: i64,
    until_ms: i64,
    quiet_until_ms: Option<i64>,
    /// Whether it is complete or was leased.
    has_ended: bool,
}

impl LimitWalk {
    fn begin(plugin: PluginName, within_ms: i64) -> Self {
        let from = (i64::MIN, 0, 0);
        Self { plugin, within_ms, later: false, from, moved: 0, is_over: false }
    }

    /// Whether there is nothing left to look at.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// How many gatherings end at another time by it so far.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }
}

impl LimitWork {
    /// About what it costs, in rows.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Self::Set(limits) => limits.len() as u64,
            // A gathering, its delivery and the entry of that among those that are open.
            Self::Move(_) => 3 * LOOKED_AT as u64,
        }
    }
}

impl WriteBatch<'_> {
    /// Does a step; returns the walks by which what is open is to follow, or the walk that went on.
    pub(super) fn limit(&mut self, work: &LimitWork) -> Result<Vec<LimitWalk>, rusqlite::Error> {
        match work {
            LimitWork::Set(limits) => self.set_limits(limits),
            LimitWork::Move(walk) => Ok(vec![self.move_ends(walk.clone())?]),
        }
    }

    fn set_limits(
        &self,
        limits: &[(PluginName, Duration)],
    ) -> Result<Vec<LimitWalk>, rusqlite::Error> {
        let mut set = self.connection.prepare_cached(
            "INSERT INTO time_limits (plugin, within_ms, moved) VALUES (?1, ?2, 0)
             ON CONFLICT (plugin) DO UPDATE SET within_ms = excluded.within_ms, moved = 0
             WHERE time_limits.within_ms <> excluded.within_ms OR NOT time_limits.moved",
        )?;
        let mut walks = Vec::new();
        for (plugin, within) in limits {
            let within_ms = i64::try_from(within.as_millis()).unwrap_or(i64::MAX);
            if set.execute(params![plugin, within_ms])? > 0 {
                walks.push(LimitWalk::begin(plugin.clone(), within_ms));
            }
        }
        Ok(walks)
    }

    /// The time limit of the joins or batches of a plugin, if one was set.
    pub(super) fn time_limit(&self, plugin: &str) -> Result<Option<Duration>, rusqlite::Error> {
        self.connection
            .prepare_cached("SELECT within_ms FROM time_limits WHERE plugin = ?1")?
            .query_row([plugin], |row| row.get(0).map(Duration::from_millis))
            .optional()
    }

    /// Makes a step of a walk. A walk for a limit that is another one by now is over.
    fn move_ends(&mut self, mut walk: LimitWalk) -> Result<LimitWalk, rusqlite::Error> {
        let limit = self.time_limit(&walk.plugin)?;
        if limit.is_none_or(|limit| limit.as_millis() != u128::from(walk.within_ms.unsigned_abs()))
        {
            walk.is_over = true;
            return Ok(walk);
        }
        let page = self.page_of_ends(&walk)?;
        for end in &page {
            walk.moved += u64::from(self.move_end(&walk, end)?);
        }
        match page.last() {
            Some(last) if page.len() == LOOKED_AT => {
                walk.from = (last.due_ms, last.id.event.row(), last.id.ordinal);
            }
            _ if !walk.later => {
                (walk.later, walk.from) = (true, (BEHIND_MS, 0, 0));
            }
            _ => {
                walk.is_over = true;
                self.connection
                    .prepare_cached("UPDATE time_limits SET moved = 1 WHERE plugin = ?1")?
                    .execute([&walk.plugin])?;
            }
        }
        Ok(walk)
    }

    fn page_of_ends(&self, walk: &LimitWalk) -> Result<Vec<OpenEnd>, rusqlite::Error> {
        let (beyond, order) = if walk.later { ("<", "DESC") } else { (">", "ASC") };
        let sql = format!(
            "SELECT d.event, d.ordinal, d.due_ms, d.state, g.opened_ms, g.until_ms, g.quiet_until_ms,
                    g.frozen OR g.why IS NOT NULL
             FROM deliveries d CROSS JOIN gatherings g ON g.event = d.event AND g.ordinal = d.ordinal
             WHERE d.crashes = 0 AND d.plugin = ?1 AND d.due_ms < ?2
               AND (d.due_ms, d.event, d.ordinal) {beyond} (?3, ?4, ?5)
             ORDER BY d.due_ms {order}, d.event {order}, d.ordinal {order} LIMIT ?6"
        );
        let (due_ms, event, ordinal) = walk.from;
        self.connection
            .prepare_cached(&sql)?
            .query_map(
                params![walk.plugin, BEHIND_MS, due_ms, event, ordinal, LOOKED_AT],
                read_end,
            )?
            .collect()
    }

    /// Moves the end of a gathering, if it is one of those that the walk moves now.
    fn move_end(&mut self, walk: &LimitWalk, end: &OpenEnd) -> Result<bool, rusqlite::Error> {
        let until_ms = due(end.opened_ms.saturating_add(walk.within_ms));
        let is_later = until_ms > end.until_ms;
        if end.has_ended || until_ms == end.until_ms || is_later != walk.later {
            return Ok(false);
        }
        let (event, ordinal) = (end.id.event.row(), end.id.ordinal);
        self.connection
            .prepare_cached(
                "UPDATE gatherings SET until_ms = ?3 WHERE event = ?1 AND ordinal = ?2",
            )?
            .execute(params![event, ordinal, until_ms])?;
        let due_ms = end.quiet_until_ms.map_or(until_ms, |quiet_ms| quiet_ms.min(until_ms));
        if end.state == State::Waiting {
            if due_ms != end.due_ms {
                self.open(end.id, &walk.plugin, due_ms)?;
            }
        } else if due_ms > self.now_ms {
            // It was due, and nobody had leased it.
            self.connection
                .prepare_cached(
                    "UPDATE deliveries SET state = ?3, due_ms = ?4 WHERE event = ?1 AND ordinal = ?2",
                )?
                .execute(params![event, ordinal, State::Waiting.code(), due_ms])?;
            self.delta.moved(&walk.plugin, Some(end.state), Some(State::Waiting));
            self.waiting.push((walk.plugin.clone(), due_ms));
        }
        Ok(true)
    }
}

fn read_end(row: &Row<'_>) -> Result<OpenEnd, rusqlite::Error> {
    Ok(OpenEnd {
        id: DeliveryId { event: EventId::from_row(row.get(0)?), ordinal: row.get(1)? },
        due_ms: row.get(2)?,
        state: read_state(row, 3)?,
        opened_ms: row.get(4)?,
        until_ms: row.get(5)?,
        quiet_until_ms: row.get(6)?,
        has_ended: row.get(7)?,
    })
}
