//! A disk that is full, and one that fails.

use super::approvals::{admit, approve, change, row, rows};
use super::audit::{entries, keyed_note};
use super::close::stopped;
use super::dispatch::TestDispatch;
use super::*;
use crate::store::{Action, DeliveryFilter, EventFilter, Page, Which};

/// An event that needs room.
fn large(targets: &[&str]) -> NewEvent {
    let mut new = event("large", targets);
    new.attributes.body = vec![b'x'; 256 << 10].into();
    new
}

/// Done, with a record that needs room.
fn large_done() -> Settlement {
    let mut settlement = done();
    settlement.record =
        Some(AttemptRecord { error: Some("x".repeat(256 << 10)), ..record(Outcome::Ok) });
    settlement
}

#[track_caller]
fn unavailable<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
}

pub(in crate::store) async fn a_store_tells_the_place_that_it_takes_on_its_disk(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let before = store.space().await.unwrap().expect("its files are on this host");
    for _ in 0..8 {
        append(&store, large(&[])).await;
    }
    let after = store.space().await.unwrap().unwrap();
    assert!(after.store_bytes > before.store_bytes + (1 << 20), "{before:?} {after:?}");
    let (free, all) = after.disk.expect("the system tells");
    assert!(free <= all && after.store_bytes <= all, "{after:?}");
}

pub(in crate::store) async fn a_full_disk_refuses_appends_until_it_has_room(harness: impl Harness) {
    let store = harness.open().await;
    append(&store, large(&[])).await;
    harness.set_disk(Disk::Full);
    // The trouble ends with the next small write: a slow test may look too late.
    let trouble = loop {
        unavailable(store.append(large(&["audit"])).await);
        if let Some(trouble) = store.trouble() {
            break trouble;
        }
    };
    unavailable(Err::<(), _>(trouble));
    unavailable(store.append(large(&["audit"])).await);
    assert_eq!(store.stats().await.unwrap().events, 1);
    harness.set_disk(Disk::Sound);
    append(&store, large(&["audit"])).await;
    assert!(store.trouble().is_none());
    drop(store);
    let store = harness.open().await;
    assert_eq!(store.stats().await.unwrap().events, 2);
    assert_eq!(
        store.events(EventFilter::default(), Page { limit: 9, after: None }).await.unwrap().0.len(),
        2
    );
}

pub(in crate::store) async fn a_disk_that_refuses_writes_is_one_that_is_full(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    let lease = lease_one(&store, "audit").await;
    harness.set_disk(Disk::Refusing);
    let settled = store.settle(lease, done());
    unavailable(store.append(event("order.paid", &[])).await);
    let trouble = store.trouble();
    assert!(
        matches!(&trouble, Some(StoreError::Unavailable(why)) if why.contains("read-only")),
        "{trouble:?}"
    );
    assert_eq!((store.stats().await.unwrap().events, state(&store, id).await), (1, State::Leased));
    harness.set_disk(Disk::Sound);
    assert_eq!(settled.await.unwrap(), Settled::Kept);
    append(&store, event("order.paid", &[])).await;
    assert!(store.trouble().is_none());
}

pub(in crate::store) async fn of_a_request_that_the_disk_refuses_nothing_is_stored(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let events =
        || vec![keyed(&[1]), keyed(&[2]), NewEvent { dedupe: vec![key_of(3)], ..large(&[]) }];
    for disk in [Disk::Full, Disk::Refusing] {
        harness.set_disk(disk);
        unavailable(store.append_all(events()).await);
        assert_eq!(store.stats().await.unwrap().events, 0);
    }
    harness.set_disk(Disk::Sound);
    let stored = store.append_all(events()).await.unwrap();
    assert!(stored.iter().all(|event| !event.duplicate), "none of them has taken its key before");
    drop(store);
    assert_eq!(harness.open().await.stats().await.unwrap().events, 3);
}

pub(in crate::store) async fn a_full_disk_delays_settlements(harness: impl Harness) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    let lease = lease_one(&store, "audit").await;
    harness.set_disk(Disk::Full);
    let settled = store.settle(lease, large_done());
    // Refused after the settlement was tried.
    unavailable(store.append(large(&[])).await);
    assert_eq!(state(&store, id).await, State::Leased);
    harness.set_disk(Disk::Sound);
    assert_eq!(settled.await.unwrap(), Settled::Kept);
    let view = delivery(&store, id).await;
    assert_eq!((view.state, view.attempts.len()), (State::Done, 1));
}

pub(in crate::store) async fn an_append_that_a_full_disk_refused_has_taken_no_key(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let large = |key| NewEvent { dedupe: vec![key_of(key)], ..large(&[]) };
    let mut ids = vec![append(&store, keyed(&[0])).await];
    for key in 1..20 {
        harness.set_disk(Disk::Full);
        unavailable(store.append(large(key)).await);
        harness.set_disk(Disk::Sound);
        ids.push(append(&store, large(key)).await);
    }
    drop(store);
    let store = harness.open().await;
    for (key, id) in (0..).zip(ids) {
        assert_eq!(store.append(keyed(&[key])).await.unwrap().id, id);
    }
}

pub(in crate::store) async fn settlements_that_wait_for_the_disk_go_before_appends(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    let lease = lease_one(&store, "audit").await;
    harness.set_disk(Disk::Full);
    // It needs no room of its own, but is tried together with an append that does; and appends
    // never end.
    let first = store.append(large(&[]));
    let mut done = store.settle(lease, done());
    unavailable(first.await);
    let flood = async {
        for _ in 0..1_000 {
            unavailable(store.append(large(&[])).await);
        }
    };
    tokio::select! {
        biased;
        settled = &mut done => assert_eq!(settled.unwrap(), Settled::Kept),
        () = flood => panic!("a thousand appends were tried before the settlement"),
    }
    assert_eq!(state(&store, id).await, State::Done);
}

