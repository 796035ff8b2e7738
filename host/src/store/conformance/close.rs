//! Closing.

use super::*;
use crate::store::{EventFilter, Page};

#[track_caller]
pub(super) fn stopped<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    assert!(matches!(answer, Err(StoreError::Stopped(_))), "{answer:?}");
}

pub(in crate::store) async fn a_closed_store_answers_nothing(harness: impl Harness) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    store.event(id.event).await.unwrap();
    let queued = store.append(event("order.paid", &[]));
    store.close().await.unwrap();
    queued.await.unwrap();
    store.stopped().await.unwrap();
    stopped(store.append(event("order.paid", &[])).await);
    stopped(store.lease(queue("audit"), permits(1)).await);
    stopped(store.event(id.event).await);
    stopped(store.events(EventFilter::default(), Page { limit: 1, after: None }).await);
    stopped(store.close().await);
    // The data is free although the closed store is still there.
    let next = harness.open().await;
    assert_eq!(next.stats().await.unwrap().events, 2);
}
