//! How the store is, and how it ends.

use super::{Pending, StoreError};

/// How the store is, and how it ends.
pub trait Health: Send + Sync + std::fmt::Debug {
    /// Why the store does not take appends at the moment, if so.
    fn trouble(&self) -> Option<StoreError>;

    /// What wants an operator's attention although the store takes appends.
    fn warnings(&self) -> Vec<String>;

    /// Returns once the store has stopped after an error it cannot survive.
    fn stopped(&self) -> Pending<'_, ()>;

    /// Commits what is queued and closes. Calls after it fail with [`StoreError::Stopped`].
    fn close(&self) -> Pending<'_, ()>;
}
