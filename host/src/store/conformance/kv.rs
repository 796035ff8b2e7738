//! Key-value writes: part of the settlement, checked against what the attempt read.

use super::*;
use crate::store::{KvRange, ListedKeys};

fn kv(reads: &[(&str, Option<i64>)], writes: &[(&str, Option<&[u8]>)]) -> KvTransaction {
    KvTransaction {
        reads: reads.iter().map(|(key, version)| ((*key).to_owned(), *version)).collect(),
        writes: writes
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.map(<[u8]>::to_vec)))
            .collect(),
        ..KvTransaction::default()
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

fn adds(adds: &[(&str, i64)]) -> KvTransaction {
    let adds = adds.iter().map(|(key, delta)| ((*key).to_owned(), *delta)).collect();
    KvTransaction { adds, ..KvTransaction::default() }
}

async fn number(store: &Arc<dyn Store>, bucket: &str, key: &str) -> Option<i64> {
    let found = get(store, bucket, key).await?;
    Some(i64::from_le_bytes(found.value.try_into().unwrap()))
}

pub(in crate::store) async fn a_counter_incremented_by_n_events_reads_n_after_kill_9_with_and_without_add(
    harness: impl Harness,
) {
    const EVENTS: i64 = 24;
    let mut store = harness.open().await;
    let mut open = 0;
    for n in 0..EVENTS {
        deliver(&store, "orders").await;
        open += 1;
        let lease = lease_one(&store, "orders").await;
        let seen = get(&store, "orders", "read").await;
        let before = seen
            .as_ref()
            .map_or(0, |seen| i64::from_le_bytes(seen.value.clone().try_into().unwrap()));
        // Every third one is overtaken by another that counts. It is made again.
        if n % 3 == 0 {
            run(&store, "audit", adds(&[("other", 1)])).await;
            let sum = (before + 1).to_le_bytes();
            let version = seen.as_ref().map(|seen| seen.version);
            let also = KvTransaction {
                bucket: Some("orders".into()),
                ..kv(&[("read", version)], &[("read", Some(&sum))])
            };
            let also = KvTransaction { adds: vec![("added".to_owned(), 1)], ..also };
            assert_eq!(run(&store, "audit", also).await, Settled::Kept);
            open += 1;
        }
        let sum = (before + 1).to_le_bytes();
        let version = seen.map(|seen| seen.version);
        let count = KvTransaction {
            adds: vec![("added".to_owned(), 1)],
            ..kv(&[("read", version)], &[("read", Some(&sum))])
        };
        let settled = settle(&store, lease, done_with(Vec::new(), count)).await;
        assert_eq!(settled, if n % 3 == 0 { Settled::Conflict } else { Settled::Kept });
        if n % 3 == 0 {
            let again = lease_one(&store, "orders").await;
            assert_eq!(again.attempt, 1, "no conflict spends an attempt");
            let seen = get(&store, "orders", "read").await.unwrap();
            let sum = i64::from_le_bytes(seen.value.try_into().unwrap()) + 1;
            let count = KvTransaction {
                adds: vec![("added".to_owned(), 1)],
                ..kv(&[("read", Some(seen.version))], &[("read", Some(&sum.to_le_bytes()))])
            };
            assert_eq!(settle(&store, again, done_with(Vec::new(), count)).await, Settled::Kept);
        }
        if n % 5 == 0 {
            drop(store);
            store = harness.open().await;
        }
        let read = number(&store, "orders", "read").await;
        assert_eq!((read, number(&store, "orders", "added").await), (Some(open), Some(open)));
    }
}

pub(in crate::store) async fn an_addition_conflicts_with_nothing_and_stays_at_the_limit(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let ids = [deliver(&store, "orders").await, deliver(&store, "orders").await];
    let leases = lease(&store, "orders", 2).await;
    for lease in leases {
        let add = done_with(Vec::new(), adds(&[("n", i64::MAX), ("m", i64::MIN)]));
        assert_eq!(settle(&store, lease, add).await, Settled::Kept);
    }
    for id in ids {
        assert_eq!(state(&store, id).await, State::Done);
    }
    assert_eq!(number(&store, "orders", "n").await, Some(i64::MAX));
    assert_eq!(number(&store, "orders", "m").await, Some(i64::MIN));
    run(&store, "orders", adds(&[("n", -1)])).await;
    assert_eq!(number(&store, "orders", "n").await, Some(i64::MAX - 1));
    assert_eq!(store.kv_bytes("orders").await.unwrap(), 2 * 9);
}

