//! The guard of an attempt that runs.

use std::fmt::Debug;
use std::sync::Arc;

/// Where a store notes which attempts run, so that a start can tell what the dead host was running.
pub(super) trait AttemptLog: Send + Sync + Debug {
    /// The attempt noted under this number has ended.
    fn ended(&self, number: u32);
}

/// An attempt that runs, until this is dropped: if the host dies before, its death is held against
/// the delivery.
#[derive(Debug)]
#[must_use = "the attempt counts as ended when this is dropped"]
pub struct InFlight {
    log: Arc<dyn AttemptLog>,
    number: u32,
}

impl InFlight {
    /// An attempt that `log` has noted under this number.
    pub(super) fn new(log: Arc<dyn AttemptLog>, number: u32) -> Self {
        Self { log, number }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.log.ended(self.number);
    }
}
