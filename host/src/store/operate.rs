//! What an operator and the host's own upkeep change.

use std::sync::Arc;

use super::{Action, ApprovalChange, Changed, DeliveryFilter, Keep, Pending, Preview, Progress, Which};
use crate::event::{DeliveryId, EventId, Target};

/// What an operator and the host's own upkeep change.
pub trait Operate: Send + Sync + std::fmt::Debug {
    /// Does `action` to the deliveries that `which` names. Of many, a bounded number at a time, so
    /// that nobody waits long for it: call again until there are none. A delivery whose state does
    /// not allow the action is a [`StoreError::Conflict`](super::StoreError::Conflict).
    fn change(&self, action: Action, which: Which) -> Pending<'_, Changed>;

    /// Counts what [`Operate::change`] would change, a bounded number at a time, and changes
    /// nothing.
    fn preview(&self, action: Action, filter: DeliveryFilter, from: Option<Progress>) -> Pending<'_, Preview>;

    /// Creates new deliveries of an old event to `targets`, and names them.
    fn replay(&self, event: EventId, targets: Vec<Arc<Target>>) -> Pending<'_, Vec<DeliveryId>>;

    /// Changes which files of a plugin may run. An error other than
    /// [`StoreError::Stopped`](super::StoreError::Stopped) means that nothing was changed.
    fn approve(&self, change: ApprovalChange) -> Pending<'_, ()>;

    /// Deletes settled events older than the retention and dedupe keys older than their window, a
    /// bounded number at a time. Returns whether there may be more.
    fn sweep(&self, keep: Keep) -> Pending<'_, bool>;

    /// Notes what the clock believes, so that the next start goes on from there. The store does so
    /// by itself now and then while it writes, and when it is closed.
    fn note_time(&self) -> Pending<'_, ()>;
}
