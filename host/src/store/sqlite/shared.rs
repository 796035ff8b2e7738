//! What the writer shares with everybody else.

use std::sync::{Arc, Mutex, OnceLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::watch;

use super::counts::Counts;
use super::time::Eras;
use crate::store::{Desk, StoreError};

/// What the writer shares with everybody else.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) counts: Mutex<Counts>,
    pub(super) desk: OnceLock<DeskSlot>,
    /// Set while the disk refuses, and for good once the store has stopped.
    pub(super) trouble: watch::Sender<Option<StoreError>>,
    /// Why new events are refused although the disk takes writes, if so.
    pub(super) full: ArcSwapOption<String>,
    /// How ids are told from the times of their events.
    pub(super) eras: ArcSwap<Eras>,
    /// What the disk is told to do in tests.
    #[cfg(test)]
    pub(super) disk: Mutex<crate::store::conformance::Disk>,
}

/// The dispatcher, once attached.
pub(super) struct DeskSlot(pub(super) Arc<dyn Desk>);

impl std::fmt::Debug for DeskSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeskSlot")
    }
}
