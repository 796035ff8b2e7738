//! An event past `store.payload_retention` has everything but its data.

use super::erase::about;
use super::sweep::sweep_all;
use super::*;
use crate::clock::until;
use crate::store::{Action, Emptied, Erasure, Which};

/// Empties what was received before this time, Unix ms.
fn since(harness: &impl Harness, unix_ms: i64) -> Keep {
    Keep { payloads: until(unix_ms, harness.clock().deletion_ms()), ..ALL }
}

async fn bytes(store: &Arc<dyn Store>, id: EventId) -> usize {
    store.event(id).await.unwrap().event.attributes.body.len()
}

pub(in crate::store) async fn after_its_time_an_event_loses_its_data_and_keeps_its_place(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = append(&store, about("jo", &["audit"])).await;
    let mut settlement = done();
    let record = settlement.record.as_mut().unwrap();
    record.logs = vec![LogLine { level: "info".to_owned(), message: "Jo".to_owned() }];
    settle(&store, lease_one(&store, "audit").await, settlement).await;
    pass(&harness, DAY_MS);
    let young = append(&store, event("order.paid", &["audit"])).await;
    sweep_all(&store, since(&harness, START_MS + DAY_MS)).await;
    drop(store);
    let store = harness.open().await;
    let view = store.event(id).await.unwrap();
    let attributes = &view.event.attributes;
    assert_eq!((attributes.body.len(), view.headers.len()), (0, 0));
    assert_eq!(attributes.subject.as_deref(), Some("jo"));
    assert_eq!(view.emptied, Some(Emptied { at_ms: START_MS + DAY_MS, asked: false }));
    let attempt = &view.deliveries[0].attempts[0].record;
    assert_eq!((attempt.outcome, attempt.logs.len()), (Outcome::Ok, 0));
    assert_eq!(store.event(young).await.unwrap().emptied, None);
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.events, stats.deliveries(State::Done)), (2, 1));
    assert!(store.append(about("jo", &["audit"])).await.unwrap().duplicate);
    let replayed = store.replay(None, id, vec![Target::to("audit")]).await;
    assert!(
        matches!(&replayed, Err(StoreError::Conflict(why)) if why.contains("payload_retention")),
        "{replayed:?}"
    );
    // A request for its deletion deletes the rest as well.
    assert_eq!(store.erase(None, Erasure::Event(id), false).await.unwrap().events, 1);
    let view = store.event(id).await.unwrap();
    assert_eq!((view.event.attributes.subject, view.emptied.unwrap().asked), (None, true));
}

pub(in crate::store) async fn what_may_be_needed_keeps_its_data_until_it_is_not(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let ready = append(&store, NewEvent { dedupe: vec![], ..about("a", &["later"]) }).await;
    let settled = append(&store, NewEvent { dedupe: vec![], ..about("b", &[]) }).await;
    pass(&harness, DAY_MS);
    // Its dead letter is of today, whatever its own age.
    let dead = append(&store, NewEvent { dedupe: vec![], ..about("c", &["audit"]) }).await;
    settle(&store, lease_one(&store, "audit").await, self::dead()).await;
    sweep_all(&store, since(&harness, START_MS + DAY_MS)).await;
    let left =
        [bytes(&store, ready).await, bytes(&store, settled).await, bytes(&store, dead).await];
    assert!(left[0] > 0 && left[1] == 0 && left[2] > 0, "{left:?}");
    let delivery = DeliveryId { event: ready, ordinal: 0 };
    store.change(None, Action::Cancel, Which::One(delivery)).await.unwrap();
    sweep_all(&store, since(&harness, START_MS + DAY_MS)).await;
    assert_eq!(bytes(&store, ready).await, 0);
    pass(&harness, DAY_MS);
    sweep_all(&store, since(&harness, START_MS + 2 * DAY_MS)).await;
    assert_eq!(bytes(&store, dead).await, 0);
    let delivery = DeliveryId { event: dead, ordinal: 0 };
    let retried = store.change(None, Action::Retry, Which::One(delivery)).await;
    assert!(
        matches!(&retried, Err(StoreError::Conflict(why)) if why.contains("payload_retention")),
        "{retried:?}"
    );
}

pub(in crate::store) async fn events_are_emptied_a_bounded_number_at_a_time(harness: impl Harness) {
    let store = harness.open().await;
    let mut ids = Vec::new();
    for _ in 0..1_200 {
        ids.push(store.append(NewEvent { dedupe: vec![], ..about("jo", &[]) }));
    }
    let mut events = Vec::new();
    for id in ids {
        events.push(id.await.unwrap().id);
    }
    pass(&harness, DAY_MS);
    assert!(store.sweep(since(&harness, START_MS + DAY_MS)).await.unwrap());
    assert!(bytes(&store, events[1_199]).await > 0);
    sweep_all(&store, since(&harness, START_MS + DAY_MS)).await;
    for event in events {
        assert_eq!(bytes(&store, event).await, 0);
    }
}
