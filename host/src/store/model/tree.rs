//! The events that descend from one event: their bound, and whether one of them has changed.

use std::fmt::Display;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::event::{DEAD, EventId, NewEvent};

/// The most that may descend from one webhook's event, over all events that its handling emits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeBudget {
    /// Events, without the root.
    pub events: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

impl Default for TreeBudget {
    fn default() -> Self {
        Self { events: 10_000, bytes: 64 << 20 }
    }
}

/// The events that descend from one event.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct TreeSize {
    pub(in crate::store) events: u64,
    pub(in crate::store) bytes: u64,
}

impl TreeSize {
    pub(in crate::store) fn of(emitted: &[NewEvent]) -> Self {
        // An event that tells of a dead letter is not held against its tree.
        let sizes = emitted
            .iter()
            .map(|event| &event.attributes)
            .filter(|attributes| attributes.kind != DEAD)
            .map(|attributes| attributes.body.len() as u64);
        let (events, bytes) = sizes.fold((0, 0), |(n, bytes), size| (n + 1, bytes + size));
        Self { events, bytes }
    }
}

impl TreeBudget {
    /// Describes the bound that a tree of this size would exceed with these events, with its key;
    /// for people.
    pub(in crate::store) fn excess(
        &self,
        root: EventId,
        size: TreeSize,
        emitted: &[NewEvent],
    ) -> Option<String> {
        let (TreeSize { events, bytes }, more) = (size, TreeSize::of(emitted));
        if events.saturating_add(more.events) > self.events {
            Some(self.too_many(&root, &events, &more.events))
        } else if bytes.saturating_add(more.bytes) > self.bytes {
            Some(self.too_large(&root, &bytes, &more.bytes))
        } else {
            None
        }
    }

    /// Says that a tree would have too many events.
    pub(in crate::store) fn too_many(
        &self,
        root: &dyn Display,
        events: &dyn Display,
        more: &dyn Display,
    ) -> String {
        format!(
            "limits: `server.tree_events`: {events} events descend from {root} already, and it \
             emitted {more} more; a tree may have {}: do the routes lead back to where they \
             started?",
            self.events
        )
    }

    /// Says that the events of a tree would be too large.
    pub(in crate::store) fn too_large(
        &self,
        root: &dyn Display,
        bytes: &dyn Display,
        more: &dyn Display,
    ) -> String {
        format!(
            "limits: `server.tree_size`: the events that descend from {root} have {bytes} bytes \
             already, and it emitted {more} more; a tree may have {}",
            self.bytes
        )
    }
}

/// A number for how the events of a tree and their deliveries stand; the rows are in a fixed order.
pub(in crate::store) fn tree_mark(rows: &[impl Hash]) -> u64 {
    let mut hasher = DefaultHasher::new();
    rows.hash(&mut hasher);
    hasher.finish()
}
