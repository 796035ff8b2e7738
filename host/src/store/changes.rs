//! Hints of changes, for pages that show them live.
//!
//! A hint says where to look again, and carries no data. A listener that falls behind is told to
//! look at everything, and delays nothing. Without listeners a commit costs one addition.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::event::PluginName;

/// Commits that a listener may be behind before it misses some.
const KEPT_HINTS: usize = 64;

/// The changes of one or several commits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hint {
    /// The last of these commits, counted since the store was opened.
    pub commit: u64,
    /// Whether events were stored, repeated or deleted.
    pub events: bool,
    /// Plugins whose deliveries or keys changed.
    pub plugins: BTreeSet<PluginName>,
    /// Whether hints were missed: anything may have changed.
    pub missed: bool,
}

impl Hint {
    fn merge(&mut self, next: &Self) {
        self.commit = next.commit;
        self.events |= next.events;
        self.plugins.extend(next.plugins.iter().cloned());
    }
}

/// A stream of hints.
#[derive(Debug)]
pub struct Changes(broadcast::Receiver<Arc<Hint>>);

impl Changes {
    /// Waits for a change. All changes since the last call are one hint. `None` once the store is
    /// gone.
    pub async fn next(&mut self) -> Option<Hint> {
        let mut hint = Hint::default();
        match self.0.recv().await {
            Ok(first) => hint.merge(&first),
            Err(RecvError::Lagged(_)) => hint.missed = true,
            Err(RecvError::Closed) => return None,
        }
        // Bounded, however fast others write.
        for _ in 0..KEPT_HINTS {
            match self.0.try_recv() {
                Ok(next) => hint.merge(&next),
                Err(TryRecvError::Lagged(_)) => hint.missed = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        Some(hint)
    }
}

/// The store's side: sends hints to the listeners.
#[derive(Debug)]
pub(super) struct Announcer {
    listeners: broadcast::Sender<Arc<Hint>>,
    commits: AtomicU64,
}

impl Default for Announcer {
    fn default() -> Self {
        Self { listeners: broadcast::Sender::new(KEPT_HINTS), commits: AtomicU64::new(0) }
    }
}

impl Announcer {
    /// Adds a listener.
    pub(super) fn listen(&self) -> Changes {
        Changes(self.listeners.subscribe())
    }

    /// Announces a durable commit. `changed` is called only if there are listeners.
    pub(super) fn committed(&self, changed: impl FnOnce() -> Hint) {
        let commit = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
        if self.listeners.receiver_count() == 0 {
            return;
        }
        let hint = changed();
        if hint.events || !hint.plugins.is_empty() {
            // An error means that the last listener has just gone.
            let _ = self.listeners.send(Arc::new(Hint { commit, ..hint }));
        }
    }
}
