//! Empties old events, whose rows, counts and trees stay until they are deleted.

use std::time::Instant;

use rusqlite::params;

use super::batch::WriteBatch;
use super::operator::{IS_NEEDED, LONGEST_SWEEP, MAX_SWEPT, MAX_SWEPT_BYTES};
use crate::event::EventId;

/// Since version 8: how far old events are emptied. `begins`: every event up to here is empty, and
/// a pass begins behind it. `at`: where the present pass goes on. `kept`: the first event that it
/// has left alone.
pub(super) const SCHEMA: &str = "
    CREATE TABLE emptied (begins INTEGER NOT NULL, at INTEGER NOT NULL, kept INTEGER) STRICT;
    INSERT INTO emptied VALUES (0, 0, NULL);
";

impl WriteBatch<'_> {
    /// Empties events that were received before `before_ms` (Unix ms) and are needed no more, a
    /// bounded number; says whether there may be more.
    pub(super) fn sweep_payloads(&mut self, before_ms: i64) -> Result<bool, rusqlite::Error> {
        let until = self.older_than(before_ms);
        let (since_ms, times) = self.attempts_since(before_ms);
        let (begins, at, mut kept): (i64, i64, Option<i64>) = self
            .connection
            .prepare_cached("SELECT begins, at, kept FROM emptied")?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let sql = format!(
            "SELECT e.id, length(e.body), {IS_NEEDED} FROM events e
             WHERE e.id > ?6 AND e.id < ?1 ORDER BY e.id LIMIT ?2"
        );
        let looked_at: Vec<(i64, i64, bool)> = self
            .connection
            .prepare_cached(&sql)?
            .query_map(
                params![until.row(), MAX_SWEPT, since_ms, times.0, times.1.row(), at.max(begins)],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )?
            .collect::<Result<_, _>>()?;
        let (mut up_to, mut bytes, begun) = (at.max(begins), 0, Instant::now());
        for (index, &(event, body_bytes, is_needed)) in looked_at.iter().enumerate() {
            if bytes >= MAX_SWEPT_BYTES || index > 0 && begun.elapsed() >= LONGEST_SWEEP {
                break;
            }
            if is_needed {
                kept = kept.or(Some(event));
            } else {
                self.empty(EventId::from_row(event), false)?;
                bytes += body_bytes;
            }
            up_to = event;
        }
        let is_finished =
            looked_at.len() < MAX_SWEPT && looked_at.last().is_none_or(|(last, ..)| *last == up_to);
        let next = match is_finished {
            true => (kept.map_or(up_to, |kept| kept - 1), 0, None),
            false => (begins, up_to, kept),
        };
        if next != (begins, at, kept) || kept.is_some() {
            self.connection
                .prepare_cached("UPDATE emptied SET begins = ?1, at = ?2, kept = ?3")?
                .execute(params![next.0, next.1, next.2])?;
        }
        Ok(!is_finished)
    }
}
