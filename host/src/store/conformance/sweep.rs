//! Sweeping: retention deletes only what is settled, and dedupe keys expire after their window.

use super::operator::act;
use super::*;
use crate::clock::until;
use crate::store::{Action, EventFilter, Page, Which};

/// Sweeps until there is nothing more; says how often.
pub(super) async fn sweep_all(store: &Arc<dyn Store>, keep: Keep) -> usize {
    let mut rounds = 1;
    while store.sweep(keep).await.unwrap() {
        rounds += 1;
        assert!(rounds < 10_000, "it ends");
    }
    rounds
}

/// Expires events and keys that were received before these times.
fn since(harness: &impl Harness, events_ms: i64, keys_ms: i64) -> Keep {
    let now_ms = harness.clock().deletion_ms();
    Keep {
        events: until(events_ms, now_ms),
        payloads: Duration::MAX,
        dedupe_keys: until(keys_ms, now_ms),
        audit: Duration::MAX,
    }
}

fn all_since(harness: &impl Harness, unix_ms: i64) -> Keep {
    since(harness, unix_ms, unix_ms)
}

pub(super) async fn exists(store: &Arc<dyn Store>, id: EventId) -> bool {
    store.event(id).await.is_ok()
}

pub(in crate::store) async fn retention_deletes_only_what_is_settled(harness: impl Harness) {
    let store = harness.open().await;
    let settled = [
        append(&store, event("unrouted", &[])).await,
        dead_letter(&store, "dead").await.event,
        deliver(&store, "done").await.event,
        deliver(&store, "cancelled").await.event,
        dead_letter(&store, "discarded").await.event,
    ];
    settle(&store, lease_one(&store, "done").await, done()).await;
    act(&store, Action::Cancel, DeliveryId { event: settled[3], ordinal: 0 }).await;
    act(&store, Action::Discard, DeliveryId { event: settled[4], ordinal: 0 }).await;
    let kept = [
        deliver(&store, "ready").await.event,
        deliver(&store, "waiting").await.event,
        deliver(&store, "leased").await.event,
        append(&store, event("partly", &["done", "ready"])).await,
    ];
    settle(&store, lease_one(&store, "waiting").await, retry_in(DAY_MS)).await;
    settle(&store, lease_one(&store, "done").await, done()).await;
    let _leased = lease_one(&store, "leased").await;
    pass(&harness, DAY_MS);
    let young = append(&store, event("young", &[])).await;
    sweep_all(&store, all_since(&harness, START_MS + DAY_MS)).await;
    for id in settled {
        assert!(!exists(&store, id).await);
    }
    for id in kept.into_iter().chain([young]) {
        assert!(exists(&store, id).await);
    }
}

pub(in crate::store) async fn a_key_is_known_until_its_window_is_swept(harness: impl Harness) {
    let store = harness.open().await;
    let first = append(&store, keyed(&[1, 2])).await;
    pass(&harness, DAY_MS);
    sweep_all(&store, since(&harness, 0, START_MS)).await;
    assert!(store.append(keyed(&[1])).await.unwrap().duplicate);
    sweep_all(&store, since(&harness, 0, START_MS + 1)).await;
    assert!(exists(&store, first).await);
    let second = append(&store, keyed(&[2])).await;
    append(&store, keyed(&[1])).await;
    // The keys belong to newer events now, and a sweep of the older one does not take them away.
    sweep_all(&store, all_since(&harness, START_MS + 1)).await;
    assert!(!exists(&store, first).await);
    let again = store.append(keyed(&[2])).await.unwrap();
    assert_eq!((again.id, again.duplicate), (second, true));
}

pub(in crate::store) async fn an_event_is_kept_as_long_as_its_keys(harness: impl Harness) {
    let store = harness.open().await;
    let first = append(&store, keyed(&[1])).await;
    pass(&harness, DAY_MS);
    sweep_all(&store, since(&harness, START_MS + DAY_MS, START_MS)).await;
    assert!(exists(&store, first).await);
    let again = store.append(keyed(&[1])).await.unwrap();
    assert_eq!((again.id, again.duplicate), (first, true));
}

