//! Whether the primary is reachable, as the writers and the heartbeat of this host find it, and
//! whether the store goes on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::clock::since_boot;
use crate::store::StoreError;

/// The time without an answer to a heartbeat after which a host begins no attempt, and ends those
/// that run.
const CUT_OFF_AFTER: Duration = Duration::from_secs(10);

/// Whether the primary is reachable, and the store goes on.
#[derive(Debug)]
pub(super) struct Reachability {
    /// Set for good once the store has stopped, and while the primary is not reachable.
    pub(super) trouble: watch::Sender<Option<StoreError>>,
    /// Since when each writer, and the heartbeat, does not reach the primary, and why.
    unreachable: Mutex<[Option<(Instant, String)>; 3]>,
    /// When the heartbeat that was answered last was sent, in milliseconds since `opened`.
    renewed_ms: AtomicU64,
    /// Since when the primary is reachable without a break, in milliseconds since `opened`.
    reached_ms: AtomicU64,
    /// The time since the machine's start, which also passes while the machine sleeps.
    opened: Duration,
}

impl Default for Reachability {
    /// Reachable since now.
    fn default() -> Self {
        Self {
            trouble: watch::Sender::new(None),
            unreachable: Mutex::default(),
            renewed_ms: AtomicU64::new(0),
            reached_ms: AtomicU64::new(0),
            opened: since_boot(),
        }
    }
}

impl Reachability {
    /// Notes that this host reaches the primary, if it was cut off: it has not heard the others.
    pub(super) fn came_back(&self) {
        if self.is_cut_off() {
            self.reached();
        }
    }

    fn reached(&self) {
        let ms = since_boot().saturating_sub(self.opened).as_millis();
        self.reached_ms.store(u64::try_from(ms).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Notes that the heartbeat which was sent at this moment was answered.
    pub(super) fn renew(&self, sent: Duration) {
        let ms = sent.saturating_sub(self.opened).as_millis();
        self.renewed_ms.store(u64::try_from(ms).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether others may soon take this host for dead, so that it begins no attempt.
    pub(super) fn is_cut_off(&self) -> bool {
        let renewed = Duration::from_millis(self.renewed_ms.load(Ordering::Relaxed));
        since_boot().saturating_sub(self.opened + renewed) > CUT_OFF_AFTER
    }

    /// The reason why a command has no answer.
    pub(super) fn gone(&self) -> StoreError {
        let trouble = self.trouble.borrow().clone();
        trouble.unwrap_or_else(|| StoreError::Stopped("the writer is gone".to_owned()))
    }

    /// An error once the store has stopped.
    pub(super) fn answers(&self) -> Result<(), StoreError> {
        match &*self.trouble.borrow() {
            Some(stopped @ StoreError::Stopped(_)) => Err(stopped.clone()),
            _ => Ok(()),
        }
    }

    /// Notes that a writer, or the heartbeat, does not reach the primary.
    pub(super) fn is_unreachable(&self, part: usize, why: &str) {
        let mut parts = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut parts[part] {
            Some((_, last)) => why.clone_into(last),
            none => *none = Some((Instant::now(), why.to_owned())),
        }
        self.tell_of(&parts);
    }

    /// Notes that a writer, or the heartbeat, reaches the primary again.
    pub(super) fn is_reachable(&self, part: usize) {
        let mut parts = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
        if parts[part].take().is_some() {
            self.reached();
            self.tell_of(&parts);
        }
    }

    fn tell_of(&self, parts: &[Option<(Instant, String)>; 3]) {
        let why = parts.iter().flatten().next().map(|(_, why)| why.clone());
        self.trouble.send_if_modified(|trouble| {
            let told = !matches!(trouble, Some(StoreError::Stopped(_)));
            if told {
                *trouble = why.map(StoreError::Unreachable);
            }
            told
        });
    }

    /// The time for which the primary is reachable without a break.
    pub(super) fn reached_for(&self) -> Duration {
        let reached = Duration::from_millis(self.reached_ms.load(Ordering::Relaxed));
        since_boot().saturating_sub(self.opened + reached)
    }

    fn lost_at(&self) -> Option<Instant> {
        let parts = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
        parts.iter().flatten().map(|(since, _)| *since).min()
    }

    /// The error if the primary is not reachable for this long already.
    pub(super) fn unreachable_since(&self, time: Duration) -> Option<StoreError> {
        let is_long = self.lost_at()?.elapsed() >= time;
        if is_long { self.trouble.borrow().clone() } else { None }
    }

    /// Returns once the primary was not reachable for this long.
    pub(super) async fn unreachable_for(&self, time: Duration) -> StoreError {
        let mut trouble = self.trouble.subscribe();
        loop {
            // An error would mean that the sender is gone, which is a part of this.
            let _ = trouble.wait_for(|it| matches!(it, Some(StoreError::Unreachable(_)))).await;
            if let Some(lost_at) = self.lost_at() {
                tokio::time::sleep_until((lost_at + time).into()).await;
            }
            if let Some(error) = self.unreachable_since(time) {
                return error;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Returns once the store has stopped.
    pub(super) async fn has_stopped(&self) {
        // An error would mean that the sender is gone, which is a part of this.
        let stopped = |it: &Option<StoreError>| matches!(it, Some(StoreError::Stopped(_)));
        let _ = self.trouble.subscribe().wait_for(stopped).await;
    }

    /// Ends the store for good. The first reason stays.
    pub(super) fn stop(&self, reason: String) {
        self.trouble.send_if_modified(|trouble| {
            let first = !matches!(trouble, Some(StoreError::Stopped(_)));
            if first {
                *trouble = Some(StoreError::Stopped(reason));
            }
            first
        });
    }
}
