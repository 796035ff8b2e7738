//! Notes of changes, within their transactions.

use super::work::{Work, WorkError};
use crate::store::{AuditNote, StoreError};

/// Makes the entry of a change, if it is to have one.
pub(super) async fn note_in(_: &Work<'_>, note: Option<AuditNote>) -> Result<(), WorkError> {
    match note {
        None => Ok(()),
        Some(_) => Err(StoreError::Unsupported("the audit log").into()),
    }
}
