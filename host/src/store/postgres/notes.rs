//! Changes of operators without the audit log.

use crate::store::{AuditNote, StoreError};

/// Refuses a change that asks for an entry in the audit log.
pub(super) fn no_note(note: Option<AuditNote>) -> Result<(), StoreError> {
    note.map_or(Ok(()), |_| Err(StoreError::Unsupported("the audit log")))
}
