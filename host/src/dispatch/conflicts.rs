//! After a conflict over a key, the attempts of a plugin run one after the other for a while.
//!
//! The store detects conflicts when attempts settle. With optimism alone, hundreds of attempts
//! could compete for one key, and all but one would run in vain.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Settlements that stay serial after a conflict.
const SERIAL_SETTLEMENTS: u32 = 256;

/// Serializes the attempts of one plugin after a conflict. Both queues of the plugin share it,
/// because they share its keys.
#[derive(Debug)]
pub(super) struct ConflictSerializer {
    /// Settlements that are still serial. Concurrent updates may lose a count, which does no harm.
    remaining: AtomicU32,
    turn: Arc<Semaphore>,
}

impl ConflictSerializer {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { remaining: AtomicU32::new(0), turn: Arc::new(Semaphore::new(1)) })
    }

    /// Waits for the attempt's turn if attempts are serial. Keep the permit until the settlement is
    /// durable.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        if self.remaining.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.turn.clone().acquire_owned().await.ok()
    }

    /// Takes a settlement into account.
    pub(super) fn settled(&self, conflict: bool) {
        let remaining = self.remaining.load(Ordering::Relaxed);
        if conflict {
            self.remaining.store(SERIAL_SETTLEMENTS, Ordering::Relaxed);
        } else if remaining > 0 {
            self.remaining.store(remaining - 1, Ordering::Relaxed);
        }
    }
}