pub(in crate::store) async fn an_addition_to_what_is_no_number_is_an_error_that_leaves_nothing(
    harness: impl Harness,
) {
    let store = harness.open().await;
    run(&store, "orders", kv(&[], &[("text", Some(b"seven"))])).await;
    let id = deliver(&store, "orders").await;
    let lease = lease_one(&store, "orders").await;
    let child = NewEvent { parent: Some(id.event), ..event("order.counted", &["audit"]) };
    let both = KvTransaction {
        writes: vec![("other".to_owned(), Some(b"1".to_vec()))],
        ..adds(&[("n", 1), ("text", 1)])
    };
    assert_eq!(settle(&store, lease, done_with(vec![child], both)).await, Settled::NotANumber);
    let view = delivery(&store, id).await;
    let last = &view.attempts[0].record;
    assert_eq!((view.state, last.outcome), (State::Dead, Outcome::Error));
    let error = last.error.as_deref().unwrap();
    assert!(error.contains("`text` of bucket `orders`") && error.contains("5 bytes"), "{error}");
    assert_eq!(get(&store, "orders", "text").await.unwrap().value, b"seven");
    assert_eq!(
        (get(&store, "orders", "n").await, get(&store, "orders", "other").await),
        (None, None)
    );
    assert!(store.event(id.event).await.unwrap().children.is_empty());
    // The value that the attempt itself has set or removed counts, if there is one.
    for stored in ["n", "text"] {
        run(&store, "orders", adds(&[("n", 1)])).await;
        let set = kv(&[], &[(stored, Some(b"x"))]);
        let both = KvTransaction { adds: vec![(stored.to_owned(), 1)], ..set };
        assert_eq!(run(&store, "orders", both).await, Settled::NotANumber, "{stored}");
    }
    let removed =
        KvTransaction { adds: vec![("text".to_owned(), 1)], ..kv(&[], &[("text", None)]) };
    assert_eq!(run(&store, "orders", removed).await, Settled::Kept);
    assert_eq!(number(&store, "orders", "text").await, Some(1));
}

