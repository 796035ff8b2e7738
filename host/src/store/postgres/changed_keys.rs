//! The changes of operators to deliveries with a key or a tag, beside moving them.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::Row;

use super::keys::{LOCK_KEYS, NamedPlugins, POLICIES};
use super::moves::WorkMoves;
use super::rows::read_event;
use super::shared::PostgresShared;
use super::work::{Work, WorkError};
use crate::event::PluginName;
use crate::store::Action;

/// The deliveries of an action that have a key or a tag, as they were before it.
#[derive(Default)]
pub(super) struct ChangedKeys {
    events: Vec<i64>,
    ordinals: Vec<i32>,
    plugins: Vec<String>,
    keys: Vec<Option<Vec<u8>>>,
    numbers: Vec<Option<i64>>,
    dues: Vec<Option<i64>>,
    was: Vec<i16>,
    tags: Vec<Option<i64>>,
}

/// Tells the transaction what is known of the plugins of deliveries, and locks their keys.
pub(super) async fn lock_changed(
    work: &Work<'_>,
    shared: &PostgresShared,
    (events, ordinals): (&[i64], &[i32]),
) -> Result<(), WorkError> {
    let sql = "SELECT o.plugin FROM unnest($1::bigint[], $2::integer[]) AS i (event, ordinal)
               JOIN hookbox.open o USING (event, ordinal) WHERE o.key IS NOT NULL
               UNION
               SELECT s.plugin FROM unnest($1::bigint[], $2::integer[]) AS i (event, ordinal)
               JOIN hookbox.settled s USING (event, ordinal) WHERE s.key IS NOT NULL";
    let mut plugins = NamedPlugins::default();
    for row in work.query(sql, &[&events, &ordinals]).await? {
        plugins.add(&row.get::<_, String>(0).into());
    }
    if let Some(known) = plugins.policies(&*shared.policies) {
        work.query(POLICIES, &[&known]).await?;
    }
    let sql = "SELECT hookbox.lock_deliveries_v1($1, $2)";
    work.query(sql, &[&events, &ordinals]).await?;
    Ok(())
}

impl ChangedKeys {
    /// Reads those of these deliveries on which an action has anything to do with keys.
    pub(super) async fn read(
        work: &Work<'_>,
        shared: &PostgresShared,
        (events, ordinals): (&[i64], &[i32]),
        action: &Action,
    ) -> Result<Self, WorkError> {
        let sql = "SELECT o.event, o.ordinal, o.plugin, o.key, o.entered, o.due,
                       (CASE WHEN o.holder IS NOT NULL THEN 1 WHEN o.waits THEN 2 ELSE 0
                           END)::smallint, o.cancel_tag
                   FROM unnest($1::bigint[], $2::integer[]) AS i (event, ordinal)
                   JOIN hookbox.open o USING (event, ordinal)
                   WHERE $3 OR o.key IS NOT NULL OR o.cancel_tag IS NOT NULL
                   UNION ALL
                   SELECT s.event, s.ordinal, s.plugin, s.key, s.entered, NULL, s.state,
                       s.cancel_tag
                   FROM unnest($1::bigint[], $2::integer[]) AS i (event, ordinal)
                   JOIN hookbox.settled s USING (event, ordinal)
                   WHERE $3 OR s.key IS NOT NULL OR s.cancel_tag IS NOT NULL
                   ORDER BY 1, 2";
        // Only a plugin whose deliveries have keys gives a key to one without.
        let all = matches!(action, Action::Move(to) if shared.policies.key(to).is_some());
        let mut changed = Self::default();
        for row in work.query(sql, &[&events, &ordinals, &all]).await? {
            changed.add(&row);
        }
        Ok(changed)
    }

    fn add(&mut self, row: &Row) {
        self.events.push(row.get(0));
        self.ordinals.push(row.get(1));
        self.plugins.push(row.get(2));
        self.keys.push(row.get(3));
        self.numbers.push(row.get(4));
        self.dues.push(row.get(5));
        self.was.push(row.get(6));
        self.tags.push(row.get(7));
    }

