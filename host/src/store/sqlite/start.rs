//! Reads and repairs at the start, before the first call.

use std::path::Path;

use rusqlite::Connection;

use super::batch::WriteBatch;
use super::counts::{Delta, LiveCounts};
use super::eras::Eras;
use super::error::OpenError;
use super::files::beside;
use super::recent::Recent;
use super::recover::Recovered;
use super::time;
use crate::clock::{Clock, ClockChange};
use crate::event::EventId;
use crate::store::PluginPolicies;
use crate::store::journal::{InFlightJournal, LeftRunning};

/// The greatest id that was given out.
pub(super) fn last_id(
    connection: &Connection,
    recent: &Recent,
) -> Result<EventId, rusqlite::Error> {
    // Also what is deleted counts: an id below the sweep would never give up its dedupe keys, and
    // of one below the last flush of a shard they would not be found again.
    let sql = "SELECT max(coalesce((SELECT max(id) FROM events), 0), coalesce((SELECT max(version) FROM kv), 0),
                          dedupe_up_to) FROM swept";
    let last = connection.query_row(sql, [], |row| row.get(0).map(EventId::from_row))?;
    Ok(last.max(recent.flushed_up_to()))
}

/// The state with which the store goes on.
pub(super) struct Resumed {
    pub(super) journal: InFlightJournal,
    pub(super) counts: LiveCounts,
    pub(super) eras: Eras,
    pub(super) clock_changes: Vec<ClockChange>,
    pub(super) recovered: Recovered,
}

/// Lets the clock go on, and recovers the leases of a killed host.
pub(super) fn resume(
    connection: &Connection,
    path: &Path,
    clock: &Clock,
    last_id: EventId,
    recent: &Recent,
    policies: &dyn PluginPolicies,
) -> Result<Resumed, OpenError> {
    let failed = |source| OpenError::Sqlite { path: path.to_owned(), source };
    let journal_path = beside(path, "-running");
    let failed_io = |source| OpenError::Io { path: journal_path.clone(), source };
    let mut counts = LiveCounts::read(connection).map_err(failed)?;
    let (journal, left) = InFlightJournal::open(&journal_path).map_err(failed_io)?;
    let (eras, clock_changes) = time::begin(connection, clock, last_id).map_err(failed)?;
    let (recovered, delta) =
        recover(connection, clock, last_id, (recent, policies), &left).map_err(failed)?;
    counts.add(&delta);
    // Only now: until here a killed start leaves the next one as much as it found.
    journal.begin().map_err(failed_io)?;
    Ok(Resumed { journal, counts, eras, clock_changes, recovered })
}

/// Recovers the leases of a killed host; returns them, and the changes of the counts.
fn recover(
    connection: &Connection,
    clock: &Clock,
    last_id: EventId,
    (recent, policies): (&Recent, &dyn PluginPolicies),
    left: &LeftRunning,
) -> Result<(Recovered, Delta), rusqlite::Error> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let mut batch = WriteBatch {
        wall_ms: clock.now_ms(),
        policies,
        ..WriteBatch::new(connection, clock.host_ms(), last_id, recent)
    };
    let recovered = batch.recover(left)?;
    batch.flush_groups()?;
    batch.delta.write(connection)?;
    let delta = batch.delta;
    connection.execute_batch("COMMIT")?;
    Ok((recovered, delta))
}