async fn listed(
    store: &Arc<dyn Store>,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Vec<String> {
    let range = KvRange { prefix: prefix.to_owned(), after: after.map(str::to_owned), limit };
    let found = store.kv_keys("orders".into(), range).await.unwrap();
    found.into_iter().map(|found| found.key).collect()
}

pub(in crate::store) async fn keys_are_listed_in_the_order_of_their_bytes(harness: impl Harness) {
    let store = harness.open().await;
    let keys =
        ["a", "b", "b/1", "b/2", "b0", "z", "é", "\u{d7ff}x", "\u{e000}", "\u{10ffff}\u{10ffff}"];
    for key in keys.iter().rev() {
        run(&store, "orders", kv(&[], &[(key, Some(b"12"))])).await;
    }
    run(&store, "audit", kv(&[], &[("b/3", Some(b""))])).await;
    assert_eq!(listed(&store, "", None, 99).await, keys);
    assert_eq!(listed(&store, "b", None, 99).await, ["b", "b/1", "b/2", "b0"]);
    assert_eq!(listed(&store, "b/", None, 1).await, ["b/1"]);
    assert_eq!(listed(&store, "b/", Some("b/1"), 99).await, ["b/2"]);
    assert_eq!(listed(&store, "b/", Some("a"), 99).await, ["b/1", "b/2"]);
    assert_eq!(listed(&store, "b/", Some("z"), 99).await, Vec::<String>::new());
    assert_eq!(listed(&store, "", Some("z"), 1).await, ["é"]);
    assert_eq!(listed(&store, "\u{d7ff}", None, 9).await, ["\u{d7ff}x"]);
    assert_eq!(listed(&store, "\u{10ffff}", None, 9).await, ["\u{10ffff}\u{10ffff}"]);
    let found = store.kv_keys("orders".into(), KvRange { limit: 1, ..KvRange::default() }).await;
    assert_eq!(found.unwrap()[0].bytes, 2);
    let buckets: Vec<_> = store.kv_buckets().await.unwrap().into_keys().collect();
    assert_eq!(buckets.iter().map(|name| &**name).collect::<Vec<_>>(), ["audit", "orders"]);
}

pub(in crate::store) async fn a_list_of_keys_that_changed_meanwhile_is_a_conflict(
    harness: impl Harness,
) {
    let store = harness.open().await;
    run(&store, "orders", kv(&[], &[("b/1", Some(b"1")), ("b/2", Some(b"1"))])).await;
    let list = |limit, keys: &[&str]| {
        let range = KvRange { prefix: "b/".to_owned(), after: None, limit };
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        KvTransaction { lists: vec![ListedKeys { range, keys }], ..KvTransaction::default() }
    };
    assert_eq!(run(&store, "orders", list(9, &["b/1", "b/2"])).await, Settled::Kept);
    assert_eq!(run(&store, "orders", list(1, &["b/1"])).await, Settled::Kept);
    // A key that came, and a key that went.
    assert_eq!(run(&store, "orders", list(9, &["b/1"])).await, Settled::Conflict);
    let again = lease_one(&store, "orders").await;
    settle(&store, again, done_with(Vec::new(), kv(&[], &[("b/2", None)]))).await;
    assert_eq!(run(&store, "orders", list(9, &["b/1", "b/2"])).await, Settled::Conflict);
    let again = lease_one(&store, "orders").await;
    assert_eq!(again.attempt, 1);
    // A write beyond the list changes nothing about it.
    run(
        &store,
        "audit",
        KvTransaction {
            bucket: Some("orders".into()),
            ..kv(&[], &[("c", Some(b"1")), ("a", Some(b"1"))])
        },
    )
    .await;
    let settled = settle(&store, again, done_with(Vec::new(), list(9, &["b/1"]))).await;
    assert_eq!(settled, Settled::Kept);
}

pub(in crate::store) async fn several_plugins_write_to_one_bucket_and_see_each_others_keys(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let shared = |kv| KvTransaction { bucket: Some("orders".into()), ..kv };
    for plugin in ["paid", "packed"] {
        assert_eq!(run(&store, plugin, shared(adds(&[("n", 1)]))).await, Settled::Kept);
    }
    assert_eq!(number(&store, "orders", "n").await, Some(2));
    let seen = version(&store, "orders", "n").await;
    run(&store, "paid", shared(kv(&[], &[("n", Some(b"x"))]))).await;
    assert_eq!(
        run(&store, "packed", shared(kv(&[("n", seen)], &[]))).await,
        Settled::Conflict,
        "they see each other"
    );
    assert_eq!((get(&store, "paid", "n").await, get(&store, "packed", "n").await), (None, None));
    let bytes = [store.kv_bytes("orders").await.unwrap(), store.kv_bytes("paid").await.unwrap()];
    assert_eq!(bytes, [2, 0], "and their bytes are those of the bucket");
    let stats = store.stats().await.unwrap();
    assert!(!stats.plugins.contains_key("orders"), "a bucket is no plugin");
}

pub(in crate::store) async fn a_value_goes_when_nobody_has_written_it_for_its_time(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let for_a_day = |kv| KvTransaction { ttl: Some(time(DAY_MS)), ..kv };
    let one = |key| kv(&[], &[(key, Some(&b"1"[..]))]);
    run(&store, "orders", for_a_day(one("old"))).await;
    run(&store, "orders", for_a_day(one("written"))).await;
    run(&store, "orders", for_a_day(one("for-good"))).await;
    run(&store, "orders", one("stays")).await;
    pass(&harness, DAY_MS / 2);
    run(&store, "orders", for_a_day(one("written"))).await;
    run(&store, "orders", for_a_day(adds(&[("sum", 1)]))).await;
    run(&store, "orders", one("for-good")).await;
    drop(store);
    let store = harness.open().await;
    pass(&harness, DAY_MS / 2 - 1);
    super::sweep::sweep_all(&store, ALL).await;
    assert!(get(&store, "orders", "old").await.is_some(), "never early");
    pass(&harness, 1);
    super::sweep::sweep_all(&store, ALL).await;
    assert_eq!(listed(&store, "", None, 9).await, ["for-good", "stays", "sum", "written"]);
    pass(&harness, DAY_MS);
    super::sweep::sweep_all(&store, ALL).await;
    assert_eq!(listed(&store, "", None, 9).await, ["for-good", "stays"]);
    assert_eq!(store.kv_bytes("orders").await.unwrap(), 9 + 6);
    // A clock that was set deletes nothing.
    run(&store, "orders", for_a_day(one("young"))).await;
    harness.clock().step(harness.clock().now_ms() + 30 * DAY_MS);
    super::sweep::sweep_all(&store, ALL).await;
    assert!(get(&store, "orders", "young").await.is_some());
}
