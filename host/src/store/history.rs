//! The trait for what the host was like over time, and for who changed what.

use super::{AuditEntry, AuditFilter, AuditNote, Pending, StoredSample};
use crate::series::{Increment, SeriesOwner};

/// Keeps what sources and plugins did, for the charts of operators.
///
/// Their times are those of the wall clock, because they are shown beside each other; nothing is
/// decided by them.
pub trait History: Send + Sync + std::fmt::Debug {
    /// Stores what each owner did until `at_ms`, Unix ms. The last
    /// [`MAX_SAMPLES`](super::MAX_SAMPLES) times are kept.
    fn keep_samples(&self, at_ms: i64, samples: Vec<Increment>) -> Pending<'_, ()>;

    /// The newest `limit` samples of an owner, the oldest first.
    fn samples(&self, owner: SeriesOwner, limit: u32) -> Pending<'_, Vec<StoredSample>>;

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
