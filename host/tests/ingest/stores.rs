//! A store whose appends wait for a sign.

use std::sync::Arc;

use hookbox::event::NewEvent;
use hookbox::store::{
    Appended, DispatchHandle, InFlight, Lease, LeaseHolder, LeaseQueue, Leased, MaybeReady,
    NewStep, Pending, Queue, Recorded, Settled, Settlement,
};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::watch;

use super::host::PATIENCE;

/// SQLite behind a gate: appends begin at once, reach the disk when the gate is open, and can be
/// waited for.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) inner: Arc<dyn Queue>,
    open: watch::Sender<bool>,
    begun: watch::Sender<u32>,
    ended: watch::Sender<u32>,
}

impl Held {
    pub(crate) fn new(inner: Arc<dyn Queue>) -> Arc<Self> {
        let (open, begun, ended) =
            (watch::channel(false).0, watch::channel(0).0, watch::channel(0).0);
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
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("the appends go on")
        .expect("the sender lives");
}

impl Queue for Held {
    fn append(&self, event: NewEvent) -> Pending<'_, Appended> {
        Box::pin(async move {
            self.begun.send_modify(|count| *count += 1);
            self.open.subscribe().wait_for(|open| *open).await.expect("the sender lives");
            let appended = self.inner.append(event).await;
            self.ended.send_modify(|count| *count += 1);
            appended
        })
    }

    fn attach(&self, dispatch: Arc<dyn DispatchHandle>) {
        self.inner.attach(dispatch);
    }

    fn append_all(&self, events: Vec<NewEvent>) -> Pending<'_, Vec<Appended>> {
        Box::pin(async move {
            self.begun.send_modify(|count| *count += 1);
            self.open.subscribe().wait_for(|open| *open).await.expect("the sender lives");
            let appended = self.inner.append_all(events).await;
            self.ended.send_modify(|count| *count += 1);
            appended
        })
    }

    fn has_legacy_keys(&self) -> bool {
        self.inner.has_legacy_keys()
    }

    fn lease(&self, queue: LeaseQueue, permits: OwnedSemaphorePermit) -> Pending<'_, Leased> {
        self.inner.lease(queue, permits)
    }

    fn begin(&self, lease: &Lease) -> MaybeReady<'_, InFlight> {
        self.inner.begin(lease)
    }

    fn record(&self, holder: &LeaseHolder, step: NewStep) -> Pending<'_, Recorded> {
        self.inner.record(holder, step)
    }

    fn settle(&self, lease: Lease, settlement: Settlement) -> Pending<'_, Settled> {
        self.inner.settle(lease, settlement)
    }
}
