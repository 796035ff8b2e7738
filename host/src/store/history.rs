//! The trait for what the host was like over time.

use super::{Pending, StoredSample};
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
}
