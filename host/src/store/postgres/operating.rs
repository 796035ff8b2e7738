//! Changes by operators and by the host's own upkeep.

use std::sync::Arc;

use super::Postgres;
use crate::event::{DeliveryId, EventId, NewEvent, Target};
use crate::store::{
    Action, Appended, ApprovalChange, AuditNote, Changed, DeliveryFilter, Erased, Erasure, Keep,
    KeyChange, Operate, PauseChange, Pending, Preview, Progress, Which,
};

impl Operate for Postgres {
    fn change(
        &self,
        note: Option<AuditNote>,
        action: Action,
        which: Which,
    ) -> Pending<'_, Changed> {
        Box::pin(self.change_which(note, action, which))
    }

    fn preview(
        &self,
        action: Action,
        filter: DeliveryFilter,
        from: Option<Progress>,
    ) -> Pending<'_, Preview> {
        Box::pin(self.preview_some(action, filter, from))
    }

    fn replay(
        &self,
        note: Option<AuditNote>,
        event: EventId,
        targets: Vec<Arc<Target>>,
    ) -> Pending<'_, Vec<DeliveryId>> {
        Box::pin(self.replay_event(note, event, targets))
    }

    fn make(&self, note: Option<AuditNote>, event: NewEvent) -> Pending<'_, Appended> {
        Box::pin(self.make_event(note, event))
    }

    fn change_key(&self, note: Option<AuditNote>, change: KeyChange) -> Pending<'_, Option<i64>> {
        Box::pin(self.change_value(note, change))
    }

    fn approve(&self, note: Option<AuditNote>, change: ApprovalChange) -> Pending<'_, ()> {
        Box::pin(async move {
            self.shared.answers()?;
            self.change_approval(note, change).await
        })
    }

    fn pause(&self, note: Option<AuditNote>, change: PauseChange) -> Pending<'_, bool> {
        Box::pin(async move {
            self.shared.answers()?;
            self.change_pause(note, change).await
        })
    }

    fn erase(&self, note: Option<AuditNote>, erasure: Erasure, keys: bool) -> Pending<'_, Erased> {
        Box::pin(self.erase_some(note, erasure, keys))
    }

    fn sweep(&self, keep: Keep) -> Pending<'_, bool> {
        Box::pin(self.sweep_some(keep))
    }

    /// The database's clock is the time, and nothing of it is to be noted.
    fn note_time(&self) -> Pending<'_, ()> {
        Box::pin(std::future::ready(self.shared.answers()))
    }
}
