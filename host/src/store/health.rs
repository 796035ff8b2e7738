//! The trait for the store's condition and its end.

use super::{Pending, StoreError};

/// Reports the store's condition, and closes it.
pub trait Health: Send + Sync + std::fmt::Debug {
    /// The reason why the store takes no appends at the moment, if so.
    fn trouble(&self) -> Option<StoreError>;

    /// Matters for an operator's attention although the store takes appends.
    fn warnings(&self) -> Vec<String>;

    /// Returns once the store has stopped after an error it cannot survive.
    fn stopped(&self) -> Pending<'_, ()>;

    /// Commits what is queued and closes. Calls after it fail with [`StoreError::Stopped`].
    fn close(&self) -> Pending<'_, ()>;
}
