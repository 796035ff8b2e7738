//! Leasing: what is due, to one worker, within the permits there are.

use std::task::{Context, Poll, Waker};

use super::*;
pub(in crate::store) async fn a_delivery_is_leased_to_one_worker_at_a_time(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let store = harness.open().await;
    for _ in 0..20 {
        deliver(&store, "audit").await;
    }
    let calls: Vec<_> = (0..30).map(|_| store.lease(queue("audit"), permits(3))).collect();
    let mut leased = Vec::new();
    for call in calls {
        leased.extend(call.await.unwrap().leases.iter().map(|lease| lease.delivery));
    }
    leased.sort();
    leased.dedup();
    assert_eq!(leased.len(), 20);
}

pub(in crate::store) async fn a_lease_holds_the_whole_event(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let store = harness.open().await;
    let mut new = event("order.paid", &["audit"]);
    new.attributes.subject = Some("order_1".to_owned());
    new.attributes.content_type = Some("text/plain".to_owned());
    new.attributes.body = Bytes::from_static(b"\0\xff");
    new.hops = 4;
    new.parent = Some(EventId::first_at(1));
    let id = append(&store, new.clone()).await;
    let lease = lease_one(&store, "audit").await;
    assert_eq!((lease.attempt, lease.uncounted, &*lease.plugin), (1, 0, "audit"));
    assert_eq!((lease.event.id, lease.event.parent, lease.event.hops), (id, new.parent, 4));
    assert_eq!(lease.event.attributes, new.attributes);
}

pub(in crate::store) async fn never_are_more_leased_than_there_are_permits(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let store = harness.open().await;
    for _ in 0..5 {
        deliver(&store, "audit").await;
    }
    let budget = Arc::new(Semaphore::new(10));
    let leased = store
        .lease(queue("audit"), budget.clone().try_acquire_many_owned(3).unwrap())
        .await
        .unwrap();
    assert_eq!((leased.leases.len(), budget.available_permits()), (3, 7));
    assert_eq!(leased.next_due_in, Some(Duration::ZERO));
    let rest = store
        .lease(queue("audit"), budget.clone().try_acquire_many_owned(7).unwrap())
        .await
        .unwrap();
    assert_eq!((rest.leases.len(), budget.available_permits()), (2, 5));
    assert_eq!(rest.next_due_in, None);
    drop((leased, rest));
    let none = store.lease(queue("audit"), permits(0)).await.unwrap();
    assert!(none.leases.is_empty());
}

pub(in crate::store) async fn what_is_due_first_is_leased_first(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let store = harness.open().await;
    let mut expected = Vec::new();
    for (delay_ms, rank) in [(30, 3), (10, 1), (20, 2), (0, 0)] {
        let id = append(&store, NewEvent { delay_ms, ..event("order.paid", &["audit"]) }).await;
        expected.push((rank, id));
    }
    expected.sort();
    pass(&harness, 100);
    let mut leased = Vec::new();
    for _ in 0..4 {
        leased.extend(lease(&store, "audit", 1).await.iter().map(|lease| lease.delivery.event));
    }
    assert_eq!(leased, expected.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
}

pub(in crate::store) async fn a_queue_leases_its_own_plugins_deliveries_only(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let store = harness.open().await;
    append(&store, event("order.paid", &["audit", "orders"])).await;
    let leases = lease(&store, "orders", 5).await;
    assert_eq!(leases.iter().map(|lease| &*lease.plugin).collect::<Vec<_>>(), ["orders"]);
    assert!(lease(&store, "order", 5).await.is_empty());
    assert!(
        store.lease(quarantine(&["audit", "orders"]), permits(5)).await.unwrap().leases.is_empty()
    );
}

pub(in crate::store) async fn next_due_tells_when_to_ask_again(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let store = harness.open().await;
    let next_due = async || store.lease(queue("audit"), permits(1)).await.unwrap();
    assert_eq!(next_due().await.next_due_in, None);
    append(&store, NewEvent { delay_ms: 700, ..event("late", &["audit"]) }).await;
    append(&store, NewEvent { delay_ms: 300, ..event("soon", &["audit"]) }).await;
    append(&store, NewEvent { delay_ms: 5, ..event("other", &["orders"]) }).await;
    assert_eq!(next_due().await.next_due_in, Some(Duration::from_millis(300)));
    pass(&harness, 300);
    let leased = next_due().await;
    assert_eq!((leased.leases.len(), leased.next_due_in), (1, Some(Duration::from_millis(400))));
    pass(&harness, 400);
    let last = next_due().await;
    // A leased delivery is not due.
    assert_eq!((last.leases.len(), last.next_due_in), (1, None));
}

pub(in crate::store) async fn a_body_that_is_larger_than_a_call_leases_is_leased_alone(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let store = harness.open().await;
    for _ in 0..2 {
        let mut large = event("large", &["audit"]);
        large.attributes.body = vec![b'x'; 9 << 20].into();
        append(&store, large).await;
    }
    let first = store.lease(queue("audit"), permits(5)).await.unwrap();
    assert_eq!((first.leases.len(), first.next_due_in), (1, Some(Duration::ZERO)));
    assert_eq!(first.leases[0].event.attributes.body.len(), 9 << 20);
    assert_eq!(lease(&store, "audit", 5).await.len(), 1);
}

pub(in crate::store) async fn leases_whose_caller_has_gone_are_given_back(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    let budget = Arc::new(Semaphore::new(1));
    drop(store.lease(queue("audit"), budget.clone().try_acquire_many_owned(1).unwrap()));
    retaken(&store, id, &budget).await;
}

pub(in crate::store) async fn leases_that_were_answered_to_nobody_are_given_back(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    let budget = Arc::new(Semaphore::new(1));
    let mut call = store.lease(queue("audit"), budget.clone().try_acquire_many_owned(1).unwrap());
    let Poll::Pending = call.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        // The writer was so fast that there is nobody to leave without an answer.
        return;
    };
    // Answered later, and so the first call is answered by now.
    lease(&store, "nobody", 0).await;
    drop(call);
    retaken(&store, id, &budget).await;
}

/// The delivery can be leased, no attempt is spent and the permit is free.
async fn retaken(store: &Arc<impl Queue + ?Sized>, id: DeliveryId, budget: &Arc<Semaphore>) {
    // Each round waits for the writer, which gives back what it finds stranded.
    let mut found = None;
    for _ in 0..100 {
        if found.is_none() {
            found = lease(store, "audit", 1).await.pop();
        }
    }
    let lease = found.expect("nobody holds it, and so it can be leased");
    assert_eq!((lease.delivery, lease.attempt), (id, 1));
    assert_eq!(budget.available_permits(), 1);
}

pub(in crate::store) async fn a_leased_delivery_shows_no_due_time(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    assert_eq!(delivery(&store, id).await.due_ms, Some(START_MS));
    let lease = lease_one(&store, "audit").await;
    let view = delivery(&store, id).await;
    assert_eq!((view.state, view.attempt, view.due_ms), (State::Leased, 1, None));
    drop(lease);
}
