//! A store whose settlements reach the disk when a gate is open.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::event::{DeliveryId, EventId, NewEvent, PluginName};
use crate::store::{
    Action, Appended, Changed, Cursor, DeliveryFilter, DeliveryView, Desk, EventFilter, EventSummary, EventView, Keep,
    KvValue, Lane, Lease, Leased, Page, Pending, Preview, Progress, Running, Settled, Settlement, Sqlite, Stats, Store,
    StoreError, Which,
};

/// SQLite behind the gate.
#[derive(Debug)]
pub(super) struct Gate {
    inner: Sqlite,
    is_open: watch::Sender<bool>,
    waiting: AtomicUsize,
}

impl Gate {
    /// An open one.
    pub(super) fn new(inner: Sqlite) -> Self {
        Self { inner, is_open: watch::Sender::new(true), waiting: AtomicUsize::new(0) }
    }

    pub(super) fn close(&self) {
        self.is_open.send_replace(false);
    }

    pub(super) fn open(&self) {
        self.is_open.send_replace(true);
    }

    /// Settlements that have come to the gate and are not durable.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }
}

impl Store for Gate {
    fn settle(&self, lease: Lease, settlement: Settlement) -> Pending<'_, Settled> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            self.is_open.subscribe().wait_for(|open| *open).await.expect("the sender lives");
            let settled = self.inner.settle(lease, settlement).await;
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            settled
        })
    }

    fn append(&self, event: NewEvent) -> Pending<'_, Appended> {
        self.inner.append(event)
    }

    fn attach(&self, desk: Arc<dyn Desk>) {
        self.inner.attach(desk);
    }

    fn lease(&self, lane: Lane, places: OwnedSemaphorePermit) -> Pending<'_, Leased> {
        self.inner.lease(lane, places)
    }

    fn note_time(&self) -> Pending<'_, ()> {
        self.inner.note_time()
    }

    fn running(&self, lease: &Lease) -> Result<Running, StoreError> {
        self.inner.running(lease)
    }

    fn change(&self, action: Action, which: Which) -> Pending<'_, Changed> {
        self.inner.change(action, which)
    }

    fn preview(&self, action: Action, filter: DeliveryFilter, from: Option<Progress>) -> Pending<'_, Preview> {
        self.inner.preview(action, filter, from)
    }

    fn replay(&self, event: EventId, plugins: Vec<PluginName>) -> Pending<'_, Vec<DeliveryId>> {
        self.inner.replay(event, plugins)
    }

    fn sweep(&self, keep: Keep) -> Pending<'_, bool> {
        self.inner.sweep(keep)
    }

    fn kv_get(&self, plugin: PluginName, key: String) -> Pending<'_, Option<KvValue>> {
        self.inner.kv_get(plugin, key)
    }

    fn event(&self, id: EventId) -> Pending<'_, EventView> {
        self.inner.event(id)
    }

    fn events(&self, filter: EventFilter, page: Page) -> Pending<'_, (Vec<EventSummary>, Option<Cursor>)> {
        self.inner.events(filter, page)
    }

    fn deliveries(&self, filter: DeliveryFilter, page: Page) -> Pending<'_, (Vec<DeliveryView>, Option<Cursor>)> {
        self.inner.deliveries(filter, page)
    }

    fn has_legacy_keys(&self) -> bool {
        self.inner.has_legacy_keys()
    }

    fn kv_bytes(&self, plugin: &str) -> u64 {
        self.inner.kv_bytes(plugin)
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }

    fn trouble(&self) -> Option<StoreError> {
        self.inner.trouble()
    }

    fn stopped(&self) -> Pending<'_, ()> {
        self.inner.stopped()
    }

    fn close(&self) -> Pending<'_, ()> {
        self.inner.close()
    }
}