pub(in crate::store) async fn a_lease_on_insert_of_a_batch_that_failed_frees_its_permit(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let mut dispatch = TestDispatch::attach(&store, &[("audit", 1)]);
    // The first delivery has its place when the others find no room.
    let names: Vec<_> = (0..500).map(|number| format!("{number:0>500}")).collect();
    let targets: Vec<_> = ["audit"].into_iter().chain(names.iter().map(String::as_str)).collect();
    harness.set_disk(Disk::Full);
    unavailable(store.append(event("order.paid", &targets)).await);
    assert_eq!(dispatch.free("audit"), 1);
    harness.set_disk(Disk::Sound);
    append(&store, event("order.paid", &["audit"])).await;
    assert_eq!(dispatch.delivered(&store).await.len(), 1);
    assert_eq!(dispatch.notified(&store).await, []);
}

pub(in crate::store) async fn a_full_disk_refuses_leases_and_frees_their_permits(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    harness.set_disk(Disk::Full);
    let budget = Arc::new(Semaphore::new(1));
    // In one batch with an append that fails, or in one of its own that has room enough.
    let (refused, leased) = (
        store.append(large(&[])),
        store.lease(queue("audit"), budget.clone().try_acquire_many_owned(1).unwrap()),
    );
    unavailable(refused.await);
    match leased.await {
        Ok(leased) => assert_eq!(leased.leases.len(), 1),
        refused => unavailable(refused),
    }
    budget.acquire().await.unwrap().forget();
    harness.set_disk(Disk::Sound);
    drop(store);
    let store = harness.open().await;
    assert!(matches!(state(&store, id).await, State::Ready));
}

pub(in crate::store) async fn an_io_error_acknowledges_nothing_and_ends_the_store(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    let lease = lease_one(&store, "audit").await;
    harness.set_disk(Disk::Broken);
    stopped(store.append(event("order.paid", &[])).await);
    store.stopped().await.unwrap();
    // Also when the disk works again: what it holds is not known.
    harness.set_disk(Disk::Sound);
    stopped(store.append(event("order.paid", &[])).await);
    stopped(store.settle(lease, done()).await);
    stopped(store.lease(queue("audit"), permits(1)).await);
    stopped(store.change(None, Action::Retry, Which::One(id)).await);
    let which = Which::Matching { filter: DeliveryFilter::default(), from: None };
    stopped(store.change(None, Action::Cancel, which).await);
    stopped(store.preview(Action::Cancel, DeliveryFilter::default(), None).await);
    stopped(store.replay(None, id.event, vec![Target::to("audit")]).await);
    stopped(store.sweep(ALL).await);
    stopped(store.event(id.event).await);
    stopped(store.kv_get("audit".into(), "n".to_owned()).await);
    stopped(store.trouble().map_or(Ok(()), Err));
    stopped(store.close().await);
}

pub(in crate::store) async fn what_was_acknowledged_before_an_io_error_is_there(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = append(&store, keyed(&[1])).await;
    harness.set_disk(Disk::Broken);
    let calls: Vec<_> = (2..20).map(|key| store.append(keyed(&[key]))).collect();
    for call in calls {
        stopped(call.await);
    }
    drop(store);
    let store = harness.open().await;
    assert_eq!(
        (store.stats().await.unwrap().events, store.event(id).await.unwrap().event.id),
        (1, id)
    );
    append(&store, keyed(&[2])).await;
}

pub(in crate::store) async fn a_store_can_be_closed_on_a_full_disk(harness: impl Harness) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    let lease = lease_one(&store, "audit").await;
    harness.set_disk(Disk::Full);
    let settled = store.settle(lease, large_done());
    unavailable(store.append(large(&[])).await);
    unavailable(store.close().await);
    unavailable(settled.await);
    stopped(store.append(event("order.paid", &[])).await);
    harness.set_disk(Disk::Sound);
    let next = harness.open().await;
    assert_eq!(state(&next, id).await, State::Ready);
}

pub(in crate::store) async fn an_approval_that_a_full_disk_refused_is_none(harness: impl Harness) {
    let store = harness.open().await;
    change(&store, [admit("audit", 1)]).await;
    harness.set_disk(Disk::Refusing);
    let refused = store.approve(None, approve("audit", 2)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    harness.set_disk(Disk::Sound);
    change(&store, [approve("other", 1)]).await;
    assert_eq!(rows(&store).await, [row("audit", 1, true), row("other", 1, false)]);
    drop(store);
    let store = harness.open().await;
    assert_eq!(rows(&store).await, [row("audit", 1, true), row("other", 1, false)]);
}

pub(in crate::store) async fn a_full_disk_refuses_a_change_together_with_its_entry(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = dead_letter(&store, "audit").await;
    harness.set_disk(Disk::Refusing);
    let asked = || Some(keyed_note("one", "k"));
    let refused = store.change(asked(), Action::Discard, Which::One(id)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    harness.set_disk(Disk::Sound);
    assert_eq!(state(&store, id).await, State::Dead);
    assert_eq!(entries(&store).await, []);
    store.change(asked(), Action::Discard, Which::One(id)).await.unwrap();
    assert_eq!(entries(&store).await.len(), 1);
}
