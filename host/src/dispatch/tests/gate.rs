//! A store whose settlements are durable when a gate is open.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::event::NewEvent;
use crate::store::{
    Appended, DispatchHandle, InFlight, Lease, LeaseHolder, LeaseQueue, Leased, MaybeReady,
    NewStep, Pending, Queue, Recorded, Settled, Settlement,
};

/// A store behind the gate.
#[derive(Debug)]
pub(super) struct Gate {
    inner: Arc<dyn Queue>,
    is_open: watch::Sender<bool>,
    waiting: AtomicUsize,
}

impl Gate {
    /// An open one.
    pub(super) fn new(inner: Arc<dyn Queue>) -> Self {
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

impl Queue for Gate {
    fn settle(&self, lease: Lease, settlement: Settlement) -> Pending<'_, Settled> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            self.is_open.subscribe().wait_for(|open| *open).await.expect("the sender lives");
            let settled = self.inner.settle(lease, settlement).await;
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            settled
        })
    }

    fn record(&self, holder: &LeaseHolder, step: NewStep) -> Pending<'_, Recorded> {
        self.inner.record(holder, step)
    }

    fn attach(&self, dispatch: Arc<dyn DispatchHandle>) {
        self.inner.attach(dispatch);
    }

    fn append(&self, event: NewEvent) -> Pending<'_, Appended> {
        self.inner.append(event)
    }

    fn append_all(&self, events: Vec<NewEvent>) -> Pending<'_, Vec<Appended>> {
        self.inner.append_all(events)
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
}
