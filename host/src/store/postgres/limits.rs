//! The time limits of joins and batches, and the moves of those that are open when a limit changes.

use std::time::Duration;

use tokio::sync::watch;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::Postgres;
use super::moves::WorkMoves;
use super::own_limits::OwnLimit;
use super::rows::millis;
use super::work::{WorkError, tried};
use crate::event::PluginName;
use crate::store::StoreError;

/// The gatherings that one transaction looks at.
const LOOKED_AT: i32 = 500;

/// A place in the order of what is due: the due time, the event and the ordinal.
type EndsPlace = (i64, i64, i32);

/// The result of a step of a walk.
struct EndsStep {
    moved: u64,
    /// The last place, if there may be more behind it.
    next: Option<EndsPlace>,
}

impl Postgres {
    /// Sets time limits, and moves the ends of what is open.
    pub(super) async fn set_limits(
        &self,
        limits: Vec<(PluginName, Duration)>,
    ) -> Result<u64, StoreError> {
        let limits: Vec<_> =
            limits.into_iter().map(|(plugin, within)| (plugin, millis(within))).collect();
        self.move_ends(&limits, None).await
    }

    /// Waits until the database lacks what this host has set, sets it again, and moves the ends of
    /// what is open. A limit that was set later, by any host, stays.
    pub(super) async fn restore_limits(&self) -> Result<u64, StoreError> {
        self.shared.limits.lost.notified().await;
        let kept = self.shared.limits.set().clone();
        let generations: Vec<_> = kept.values().map(|limit| limit.generation).collect();
        let limits: Vec<_> =
            kept.into_iter().map(|(plugin, limit)| (plugin, limit.within)).collect();
        self.move_ends(&limits, Some(&generations)).await
    }

    /// Sets limits, or those of these generations again, and walks by those that were not there.
    async fn move_ends(
        &self,
        limits: &[(PluginName, i64)],
        generations: Option<&[i64]>,
    ) -> Result<u64, StoreError> {
        self.shared.answers()?;
        let server = self.shared.known.generation();
        let plugins: Vec<&str> = limits.iter().map(|(plugin, _)| &**plugin).collect();
        let withins: Vec<i64> = limits.iter().map(|(_, within)| *within).collect();
        let once = async || {
            let work = self.work.begin().await?;
            let sql = "SELECT plugin, generation, is_changed
                FROM hookbox.set_limits_v1($1, $2, $3)";
            let rows = work.query(sql, &[&plugins, &withins, &generations]).await?;
            work.commit().await?;
            Ok::<_, WorkError>(rows)
        };
        let rows = tried!(once())?;
        let mut moved = 0;
        for row in &rows {
            let (name, generation): (&str, i64) = (row.get(0), row.get(1));
            let known = limits.iter().find(|(plugin, _)| **plugin == *name);
            let (plugin, within) = known.expect("it was asked for");
            if row.get(2) {
                moved += self.walk_ends(plugin, generation, &server).await?;
            }
            if generations.is_none() {
                let limit = OwnLimit { within: *within, generation };
                self.shared.limits.set().insert(plugin.clone(), limit);
            }
        }
        Ok(moved)
    }

    /// Looks at every open gathering of a plugin, from the first one on for those that end earlier
    /// and from the last one back for those that end later.
    async fn walk_ends(
        &self,
        plugin: &PluginName,
        generation: i64,
        server: &watch::Receiver<u64>,
    ) -> Result<u64, StoreError> {
        let mut moved = 0;
        for (later, first) in [(false, (i64::MIN, 0, 0)), (true, (i64::MAX, 0, 0))] {
            let mut from = Some(first);
            while let Some(place) = from {
                let once = async || self.step(plugin, generation, later, place).await;
                let Some(EndsStep { moved: by, next }) = tried!(once())? else { return Ok(moved) };
                moved += by;
                from = next;
            }
        }
        let once = async || {
            let work = self.work.begin().await?;
            // The first steps may be lost, if this is on another server.
            if server.has_changed().unwrap_or(true) {
                let why =
                    "another server became the primary while open joins and batches were moved";
                return Err(StoreError::Unreachable(why.to_owned()).into());
            }
            let sql = "UPDATE hookbox.time_limits SET moved = true
                WHERE plugin = $1 AND generation = $2";
            work.execute(sql, &[&&**plugin, &generation]).await?;
            work.commit().await?;
            Ok::<_, WorkError>(())
        };
        tried!(once())?;
        Ok(moved)
    }

    /// Looks at some; nothing if another limit was set, by which another walk goes.
    async fn step(
        &self,
        plugin: &PluginName,
        generation: i64,
        later: bool,
        (due, event, ordinal): EndsPlace,
    ) -> Result<Option<EndsStep>, WorkError> {
        let (at, name) = (self.shared.at(), &**plugin);
        let parameters: [&(dyn ToSql + Sync); 8] =
            [&at, &name, &generation, &later, &due, &event, &ordinal, &LOOKED_AT];
        let work = self.work.begin().await?;
        let sql = "SELECT looked_at, moved, next_in, due, event, ordinal
            FROM hookbox.move_ends_v1($1, $2, $3, $4, $5, $6, $7, $8)";
        let row = work.query_opt(sql, &parameters).await?;
        work.commit().await?;
        Ok(row.map(|row| self.tell_of_step(plugin, &row)))
    }

    /// Tells the dispatcher what a step has moved.
    fn tell_of_step(&self, plugin: &PluginName, row: &Row) -> EndsStep {
        let (looked_at, moved): (i64, i64) = (row.get(0), row.get(1));
        let mut moves = WorkMoves::default();
        if moved > 0 {
            moves.touch(plugin);
        }
        if let Some(next_in) = row.get::<_, Option<i64>>(2) {
            moves.due(plugin, Duration::from_millis(next_in.unsigned_abs()));
        }
        moves.tell(&self.shared);
        let is_last = looked_at < i64::from(LOOKED_AT);
        let next = (!is_last).then(|| (row.get(3), row.get(4), row.get(5)));
        EndsStep { moved: moved.unsigned_abs(), next }
    }
}
