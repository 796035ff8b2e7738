//! Appending: durable, deduplicated, never twice under one id.

use super::*;
use crate::event::{Target, TargetOptions};
use crate::store::{EventFilter, Page};

pub(in crate::store) async fn what_was_appended_is_there_after_a_crash(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    let parent = append(&store, event("parent", &[])).await;
    let new = NewEvent {
        attributes: Attributes {
            source: "acme".into(),
            kind: "order.paid".to_owned(),
            subject: Some("order_1".to_owned()),
            content_type: Some("application/json".to_owned()),
            time_ms: START_MS + 5,
            body: Bytes::from_static(b"\0\xff{\"a\": 1}"),
        },
        provider_id: Some("msg_1".to_owned()),
        dedupe: vec![key_of(1), key_of(2)],
        spends: None,
        legacy_key: None,
        headers: vec![("x-id".to_owned(), "\"1\"".to_owned())],
        note: Some("stale".to_owned()),
        signed_by: Some(1),
        edited: None,
        parent: Some(parent),
        hops: 3,
        deliveries: vec![Target::to("audit").into(), Target::to("orders").into()],
        cancels: Vec::new(),
        members: Vec::new(),
        delay_ms: 0,
        trace: None,
    };
    let id = append(&store, new.clone()).await;
    drop(store);
    let store = harness.open().await;
    let view = store.event(id).await.unwrap();
    assert_eq!(view.event.id, id);
    assert_eq!(view.event.attributes, new.attributes);
    assert_eq!((view.event.parent, view.event.hops), (new.parent, new.hops));
    assert_eq!(
        (view.provider_id, view.note, view.signed_by, view.headers),
        (new.provider_id, new.note, new.signed_by, new.headers)
    );
    let deliveries: Vec<_> =
        view.deliveries.iter().map(|d| (d.id.ordinal, &*d.plugin, d.state, d.attempt)).collect();
    assert_eq!(deliveries, [(0, "audit", State::Ready, 0), (1, "orders", State::Ready, 0)]);
    assert_eq!(store.event(parent).await.unwrap().children, [id]);
}

pub(in crate::store) async fn a_repeated_dedupe_key_creates_nothing_and_names_the_first_event(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    let first = append(&store, keyed(&[1])).await;
    let again = store
        .append(NewEvent { deliveries: vec![Target::to("audit").into()], ..keyed(&[1]) })
        .await
        .unwrap();
    assert_eq!((again.id, again.duplicate), (first, true));
    assert!(lease(&store, "audit", 1).await.is_empty());
    drop(store);
    let store = harness.open().await;
    let again = store.append(keyed(&[1])).await.unwrap();
    assert_eq!((again.id, again.duplicate), (first, true));
    assert_eq!(store.stats().await.unwrap().events, 1);
}

pub(in crate::store) async fn either_of_two_keys_makes_a_duplicate(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    let first = append(&store, keyed(&[1, 2])).await;
    for keys in [&[1, 9][..], &[9, 2], &[2, 9], &[2], &[1]] {
        let again = store.append(keyed(keys)).await.unwrap();
        assert_eq!((again.id, again.duplicate), (first, true), "{keys:?}");
    }
    // A duplicate gave its other key to nobody.
    assert!(!store.append(keyed(&[9])).await.unwrap().duplicate);
}

pub(in crate::store) async fn a_duplicate_spends_its_token_for_the_event_that_it_repeats(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    let first = append(&store, keyed(&[1, 2])).await;
    let retry = NewEvent { spends: Some(key_of(9)), ..keyed(&[1, 9]) };
    assert_eq!(store.append(retry.clone()).await.unwrap().id, first);
    for keys in [&[9][..], &[8, 9]] {
        let again = store.append(keyed(keys)).await.unwrap();
        assert_eq!((again.id, again.duplicate), (first, true), "{keys:?}");
    }
    // A key that another event has stays with it.
    let other = append(&store, keyed(&[5])).await;
    store.append(NewEvent { spends: Some(key_of(5)), ..keyed(&[1, 5]) }).await.unwrap();
    assert_eq!(store.append(keyed(&[5])).await.unwrap().id, other);
    store.append(retry).await.unwrap();
    drop(store);
    let store = harness.open().await;
    assert_eq!(store.append(keyed(&[9])).await.unwrap().id, first, "after a start");
}

pub(in crate::store) async fn a_key_of_one_source_means_nothing_to_another(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    append(&store, keyed(&[1])).await;
    let mut other = keyed(&[1]);
    other.attributes.source = "beta".into();
    append(&store, other).await;
}

pub(in crate::store) async fn a_key_that_an_event_has_twice_is_one_key(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    let first = append(&store, keyed(&[1, 1])).await;
    assert_eq!(store.append(keyed(&[1])).await.unwrap().id, first);
}

