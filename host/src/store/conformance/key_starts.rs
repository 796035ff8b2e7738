//! The earliest starts of a key whose attempts are kept apart.

use super::key_order::{enter, keyed_event, policy};
use super::operator::act;
use super::policies::PolicyHarness;
use super::*;
use crate::store::Action;

pub(in crate::store) async fn an_operator_starts_no_attempt_of_a_key_too_early(
    harness: impl PolicyHarness,
) {
    policy(&harness, |policy| (policy.interval, policy.hold) = (time(1_000), true));
    let store = harness.open().await;
    let (first, second) = (enter(&store, "a").await, enter(&store, "a").await);
    // The attempt ran for 1.234 ms, as its record says.
    settle(&store, lease_one(&store, "charge").await, retry_in(60_000)).await;
    act(&store, Action::Retry, first).await;
    let view = delivery(&store, first).await;
    assert_eq!((view.state, view.due_ms), (State::Waiting, Some(START_MS + 998)));
    pass(&harness, 998);
    settle(&store, lease_one(&store, "charge").await, dead()).await;
    act(&store, Action::Retry, first).await;
    assert_eq!(delivery(&store, first).await.due_ms, Some(START_MS + 2 * 998));
    pass(&harness, 998);
    settle(&store, lease_one(&store, "charge").await, dead()).await;
    pass(&harness, 500);
    act(&store, Action::Discard, first).await;
    assert_eq!(delivery(&store, second).await.due_ms, Some(START_MS + 3 * 998));
    act(&store, Action::Retry, second).await;
    assert_eq!(delivery(&store, second).await.due_ms, Some(START_MS + 3 * 998));
    pass(&harness, 498);
    settle(&store, lease_one(&store, "charge").await, retry_in(60_000)).await;
    // An operator is not kept waiting for a retry.
    pass(&harness, 5_000);
    act(&store, Action::Retry, second).await;
    assert_eq!(delivery(&store, second).await.state, State::Ready);
}

pub(in crate::store) async fn a_delayed_delivery_that_is_ended_does_not_hold_its_key(
    harness: impl PolicyHarness,
) {
    policy(&harness, |policy| policy.interval = time(1_000));
    let store = harness.open().await;
    for action in [Action::Cancel, Action::Move("audit".into())] {
        let key = action.name();
        let late = NewEvent { delay_ms: 86_400_000, ..keyed_event(key, &["charge"]) };
        let late = DeliveryId { event: append(&store, late).await, ordinal: 0 };
        act(&store, action.clone(), late).await;
        let next = enter(&store, key).await;
        assert_eq!(lease_one(&store, "charge").await.delivery, next, "{}", action.name());
    }
}

pub(in crate::store) async fn a_retry_that_is_ended_holds_its_key_no_longer_than_its_rate(
    harness: impl PolicyHarness,
) {
    policy(&harness, |policy| policy.interval = time(1_000));
    let store = harness.open().await;
    for action in [Action::Cancel, Action::Move("audit".into())] {
        let began_ms = harness.clock().host_ms();
        let key = action.name();
        let (first, second) = (enter(&store, key).await, enter(&store, key).await);
        settle(&store, lease_one(&store, "charge").await, retry_in(3_600_000)).await;
        act(&store, action.clone(), first).await;
        assert_eq!(delivery(&store, second).await.due_ms, Some(began_ms + 998), "{key}");
        pass(&harness, 998);
        settle(&store, lease_one(&store, "charge").await, done()).await;
    }
}

pub(in crate::store) async fn after_a_crash_no_attempt_of_a_key_starts_too_early(
    harness: impl PolicyHarness,
) {
    policy(&harness, |policy| policy.interval = time(1_000));
    let store = harness.open().await;
    let (first, second) = (enter(&store, "a").await, enter(&store, "a").await);
    let lease = lease_one(&store, "charge").await;
    std::mem::forget(store.begin(&lease).await.unwrap());
    drop(store);
    let store = harness.open().await;
    assert_eq!(delivery(&store, first).await.due_ms, Some(START_MS + 1_000));
    act(&store, Action::Retry, first).await;
    assert_eq!(delivery(&store, first).await.due_ms, Some(START_MS + 1_000));
    act(&store, Action::Cancel, first).await;
    assert_eq!(delivery(&store, second).await.due_ms, Some(START_MS + 1_000));
}
