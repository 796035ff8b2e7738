//! Results of steps: recorded while an attempt runs, and deleted when the delivery is done.
//!
//! A delivery that an operator can retry keeps its recorded steps, so that it goes on where it
//! failed.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::batch::WriteBatch;
use crate::event::{DeliveryId, Digest, State};
use crate::fail;
use crate::store::{LeaseHolder, NewStep, Recorded, StepView};

/// Since version 7: the results that deliveries record, and how often their handlers have asked to
/// be called again. `deliveries.steps` says whether there may be rows in `steps`, so that most
/// settlements need not look.
pub(super) const SCHEMA: &str = "
    CREATE TABLE steps (
        event   INTEGER NOT NULL,
        ordinal INTEGER NOT NULL,
        name    TEXT NOT NULL,
        value   BLOB NOT NULL,
        attempt INTEGER NOT NULL,
        digest  BLOB,
        at_ms   INTEGER NOT NULL,
        PRIMARY KEY (event, ordinal, name)
    ) STRICT, WITHOUT ROWID;
    ALTER TABLE deliveries ADD COLUMN steps INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE deliveries ADD COLUMN again INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE deliveries ADD COLUMN again_since_ms INTEGER;
    ALTER TABLE attempts ADD COLUMN steps TEXT;
";

impl WriteBatch<'_> {
    /// Records a result, if `holder` still holds the lease. The first one under a name stays.
    pub(super) fn record_step(
        &mut self,
        holder: &LeaseHolder,
        step: &NewStep,
    ) -> Result<Recorded, rusqlite::Error> {
        let LeaseHolder { delivery, plugin, attempt } = holder;
        let held = self
            .connection
            .prepare_cached(
                "UPDATE deliveries SET steps = 1
                 WHERE event = ?1 AND ordinal = ?2 AND attempt = ?3 AND state = ?4",
            )?
            .execute(params![
                delivery.event.row(),
                delivery.ordinal,
                attempt,
                State::Leased.code()
            ])?;
        if held == 0 {
            return Ok(Recorded::Lost);
        }
        self.connection
            .prepare_cached(
                "INSERT OR IGNORE INTO steps (event, ordinal, name, value, attempt, digest, at_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                delivery.event.row(),
                delivery.ordinal,
                step.name,
                step.value,
                attempt,
                step.digest.as_ref().map(|digest| digest.0),
                self.wall_ms,
            ])?;
        self.delta.touch(plugin);
        let _ = fail::point("store.record_written");
        Ok(Recorded::Kept)
    }

    /// Drops what a delivery has recorded.
    pub(super) fn drop_steps(&self, id: DeliveryId) -> Result<(), rusqlite::Error> {
        self.connection
            .prepare_cached("DELETE FROM steps WHERE event = ?1 AND ordinal = ?2")?
            .execute(params![id.event.row(), id.ordinal])?;
        Ok(())
    }

    /// Counts that a delivery's handler asks to be called again: from now on its attempts are
    /// counted anew.
    pub(super) fn count_again(&self, id: DeliveryId) -> Result<(), rusqlite::Error> {
        self.connection
            .prepare_cached(
                "UPDATE deliveries
                 SET pardoned = attempt, again = again + 1, again_since_ms = coalesce(again_since_ms, ?3)
                 WHERE event = ?1 AND ordinal = ?2",
            )?
            .execute(params![id.event.row(), id.ordinal, self.now_ms])?;
        Ok(())
    }
}

/// The results that a delivery has recorded.
pub(super) fn values(
    connection: &Connection,
    id: DeliveryId,
) -> Result<BTreeMap<String, Vec<u8>>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT name, value FROM steps WHERE event = ?1 AND ordinal = ?2")?
        .query_map(params![id.event.row(), id.ordinal], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// The steps that a delivery has recorded, by name.
pub(super) fn views(
    connection: &Connection,
    id: DeliveryId,
) -> Result<Vec<StepView>, rusqlite::Error> {
    connection
        .prepare_cached(
            "SELECT name, length(value), attempt, digest, at_ms FROM steps
             WHERE event = ?1 AND ordinal = ?2 ORDER BY name",
        )?
        .query_map(params![id.event.row(), id.ordinal], |row| {
            Ok(StepView {
                name: row.get(0)?,
                bytes: row.get(1)?,
                attempt: row.get(2)?,
                digest: row.get::<_, Option<[u8; 32]>>(3)?.map(Digest),
                recorded_at_ms: row.get(4)?,
            })
        })?
        .collect()
}
