//! Changes by operators and by the host's own upkeep.

use std::sync::Arc;

use super::{Postgres, refused};
use crate::event::{DeliveryId, EventId, NewEvent, Target};
use crate::store::{
    Action, Appended, ApprovalChange, AuditNote, Changed, DeliveryFilter, Erased, Erasure, Keep,
    KeyChange, Operate, PauseChange, Pending, Preview, Progress, StoreError, Which,
};

impl Operate for Postgres {
    fn change(&self, _: Option<AuditNote>, _: Action, _: Which) -> Pending<'_, Changed> {
        refused(StoreError::Unsupported("changes by operators"))
    }

    fn preview(&self, _: Action, _: DeliveryFilter, _: Option<Progress>) -> Pending<'_, Preview> {
        refused(StoreError::Unsupported("changes by operators"))
    }

    fn replay(
        &self,
        _: Option<AuditNote>,
        _: EventId,
        _: Vec<Arc<Target>>,
    ) -> Pending<'_, Vec<DeliveryId>> {
        refused(StoreError::Unsupported("replays"))
    }

    fn make(&self, _: Option<AuditNote>, _: NewEvent) -> Pending<'_, Appended> {
        refused(StoreError::Unsupported("events of operators"))
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

    fn erase(&self, _: Option<AuditNote>, _: Erasure, _: bool) -> Pending<'_, Erased> {
        refused(StoreError::Unsupported("erasing"))
    }

    fn sweep(&self, _: Keep) -> Pending<'_, bool> {
        refused(StoreError::Unsupported("retention"))
    }

    fn note_time(&self) -> Pending<'_, ()> {
        refused(StoreError::Unsupported("notes of the time"))
    }
}
