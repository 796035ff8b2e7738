//! Events that operators make of others.

use super::audit::{entries, keyed_note};
use super::*;
use crate::event::EditedFrom;

/// An event that jo has made of another one.
pub(super) fn edited(event_id: EventId, targets: &[&str]) -> NewEvent {
    let edited = Some(EditedFrom { event: event_id, by: "jo".to_owned() });
    NewEvent { edited, ..event("order.paid", targets) }
}

pub(in crate::store) async fn an_edited_event_and_the_one_it_was_made_of_name_each_other_after_a_crash(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let old = append(&store, event("order.paid", &["audit"])).await;
    let first = store.make(None, edited(old, &["audit"])).await.unwrap().id;
    let second = store.make(None, edited(first, &[])).await.unwrap().id;
    let third = store.make(None, edited(old, &[])).await.unwrap().id;
    drop(store);
    let store = harness.open().await;
    let old = store.event(old).await.unwrap();
    assert_eq!((old.replays, old.edited), (vec![first, third], None));
    let view = store.event(first).await.unwrap();
    let from = EditedFrom { event: old.event.id, by: "jo".to_owned() };
    assert_eq!((view.edited, view.replays), (Some(from), vec![second]));
    assert_eq!((view.deliveries.len(), view.event.root), (1, None));
    assert_eq!(store.stats().await.unwrap().events, 4);
}

pub(in crate::store) async fn of_an_event_that_is_gone_nothing_is_made(harness: impl Harness) {
    let store = harness.open().await;
    let gone = edited(EventId::first_at(START_MS), &["audit"]);
    let refused = store.make(Some(keyed_note("gone", "k")), gone).await;
    assert!(matches!(refused, Err(StoreError::NotFound(_))), "{refused:?}");
    assert_eq!(store.stats().await.unwrap().events, 0);
    assert_eq!(entries(&store).await, []);
}

pub(in crate::store) async fn an_event_that_is_asked_for_twice_with_one_key_is_made_once(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let make = || store.make(Some(keyed_note("run", "k")), event("report.due", &["audit"]));
    let (first, second) = (make().await.unwrap(), make().await.unwrap());
    assert_eq!((first.id, first.duplicate, second.duplicate), (second.id, false, true));
    drop(store);
    let store = harness.open().await;
    let again = store.make(Some(keyed_note("run", "k")), event("report.due", &["audit"])).await;
    assert_eq!(again.unwrap().id, first.id);
    assert_eq!(store.stats().await.unwrap().events, 1);
    let entries = entries(&store).await;
    assert_eq!((entries.len(), &entries[0].result), (1, &format!("\"{}\"", first.id)));
}
