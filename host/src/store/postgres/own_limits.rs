//! The time limits that this host has set, and whether the database still has them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_postgres::Error;

use super::client::SqlClient as Client;
use crate::event::PluginName;

/// The time limits that this host has set.
#[derive(Debug, Default)]
pub(super) struct OwnLimits {
    set: Mutex<BTreeMap<PluginName, OwnLimit>>,
    /// Notified when the database lacks some of them.
    pub(super) lost: Notify,
}

/// A time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnLimit {
    /// In milliseconds.
    pub(super) within: i64,
    /// That of the change by which it was set.
    pub(super) generation: i64,
}

impl OwnLimits {
    /// The limits by which everything that was open ends.
    pub(super) fn set(&self) -> MutexGuard<'_, BTreeMap<PluginName, OwnLimit>> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Verifies that the database has each of them, or a later one: a failover may have lost it.
    pub(super) async fn verify(&self, client: &Client) -> Result<(), Error> {
        let kept = self.set().clone();
        if kept.is_empty() {
            return Ok(());
        }
        let sql = "SELECT plugin, generation, moved FROM hookbox.time_limits";
        let rows = client.query(sql, &[]).await?;
        let found: BTreeMap<&str, (i64, bool)> =
            rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
        let is_lost = |(plugin, kept): (&PluginName, &OwnLimit)| {
            let found = found.get(&**plugin);
            found.is_none_or(|found| *found < (kept.generation, true))
        };
        if kept.iter().any(is_lost) {
            self.lost.notify_one();
        }
        Ok(())
    }
}
