//! Values that clients set and delete.

use super::audit::{entries, keyed_note};
use super::*;
use crate::store::{KeyChange, KeyExpected, KvEntry, KvRange};

fn change(value: Option<&[u8]>, expected: KeyExpected) -> KeyChange {
    KeyChange {
        bucket: "audit".into(),
        key: "order_1".to_owned(),
        value: value.map(<[u8]>::to_vec),
        expected,
        ttl: None,
    }
}

async fn value(store: &Arc<dyn Store>) -> Option<(Vec<u8>, i64)> {
    let found = store.kv_get("audit".into(), "order_1".to_owned()).await.unwrap();
    found.map(|found| (found.value, found.version))
}

async fn refused(store: &Arc<dyn Store>, change: KeyChange) -> String {
    match store.change_key(Some(keyed_note("order_1", "refused")), change).await {
        Err(StoreError::Conflict(why)) => why,
        other => panic!("{other:?}"),
    }
}

pub(in crate::store) async fn a_client_sets_what_is_as_it_expects_and_nothing_else(
    harness: impl Harness,
) {
    use KeyExpected::{Absent, Anything, Version};
    let store = harness.open().await;
    refused(&store, change(Some(b"a"), Version(7))).await;
    let note = Some(keyed_note("order_1", "k"));
    let first = store.change_key(note, change(Some(b"a"), Absent)).await.unwrap().unwrap();
    assert_eq!(value(&store).await, Some((b"a".to_vec(), first)));
    let why = refused(&store, change(Some(b"b"), Absent)).await;
    assert!(why.contains(&first.to_string()), "{why}");
    let second = store.change_key(None, change(Some(b"b"), Version(first))).await;
    let second = second.unwrap().unwrap();
    assert!(second > first);
    refused(&store, change(Some(b"c"), Version(first))).await;
    refused(&store, change(None, Version(first))).await;
    drop(store);
    let store = harness.open().await;
    assert_eq!(value(&store).await, Some((b"b".to_vec(), second)));
    assert!(store.change_key(None, change(Some(b""), Anything)).await.unwrap().unwrap() > second);
    assert_eq!(entries(&store).await.len(), 1, "what is refused has no entry");
    // Asked for again with the key of the first change, nothing is done.
    let again = store.change_key(Some(keyed_note("order_1", "k")), change(Some(b"a"), Absent));
    assert_eq!(again.await.unwrap(), Some(first));
    assert_eq!(value(&store).await.unwrap().0, b"");
}

pub(in crate::store) async fn a_client_deletes_a_value_and_its_bytes(harness: impl Harness) {
    let store = harness.open().await;
    let set = change(Some(b"abc"), KeyExpected::Absent);
    let version = store.change_key(None, set).await.unwrap().unwrap();
    assert_eq!(store.kv_bytes("audit").await.unwrap(), 10);
    let delete = change(None, KeyExpected::Version(version));
    assert_eq!(store.change_key(None, delete).await.unwrap(), None);
    assert_eq!((value(&store).await, store.kv_bytes("audit").await.unwrap()), (None, 0));
    refused(&store, change(None, KeyExpected::Anything)).await;
    drop(store);
    let store = harness.open().await;
    assert_eq!((value(&store).await, store.kv_bytes("audit").await.unwrap()), (None, 0));
}

pub(in crate::store) async fn a_value_of_a_client_has_a_time_to_live_and_conflicts_with_an_attempt(
    harness: impl Harness,
) {
    let store = harness.open().await;
    deliver(&store, "audit").await;
    let lease = lease_one(&store, "audit").await;
    let set = KeyChange { ttl: Some(time(5_000)), ..change(Some(b"a"), KeyExpected::Absent) };
    store.change_key(None, set).await.unwrap();
    // The attempt has read the key before it was there.
    let reads = vec![("order_1".to_owned(), None)];
    let writes = vec![("order_1".to_owned(), Some(b"mine".to_vec()))];
    let kv = KvTransaction { reads, writes, ..KvTransaction::default() };
    assert_eq!(settle(&store, lease, done_with(Vec::new(), kv)).await, Settled::Conflict);
    assert_eq!(value(&store).await.unwrap().0, b"a");
    pass(&harness, 5_001);
    store.sweep(ALL).await.unwrap();
    assert_eq!(value(&store).await, None);
}

pub(in crate::store) async fn a_key_says_its_version_its_end_and_the_attempt_that_wrote_it(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = deliver(&store, "orders").await;
    let lease = lease_one(&store, "orders").await;
    let number = lease.attempt;
    let write = |key: &str, value: &[u8]| (key.to_owned(), Some(value.to_vec()));
    let writes = KvTransaction {
        ttl: Some(Duration::from_secs(3_600)),
        adds: vec![("a/2".to_owned(), 7)],
        writes: vec![write("a/1", b"one"), write("b", b"")],
        ..KvTransaction::default()
    };
    assert_eq!(settle(&store, lease, done_with(Vec::new(), writes)).await, Settled::Kept);
    let range = || KvRange { prefix: "a/".to_owned(), after: None, limit: 9 };
    let found = store.kv_entries("orders".into(), range()).await.unwrap();
    let of = |entry: &KvEntry| (entry.key.clone(), entry.bytes, entry.writer);
    let writer = Some((id, number));
    assert_eq!(
        found.iter().map(of).collect::<Vec<_>>(),
        [("a/1".to_owned(), 3, writer), ("a/2".to_owned(), 8, writer)]
    );
    for entry in &found {
        let value = store.kv_get("orders".into(), entry.key.clone()).await.unwrap();
        assert_eq!(value.unwrap().version, entry.version);
        assert!(entry.expires_ms.is_some(), "{entry:?}");
    }
    // A client leaves no attempt, and without a time to live a value stays.
    let change = change(Some(b"1"), KeyExpected::Anything);
    let change = KeyChange { bucket: "orders".into(), key: "a/1".to_owned(), ..change };
    let changed = store.change_key(None, change).await.unwrap();
    let found = store.kv_entries("orders".into(), KvRange { limit: 1, ..range() }).await.unwrap();
    let expected = KvEntry {
        key: "a/1".to_owned(),
        bytes: 1,
        version: changed.unwrap(),
        expires_ms: None,
        writer: None,
    };
    assert_eq!(found, [expected]);
    let after = KvRange { after: Some("a/1".to_owned()), ..range() };
    let found = store.kv_entries("orders".into(), after).await.unwrap();
    assert_eq!(found.iter().map(|it| it.key.as_str()).collect::<Vec<_>>(), ["a/2"]);
    let all = KvRange { limit: 9, ..KvRange::default() };
    assert_eq!(store.kv_entries("orders".into(), all).await.unwrap().len(), 3);
}
