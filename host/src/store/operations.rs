//! The trait for operations: actions on many deliveries that go on by steps.

use tokio::sync::watch;

use super::{
    AuditNote, DeliveryView, ItemResult, NewOperation, Operation, OperationId, Pending, Steer,
};
use crate::event::DeliveryId;

/// Keeps operations, and does their steps.
///
/// Each delivery of an operation is acted on at most once, whatever crashes: the mark that it was
/// acted on commits with the action.
pub trait Operations: Send + Sync + std::fmt::Debug {
    /// Stores an operation that can be started within
    /// [`OPERATION_PLANNED_FOR_MS`](super::OPERATION_PLANNED_FOR_MS).
    fn plan(&self, note: AuditNote, operation: NewOperation) -> Pending<'_, OperationId>;

    /// Starts, pauses, resumes or cancels an operation. An operation that is in that state already
    /// is left as it is. A state that does not allow it is a
    /// [`StoreError::Conflict`](super::StoreError::Conflict).
    fn steer(&self, note: AuditNote, id: OperationId, steer: Steer) -> Pending<'_, OperationId>;

    /// Plans and starts the operation that takes back what this one has discarded.
    fn undo(&self, note: AuditNote, id: OperationId) -> Pending<'_, OperationId>;

    /// Looks for the next deliveries of a running operation, a bounded number.
    fn find_more(&self, id: OperationId) -> Pending<'_, ()>;

    /// Acts on the next `most` deliveries of a running operation that were found.
    fn act(&self, id: OperationId, most: usize) -> Pending<'_, ()>;

    /// Looks at deliveries that were acted on, a bounded number, for what came of them.
    fn collect(&self, id: OperationId) -> Pending<'_, ()>;

    /// Ends a running operation, or stops it for a reason.
    fn finish(&self, id: OperationId, reason: Option<String>) -> Pending<'_, ()>;

    /// An operation.
    fn operation(&self, id: OperationId) -> Pending<'_, Option<Operation>>;

    /// Those that run, the oldest first.
    fn running_operations(&self) -> Pending<'_, Vec<Operation>>;

    /// The newest `limit` operations before one.
    fn operations(&self, before: Option<OperationId>, limit: usize) -> Pending<'_, Vec<Operation>>;

    /// The first `limit` deliveries of an operation with this result after one, in their order.
    fn operation_items(
        &self,
        id: OperationId,
        result: ItemResult,
        after: Option<DeliveryId>,
        limit: usize,
    ) -> Pending<'_, Vec<DeliveryView>>;
}

/// Tells whoever runs operations, and whoever shows them, that one was steered or got on.
#[derive(Debug, Default)]
pub struct OperationSignal(watch::Sender<()>);

impl OperationSignal {
    /// Tells it.
    pub fn tell(&self) {
        self.0.send_replace(());
    }

    /// Waits for what is told from now on.
    pub fn listen(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}