pub(in crate::store) async fn a_swept_event_leaves_nothing_behind(harness: impl Harness) {
    let store = harness.open().await;
    let parent = deliver(&store, "orders").await;
    let child = NewEvent { parent: Some(parent.event), ..keyed(&[3]) };
    settle(
        &store,
        lease_one(&store, "orders").await,
        done_with(vec![child], KvTransaction::default()),
    )
    .await;
    let dead = dead_letter(&store, "audit").await;
    pass(&harness, DAY_MS);
    sweep_all(&store, all_since(&harness, START_MS + DAY_MS)).await;
    let stats = store.stats().await.unwrap();
    assert_eq!(stats.events, 0);
    assert!(State::ALL.into_iter().all(|state| stats.deliveries(state) == 0));
    let listed =
        store.events(EventFilter::default(), Page { limit: 10, after: None }).await.unwrap();
    assert_eq!(listed, (Vec::new(), None));
    let gone = store.change(None, Action::Retry, Which::One(dead)).await.unwrap_err();
    assert!(matches!(gone, StoreError::NotFound(_)), "{gone}");
    append(&store, keyed(&[3])).await;
}

pub(in crate::store) async fn a_sweep_is_bounded_and_says_whether_there_may_be_more(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let calls: Vec<_> = (0..1_200).map(|_| store.append(event("unrouted", &[]))).collect();
    for call in calls {
        call.await.unwrap();
    }
    pass(&harness, DAY_MS);
    let before = store.stats().await.unwrap().events;
    assert!(store.sweep(all_since(&harness, START_MS + DAY_MS)).await.unwrap());
    let swept = before - store.stats().await.unwrap().events;
    assert!(swept > 0 && swept < before, "{swept}");
    sweep_all(&store, all_since(&harness, START_MS + DAY_MS)).await;
    assert_eq!(store.stats().await.unwrap().events, 0);
}

pub(in crate::store) async fn old_events_that_are_not_settled_do_not_hide_those_that_are(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let calls: Vec<_> = (0..1_100).map(|_| store.append(event("stuck", &["gone"]))).collect();
    for call in calls {
        call.await.unwrap();
    }
    let settled = append(&store, event("unrouted", &[])).await;
    pass(&harness, DAY_MS);
    let keep = all_since(&harness, START_MS + DAY_MS);
    sweep_all(&store, keep).await;
    assert!(!exists(&store, settled).await);
    assert_eq!(store.stats().await.unwrap().events, 1_100);
    // The next round begins from the oldest again, and ends as well.
    assert!(sweep_all(&store, keep).await >= 3);
}

pub(in crate::store) async fn what_is_settled_late_is_deleted_in_a_later_round(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let late = deliver(&store, "audit").await;
    append(&store, event("unrouted", &[])).await;
    pass(&harness, DAY_MS);
    let keep = all_since(&harness, START_MS + DAY_MS);
    sweep_all(&store, keep).await;
    assert!(exists(&store, late.event).await);
    settle(&store, lease_one(&store, "audit").await, done()).await;
    sweep_all(&store, keep).await;
    assert!(!exists(&store, late.event).await);
}

pub(in crate::store) async fn a_dead_letter_outlives_its_event_until_it_is_discarded(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let late = |next| {
        let record = AttemptRecord { started_at_ms: START_MS + DAY_MS, ..record(Outcome::Error) };
        Settlement { next, record: Some(record) }
    };
    let id = deliver(&store, "audit").await;
    let lease = lease_one(&store, "audit").await;
    pass(&harness, DAY_MS);
    settle(&store, lease, late(Next::Dead(None))).await;
    let keep = all_since(&harness, START_MS + DAY_MS);
    sweep_all(&store, keep).await;
    assert!(exists(&store, id.event).await, "somebody has to see it");
    act(&store, Action::Discard, id).await;
    sweep_all(&store, keep).await;
    assert!(!exists(&store, id.event).await);
}

pub(in crate::store) async fn ids_grow_also_when_everything_was_swept(harness: impl Harness) {
    let store = harness.open().await;
    let first = append(&store, keyed(&[1])).await;
    pass(&harness, DAY_MS);
    sweep_all(&store, all_since(&harness, START_MS + DAY_MS)).await;
    assert!(!exists(&store, first).await);
    drop(store);
    pass(&harness, -2 * DAY_MS);
    let store = harness.open().await;
    let second = append(&store, keyed(&[1])).await;
    assert!(second > first);
    // A key given out while the clock stands in the past expires like any other.
    pass(&harness, 10 * DAY_MS);
    sweep_all(&store, all_since(&harness, START_MS + 5 * DAY_MS)).await;
    append(&store, keyed(&[1])).await;
}
