//! The time limits of joins and batches, and the moves of those that are open when a limit changes.

use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::Postgres;
use super::moves::WorkMoves;
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
    pub(super) async fn move_ends(
        &self,
        limits: Vec<(PluginName, Duration)>,
    ) -> Result<u64, StoreError> {
        self.shared.answers()?;
        let plugins: Vec<&str> = limits.iter().map(|(plugin, _)| &**plugin).collect();
        let withins: Vec<i64> = limits.iter().map(|(_, within)| millis(*within)).collect();
        let once = async || {
            let work = self.work.begin().await?;
            let sql = "SELECT hookbox.set_limits_v1($1, $2)";
            let rows = work.query(sql, &[&plugins, &withins]).await?;
            work.commit().await?;
            Ok::<_, WorkError>(rows.iter().map(|row| row.get(0)).collect::<Vec<String>>())
        };
        let changed = tried!(once())?;
        let mut moved = 0;
        for (plugin, within) in &limits {
            if changed.iter().any(|changed| *changed == **plugin) {
                moved += self.walk_ends(plugin, millis(*within)).await?;
            }
        }
        Ok(moved)
    }

    /// Looks at every open gathering of a plugin, from the first one on for those that end earlier
    /// and from the last one back for those that end later.
    async fn walk_ends(&self, plugin: &PluginName, within: i64) -> Result<u64, StoreError> {
        let mut moved = 0;
        for (later, first) in [(false, (i64::MIN, 0, 0)), (true, (i64::MAX, 0, 0))] {
            let mut from = Some(first);
            while let Some(place) = from {
                let once = async || self.step(plugin, within, later, place).await;
                let Some(EndsStep { moved: by, next }) = tried!(once())? else { return Ok(moved) };
                moved += by;
                from = next;
            }
        }
        let once = async || {
            let work = self.work.begin().await?;
            let sql = "UPDATE hookbox.time_limits SET moved = true
                WHERE plugin = $1 AND within = $2";
            work.execute(sql, &[&&**plugin, &within]).await?;
            work.commit().await?;
            Ok::<_, WorkError>(())
        };
        tried!(once())?;
        Ok(moved)
    }

    /// Looks at some; nothing if another host has set another limit, and walks itself.
    async fn step(
        &self,
        plugin: &PluginName,
        within: i64,
        later: bool,
        (due, event, ordinal): EndsPlace,
    ) -> Result<Option<EndsStep>, WorkError> {
        let (at, name) = (self.shared.at(), &**plugin);
        let parameters: [&(dyn ToSql + Sync); 8] =
            [&at, &name, &within, &later, &due, &event, &ordinal, &LOOKED_AT];
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
