//! Leased on insert: a delivery that is due and finds a free permit never waits in the store.

use super::dispatch::TestDispatch;
use super::*;

pub(in crate::store) async fn a_delivery_with_a_free_permit_is_leased_on_insert(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let store = harness.open().await;
    let mut dispatch = TestDispatch::attach(&store, &[("audit", 1)]);
    let id = deliver(&store, "audit").await;
    assert_eq!(dispatch.free("audit"), 0);
    let leased = dispatch.delivered(&store).await;
    assert_eq!(leased.len(), 1);
    assert_eq!((leased[0].delivery, leased[0].attempt, leased[0].counted_attempt()), (id, 1, 1));
    assert_eq!(leased[0].event.attributes.body, Bytes::from_static(b"{}"));
    assert_eq!(state(&store, id).await, State::Leased);
    assert!(lease(&store, "audit", 1).await.is_empty());
    assert_eq!(dispatch.notified(&store).await, []);
}

pub(in crate::store) async fn without_a_free_permit_a_delivery_is_ready_and_its_plugin_is_notified(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let store = harness.open().await;
    let mut dispatch = TestDispatch::attach(&store, &[("audit", 1)]);
    let id = append(&store, event("order.paid", &["audit", "unloaded", "audit"])).await;
    assert_eq!(dispatch.delivered(&store).await.len(), 1);
    let states =
        store.event(id).await.unwrap().deliveries.iter().map(|d| d.state).collect::<Vec<_>>();
    assert_eq!(states, [State::Leased, State::Ready, State::Ready]);
    let notified = dispatch.notified(&store).await;
    assert_eq!(
        notified,
        [("unloaded".to_owned(), Duration::ZERO), ("audit".to_owned(), Duration::ZERO)]
    );
}

pub(in crate::store) async fn a_delayed_delivery_is_not_leased_on_insert_and_its_plugin_is_notified(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let store = harness.open().await;
    let mut dispatch = TestDispatch::attach(&store, &[("audit", 1)]);
    append(&store, NewEvent { delay_ms: 10, ..event("reminder", &["audit"]) }).await;
    assert!(dispatch.delivered(&store).await.is_empty());
    assert_eq!(dispatch.free("audit"), 1);
    assert_eq!(dispatch.notified(&store).await, [("audit".to_owned(), time(10))]);
}

pub(in crate::store) async fn an_emitted_event_is_leased_on_insert(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let store = harness.open().await;
    let mut dispatch = TestDispatch::attach(&store, &[("orders", 1), ("audit", 1)]);
    deliver(&store, "orders").await;
    let parent = dispatch.delivered(&store).await.remove(0);
    let emitted = NewEvent {
        parent: Some(parent.delivery.event),
        hops: 1,
        ..event("order.ready", &["audit"])
    };
    settle(&store, parent, done_with(vec![emitted], KvTransaction::default())).await;
    let leased = dispatch.delivered(&store).await;
    assert_eq!(leased.len(), 1);
    assert_eq!((&*leased[0].plugin, leased[0].event.hops), ("audit", 1));
    assert_eq!(dispatch.free("orders"), 1);
}

pub(in crate::store) async fn a_replayed_delivery_is_leased_on_insert(harness: impl Harness) {
    let store = harness.open().await;
    let mut dispatch = TestDispatch::attach(&store, &[("audit", 1)]);
    let id = append(&store, event("order.paid", &[])).await;
    let replayed = store.replay(None, id, vec![Target::to("audit")]).await.unwrap();
    let leased = dispatch.delivered(&store).await;
    assert_eq!(leased.iter().map(|lease| lease.delivery).collect::<Vec<_>>(), replayed);
}

pub(in crate::store) async fn a_lease_on_insert_that_is_settled_frees_its_permit(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let store = harness.open().await;
    let mut dispatch = TestDispatch::attach(&store, &[("audit", 1)]);
    for _ in 0..3 {
        let id = deliver(&store, "audit").await;
        let leased = dispatch.delivered(&store).await.remove(0);
        assert_eq!(settle(&store, leased, done()).await, Settled::Kept);
        assert_eq!(dispatch.delivered(&store).await.len(), 0);
        assert_eq!(dispatch.free("audit"), 1);
        assert_eq!(state(&store, id).await, State::Done);
    }
}

pub(in crate::store) async fn a_duplicate_takes_no_permit(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let store = harness.open().await;
    append(&store, keyed(&[1])).await;
    let mut dispatch = TestDispatch::attach(&store, &[("audit", 1)]);
    let again = store
        .append(NewEvent { deliveries: vec![Target::to("audit").into()], ..keyed(&[1]) })
        .await
        .unwrap();
    assert!(again.duplicate);
    assert!(dispatch.delivered(&store).await.is_empty());
    assert_eq!(dispatch.free("audit"), 1);
}

pub(in crate::store) async fn what_was_leased_on_insert_is_taken_up_after_a_crash(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let store = harness.open().await;
    let mut dispatch = TestDispatch::attach(&store, &[("audit", 1)]);
    let id = deliver(&store, "audit").await;
    let zombie = dispatch.delivered(&store).await.remove(0);
    drop((store, dispatch));
    let store = harness.open().await;
    let view = delivery(&store, id).await;
    assert_eq!((view.state, view.attempt, view.attempts.len()), (State::Ready, 1, 0));
    assert_eq!(settle(&store, zombie, done()).await, Settled::Lost);
}
