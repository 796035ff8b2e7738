//! What an operator does: retry what is dead, replay what is old.

use super::*;
use crate::store::{DeliveryFilter, RetryWhich};

pub(in crate::store) async fn a_retried_delivery_is_ready_and_its_attempts_are_pardoned(harness: impl Harness) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    settle(&store, lease_one(&store, "audit").await, retry_at(START_MS)).await;
    settle(&store, lease_one(&store, "audit").await, dead()).await;
    pass(&harness, 60_000);
    assert_eq!(store.retry(RetryWhich::One(id)).await.unwrap(), 1);
    let view = delivery(&store, id).await;
    assert_eq!((view.state, view.due_ms), (State::Ready, Some(START_MS + 60_000)));
    let lease = lease_one(&store, "audit").await;
    assert_eq!((lease.attempt, lease.counted_attempt()), (3, 1));
    settle(&store, lease, done()).await;
    let numbers: Vec<_> = delivery(&store, id).await.attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
}

pub(in crate::store) async fn only_a_dead_delivery_can_be_retried(harness: impl Harness) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    assert_conflict(&store, id).await;
    let lease = lease_one(&store, "audit").await;
    assert_conflict(&store, id).await;
    settle(&store, lease, retry_at(START_MS)).await;
    assert_conflict(&store, id).await;
    let lease = lease_one(&store, "audit").await;
    settle(&store, lease, done()).await;
    assert_conflict(&store, id).await;
}

async fn assert_conflict(store: &Arc<dyn Store>, id: DeliveryId) {
    let before = delivery(store, id).await;
    let refused = store.retry(RetryWhich::One(id)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict(_)), "{refused}");
    assert_eq!(delivery(store, id).await, before);
}

pub(in crate::store) async fn a_bulk_retry_takes_the_dead_that_match(harness: impl Harness) {
    let store = harness.open().await;
    let audit = [dead_letter(&store, "audit").await, dead_letter(&store, "audit").await];
    let orders = dead_letter(&store, "orders").await;
    let ready = deliver(&store, "audit").await;
    let of =
        |plugin: &str, state| DeliveryFilter { plugin: Some(plugin.to_owned()), state, ..DeliveryFilter::default() };
    let retry = async |filter| store.retry(RetryWhich::Matching(filter)).await.unwrap();
    assert_eq!(retry(of("audit", Some(State::Done))).await, 0);
    assert_eq!(retry(of("nobody", None)).await, 0);
    assert_eq!(retry(of("audit", Some(State::Dead))).await, 2);
    for id in [audit[0], audit[1], ready] {
        assert_eq!(state(&store, id).await, State::Ready);
    }
    assert_eq!(state(&store, orders).await, State::Dead);
    assert_eq!(retry(DeliveryFilter::default()).await, 1);
    assert_eq!(store.stats().deliveries(State::Dead), 0);
}

pub(in crate::store) async fn a_quarantined_delivery_that_is_retried_may_crash_twice_again(harness: impl Harness) {
    let mut store = harness.open().await;
    let id = deliver(&store, "audit").await;
    let mut zombies = vec![lease_one(&store, "audit").await];
    for expected in [State::Ready, State::Dead, State::Ready, State::Dead] {
        run_on(&store, zombies.last().unwrap());
        drop(store);
        store = harness.open().await;
        assert_eq!(state(&store, id).await, expected);
        if expected == State::Dead {
            store.retry(RetryWhich::One(id)).await.unwrap();
            zombies.push(lease_one(&store, "audit").await);
        } else {
            zombies.extend(store.lease(suspects(&["audit"]), places(1)).await.unwrap().leases);
        }
    }
    assert_eq!(zombies.iter().map(|lease| lease.attempt).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

pub(in crate::store) async fn a_replay_creates_new_deliveries_of_an_old_event(harness: impl Harness) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    settle(&store, lease_one(&store, "audit").await, done()).await;
    let replayed = store.replay(id.event, vec!["audit".into(), "orders".into()]).await.unwrap();
    assert_eq!(replayed.iter().map(|delivery| delivery.ordinal).collect::<Vec<_>>(), [1, 2]);
    let view = store.event(id.event).await.unwrap();
    let shown: Vec<_> = view.deliveries.iter().map(|d| (&*d.plugin, d.state, d.replay)).collect();
    assert_eq!(shown, [("audit", State::Done, false), ("audit", State::Ready, true), ("orders", State::Ready, true)]);
    assert_eq!(lease_one(&store, "orders").await.delivery, replayed[1]);
    let again = store.replay(id.event, vec!["audit".into()]).await.unwrap();
    assert_eq!(again[0].ordinal, 3);
}

pub(in crate::store) async fn what_does_not_exist_is_not_found(harness: impl Harness) {
    let store = harness.open().await;
    let event = EventId::first_at(START_MS);
    let not_found = |error: StoreError| assert!(matches!(error, StoreError::NotFound(_)), "{error}");
    not_found(store.event(event).await.unwrap_err());
    not_found(store.replay(event, vec!["audit".into()]).await.unwrap_err());
    not_found(store.retry(RetryWhich::One(DeliveryId { event, ordinal: 0 })).await.unwrap_err());
    assert_eq!(store.stats(), crate::store::Stats::default());
}

pub(in crate::store) async fn an_event_has_a_bounded_number_of_deliveries(harness: impl Harness) {
    let store = harness.open().await;
    let id = append(&store, event("order.paid", &[])).await;
    store.replay(id, vec!["audit".into(); 999]).await.unwrap();
    let refused = store.replay(id, vec!["audit".into(); 2]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict(_)), "{refused}");
    assert_eq!(store.replay(id, vec!["audit".into()]).await.unwrap().len(), 1);
}
