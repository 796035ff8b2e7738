//! Reads and repairs at the start, before the first call.

use rusqlite::Connection;

use super::batch::WriteBatch;
use super::counts::Delta;
use super::inflight::LeftRunning;
use super::recent::Recent;
use super::recover::Recovered;
use crate::clock::Clock;
use crate::event::EventId;

/// The greatest id that was given out.
pub(super) fn last_id(connection: &Connection, recent: &Recent) -> Result<EventId, rusqlite::Error> {
    // Also what is deleted counts: an id below the sweep would never give up its dedupe keys, and
    // of one below the last flush of a shard they would not be found again.
    let sql = "SELECT max(coalesce((SELECT max(id) FROM events), 0), coalesce((SELECT max(version) FROM kv), 0),
                          dedupe_up_to) FROM swept";
    let last = connection.query_row(sql, [], |row| row.get(0).map(EventId::from_row))?;
    Ok(last.max(recent.flushed_up_to()))
}

/// Recovers the leases of a killed host; returns them, and the changes of the counts.
pub(super) fn recover(
    connection: &Connection,
    clock: &Clock,
    last_id: EventId,
    recent: &Recent,
    left: &LeftRunning,
) -> Result<(Recovered, Delta), rusqlite::Error> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let mut batch =
        WriteBatch { wall_ms: clock.now_ms(), ..WriteBatch::new(connection, clock.host_ms(), last_id, recent) };
    let recovered = batch.recover(left)?;
    batch.delta.write(connection)?;
    let delta = batch.delta;
    connection.execute_batch("COMMIT")?;
    Ok((recovered, delta))
}
