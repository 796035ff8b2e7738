//! Settling: at most once, whole or not at all.

use super::*;

pub(in crate::store) async fn a_lease_is_settled_at_most_once(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    let zombie = lease_one(&store, "audit").await;
    run_on(&store, &zombie).await;
    drop(store);
    let store = harness.open().await;
    let quarantined =
        store.lease(quarantine(&["audit"]), permits(1)).await.unwrap().leases.remove(0);
    assert_eq!(settle(&store, quarantined, done()).await, Settled::Kept);
    for settlement in [done(), dead(), retry_in(0), give_back(0)] {
        // The same lease again, as a worker that slept through everything would hold it.
        let late = Lease {
            event: zombie.event.clone(),
            terms: zombie.terms.clone(),
            plugin: zombie.plugin.clone(),
            permit: permit(),
            held: None,
            ..zombie
        };
        assert_eq!(settle(&store, late, settlement).await, Settled::Lost);
    }
    let view = delivery(&store, id).await;
    assert_eq!((view.state, view.attempt, view.attempts.len()), (State::Done, 2, 2));
}

fn permit() -> crate::store::LeasePermit {
    crate::store::LeasePermit { budget: permits(1), memory: None }
}

fn write(key: &str, value: &[u8]) -> KvTransaction {
    let writes = vec![(key.to_owned(), Some(value.to_vec()))];
    KvTransaction { writes, ..KvTransaction::default() }
}

pub(in crate::store) async fn outcome_emitted_events_and_writes_commit_together(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = deliver(&store, "orders").await;
    let lease = lease_one(&store, "orders").await;
    let child = NewEvent { parent: Some(id.event), hops: 1, ..event("order.ready", &["audit"]) };
    let settled =
        settle(&store, lease, done_with(vec![child.clone(), child], write("seen", b"1"))).await;
    assert_eq!(settled, Settled::Kept);
    drop(store);
    let store = harness.open().await;
    assert_eq!(state(&store, id).await, State::Done);
    assert_eq!(store.event(id.event).await.unwrap().children.len(), 2);
    assert_eq!(lease_count(&store, "audit").await, 2);
    assert_eq!(
        store.kv_get("orders".into(), "seen".to_owned()).await.unwrap().unwrap().value,
        b"1"
    );
}

async fn lease_count(store: &Arc<impl Queue + ?Sized>, plugin: &str) -> usize {
    lease(store, plugin, 10).await.len()
}

pub(in crate::store) async fn a_late_settlement_changes_nothing_at_all(harness: impl Harness) {
    let store = harness.open().await;
    let id = deliver(&store, "orders").await;
    let zombie = lease_one(&store, "orders").await;
    drop(store);
    let store = harness.open().await;
    let before = (store.event(id.event).await.unwrap(), store.stats().await.unwrap());
    let child = NewEvent { parent: Some(id.event), ..event("order.ready", &["audit"]) };
    assert_eq!(
        settle(&store, zombie, done_with(vec![child], write("seen", b"1"))).await,
        Settled::Lost
    );
    assert_eq!((store.event(id.event).await.unwrap(), store.stats().await.unwrap()), before);
    assert_eq!(store.kv_get("orders".into(), "seen".to_owned()).await.unwrap(), None);
    assert_eq!(store.kv_bytes("orders").await.unwrap(), 0);
}

pub(in crate::store) async fn what_a_settlement_emits_is_there_once_after_a_crash(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    let id = deliver(&store, "orders").await;
    let lease = lease_one(&store, "orders").await;
    let child = NewEvent { parent: Some(id.event), ..event("order.ready", &[]) };
    // The answer is not awaited, and the host dies.
    drop(store.settle(lease, done_with(vec![child], KvTransaction::default())));
    drop(store);
    let store = harness.open().await;
    assert_eq!(store.event(id.event).await.unwrap().children.len(), 1);
    assert_eq!((state(&store, id).await, store.stats().await.unwrap().events), (State::Done, 2));
}

pub(in crate::store) async fn a_retry_waits_its_time(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    settle(&store, lease_one(&store, "audit").await, retry_in(1_000)).await;
    let view = delivery(&store, id).await;
    assert_eq!(
        (view.state, view.due_ms, view.attempt),
        (State::Waiting, Some(START_MS + 1_000), 1)
    );
    pass(&harness, 999);
    assert_eq!(lease_count(&store, "audit").await, 0);
    pass(&harness, 1);
    let again = lease_one(&store, "audit").await;
    assert_eq!((again.attempt, again.counted_attempt()), (2, 2));
}

