//! Appending the events of one request: all or none, each deduplicated for itself.

use super::*;
use crate::store::{Appended, EventFilter, Page};

fn named(kind: &str, key: u8, targets: &[&str]) -> NewEvent {
    NewEvent { dedupe: vec![key_of(key)], ..event(kind, targets) }
}

/// The types of all events, the oldest first.
async fn kinds(store: &Arc<dyn Store>) -> Vec<String> {
    let page = Page { limit: 100, after: None };
    let (mut events, _) = store.events(EventFilter::default(), page).await.unwrap();
    events.sort_by_key(|event| event.event.id);
    events.into_iter().map(|event| event.event.attributes.kind).collect()
}

pub(in crate::store) async fn the_events_of_a_request_are_stored_in_their_order(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let before = append(&store, event("before", &[])).await;
    let events = ["a", "b", "c"].map(|kind| event(kind, &["audit"])).to_vec();
    let stored = store.append_all(events).await.unwrap();
    assert!(stored.iter().all(|event| !event.duplicate), "{stored:?}");
    let ids: Vec<_> = stored.iter().map(|event| event.id).collect();
    assert!(before < ids[0] && ids.is_sorted(), "{ids:?}");
    assert_eq!(lease(&store, "audit", 9).await.len(), 3);
    drop(store);
    let store = harness.open().await;
    assert_eq!(kinds(&store).await, ["before", "a", "b", "c"]);
    let mut found = Vec::new();
    for id in ids {
        found.push(store.event(id).await.unwrap().event.attributes.kind);
    }
    assert_eq!(found, ["a", "b", "c"]);
}

pub(in crate::store) async fn no_events_are_stored_as_none(harness: impl Harness) {
    let store = harness.open().await;
    assert_eq!(store.append_all(Vec::new()).await.unwrap(), []);
    assert_eq!(store.stats().await.unwrap().events, 0);
}

pub(in crate::store) async fn each_event_of_a_request_is_a_duplicate_for_itself(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let known = append(&store, named("known", 1, &[])).await;
    let events =
        vec![named("new", 2, &["audit"]), named("known", 1, &["audit"]), named("other", 3, &[])];
    let stored = store.append_all(events.clone()).await.unwrap();
    let words: Vec<_> = stored.iter().map(|event| event.duplicate).collect();
    assert_eq!((words, stored[1].id), (vec![false, true, false], known));
    assert_eq!(lease(&store, "audit", 9).await.len(), 1);
    let again = store.append_all(events).await.unwrap();
    let ids = |stored: &[Appended]| stored.iter().map(|event| event.id).collect::<Vec<_>>();
    assert!(again.iter().all(|event| event.duplicate));
    assert_eq!(ids(&again), ids(&stored));
    assert_eq!(kinds(&store).await, ["known", "new", "other"]);
}

pub(in crate::store) async fn of_a_key_that_a_request_has_twice_the_first_event_counts(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let events = vec![named("a", 1, &[]), named("b", 2, &[]), named("c", 1, &[])];
    let stored = store.append_all(events).await.unwrap();
    assert_eq!(stored[2], Appended { id: stored[0].id, duplicate: true });
    assert_eq!(kinds(&store).await, ["a", "b"]);
    assert_eq!(store.event(stored[0].id).await.unwrap().duplicates, 1);
}

pub(in crate::store) async fn a_request_whose_caller_has_gone_is_kept_whole(harness: impl Harness) {
    let store = harness.open().await;
    drop(store.append_all(vec![event("a", &["audit"]), event("b", &["audit"])]));
    // It is before this one.
    append(&store, event("c", &[])).await;
    assert_eq!(kinds(&store).await, ["a", "b", "c"]);
}
