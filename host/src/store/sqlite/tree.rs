//! What descends from one event: counted in the row of its root, and held to a budget.
//!
//! Invariant: the row is changed only in the transaction that adds to the tree, so that it is what a recount would find of
//! all that was ever added.

use rusqlite::{OptionalExtension, params};

use super::batch::Batch;
use crate::event::{EventId, NewEvent};

impl Batch<'_> {
    /// What the tree of `root` would exceed with these events: for people, with the key that bounds it.
    pub(super) fn tree_excess(&self, root: EventId, emitted: &[NewEvent]) -> Result<Option<String>, rusqlite::Error> {
        if emitted.is_empty() {
            return Ok(None);
        }
        let (events, bytes): (u64, u64) = self
            .connection
            .prepare_cached("SELECT events, bytes FROM trees WHERE root = ?1")?
            .query_row([root.row()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?
            .unwrap_or_default();
        let (more, more_bytes) = size(emitted);
        let budget = self.tree;
        Ok(if events.saturating_add(more) > budget.events {
            Some(format!(
                "limits: `server.tree_events`: {events} events descend from {root} already, and it emitted {more} more; a \
                 tree may have {}: do the routes lead back to where they started?",
                budget.events
            ))
        } else if bytes.saturating_add(more_bytes) > budget.bytes {
            Some(format!(
                "limits: `server.tree_size`: the events that descend from {root} have {bytes} bytes already, and it emitted \
                 {more_bytes} more; a tree may have {}",
                budget.bytes
            ))
        } else {
            None
        })
    }

    /// Counts these events in the tree of `root`.
    pub(super) fn add_to_tree(&self, root: EventId, emitted: &[NewEvent]) -> Result<(), rusqlite::Error> {
        if emitted.is_empty() {
            return Ok(());
        }
        let (events, bytes) = size(emitted);
        self.connection
            .prepare_cached(
                "INSERT INTO trees (root, events, bytes) VALUES (?1, ?2, ?3)
                 ON CONFLICT (root) DO UPDATE SET events = events + excluded.events, bytes = bytes + excluded.bytes",
            )?
            .execute(params![root.row(), events, bytes])?;
        Ok(())
    }

    /// Forgets the tree that a deleted event belonged to, once nothing of it is left.
    pub(super) fn forget_tree(&self, root: i64) -> Result<(), rusqlite::Error> {
        self.connection
            .prepare_cached(
                "DELETE FROM trees WHERE root = ?1
                 AND NOT EXISTS (SELECT 1 FROM events WHERE id = ?1)
                 AND NOT EXISTS (SELECT 1 FROM events WHERE root = ?1)",
            )?
            .execute([root])?;
        Ok(())
    }
}

/// How many events, and the bytes of their bodies.
fn size(emitted: &[NewEvent]) -> (u64, u64) {
    (emitted.len() as u64, emitted.iter().map(|event| event.attributes.body.len() as u64).sum())
}
