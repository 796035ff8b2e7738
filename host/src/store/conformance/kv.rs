//! Key-value writes: part of the settlement, checked against what the attempt read.

use super::*;

fn kv(reads: &[(&str, Option<i64>)], writes: &[(&str, Option<&[u8]>)]) -> KvTransaction {
    KvTransaction {
        reads: reads.iter().map(|(key, version)| ((*key).to_owned(), *version)).collect(),
        writes: writes
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.map(<[u8]>::to_vec)))
            .collect(),
    }
}

/// One delivery of `plugin` that is settled with these operations.
async fn run(store: &Arc<dyn Store>, plugin: &str, kv: KvTransaction) -> Settled {
    deliver(store, plugin).await;
    let lease = lease_one(store, plugin).await;
    settle(store, lease, done_with(Vec::new(), kv)).await
}

async fn get(store: &Arc<dyn Store>, plugin: &str, key: &str) -> Option<crate::store::KvValue> {
    store.kv_get(plugin.into(), key.to_owned()).await.unwrap()
}

async fn version(store: &Arc<dyn Store>, plugin: &str, key: &str) -> Option<i64> {
    get(store, plugin, key).await.map(|found| found.version)
}

pub(in crate::store) async fn a_written_key_is_read_back_after_a_crash(harness: impl Harness) {
    let store = harness.open().await;
    assert_eq!(get(&store, "orders", "n").await, None);
    assert_eq!(
        run(&store, "orders", kv(&[("n", None)], &[("n", Some(b"\0one"))])).await,
        Settled::Kept
    );
    let first = get(&store, "orders", "n").await.unwrap();
    drop(store);
    let store = harness.open().await;
    assert_eq!(get(&store, "orders", "n").await.unwrap(), first);
    assert_eq!(first.value, b"\0one");
    let seen = Some(first.version);
    assert_eq!(
        run(&store, "orders", kv(&[("n", seen)], &[("n", Some(b"two"))])).await,
        Settled::Kept
    );
    assert!(version(&store, "orders", "n").await > seen);
}

pub(in crate::store) async fn a_key_that_changed_meanwhile_is_a_conflict(harness: impl Harness) {
    let store = harness.open().await;
    run(&store, "orders", kv(&[], &[("n", Some(b"1"))])).await;
    let seen = version(&store, "orders", "n").await;
    // Written again, with the same bytes: another version all the same.
    run(&store, "orders", kv(&[], &[("n", Some(b"1"))])).await;
    let child = event("order.ready", &[]);
    let id = deliver(&store, "orders").await;
    let lease = lease_one(&store, "orders").await;
    let stale = kv(&[("n", seen)], &[("n", Some(b"2")), ("other", Some(b"2"))]);
    let events = store.stats().await.unwrap().events;
    assert_eq!(settle(&store, lease, done_with(vec![child], stale)).await, Settled::Conflict);
    assert_eq!(get(&store, "orders", "n").await.unwrap().value, b"1");
    assert_eq!(get(&store, "orders", "other").await, None);
    assert_eq!(store.stats().await.unwrap().events, events);
    assert_eq!(state(&store, id).await, State::Ready);
}

pub(in crate::store) async fn a_key_that_appeared_meanwhile_is_a_conflict(harness: impl Harness) {
    let store = harness.open().await;
    run(&store, "orders", kv(&[], &[("n", Some(b"1"))])).await;
    assert_eq!(
        run(&store, "orders", kv(&[("n", None)], &[("n", Some(b"2"))])).await,
        Settled::Conflict
    );
    let seen = version(&store, "orders", "n").await;
    settle(
        &store,
        lease_one(&store, "orders").await,
        done_with(Vec::new(), kv(&[], &[("n", None)])),
    )
    .await;
    assert_eq!(run(&store, "orders", kv(&[("n", seen)], &[])).await, Settled::Conflict);
}

pub(in crate::store) async fn a_conflict_does_not_spend_the_attempt(harness: impl Harness) {
    let store = harness.open().await;
    let id = deliver(&store, "orders").await;
    let lease = lease_one(&store, "orders").await;
    let stale = done_with(Vec::new(), kv(&[("n", Some(1))], &[]));
    assert_eq!(settle(&store, lease, stale).await, Settled::Conflict);
    let view = delivery(&store, id).await;
    assert_eq!((view.state, view.attempt, view.attempts.len()), (State::Ready, 0, 0));
    let again = lease_one(&store, "orders").await;
    assert_eq!(again.attempt, 1);
    assert_eq!(settle(&store, again, done()).await, Settled::Kept);
}

pub(in crate::store) async fn a_late_settlement_is_lost_rather_than_a_conflict(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = deliver(&store, "orders").await;
    let zombie = lease_one(&store, "orders").await;
    drop(store);
    let store = harness.open().await;
    let before = delivery(&store, id).await;
    let stale = done_with(Vec::new(), kv(&[("n", Some(1))], &[("n", Some(b"2"))]));
    assert_eq!(settle(&store, zombie, stale).await, Settled::Lost);
    assert_eq!(delivery(&store, id).await, before);
}

pub(in crate::store) async fn plugins_do_not_see_each_others_keys(harness: impl Harness) {
    let store = harness.open().await;
    run(&store, "orders", kv(&[], &[("n", Some(b"1"))])).await;
    assert_eq!(get(&store, "audit", "n").await, None);
    assert_eq!(
        run(&store, "audit", kv(&[("n", None)], &[("n", Some(b"22"))])).await,
        Settled::Kept
    );
    assert_eq!(get(&store, "orders", "n").await.unwrap().value, b"1");
    assert_eq!(
        (
            store.kv_bytes("orders").await.unwrap(),
            store.kv_bytes("audit").await.unwrap(),
            store.kv_bytes("nobody").await.unwrap()
        ),
        (2, 3, 0)
    );
}

pub(in crate::store) async fn a_deleted_key_is_gone_and_its_bytes_with_it(harness: impl Harness) {
    let store = harness.open().await;
    run(&store, "orders", kv(&[], &[("n", Some(b"123")), ("empty", Some(b""))])).await;
    assert_eq!(store.kv_bytes("orders").await.unwrap(), 4 + 5);
    run(&store, "orders", kv(&[], &[("n", None), ("never", None)])).await;
    assert_eq!(
        (get(&store, "orders", "n").await, store.kv_bytes("orders").await.unwrap()),
        (None, 5)
    );
    drop(store);
    let store = harness.open().await;
    assert_eq!(store.kv_bytes("orders").await.unwrap(), 5);
    assert_eq!(get(&store, "orders", "empty").await.unwrap().value, b"");
}

pub(in crate::store) async fn a_key_written_twice_holds_the_last_value(harness: impl Harness) {
    let store = harness.open().await;
    run(&store, "orders", kv(&[], &[("n", Some(b"long one")), ("n", None), ("n", Some(b"2"))]))
        .await;
    assert_eq!(get(&store, "orders", "n").await.unwrap().value, b"2");
    assert_eq!(store.kv_bytes("orders").await.unwrap(), 2);
}
