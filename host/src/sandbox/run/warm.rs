//! Instances that are kept for the next event (`instance = "reuse"`), for runtimes that start
//! slowly.
//!
//! Invariant: only an instance whose last attempt ended by itself is kept. It is dropped after a
//! trap, a timeout, a refusal of memory or an error, when it has served [`MAX_EVENTS`] events, and
//! when little of its memory is left.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Store;

use crate::sandbox::host::AttemptState;
use crate::sandbox::kinds::PluginInstance;

/// Events that one instance serves: a guest that leaks handles or memory starts anew.
const MAX_EVENTS: u32 = 256;

/// The kept instances of one plugin.
#[derive(Default)]
pub(super) struct PluginInstances(Mutex<Vec<WarmInstance>>);

/// An instance, its store, and what is known of both.
pub(super) struct WarmInstance {
    pub(super) store: Store<AttemptState>,
    pub(super) instance: PluginInstance,
    pub(super) past: Past,
}

/// Facts about a kept instance while it runs.
pub(super) struct Past {
    /// Events that it has served.
    events: u32,
    /// Counts it among the instances that may be kept.
    permit: OwnedSemaphorePermit,
}

/// Bounds the kept instances of all plugins together.
pub(super) struct WarmInstances {
    free: Arc<Semaphore>,
    plugins: Mutex<Vec<Weak<PluginInstances>>>,
}

impl WarmInstances {
    /// Keeps at most `count`.
    pub(super) fn new(count: u32) -> Self {
        Self { free: Arc::new(Semaphore::new(count as usize)), plugins: Mutex::default() }
    }

    /// The instances of one more plugin.
    pub(super) fn plugin(&self) -> Arc<PluginInstances> {
        let instances = Arc::new(PluginInstances::default());
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        // Plugins that were replaced leave nothing but their entry here.
        plugins.retain(|plugin| plugin.strong_count() > 0);
        plugins.push(Arc::downgrade(&instances));
        instances
    }

    /// Keeps an instance whose attempt ended well, or drops one that is used up or finds no room.
    /// Without room, the plugin that keeps most gives one up.
    pub(super) fn keep(
        &self,
        plugin: &PluginInstances,
        store: Store<AttemptState>,
        instance: PluginInstance,
        past: Option<Past>,
    ) {
        let past = match past {
            Some(Past { events, permit }) => Some(Past { events: events + 1, permit }),
            None => self.permit(plugin).map(|permit| Past { events: 1, permit }),
        };
        let Some(past) = past else { return };
        if past.events < MAX_EVENTS && !store.data().memory.nearly_used_up() {
            plugin.kept().push(WarmInstance { store, instance, past });
        }
    }

    fn permit(&self, plugin: &PluginInstances) -> Option<OwnedSemaphorePermit> {
        let free = || self.free.clone().try_acquire_owned().ok();
        free().or_else(|| {
            let plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let most = plugins
                .iter()
                .filter_map(Weak::upgrade)
                .max_by_key(|plugin| plugin.kept().len())?;
            let oldest = {
                let mut kept = most.kept();
                // A plugin that keeps the most itself would only exchange its instances.
                (!kept.is_empty() && !std::ptr::eq(&*most, plugin)).then(|| kept.remove(0))
            };
            // Outside the lock, as in `clear`. Its permit is free from here on.
            drop(oldest?);
            free()
        })
    }
}

impl PluginInstances {
    /// Takes the one that was used last.
    pub(super) fn take(&self) -> Option<WarmInstance> {
        self.kept().pop()
    }

    /// Drops them all.
    pub(super) fn clear(&self) {
        // Outside the lock: dropping returns memory to the kernel.
        let all = std::mem::take(&mut *self.kept());
        drop(all);
    }

    fn kept(&self) -> MutexGuard<'_, Vec<WarmInstance>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
