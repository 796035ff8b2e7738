//! The span that made an event is stored with it.

use super::*;
use crate::event::CreationSpan;
use crate::trace::SpanContext;

/// The span that makes an event.
pub(super) fn creation() -> Arc<CreationSpan> {
    let context = SpanContext::read("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    Arc::new(CreationSpan::from(context.unwrap()))
}

pub(in crate::store) async fn the_span_that_made_an_event_is_there_after_a_crash_and_comes_with_the_lease(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let store = harness.open().await;
    let trace = creation();
    let new = NewEvent { trace: Some(Arc::clone(&trace)), ..event("order.paid", &["audit"]) };
    let id = append(&store, new).await;
    assert_eq!(trace.id(), Some(id));
    let untraced = append(&store, event("order.paid", &["orders"])).await;
    drop(store);
    let store = harness.open().await;
    assert_eq!(store.event(id).await.unwrap().event.trace, Some(trace.context()));
    assert_eq!(store.event(untraced).await.unwrap().event.trace, None);
    assert_eq!(lease_one(&store, "audit").await.event.trace, Some(trace.context()));
    assert_eq!(lease_one(&store, "orders").await.event.trace, None);
}

pub(in crate::store) async fn the_span_of_an_emitted_event_learns_its_id_when_it_is_stored(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let store = harness.open().await;
    let id = deliver(&store, "orders").await;
    let trace = creation();
    let child = NewEvent {
        parent: Some(id.event),
        trace: Some(Arc::clone(&trace)),
        ..event("order.ready", &["audit"])
    };
    assert_eq!(trace.id(), None);
    let kv = KvTransaction::default();
    let next = Next::Done { emitted: vec![child], kv };
    let settlement = Settlement { next, record: None };
    settle(&store, lease_one(&store, "orders").await, settlement).await;
    let children = store.event(id.event).await.unwrap().children;
    assert_eq!(children, [trace.id().unwrap()]);
    assert_eq!(lease_one(&store, "audit").await.event.trace, Some(trace.context()));
}
