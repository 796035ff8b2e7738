//! The state that the writer shares with other threads.

use std::sync::{Arc, Mutex, OnceLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::watch;

use super::counts::LiveCounts;
use super::eras::Eras;
use crate::store::changes::Announcer;
use crate::store::{DispatchHandle, Pauses, StoreError};

/// The state that the writer shares with other threads.
#[derive(Debug, Default)]
pub(super) struct Published {
    pub(super) counts: Mutex<LiveCounts>,
    pub(super) dispatch: OnceLock<Arc<dyn DispatchHandle>>,
    pub(super) changes: Announcer,
    pub(super) pauses: watch::Sender<Arc<Pauses>>,
    /// Set while the disk refuses, and for good once the store has stopped.
    pub(super) trouble: watch::Sender<Option<StoreError>>,
    /// Why new events are refused although the disk takes writes, if so.
    pub(super) full: ArcSwapOption<String>,
    /// How ids are told from the times of their events.
    pub(super) eras: ArcSwap<Eras>,
    /// The behaviour of the disk in tests.
    #[cfg(test)]
    pub(super) disk: Mutex<crate::store::conformance::Disk>,
}
