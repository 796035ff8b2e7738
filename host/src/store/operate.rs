//! The trait for changes by operators and by the host's own upkeep.

use std::sync::Arc;

use super::{
    Action, Appended, ApprovalChange, AuditNote, Changed, DeliveryFilter, Erased, Erasure, Keep,
    KeyChange, PauseChange, Pending, Preview, Progress, Which,
};
use crate::event::{DeliveryId, EventId, NewEvent, Target};

/// Makes the changes of operators and of the host's own upkeep.
///
/// A change with a note makes the note's entry in the audit log in the same transaction, or neither
/// is there. If the note has a key that was used for the same request within
/// [`KEY_KNOWN_FOR_MS`](super::KEY_KNOWN_FOR_MS), nothing is done, and the answer is that of then;
/// a key of another request is a [`StoreError::Conflict`](super::StoreError::Conflict). Changes
/// without a note are the host's own.
pub trait Operate: Send + Sync + std::fmt::Debug {
    /// Applies `action` to the deliveries that `which` names. One call changes a bounded number of
    /// them, so that other callers do not wait long; call again until there are none. A delivery
    /// whose state does not allow the action is a
    /// [`StoreError::Conflict`](super::StoreError::Conflict).
    ///
    /// Of a change of many, each transaction makes an entry, and the key is not used: see
    /// [`AuditLog::answer`](super::AuditLog::answer).
    fn change(&self, note: Option<AuditNote>, action: Action, which: Which)
    -> Pending<'_, Changed>;

    /// Counts the deliveries that [`Operate::change`] would change, a bounded number at a time.
    fn preview(
        &self,
        action: Action,
        filter: DeliveryFilter,
        from: Option<Progress>,
    ) -> Pending<'_, Preview>;

    /// Creates new deliveries of an old event to `targets`; returns their ids.
    fn replay(
        &self,
        note: Option<AuditNote>,
        event: EventId,
        targets: Vec<Arc<Target>>,
    ) -> Pending<'_, Vec<DeliveryId>>;

    /// Stores an event that an operator makes: of another one, or in the place of a schedule. A
    /// request with a key that is known names the event that it made then, as a duplicate. Of an
    /// event that is gone or erased nothing is made.
    fn make(&self, note: Option<AuditNote>, event: NewEvent) -> Pending<'_, Appended>;

    /// Sets or deletes a value; returns its new version, if it has one. A value that is not
    /// as expected is a [`StoreError::Conflict`](super::StoreError::Conflict).
    fn change_key(&self, note: Option<AuditNote>, change: KeyChange) -> Pending<'_, Option<i64>>;

    /// Changes which files of a plugin may run. An error other than
    /// [`StoreError::Stopped`](super::StoreError::Stopped) means that nothing was changed.
    fn approve(&self, note: Option<AuditNote>, change: ApprovalChange) -> Pending<'_, ()>;

    /// Pauses a plugin or a schedule, or lets it go on. Nothing of a paused plugin is leased once
    /// this has answered; its attempts that run go on. Returns whether anything has changed.
    fn pause(&self, note: Option<AuditNote>, change: PauseChange) -> Pending<'_, bool>;

    /// Deletes what events hold: body, headers, subject, keys, and of their attempts errors, logs,
    /// recorded steps and the paths of requests. The same of dead letters that tell of them, and of
    /// what joins and batches made of them. Open deliveries are cancelled first, and dead letters
    /// are discarded; an event whose attempt runs is erased by a later call. With `keys` the values
    /// that its deliveries wrote last are deleted. Counts, trees and dedupe keys stay. An erased
    /// event cannot be replayed, and its deliveries cannot be retried.
    ///
    /// One call erases a bounded number of events. An event that gets a delivery or a copy
    /// meanwhile, by a replay, an edit or the like, is left to the next call.
    fn erase(&self, note: Option<AuditNote>, erasure: Erasure, keys: bool) -> Pending<'_, Erased>;

    /// Deletes settled events older than the retention and dedupe keys older than their window, a
    /// bounded number at a time. Returns whether there may be more.
    fn sweep(&self, keep: Keep) -> Pending<'_, bool>;

    /// Notes the clock's state, from which the next start goes on. The store also does so while it
    /// writes, at intervals, and when it is closed.
    fn note_time(&self) -> Pending<'_, ()>;
}
