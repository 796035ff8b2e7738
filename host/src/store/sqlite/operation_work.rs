//! The parts of operations, as commands of the writer carry them.

use std::sync::Arc;

use crate::event::{DeliveryId, EventId, Target};
use crate::store::{Actor, ItemResult, NewOperation, OperationId, Progress, Steer};

/// A change of an operation, within a transaction.
pub(super) enum OperationWork {
    Plan(Box<NewOperation>),
    Steer(OperationId, Steer),
    Undo(OperationId, Actor),
    /// Deliveries that were found, and where the search goes on.
    Find(OperationId, Vec<DeliveryId>, Option<Progress>),
    Act(OperationId, Vec<DeliveryId>),
    /// Events that are replayed, each to these targets.
    Replay(OperationId, Vec<(EventId, Vec<Arc<Target>>)>),
    Collect(OperationId, Vec<(DeliveryId, ItemResult)>),
    Finish(OperationId, Option<String>),
}

impl OperationWork {
    /// About what it costs, in rows.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Self::Plan(_) | Self::Steer(..) | Self::Undo(..) | Self::Finish(..) => 2,
            Self::Find(_, found, _) => 1 + 2 * found.len() as u64,
            Self::Act(_, items) => 1 + 4 * items.len() as u64,
            Self::Replay(_, events) => {
                1 + events.iter().map(|(_, targets)| 2 + 4 * targets.len() as u64).sum::<u64>()
            }
            Self::Collect(_, results) => 1 + 2 * results.len() as u64,
        }
    }
}