pub(in crate::store) async fn a_key_is_known_however_many_events_came_after_it(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let mut store = harness.open().await;
    let mut ids = Vec::new();
    for round in 0..3 {
        for key in round * 30..(round + 1) * 30 {
            ids.push(append(&store, keyed(&[key, key + 100])).await);
        }
        for _ in 0..2 {
            for (key, id) in (0..).zip(&ids) {
                let again = store.append(keyed(&[200, key + 100])).await.unwrap();
                assert_eq!((again.id, again.duplicate), (*id, true));
            }
            drop(store);
            store = harness.open().await;
        }
    }
}

pub(in crate::store) async fn of_a_thousand_concurrent_appends_of_one_key_one_creates_an_event(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    // Each call is in the writer's queue before the first is answered.
    let calls: Vec<_> = (0..1_000)
        .map(|_| {
            store.append(NewEvent { deliveries: vec![Target::to("audit").into()], ..keyed(&[1]) })
        })
        .collect();
    let mut created = Vec::new();
    let mut named = Vec::new();
    for call in calls {
        let appended = call.await.unwrap();
        if !appended.duplicate {
            created.push(appended.id);
        }
        named.push(appended.id);
    }
    assert_eq!(created.len(), 1);
    assert!(named.iter().all(|id| *id == created[0]));
    assert_eq!(store.stats().await.unwrap().events, 1);
    assert_eq!(lease(&store, "audit", 10).await.len(), 1);
}

pub(in crate::store) async fn an_append_whose_caller_has_gone_is_kept(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    drop(store.append(event("order.paid", &["audit"])));
    assert_eq!(lease(&store, "audit", 1).await.len(), 1);
}

pub(in crate::store) async fn a_delayed_event_waits_it_is_due(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    let id = append(&store, NewEvent { delay_ms: 5_000, ..event("reminder", &["audit"]) }).await;
    let delivery_id = DeliveryId { event: id, ordinal: 0 };
    let view = delivery(&store, delivery_id).await;
    assert_eq!((view.state, view.due_ms), (State::Waiting, Some(START_MS + 5_000)));
    pass(&harness, 4_999);
    assert!(lease(&store, "audit", 1).await.is_empty());
    pass(&harness, 1);
    assert_eq!(lease_one(&store, "audit").await.delivery, delivery_id);
}

pub(in crate::store) async fn of_the_delays_of_an_event_and_of_a_route_the_longer_one_counts(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    let to = |plugin: &str, delay_ms| {
        let options = TargetOptions { delay_ms, ..TargetOptions::default() };
        Arc::new(Target { plugin: plugin.into(), options }).into()
    };
    let deliveries = vec![to("shorter", 10), to("longer", 30)];
    append(&store, NewEvent { delay_ms: 20, deliveries, ..event("reminder", &[]) }).await;
    for (passed_ms, leased) in [(19, [0, 0]), (20, [1, 0]), (29, [0, 0]), (30, [0, 1])] {
        harness.clock().set(START_MS + passed_ms);
        for (plugin, count) in ["shorter", "longer"].into_iter().zip(leased) {
            assert_eq!(lease(&store, plugin, 9).await.len(), count, "{plugin} at {passed_ms}");
        }
    }
}

pub(in crate::store) async fn a_delay_beyond_all_time_is_no_lease(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    let id = append(&store, NewEvent { delay_ms: u64::MAX, ..event("reminder", &["audit"]) }).await;
    drop(store);
    let store = harness.open().await;
    let view = delivery(&store, DeliveryId { event: id, ordinal: 0 }).await;
    assert_eq!((view.state, view.attempts.len()), (State::Waiting, 0));
}

pub(in crate::store) async fn an_event_without_targets_is_unrouted(harness: impl Harness) {
    let store = harness.open().await;
    let id = append(&store, event("order.paid", &[])).await;
    append(&store, event("order.paid", &["audit"])).await;
    let filter =
        EventFilter { state: Some(crate::store::EventState::Unrouted), ..EventFilter::default() };
    let (events, cursor) = store.events(filter, Page { limit: 10, after: None }).await.unwrap();
    assert_eq!(events.iter().map(|summary| summary.event.id).collect::<Vec<_>>(), [id]);
    assert_eq!(cursor, None);
}

pub(in crate::store) async fn ids_grow_when_the_clock_steps_back(
    harness: impl StoreHarness<Store: Queue + ReadOne + Count>,
) {
    let store = harness.open().await;
    let mut last = append(&store, event("order.paid", &[])).await;
    assert_eq!(last, EventId::first_at(START_MS));
    pass(&harness, -3_600_000);
    for _ in 0..3 {
        let id = append(&store, event("order.paid", &[])).await;
        assert!(id > last);
        last = id;
    }
    drop(store);
    let store = harness.open().await;
    assert!(append(&store, event("order.paid", &[])).await > last);
}
