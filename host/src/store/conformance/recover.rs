//! Recovering: what a killed host held is due again, and what kills hosts is quarantined.

use super::*;
use crate::store::Health;

/// A delivery of `audit` that was running when the host died, and the store after that.
async fn crashed<H>(harness: &H) -> (Arc<H::Store>, DeliveryId, Lease)
where
    H: StoreHarness<Store: Queue>,
{
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    let zombie = lease_one(&store, "audit").await;
    run_on(&store, &zombie).await;
    drop(store);
    (harness.open().await, id, zombie)
}

async fn lease_quarantined(store: &Arc<impl Queue + ?Sized>, plugin: &str) -> Lease {
    let mut leases = store.lease(quarantine(&[plugin]), permits(2)).await.unwrap().leases;
    assert_eq!(leases.len(), 1, "quarantined deliveries of {plugin}");
    leases.remove(0)
}

pub(in crate::store) async fn a_crash_does_not_count_the_attempt_and_makes_the_delivery_due_again(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let (store, id, _zombie) = crashed(&harness).await;
    let view = delivery(&store, id).await;
    assert_eq!((view.state, view.attempt, view.due_ms), (State::Ready, 1, Some(START_MS)));
    let crash = &view.attempts[0];
    assert_eq!((crash.number, crash.record.outcome), (1, Outcome::Crash));
    assert!(crash.record.error.is_some());
    let again = lease_quarantined(&store, "audit").await;
    assert_eq!((again.attempt, again.uncounted, again.counted_attempt()), (2, 1, 1));
}

pub(in crate::store) async fn a_settlement_from_before_the_crash_is_lost(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let (store, id, zombie) = crashed(&harness).await;
    assert_eq!(settle(&store, zombie, done()).await, Settled::Lost);
    assert_eq!(state(&store, id).await, State::Ready);
}

pub(in crate::store) async fn a_zombie_cannot_settle_the_lease_that_replaced_its_own(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let (store, id, zombie) = crashed(&harness).await;
    // Given back once, so that the number of the new lease is as low as it gets.
    let first = lease_quarantined(&store, "audit").await;
    settle(&store, first, give_back(0)).await;
    let second = lease_quarantined(&store, "audit").await;
    assert_eq!(settle(&store, zombie, dead()).await, Settled::Lost);
    assert_eq!(state(&store, id).await, State::Leased);
    assert_eq!(settle(&store, second, done()).await, Settled::Kept);
}

pub(in crate::store) async fn a_delivery_that_was_running_in_two_crashes_is_quarantined(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let (store, id, _zombie) = crashed(&harness).await;
    let second = lease_quarantined(&store, "audit").await;
    run_on(&store, &second).await;
    drop(store);
    let store = harness.open().await;
    let view = delivery(&store, id).await;
    assert_eq!((view.state, view.attempt, view.due_ms), (State::Dead, 2, None));
    let outcomes: Vec<_> = view.attempts.iter().map(|attempt| attempt.record.outcome).collect();
    assert_eq!(outcomes, [Outcome::Crash, Outcome::Crash]);
    assert!(store.lease(quarantine(&["audit"]), permits(1)).await.unwrap().leases.is_empty());
    assert!(lease(&store, "audit", 1).await.is_empty());
}

pub(in crate::store) async fn what_was_held_and_not_running_is_due_again_without_a_crash(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let mut store = harness.open().await;
    let id = deliver(&store, "audit").await;
    let mut zombies = Vec::new();
    // As often as one likes: it is never in quarantine, and no number is used twice.
    for attempt in 1..=3 {
        let zombie = lease_one(&store, "audit").await;
        assert_eq!((zombie.attempt, zombie.counted_attempt()), (attempt, 1));
        zombies.push(zombie);
        drop(store);
        store = harness.open().await;
        let view = delivery(&store, id).await;
        assert_eq!(
            (view.state, view.due_ms, view.attempts.len()),
            (State::Ready, Some(START_MS), 0)
        );
    }
    for zombie in zombies {
        assert_eq!(settle(&store, zombie, done()).await, Settled::Lost);
    }
    assert_eq!(settle(&store, lease_one(&store, "audit").await, done()).await, Settled::Kept);
}

pub(in crate::store) async fn an_attempt_that_has_its_verdict_is_running_no_more(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let store = harness.open().await;
    let (first, second) = (deliver(&store, "audit").await, deliver(&store, "audit").await);
    let zombies = lease(&store, "audit", 2).await;
    // Both at once, so that each has a note of its own.
    let mut running = Vec::new();
    for zombie in &zombies {
        running.push(store.begin(zombie).await.unwrap());
    }
    for (zombie, running) in zombies.iter().zip(running) {
        if zombie.delivery == first { drop(running) } else { std::mem::forget(running) }
    }
    drop(store);
    let store = harness.open().await;
    assert_eq!(lease_one(&store, "audit").await.delivery, first);
    assert_eq!(lease_quarantined(&store, "audit").await.delivery, second);
}

