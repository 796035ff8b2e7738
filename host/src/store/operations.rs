//! The trait for operations: actions on many deliveries or events that go on by steps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::{
    AuditNote, DeliveryView, FoundOperation, ItemResult, NewOperation, Operation, OperationId,
    Pending, Steer,
};
use crate::event::{DeliveryId, EventId, Target};

/// Keeps operations, and does their steps.
///
/// Each delivery or event of an operation is acted on at most once, whatever crashes: the mark that
/// it was acted on commits with the action.
///
/// A replay has an item for each event: a delivery with the number 0 until its turn comes, and then
/// the first one that was made.
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

    /// Acts on the next `most` deliveries of a running operation that were found. A replay is done
    /// with [`Operations::replay_items`].
    fn act(&self, id: OperationId, most: usize) -> Pending<'_, ()>;

    /// Replays events of a running operation that were found, each to these targets, those that
    /// were replayed already left out. An event without targets, or one that is gone or erased, is
    /// skipped.
    fn replay_items(
        &self,
        id: OperationId,
        events: Vec<(EventId, Vec<Arc<Target>>)>,
    ) -> Pending<'_, ()>;

    /// Looks at deliveries that were acted on, a bounded number, for what came of them.
    fn collect(&self, id: OperationId) -> Pending<'_, ()>;

    /// Ends a running operation, or stops it for a reason.
    fn finish(&self, id: OperationId, reason: Option<String>) -> Pending<'_, ()>;

    /// An operation. A row that cannot be read is an error.
    fn operation(&self, id: OperationId) -> Pending<'_, Option<Operation>>;

    /// An operation, also if its row cannot be read.
    fn found_operation(&self, id: OperationId) -> Pending<'_, Option<FoundOperation>> {
        Box::pin(async move { Ok(self.operation(id).await?.map(FoundOperation::from)) })
    }

    /// Those that run, the oldest first, about a hundred of them. One whose row cannot be read
    /// hinders no other: it is left out, and the log says so once.
    fn running_operations(&self) -> Pending<'_, Vec<Operation>>;

    /// The newest `limit` operations before one.
    fn operations(
        &self,
        before: Option<OperationId>,
        limit: usize,
    ) -> Pending<'_, Vec<FoundOperation>>;

    /// The first `limit` items of an operation with this result after one, in their order.
    fn item_ids(
        &self,
        id: OperationId,
        result: ItemResult,
        after: Option<DeliveryId>,
        limit: usize,
    ) -> Pending<'_, Vec<DeliveryId>>;

    /// The deliveries of the first `limit` items with this result after one, in their order; of an
    /// event that was replayed the first delivery that was made and is not done, or the first one.
    fn operation_items(
        &self,
        id: OperationId,
        result: ItemResult,
        after: Option<DeliveryId>,
        limit: usize,
    ) -> Pending<'_, Vec<DeliveryView>>;
}

/// Tells of each running operation that cannot be read, once.
#[derive(Debug, Default)]
pub(super) struct UnreadableLog(Mutex<BTreeSet<OperationId>>);

impl UnreadableLog {
    /// Those that can be read.
    pub(super) fn readable(&self, found: Vec<FoundOperation>) -> Vec<Operation> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut whole, mut unreadable) = (Vec::with_capacity(found.len()), BTreeSet::new());
        for found in found {
            let it = match found {
                FoundOperation::Whole(operation) => {
                    whole.push(*operation);
                    continue;
                }
                FoundOperation::Unreadable(it) => it,
            };
            unreadable.insert(it.id);
            if !told.contains(&it.id) {
                let reason = it.why();
                tracing::warn!(operation = %it.id, reason, "a running operation is left alone");
            }
        }
        *told = unreadable;
        whole
    }
}

/// The most operations whose signals are counted.
const MAX_TOLD: usize = 1_000;

/// Tells whoever runs operations, and whoever shows them, that one was steered or got on; and what
/// hinders one on this host.
#[derive(Debug, Default)]
pub struct OperationSignal {
    signal: watch::Sender<()>,
    /// How often operations were told of that run or were steered lately.
    told: Mutex<BTreeMap<OperationId, u64>>,
    troubles: Mutex<BTreeMap<OperationId, String>>,
}

impl OperationSignal {
    /// Tells that an operation was steered or got on.
    pub fn tell(&self, id: OperationId) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // The oldest are over.
        if told.len() >= MAX_TOLD && !told.contains_key(&id) {
            told.pop_first();
        }
        *told.entry(id).or_default() += 1;
        drop(told);
        self.signal.send_replace(());
    }

    /// A number that is another one once this operation is told of.
    pub fn told(&self, id: OperationId) -> u64 {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.get(&id).copied().unwrap_or(0)
    }

    /// Waits for what is told from now on.
    pub fn listen(&self) -> watch::Receiver<()> {
        self.signal.subscribe()
    }

    /// Notes what hinders an operation, or that nothing does; says whether that is another thing
    /// than before.
    pub fn hinder(&self, id: OperationId, trouble: Option<String>) -> bool {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match trouble.clone() {
            Some(trouble) => troubles.insert(id, trouble),
            None => troubles.remove(&id),
        };
        before != trouble
    }

    /// Forgets the operations that do not run.
    pub fn keep(&self, runs: impl Fn(OperationId) -> bool) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.retain(|id, _| runs(*id));
    }

    /// The hindrance of an operation on this host.
    pub fn trouble(&self, id: OperationId) -> Option<String> {
        let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.get(&id).cloned()
    }
}
