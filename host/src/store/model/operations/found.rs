//! Operations that were looked for: whole, or with a row that cannot be read.

use super::{Operation, OperationId, OperationState, Steer};
use crate::store::{Progress, StoreError};

/// An operation whose row cannot be read as a whole: it is damaged, or of another version of the
/// host.
#[derive(Debug, Clone)]
pub struct UnreadableOperation {
    /// Its id.
    pub id: OperationId,
    /// The column that cannot be read.
    pub column: String,
    /// Its state, if that can be read.
    pub state: Option<OperationState>,
    /// Deliveries whose last attempt ended later are not touched, Unix ms of the wall clock.
    pub as_of_ms: i64,
    /// When it was planned, Unix ms of the wall clock.
    pub planned_ms: i64,
    /// When it was started first.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// The number of deliveries or events.
    pub total: u64,
    /// Whether that is all of them.
    pub exact: bool,
    /// Those of which the result is not known yet.
    pub open: u64,
    /// Those that succeeded.
    pub ok: u64,
    /// Those that failed again.
    pub failed: u64,
    /// Those that were not touched.
    pub skipped: u64,
    /// The client that planned it.
    pub actor: String,
}

impl UnreadableOperation {
    /// Why it cannot be read; for people.
    pub fn why(&self) -> String {
        why_unreadable(self.id, &self.column)
    }

    /// The refusal of what needs all of it.
    pub(in crate::store) fn refusal(&self) -> StoreError {
        StoreError::Conflict(format!("{}. All one can do is cancel it", self.why()))
    }

    /// Whether an action changes it. Only its end asks for nothing that cannot be read.
    pub(in crate::store) fn is_changed_by(&self, steer: Steer) -> Result<bool, StoreError> {
        match self.state {
            Some(state) if state == steer.to() => Ok(false),
            Some(state) if steer == Steer::Cancel && state.is_over() => {
                let (id, state) = (self.id, state.name());
                let text = format!("operation `{id}` is {state}: one cannot cancel it");
                Err(StoreError::Conflict(text))
            }
            _ if steer == Steer::Cancel => Ok(true),
            _ => Err(self.refusal()),
        }
    }
}

/// An operation that was looked for.
#[derive(Debug, Clone)]
pub enum FoundOperation {
    /// All of it.
    Whole(Box<Operation>),
    /// One whose row cannot be read.
    Unreadable(Box<UnreadableOperation>),
}

impl From<Operation> for FoundOperation {
    fn from(operation: Operation) -> Self {
        Self::Whole(Box::new(operation))
    }
}

impl FoundOperation {
    /// Its id.
    pub fn id(&self) -> OperationId {
        match self {
            Self::Whole(operation) => operation.id,
            Self::Unreadable(operation) => operation.id,
        }
    }

    /// Whether it can be read.
    pub(in crate::store) fn is_whole(&self) -> bool {
        matches!(self, Self::Whole(_))
    }

    /// The operation, if it can be read.
    pub fn whole(self) -> Option<Operation> {
        match self {
            Self::Whole(operation) => Some(*operation),
            Self::Unreadable(_) => None,
        }
    }

    /// The same, or an error that says why not.
    pub(in crate::store) fn readable(self) -> Result<Operation, StoreError> {
        match self {
            Self::Whole(operation) => Ok(*operation),
            Self::Unreadable(operation) => Err(StoreError::Query(operation.why())),
        }
    }
}

fn why_unreadable(id: OperationId, column: &str) -> String {
    format!(
        "operation `{id}` cannot be read: its `{column}` is damaged, or of another version of \
         hookbox"
    )
}

/// Reads where the search of an operation goes on; nothing where it begins. A place that cannot be
/// read is an error: a search that began anew would find once more what it had found.
pub(in crate::store) fn read_walk(
    id: OperationId,
    walk: Option<&str>,
) -> Result<Option<Progress>, StoreError> {
    let read = walk.map(serde_json::from_str).transpose();
    read.map_err(|_| StoreError::Query(why_unreadable(id, "walk")))
}