pub(in crate::store) async fn what_was_not_running_stays_in_the_quarantine_queue(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let (store, id, _zombie) = crashed(&harness).await;
    let _held = lease_quarantined(&store, "audit").await;
    drop(store);
    let store = harness.open().await;
    let view = delivery(&store, id).await;
    assert_eq!((view.state, view.attempts.len()), (State::Ready, 1));
    let again = lease_quarantined(&store, "audit").await;
    assert_eq!((again.delivery, again.counted_attempt()), (id, 1));
}

pub(in crate::store) async fn what_was_running_in_a_crash_is_leased_from_a_queue_of_its_own(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let (store, id, _zombie) = crashed(&harness).await;
    let innocent = deliver(&store, "audit").await;
    assert_eq!(lease_one(&store, "audit").await.delivery, innocent);
    assert_eq!(lease_quarantined(&store, "audit").await.delivery, id);
}

pub(in crate::store) async fn the_quarantine_queue_leases_named_plugins_only(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let store = harness.open().await;
    let mut zombies = Vec::new();
    for plugin in ["audit", "gone", "orders"] {
        deliver(&store, plugin).await;
        zombies.push(lease_one(&store, plugin).await);
        run_on(&store, zombies.last().unwrap()).await;
    }
    drop(store);
    let store = harness.open().await;
    let leased = store.lease(quarantine(&["audit", "orders"]), permits(1)).await.unwrap();
    assert_eq!((leased.leases.len(), leased.next_due_in), (1, Some(Duration::ZERO)));
    let rest = store.lease(quarantine(&["audit", "orders"]), permits(9)).await.unwrap();
    assert_eq!((rest.leases.len(), rest.next_due_in), (1, None));
    assert_ne!(leased.leases[0].plugin, rest.leases[0].plugin);
    assert_eq!(&*lease_quarantined(&store, "gone").await.plugin, "gone");
}

pub(in crate::store) async fn what_is_settled_leaves_the_quarantine_queue(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let (store, id, _zombie) = crashed(&harness).await;
    settle(&store, lease_quarantined(&store, "audit").await, retry_in(0)).await;
    let lease = lease_one(&store, "audit").await;
    assert_eq!((lease.delivery, lease.attempt, lease.counted_attempt()), (id, 3, 2));
}

pub(in crate::store) async fn what_is_given_back_stays_in_the_quarantine_queue(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let (store, id, _zombie) = crashed(&harness).await;
    settle(&store, lease_quarantined(&store, "audit").await, give_back(0)).await;
    assert!(lease(&store, "audit", 1).await.is_empty());
    assert_eq!(lease_quarantined(&store, "audit").await.delivery, id);
}

pub(in crate::store) async fn what_nobody_held_is_not_touched(
    harness: impl StoreHarness<Store: Queue + ReadOne>,
) {
    let store = harness.open().await;
    let mut ids = vec![
        deliver(&store, "waiting").await,
        deliver(&store, "done").await,
        deliver(&store, "dead").await,
    ];
    settle(&store, lease_one(&store, "waiting").await, retry_in(5)).await;
    settle(&store, lease_one(&store, "done").await, done()).await;
    settle(&store, lease_one(&store, "dead").await, dead()).await;
    ids.push(deliver(&store, "ready").await);
    let mut before = Vec::new();
    for id in &ids {
        before.push(delivery(&store, *id).await);
    }
    drop(store);
    let store = harness.open().await;
    for (id, before) in ids.into_iter().zip(before) {
        assert_eq!(delivery(&store, id).await, before);
    }
}

pub(in crate::store) async fn a_store_that_was_closed_has_nothing_to_recover(
    harness: impl StoreHarness<Store: Queue + ReadOne + Health>,
) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    let lease = lease_one(&store, "audit").await;
    // Queued before the close, and so committed by it.
    let settled = store.settle(lease, give_back(0));
    store.close().await.unwrap();
    assert_eq!(settled.await.unwrap(), Settled::Kept);
    drop(store);
    let store = harness.open().await;
    let view = delivery(&store, id).await;
    assert_eq!((view.state, view.attempt, view.attempts.len()), (State::Ready, 0, 0));
    assert_eq!(lease_one(&store, "audit").await.delivery, id);
}
