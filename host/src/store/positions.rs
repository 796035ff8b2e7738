//! The trait for how far the logs of providers have been read.

use std::sync::Arc;

use super::Pending;

/// Keeps a text for each source. Its form is that of the reader alone.
pub trait LogPositions: Send + Sync + std::fmt::Debug {
    /// How far the log of a source has been read; none if it never was.
    fn log_position(&self, source: Arc<str>) -> Pending<'_, Option<String>>;

    /// Replaces the position of a source. `Ok` means committed and fsynced.
    fn keep_log_position(&self, source: Arc<str>, position: String) -> Pending<'_, ()>;
}
