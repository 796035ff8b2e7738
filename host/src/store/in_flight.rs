//! The guard of a running attempt.

use std::fmt::Debug;
use std::sync::Arc;

/// The notes of running attempts, which tell a start what a dead host was running.
pub(super) trait AttemptLog: Send + Sync + Debug {
    /// Removes the note under this number: its attempt has ended.
    fn ended(&self, number: u32);
}

/// A running attempt, until this is dropped. If the host dies before that, the crash counts against
/// the delivery.
#[derive(Debug)]
#[must_use = "the attempt counts as ended when this is dropped"]
pub struct InFlight {
    log: Arc<dyn AttemptLog>,
    number: u32,
}

impl InFlight {
    /// Makes the guard of an attempt that `log` has noted under this number.
    pub(super) fn new(log: Arc<dyn AttemptLog>, number: u32) -> Self {
        Self { log, number }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.log.ended(self.number);
    }
}
