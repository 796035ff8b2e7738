//! Instances that are kept for the next event (`instance = "reuse"`), for runtimes that take long to begin.
//!
//! Invariant: only an instance whose last attempt ended by itself is kept; after a trap, a timeout, a refusal of memory
//! or an error it is dropped. So is one that has served [`MAX_EVENTS`] events or has little of its memory left.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Store;

use super::attempt::Attempt;
use super::invoke::Instance;

/// Events that one instance serves: what a guest piles up in handles and memory has an end.
const MAX_EVENTS: u32 = 256;

/// The instances of one plugin that wait for an event.
#[derive(Default)]
pub(super) struct Warm(Mutex<Vec<Kept>>);

/// An instance with what it lives in.
pub(super) struct Kept {
    pub(super) store: Store<Attempt>,
    pub(super) instance: Instance,
    events: u32,
    place: OwnedSemaphorePermit,
}

/// What is known of an instance beside itself, while it runs: how often it has, and its place among those that are kept.
pub(super) type Past = Option<(u32, OwnedSemaphorePermit)>;

impl Warm {
    /// The one that was used last.
    pub(super) fn take(&self) -> Option<(Store<Attempt>, Instance, Past)> {
        let kept = self.kept().pop()?;
        Some((kept.store, kept.instance, Some((kept.events, kept.place))))
    }

    /// Keeps an instance whose attempt ended well, unless it is used up or there is no place for it.
    pub(super) fn keep(&self, places: &Arc<Semaphore>, store: Store<Attempt>, instance: Instance, past: Past) {
        let (events, place) = match past {
            Some((events, place)) => (events + 1, Some(place)),
            None => (1, places.clone().try_acquire_owned().ok()),
        };
        let used_up = events >= MAX_EVENTS || store.data().memory.nearly_used_up();
        if let Some(place) = place.filter(|_| !used_up) {
            self.kept().push(Kept { store, instance, events, place });
        }
    }

    /// Drops them all.
    pub(super) fn clear(&self) {
        // Outside the lock: dropping returns memory to the kernel.
        let all = std::mem::take(&mut *self.kept());
        drop(all);
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
