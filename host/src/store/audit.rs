//! The trait for who changed what, and for requests that are repeated.

use super::{AuditEntry, AuditFilter, AuditNote, Pending};

/// Keeps the audit log, and the answers to requests that have a key.
///
/// Most entries and answers are made with the change itself: see [`Operate`](super::Operate). These
/// calls are for changes that the store does not make, and for those of many transactions.
pub trait AuditLog: Send + Sync + std::fmt::Debug {
    /// Makes an entry of a change that touches nothing in the store. It is made first: without the
    /// entry the change does not happen.
    fn note(&self, note: AuditNote) -> Pending<'_, ()>;

    /// The entries that match, the newest first, at most `limit` of them from before the entry
    /// `before`; and the entry to go on before, if there are more. A call looks at a bounded number
    /// of entries.
    fn audit(
        &self,
        filter: AuditFilter,
        limit: usize,
        before: Option<i64>,
    ) -> Pending<'_, (Vec<AuditEntry>, Option<i64>)>;

    /// The answer that was kept for the request of `note`, if its key is known. A key of another
    /// request is a [`StoreError::Conflict`](super::StoreError::Conflict).
    fn answer(&self, note: AuditNote) -> Pending<'_, Option<String>>;

    /// Keeps the answer to the request of `note` under its key.
    fn keep_answer(&self, note: AuditNote, answer: String) -> Pending<'_, ()>;
}