    /// Does what follows from the action, once the deliveries are moved.
    pub(super) async fn follow(
        self,
        work: &Work<'_>,
        shared: &PostgresShared,
        action: &Action,
        moves: &mut WorkMoves,
    ) -> Result<(), WorkError> {
        let what = match action {
            _ if self.events.is_empty() => return Ok(()),
            Action::Undiscard => return Ok(()),
            Action::Cancel => 0,
            Action::Discard => 1,
            Action::Retry | Action::RetryFresh => 2,
            Action::Move(_) => 3,
        };
        let new_keys = match action {
            Action::Move(to) => self.keys_for(work, shared, to).await?,
            _ => Vec::new(),
        };
        let sql = "SELECT plugin, due_in
                   FROM hookbox.changed_keys_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
        let rows = work
            .query(
                sql,
                &[
                    &shared.at(),
                    &what,
                    &self.events,
                    &self.ordinals,
                    &self.plugins,
                    &self.keys,
                    &self.numbers,
                    &self.dues,
                    &self.was,
                    &self.tags,
                    &new_keys,
                ],
            )
            .await?;
        notice_due(&rows, moves);
        Ok(())
    }

    /// The keys of the deliveries for another plugin.
    async fn keys_for(
        &self,
        work: &Work<'_>,
        shared: &PostgresShared,
        to: &PluginName,
    ) -> Result<Vec<Option<Vec<u8>>>, WorkError> {
        let Some(policy) = shared.policies.key(to) else {
            return Ok(vec![None; self.events.len()]);
        };
        let sql = "SELECT e.id, e.source, e.type, e.subject, e.content_type, e.time_ms, e.parent,
                       e.root, e.hops, e.trace, e.body
                   FROM hookbox.events e WHERE e.id = ANY ($1)";
        let rows = work.query(sql, &[&self.events]).await?;
        let key = |row: &Row| {
            let event = read_event(row);
            let key = policy.source.key_of(&event.attributes).ok();
            (event.id.row(), key.map(|key| key.text(event.tree()).as_bytes().to_vec()))
        };
        let keys: BTreeMap<i64, Option<Vec<u8>>> = rows.iter().map(key).collect();
        Ok(self.events.iter().map(|event| keys.get(event).cloned().flatten()).collect())
    }
}

/// Locks the keys that dead letters of these events hold: before the events, as replays do.
pub(super) async fn lock_held(work: &Work<'_>, events: &[i64]) -> Result<(), WorkError> {
    let sql = "SELECT h.plugin, h.key FROM hookbox.held_keys h
               WHERE h.until = 9223372036854775807 AND h.event = ANY ($1)";
    let rows = work.query(sql, &[&events]).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let plugins: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    let keys: Vec<&[u8]> = rows.iter().map(|row| row.get(1)).collect();
    let none: (&[&str], &[i64]) = (&[], &[]);
    work.query(LOCK_KEYS, &[&plugins, &keys, &none.0, &none.1]).await?;
    Ok(())
}

/// Forgets what is kept of events that are deleted.
pub(super) async fn forget_keys(
    work: &Work<'_>,
    shared: &PostgresShared,
    events: &[i64],
    moves: &mut WorkMoves,
) -> Result<(), WorkError> {
    let sql = "SELECT DISTINCT h.plugin FROM hookbox.held_keys h WHERE h.event = ANY ($1)";
    let mut plugins = NamedPlugins::default();
    for row in work.query(sql, &[&events]).await? {
        plugins.add(&row.get::<_, String>(0).into());
    }
    if let Some(known) = plugins.policies(&*shared.policies) {
        work.query(POLICIES, &[&known]).await?;
    }
    let sql = "SELECT plugin, due_in FROM hookbox.forget_keys_v1($1, $2)";
    notice_due(&work.query(sql, &[&shared.at(), &events]).await?, moves);
    Ok(())
}

/// Notes the plugins of rows that have something due.
fn notice_due(rows: &[Row], moves: &mut WorkMoves) {
    for row in rows {
        let plugin = row.get::<_, String>(0).into();
        moves.touch(&plugin);
        moves.due(&plugin, Duration::from_millis(row.get::<_, i64>(1).unsigned_abs()));
    }
}
