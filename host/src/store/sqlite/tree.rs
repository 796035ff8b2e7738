//! The events that descend from one event: counted in the row of its root, and held to a budget.
//!
//! Invariant: the row is changed only in the transaction that adds to the tree, so that it is what
//! a recount would find of all that was ever added.

use rusqlite::{OptionalExtension, params};

use super::batch::WriteBatch;
use crate::event::{EventId, NewEvent};
use crate::store::model::TreeSize;

impl WriteBatch<'_> {
    /// Describes the bound that the tree of `root` would exceed with these events, with its key;
    /// for people.
    pub(super) fn tree_excess(
        &self,
        root: EventId,
        emitted: &[NewEvent],
    ) -> Result<Option<String>, rusqlite::Error> {
        if emitted.is_empty() {
            return Ok(None);
        }
        let (events, bytes) = self
            .connection
            .prepare_cached("SELECT events, bytes FROM trees WHERE root = ?1")?
            .query_row([root.row()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?
            .unwrap_or_default();
        Ok(self.tree.excess(root, TreeSize { events, bytes }, emitted))
    }

    /// Counts these events in the tree of `root`.
    pub(super) fn add_to_tree(
        &self,
        root: EventId,
        emitted: &[NewEvent],
    ) -> Result<(), rusqlite::Error> {
        if emitted.is_empty() {
            return Ok(());
        }
        let TreeSize { events, bytes } = TreeSize::of(emitted);
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
