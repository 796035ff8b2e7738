//! The results of commands, and what the audit log says of them.

use crate::event::DeliveryId;
use crate::store::model::AuditResult;
use crate::store::sqlite::limits::LimitWalk;
use crate::store::{Appended, Erased, Leased, OperationId, Recorded, Settled, StoreError, Ticked};

/// The result of a command, held back until the commit.
pub(in crate::store::sqlite) enum CommandAnswer {
    Appended(Appended),
    AppendedAll(Vec<Appended>),
    Leased(Leased),
    Recorded(Recorded),
    Settled(Settled),
    Made(Result<Appended, StoreError>),
    Changed(Result<u64, StoreError>),
    Replayed(Result<Vec<DeliveryId>, StoreError>),
    Approved,
    Swept(bool),
    ScheduleChanged(bool),
    Ticked(Ticked),
    Noted,
    Erased(Erased),
    Operated(Result<OperationId, StoreError>),
    Walks(Vec<LimitWalk>),
    /// Nothing was done, for this reason.
    Refused(StoreError),
    Closed,
}

impl CommandAnswer {
    /// The result in the audit log; none if nothing was changed.
    pub(in crate::store::sqlite) fn result(&self) -> Option<String> {
        match self {
            Self::Changed(Ok(0) | Err(_))
            | Self::Replayed(Err(_))
            | Self::Made(Err(_))
            | Self::Operated(Err(_))
            | Self::Refused(_) => None,
            Self::Made(Ok(made)) => Some(made.text()),
            Self::Operated(Ok(id)) => Some(id.text()),
            Self::Changed(Ok(deliveries)) => Some(deliveries.text()),
            Self::Replayed(Ok(deliveries)) => Some(deliveries.text()),
            Self::Erased(erased) => {
                erased.is_some().then(|| serde_json::to_string(erased).unwrap_or_default())
            }
            _ => Some(().text()),
        }
    }
}
