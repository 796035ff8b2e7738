//! A dispatcher's desk with counted places, which tells what was delivered and posted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::super::{Desk, Keep, Lease, Place, Room, Store};
use crate::event::PluginName;

/// The desk as the store sees it.
struct Front {
    hands: HashMap<String, Arc<Semaphore>>,
    /// One permit a body byte.
    room: Arc<Semaphore>,
    delivered: UnboundedSender<Lease>,
    posted: Mutex<Vec<(PluginName, i64)>>,
}

impl Desk for Front {
    fn reserve(&self, plugin: &str, _body_bytes: usize) -> Option<Place> {
        let hand = self.hands.get(plugin)?.clone().try_acquire_owned().ok()?;
        Some(Place { hand, room: None })
    }

    fn room(&self, _plugin: &str, body_bytes: usize) -> Option<Room> {
        let bytes = u32::try_from(body_bytes).unwrap();
        let some = || self.room.clone().try_acquire_many_owned(bytes).ok();
        Some(Room { share: some()?, all: some()? })
    }

    fn deliver(&self, leases: Vec<Lease>) {
        for lease in leases {
            // Nobody listens any more when the case is over.
            let _ = self.delivered.send(lease);
        }
    }

    fn posted(&self, plugin: &PluginName, due_ms: i64) {
        self.posted.lock().unwrap().push((plugin.clone(), due_ms));
    }
}

/// The desk as a case sees it.
pub(super) struct TestDesk {
    front: Arc<Front>,
    delivered: UnboundedReceiver<Lease>,
}

impl TestDesk {
    /// Attaches a desk with so many places for each plugin.
    pub(super) fn attach(store: &Arc<dyn Store>, hands: &[(&str, usize)]) -> Self {
        let (sender, delivered) = unbounded_channel();
        let hands = hands.iter().map(|(plugin, places)| ((*plugin).to_owned(), Arc::new(Semaphore::new(*places))));
        let room = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let front = Arc::new(Front { hands: hands.collect(), room, delivered: sender, posted: Mutex::default() });
        store.attach(front.clone());
        Self { front, delivered }
    }

    /// What was born leased and is not taken from the desk yet.
    pub(super) async fn delivered(&mut self, store: &Arc<dyn Store>) -> Vec<Lease> {
        settled_down(store).await;
        std::iter::from_fn(|| self.delivered.try_recv().ok()).collect()
    }

    /// What was posted since this was asked last.
    pub(super) async fn posted(&self, store: &Arc<dyn Store>) -> Vec<(String, i64)> {
        settled_down(store).await;
        let posted = std::mem::take(&mut *self.front.posted.lock().unwrap());
        posted.into_iter().map(|(plugin, due_ms)| (plugin.to_string(), due_ms)).collect()
    }

    /// Places of `plugin` that are free.
    pub(super) fn free(&self, plugin: &str) -> usize {
        self.front.hands[plugin].available_permits()
    }
}

/// Returns when the desk has heard of everything that was answered: the writer takes nothing up before that.
async fn settled_down(store: &Arc<dyn Store>) {
    let nothing = Keep { events_since_ms: 0, dedupe_since_ms: 0 };
    store.sweep(nothing).await.unwrap();
}
