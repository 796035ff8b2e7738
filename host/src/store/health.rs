//! The trait for the store's condition and its end.

use super::{Pending, StoreError};

/// The place that a store takes on the disk of this host, or in its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreSpace {
    /// The bytes of its files, or of the database.
    pub store_bytes: u64,
    /// The free bytes of the disk and all of them, if it is that of this host and the system tells.
    pub disk: Option<(u64, u64)>,
}

/// Reports the store's condition, and closes it.
pub trait Health: Send + Sync + std::fmt::Debug {
    /// The reason why the store takes no appends at the moment, if so.
    fn trouble(&self) -> Option<StoreError>;

    /// Matters for an operator's attention although the store takes appends.
    fn warnings(&self) -> Vec<String>;

    /// The place that it takes, if that is known.
    fn space(&self) -> Pending<'_, Option<StoreSpace>> {
        Box::pin(async { Ok(None) })
    }

    /// Returns once the store has stopped after an error it cannot survive.
    fn stopped(&self) -> Pending<'_, ()>;

    /// Commits what is queued and closes. Calls after it fail with [`StoreError::Stopped`].
    fn close(&self) -> Pending<'_, ()>;
}
