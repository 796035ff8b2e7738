//! Gains and losses of the groups of failures in a batch.

use std::collections::HashMap;

use crate::event::{Digest, FailureId, State};

/// The changes of groups that a batch has not written yet.
#[derive(Debug, Default)]
pub(super) struct GroupChanges(HashMap<FailureId, GroupChange>);

/// The change of one group.
#[derive(Debug, Default)]
pub(super) struct GroupChange {
    pub(super) dead: i64,
    pub(super) waiting: i64,
    /// Attempts that failed so.
    pub(super) met: u32,
    pub(super) files: Vec<(Digest, u32)>,
}

impl GroupChanges {
    /// The change of a group.
    pub(super) fn of(&mut self, group: FailureId) -> &mut GroupChange {
        self.0.entry(group).or_default()
    }

    /// All of them, to be written.
    pub(super) fn take(&mut self) -> HashMap<FailureId, GroupChange> {
        std::mem::take(&mut self.0)
    }

    /// A delivery of this group came to be in another state, or in none.
    pub(super) fn moved(&mut self, group: FailureId, from: Option<State>, to: Option<State>) {
        let count = |state: Option<State>| match state {
            Some(State::Dead) => (1, 0),
            Some(state) if !state.is_settled() => (0, 1),
            _ => (0, 0),
        };
        let (before, after) = (count(from), count(to));
        if before != after {
            let change = self.of(group);
            change.dead += after.0 - before.0;
            change.waiting += after.1 - before.1;
        }
    }
}
