//! An operation whose row cannot be read, as an operator sees it.

use std::collections::BTreeMap;

use super::shown::OperationJson;
use crate::admin::sees::Sees;
use crate::admin::state::Admin;
use crate::clock::rfc3339;
use crate::store::{FoundOperation, OperationState, UnreadableOperation};

/// The action of an operation that cannot be read.
pub(in crate::admin) const UNREADABLE: &str = "unreadable";

impl OperationJson {
    /// An operation, also if its row cannot be read.
    pub(super) fn of_found(found: &FoundOperation, admin: &Admin, sees: Sees) -> Self {
        match found {
            FoundOperation::Whole(operation) => Self::of(operation, admin, sees),
            FoundOperation::Unreadable(operation) => Self::of_unreadable(operation),
        }
    }

    /// Shows what can be read of one whose row cannot be read whole. Nobody here goes on with it:
    /// a state which cannot be read counts as stopped.
    fn of_unreadable(it: &UnreadableOperation) -> Self {
        Self {
            id: it.id.to_string(),
            action: UNREADABLE,
            state: it.state.unwrap_or(OperationState::Stopped).name(),
            reason: Some(it.why()),
            trouble: None,
            filter: BTreeMap::new(),
            to: Vec::new(),
            ids: None,
            undoes: None,
            as_of: rfc3339(it.as_of_ms),
            planned_at: rfc3339(it.planned_ms),
            started_at: it.started_ms.map(rfc3339),
            ended_at: it.ended_ms.map(rfc3339),
            first: false,
            first_tried: None,
            pace: None,
            stop_after: None,
            total: it.total,
            exact: it.exact,
            done: it.ok + it.failed + it.skipped,
            open: it.open,
            ok: it.ok,
            failed: it.failed,
            skipped: it.skipped,
            rate: None,
            eta_s: None,
            actor: it.actor.clone(),
            can_undo: false,
        }
    }
}
