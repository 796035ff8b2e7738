//! Instances that are kept for the next event (`instance = "reuse"`), for runtimes that take long to begin.
//!
//! Invariant: only an instance whose last attempt ended by itself is kept; after a trap, a timeout, a refusal of memory
//! or an error it is dropped. So is one that has served [`MAX_EVENTS`] events or has little of its memory left.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Store;

use super::invoke::Instance;
use crate::sandbox::host::state::Attempt;

/// Events that one instance serves: what a guest piles up in handles and memory has an end.
const MAX_EVENTS: u32 = 256;

/// The instances of one plugin that wait for an event.
#[derive(Default)]
pub(in crate::sandbox) struct Warm(Mutex<Vec<Kept>>);

/// An instance with what it lives in.
pub(in crate::sandbox) struct Kept {
    pub(in crate::sandbox) store: Store<Attempt>,
    pub(in crate::sandbox) instance: Instance,
    events: u32,
    place: OwnedSemaphorePermit,
}

/// What is known of an instance beside itself, while it runs: how often it has, and its place among those that are kept.
pub(in crate::sandbox) type Past = Option<(u32, OwnedSemaphorePermit)>;

/// The places for kept instances, of all plugins together.
pub(in crate::sandbox) struct WarmPlaces {
    free: Arc<Semaphore>,
    plugins: Mutex<Vec<Weak<Warm>>>,
}

impl WarmPlaces {
    /// So many.
    pub(in crate::sandbox) fn new(count: u32) -> Self {
        Self { free: Arc::new(Semaphore::new(count as usize)), plugins: Mutex::default() }
    }

    /// The instances of one more plugin.
    pub(in crate::sandbox) fn plugin(&self) -> Arc<Warm> {
        let warm = Arc::new(Warm::default());
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        plugins.retain(|plugin| plugin.strong_count() > 0);
        plugins.push(Arc::downgrade(&warm));
        warm
    }

    /// Keeps an instance whose attempt ended well, or drops one that is used up or has no place. If there is none left,
    /// the plugin that keeps most gives one up.
    pub(in crate::sandbox) fn keep(&self, warm: &Warm, store: Store<Attempt>, instance: Instance, past: Past) {
        let (events, place) = match past {
            Some((events, place)) => (events + 1, Some(place)),
            None => (1, self.place(warm)),
        };
        let used_up = events >= MAX_EVENTS || store.data().memory.nearly_used_up();
        if let Some(place) = place.filter(|_| !used_up) {
            warm.kept().push(Kept { store, instance, events, place });
        }
    }

    fn place(&self, warm: &Warm) -> Option<OwnedSemaphorePermit> {
        let free = || self.free.clone().try_acquire_owned().ok();
        free().or_else(|| {
            let plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let most = plugins.iter().filter_map(Weak::upgrade).max_by_key(|plugin| plugin.kept().len())?;
            // The one that has waited longest.
            let oldest = {
                let mut kept = most.kept();
                (!kept.is_empty() && !std::ptr::eq(&*most, warm)).then(|| kept.remove(0))
            };
            drop(oldest?);
            free()
        })
    }
}

impl Warm {
    /// The one that was used last.
    pub(in crate::sandbox) fn take(&self) -> Option<(Store<Attempt>, Instance, Past)> {
        let kept = self.kept().pop()?;
        Some((kept.store, kept.instance, Some((kept.events, kept.place))))
    }

    /// Drops them all.
    pub(in crate::sandbox) fn clear(&self) {
        // Outside the lock: dropping returns memory to the kernel.
        let all = std::mem::take(&mut *self.kept());
        drop(all);
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
