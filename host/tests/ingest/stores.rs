//! A store whose appends wait for a sign.

use std::sync::Arc;

use hookbox::event::{DeliveryId, EventId, NewEvent, PluginName};
use hookbox::store::{
    Action, Appended, Changed, Cursor, DeliveryFilter, DeliveryView, Desk, EventFilter, EventSummary, EventView, Keep,
    KvValue, Lane, Lease, Leased, Page, Pending, Preview, Progress, Running, Settled, Settlement, Stats, Store,
    StoreError, Which,
};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::watch;

use super::host::PATIENCE;

/// SQLite behind a gate: appends begin at once, reach the disk when the gate is open, and can be waited for.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) inner: Arc<dyn Store>,
    open: watch::Sender<bool>,
    begun: watch::Sender<u32>,
    ended: watch::Sender<u32>,
}

impl Held {
    pub(crate) fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        let (open, begun, ended) = (watch::channel(false).0, watch::channel(0).0, watch::channel(0).0);
        Arc::new(Self { inner, open, begun, ended })
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    pub(crate) async fn begun(&self, count: u32) {
        reaches(&self.begun, count).await;
    }

    pub(crate) async fn ended(&self, count: u32) {
        reaches(&self.ended, count).await;
    }
}

async fn reaches(counter: &watch::Sender<u32>, count: u32) {
    let mut counter = counter.subscribe();
    let waiting = counter.wait_for(|reached| *reached >= count);
    tokio::time::timeout(PATIENCE, waiting).await.expect("the appends go on").expect("the sender lives");
}

impl Store for Held {
    fn append(&self, event: NewEvent) -> Pending<'_, Appended> {
        Box::pin(async move {
            self.begun.send_modify(|count| *count += 1);
            self.open.subscribe().wait_for(|open| *open).await.expect("the sender lives");
            let appended = self.inner.append(event).await;
            self.ended.send_modify(|count| *count += 1);
            appended
        })
    }

    fn attach(&self, desk: Arc<dyn Desk>) {
        self.inner.attach(desk);
    }

    fn lease(&self, lane: Lane, places: OwnedSemaphorePermit) -> Pending<'_, Leased> {
        self.inner.lease(lane, places)
    }

    fn running(&self, lease: &Lease) -> Result<Running, StoreError> {
        self.inner.running(lease)
    }

    fn settle(&self, lease: Lease, settlement: Settlement) -> Pending<'_, Settled> {
        self.inner.settle(lease, settlement)
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

    fn note_time(&self) -> Pending<'_, ()> {
        self.inner.note_time()
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
