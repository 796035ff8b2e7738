//! Born leased: a delivery that is due and finds a free place never waits in the store.

use super::desk::TestDesk;
use super::*;

pub(in crate::store) async fn a_delivery_with_a_free_place_is_born_leased(harness: impl Harness) {
    let store = harness.open().await;
    let mut desk = TestDesk::attach(&store, &[("audit", 1)]);
    let id = deliver(&store, "audit").await;
    assert_eq!(desk.free("audit"), 0);
    let born = desk.delivered(&store).await;
    assert_eq!(born.len(), 1);
    assert_eq!((born[0].delivery, born[0].attempt, born[0].counted_attempt()), (id, 1, 1));
    assert_eq!(born[0].event.attributes.body, Bytes::from_static(b"{}"));
    assert_eq!(state(&store, id).await, State::Leased);
    assert!(lease(&store, "audit", 1).await.is_empty());
    assert_eq!(desk.posted(&store).await, []);
}

pub(in crate::store) async fn without_a_free_place_a_delivery_is_ready_and_posted(harness: impl Harness) {
    let store = harness.open().await;
    let mut desk = TestDesk::attach(&store, &[("audit", 1)]);
    let id = append(&store, event("order.paid", &["audit", "unloaded", "audit"])).await;
    assert_eq!(desk.delivered(&store).await.len(), 1);
    let states = store.event(id).await.unwrap().deliveries.iter().map(|d| d.state).collect::<Vec<_>>();
    assert_eq!(states, [State::Leased, State::Ready, State::Ready]);
    let posted = desk.posted(&store).await;
    assert_eq!(posted, [("unloaded".to_owned(), START_MS), ("audit".to_owned(), START_MS)]);
}

pub(in crate::store) async fn a_delayed_delivery_is_not_born_leased_but_posted(harness: impl Harness) {
    let store = harness.open().await;
    let mut desk = TestDesk::attach(&store, &[("audit", 1)]);
    append(&store, NewEvent { delay_ms: 10, ..event("reminder", &["audit"]) }).await;
    assert!(desk.delivered(&store).await.is_empty());
    assert_eq!(desk.free("audit"), 1);
    assert_eq!(desk.posted(&store).await, [("audit".to_owned(), START_MS + 10)]);
}

pub(in crate::store) async fn an_emitted_event_is_born_leased(harness: impl Harness) {
    let store = harness.open().await;
    let mut desk = TestDesk::attach(&store, &[("orders", 1), ("audit", 1)]);
    deliver(&store, "orders").await;
    let parent = desk.delivered(&store).await.remove(0);
    let emitted = NewEvent { parent: Some(parent.delivery.event), hops: 1, ..event("order.ready", &["audit"]) };
    settle(&store, parent, done_with(vec![emitted], KvTransaction::default())).await;
    let born = desk.delivered(&store).await;
    assert_eq!(born.len(), 1);
    assert_eq!((&*born[0].plugin, born[0].event.hops), ("audit", 1));
    assert_eq!(desk.free("orders"), 1);
}

pub(in crate::store) async fn a_replayed_delivery_is_born_leased(harness: impl Harness) {
    let store = harness.open().await;
    let mut desk = TestDesk::attach(&store, &[("audit", 1)]);
    let id = append(&store, event("order.paid", &[])).await;
    let replayed = store.replay(id, vec!["audit".into()]).await.unwrap();
    let born = desk.delivered(&store).await;
    assert_eq!(born.iter().map(|lease| lease.delivery).collect::<Vec<_>>(), replayed);
}

pub(in crate::store) async fn a_born_lease_that_is_settled_frees_its_place(harness: impl Harness) {
    let store = harness.open().await;
    let mut desk = TestDesk::attach(&store, &[("audit", 1)]);
    for _ in 0..3 {
        let id = deliver(&store, "audit").await;
        let born = desk.delivered(&store).await.remove(0);
        assert_eq!(settle(&store, born, done()).await, Settled::Kept);
        assert_eq!(desk.delivered(&store).await.len(), 0);
        assert_eq!(desk.free("audit"), 1);
        assert_eq!(state(&store, id).await, State::Done);
    }
}

pub(in crate::store) async fn a_duplicate_takes_no_place(harness: impl Harness) {
    let store = harness.open().await;
    append(&store, keyed(&[1])).await;
    let mut desk = TestDesk::attach(&store, &[("audit", 1)]);
    let again = store.append(NewEvent { targets: vec!["audit".into()], ..keyed(&[1]) }).await.unwrap();
    assert!(again.duplicate);
    assert!(desk.delivered(&store).await.is_empty());
    assert_eq!(desk.free("audit"), 1);
}

pub(in crate::store) async fn what_was_born_leased_is_taken_up_after_a_crash(harness: impl Harness) {
    let store = harness.open().await;
    let mut desk = TestDesk::attach(&store, &[("audit", 1)]);
    let id = deliver(&store, "audit").await;
    let zombie = desk.delivered(&store).await.remove(0);
    drop((store, desk));
    let store = harness.open().await;
    let view = delivery(&store, id).await;
    assert_eq!((view.state, view.attempt, view.attempts.len()), (State::Ready, 1, 0));
    assert_eq!(settle(&store, zombie, done()).await, Settled::Lost);
}