pub(in crate::store) async fn a_dead_letter_is_not_leased(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    let id = dead_letter(&store, "audit").await;
    pass(&harness, 365 * DAY_MS);
    assert_eq!(lease_count(&store, "audit").await, 0);
    drop(store);
    let store = harness.open().await;
    assert_eq!((lease_count(&store, "audit").await, state(&store, id).await), (0, State::Dead));
}

pub(in crate::store) async fn a_lease_given_back_does_not_spend_the_attempt(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    for _ in 0..3 {
        let lease = lease_one(&store, "audit").await;
        assert_eq!((lease.attempt, lease.counted_attempt()), (1, 1));
        assert_eq!(settle(&store, lease, give_back(0)).await, Settled::Kept);
    }
    let view = delivery(&store, id).await;
    assert_eq!((view.state, view.attempt, view.attempts.len()), (State::Ready, 0, 0));
}

pub(in crate::store) async fn a_lease_given_back_leaves_no_record_in_the_way(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    let recorded = Settlement { record: Some(record(Outcome::Error)), ..give_back(0) };
    settle(&store, lease_one(&store, "audit").await, recorded).await;
    assert_eq!(settle(&store, lease_one(&store, "audit").await, done()).await, Settled::Kept);
    let view = delivery(&store, id).await;
    assert_eq!((view.state, view.attempts.len()), (State::Done, 1));
}

pub(in crate::store) async fn a_lease_given_back_for_later_waits(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    settle(&store, lease_one(&store, "audit").await, give_back(50)).await;
    let view = delivery(&store, id).await;
    assert_eq!((view.state, view.due_ms), (State::Waiting, Some(START_MS + 50)));
    assert_eq!(lease_count(&store, "audit").await, 0);
    pass(&harness, 50);
    assert_eq!(lease_one(&store, "audit").await.attempt, 1);
}

pub(in crate::store) async fn a_permit_is_free_again_when_the_settlement_is_durable(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    deliver(&store, "audit").await;
    let budget = Arc::new(Semaphore::new(1));
    let permits = budget.clone().try_acquire_many_owned(1).unwrap();
    let lease = store.lease(queue("audit"), permits).await.unwrap().leases.remove(0);
    assert_eq!(budget.available_permits(), 0);
    settle(&store, lease, done()).await;
    // Dropped with the command, which has been answered: the permit comes.
    budget.acquire().await.unwrap().forget();
}

pub(in crate::store) async fn a_retry_beyond_all_time_is_no_lease(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    let mut ids = Vec::new();
    for settlement in [retry_in(i64::MAX), give_back(i64::MAX)] {
        ids.push(deliver(&store, "audit").await);
        settle(&store, lease_one(&store, "audit").await, settlement).await;
    }
    drop(store);
    let store = harness.open().await;
    for id in ids {
        let view = delivery(&store, id).await;
        assert!(view.attempts.iter().all(|attempt| attempt.record.outcome != Outcome::Crash));
        assert_eq!(view.state, State::Waiting);
    }
}

pub(in crate::store) async fn every_attempt_is_recorded_under_its_number(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    let outcomes =
        [Outcome::Retry, Outcome::Trap, Outcome::Timeout, Outcome::Memory, Outcome::Error];
    for outcome in outcomes {
        let failed =
            Settlement { next: Next::RetryIn(Duration::ZERO), record: Some(record(outcome)) };
        settle(&store, lease_one(&store, "audit").await, failed).await;
    }
    settle(&store, lease_one(&store, "audit").await, done()).await;
    let attempts = delivery(&store, id).await.attempts;
    assert_eq!(
        attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5, 6]
    );
    for (attempt, outcome) in attempts.iter().zip(outcomes) {
        assert_eq!(attempt.record, record(outcome));
    }
    assert_eq!(attempts[5].record, record(Outcome::Ok));
}

pub(in crate::store) async fn a_spent_attempt_without_a_record_is_counted(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    for unrecorded in 1..=3 {
        let lease = lease_one(&store, "audit").await;
        let settlement = Settlement { next: Next::RetryIn(Duration::ZERO), record: None };
        assert_eq!(settle(&store, lease, settlement).await, Settled::Kept);
        let view = delivery(&store, id).await;
        assert_eq!(
            (view.unrecorded, view.attempt, view.attempts.len()),
            (unrecorded, unrecorded, 0)
        );
    }
    let lease = lease_one(&store, "audit").await;
    assert_eq!(settle(&store, lease, give_back(0)).await, Settled::Kept);
    assert_eq!(delivery(&store, id).await.unrecorded, 3, "an attempt given back is not spent");
}
