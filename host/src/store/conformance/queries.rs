//! Questions: events whole, listings newest first, pages without gaps (see also `properties`).

use super::*;
use crate::config::routes::TypePattern;
use crate::store::{
    Action, Cursor, DeliveryFilter, EventFilter, EventState, EventSummary, Page, Which,
};

/// Every event that matches, page by page.
pub(super) async fn all_events(
    store: &Arc<dyn Store>,
    filter: &EventFilter,
    limit: usize,
) -> Vec<EventSummary> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = store.events(filter.clone(), Page { limit, after }).await.unwrap();
        assert!(page.len() <= limit);
        found.extend(page);
        let Some(next) = next else { return found };
        after = Some(moved_on(after, next));
    }
}

/// Every delivery that matches, page by page.
pub(super) async fn all_deliveries(
    store: &Arc<dyn Store>,
    filter: &DeliveryFilter,
    limit: usize,
) -> Vec<DeliveryView> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = store.deliveries(filter.clone(), Page { limit, after }).await.unwrap();
        assert!(page.len() <= limit);
        found.extend(page);
        let Some(next) = next else { return found };
        after = Some(moved_on(after, next));
    }
}

fn moved_on(after: Option<Cursor>, next: Cursor) -> Cursor {
    assert_ne!(after, Some(next), "a page leads to itself");
    next
}

async fn ids(store: &Arc<dyn Store>, filter: EventFilter) -> Vec<EventId> {
    ids_of(&all_events(store, &filter, 100).await)
}

pub(in crate::store) async fn an_event_is_shown_whole(harness: impl Harness) {
    let store = harness.open().await;
    let mut new = event("order.paid", &["audit", "orders"]);
    new.attributes.subject = Some("order_1".to_owned());
    let id = append(&store, new.clone()).await;
    settle(&store, lease_one(&store, "orders").await, done()).await;
    let view = store.event(id).await.unwrap();
    assert_eq!(view.event.attributes, new.attributes);
    assert_eq!(view.deliveries.len(), 2);
    let orders = &view.deliveries[1];
    assert_eq!((orders.kind.as_str(), orders.subject.as_deref()), ("order.paid", Some("order_1")));
    assert_eq!((orders.state, orders.due_ms, orders.replay), (State::Done, None, false));
    assert_eq!(orders.attempts.len(), 1);
    assert_eq!((orders.attempts[0].number, &orders.attempts[0].record), (1, &record(Outcome::Ok)));
}

pub(in crate::store) async fn a_delivery_is_shown_as_its_event_shows_it(harness: impl Harness) {
    let store = harness.open().await;
    let id = append(&store, event("order.paid", &["audit", "orders"])).await;
    settle(&store, lease_one(&store, "orders").await, retry_in(0)).await;
    settle(&store, lease_one(&store, "orders").await, retry_in(60_000)).await;
    let whole = store.event(id).await.unwrap();
    assert_eq!(whole.deliveries[1].attempts.len(), 2);
    for delivery in whole.deliveries {
        assert_eq!(store.delivery(delivery.id).await.unwrap(), delivery);
    }
    let error = store.delivery(DeliveryId { event: id, ordinal: 2 }).await.unwrap_err();
    assert!(matches!(&error, StoreError::NotFound(what) if what.contains("dlv_")), "{error}");
}

pub(in crate::store) async fn events_are_listed_newest_first(harness: impl Harness) {
    let store = harness.open().await;
    let mut expected = Vec::new();
    for targets in [&[][..], &["audit"], &["audit", "orders"]] {
        expected.push(append(&store, event("order.paid", targets)).await);
        pass(&harness, 1);
    }
    expected.reverse();
    let listed = all_events(&store, &EventFilter::default(), 2).await;
    assert_eq!(listed.iter().map(|summary| summary.event.id).collect::<Vec<_>>(), expected);
    assert_eq!(
        listed[0].deliveries,
        [("audit".into(), State::Ready), ("orders".into(), State::Ready)]
    );
    assert_eq!((listed[0].body_bytes, listed[0].event.attributes.body.len()), (2, 0));
    let deliveries = all_deliveries(&store, &DeliveryFilter::default(), 2).await;
    let order: Vec<_> =
        deliveries.iter().map(|delivery| (delivery.id.event, delivery.id.ordinal)).collect();
    assert_eq!(order, [(expected[0], 0), (expected[0], 1), (expected[1], 0)]);
}

pub(in crate::store) async fn an_event_is_found_by_what_its_text_holds(harness: impl Harness) {
    let store = harness.open().await;
    let mut new = event("order.paid", &[]);
    new.attributes.subject = Some("order_77".to_owned());
    new.attributes.body = Bytes::from_static(b"\xff{\"name\": \"J\xc3\xbcrgen 100%\"}");
    new.provider_id = Some("msg_abc".to_owned());
    let id = append(&store, new).await;
    append(&store, event("other", &[])).await;
    let shown = id.to_string();
    for text in ["Jürgen", "100%", "paid", "order_77", "msg_a", &shown[..]] {
        let filter = EventFilter { text: Some(text.to_owned()), ..EventFilter::default() };
        assert_eq!(ids(&store, filter).await, [id], "{text}");
    }
    for text in ["jürgen", "1000%", "' OR 1"] {
        let filter = EventFilter { text: Some(text.to_owned()), ..EventFilter::default() };
        assert!(ids(&store, filter).await.is_empty(), "{text}");
    }
}

pub(in crate::store) async fn events_are_found_by_the_state_of_their_deliveries(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let unrouted = append(&store, event("order.paid", &[])).await;
    let dead = dead_letter(&store, "audit").await.event;
    let done_id = deliver(&store, "audit").await.event;
    settle(&store, lease_one(&store, "audit").await, done()).await;
    let waiting = deliver(&store, "audit").await.event;
    settle(&store, lease_one(&store, "audit").await, retry_in(1)).await;
    let leased = deliver(&store, "audit").await.event;
    let _lease = lease_one(&store, "audit").await;
    let ready = append(&store, event("order.paid", &["orders", "orders"])).await;
    let expected = [
        (EventState::Unrouted, unrouted),
        (EventState::Has(State::Dead), dead),
        (EventState::Has(State::Done), done_id),
        (EventState::Has(State::Waiting), waiting),
        (EventState::Has(State::Leased), leased),
        (EventState::Has(State::Ready), ready),
    ];
    for (wanted, id) in expected {
        let filter = EventFilter { state: Some(wanted), ..EventFilter::default() };
        assert_eq!(ids(&store, filter).await, [id], "{wanted:?}");
    }
}

pub(in crate::store) async fn times_bound_a_listing_from_both_sides(harness: impl Harness) {
    let store = harness.open().await;
    let mut made = Vec::new();
    for _ in 0..4 {
        let mut new = event("order.paid", &["audit"]);
        new.attributes.time_ms = harness.clock().now_ms();
        made.push(append(&store, new).await);
        pass(&harness, 10);
    }
    let (since_ms, until_ms) = (Some(START_MS + 10), Some(START_MS + 30));
    let filter = EventFilter { since_ms, until_ms, ..EventFilter::default() };
    assert_eq!(ids(&store, filter).await, [made[2], made[1]]);
    let filter = DeliveryFilter { since_ms, until_ms, ..DeliveryFilter::default() };
    let found = all_deliveries(&store, &filter, 1).await;
    assert_eq!(
        found.iter().map(|delivery| delivery.id.event).collect::<Vec<_>>(),
        [made[2], made[1]]
    );
}

pub(in crate::store) async fn a_page_has_at_least_one_row(harness: impl Harness) {
    let store = harness.open().await;
    deliver(&store, "audit").await;
    deliver(&store, "audit").await;
    for limit in [0, 1] {
        let page = Page { limit, after: None };
        let (events, cursor) = store.events(EventFilter::default(), page).await.unwrap();
        assert_eq!((events.len(), cursor.is_some()), (1, true));
        let (deliveries, cursor) = store.deliveries(DeliveryFilter::default(), page).await.unwrap();
        assert_eq!((deliveries.len(), cursor.is_some()), (1, true));
    }
    let page = Page { limit: usize::MAX, after: None };
    assert_eq!(store.events(EventFilter::default(), page).await.unwrap().0.len(), 2);
    assert_eq!(store.deliveries(DeliveryFilter::default(), page).await.unwrap().0.len(), 2);
}

pub(in crate::store) async fn what_one_look_does_not_reach_is_on_a_later_page(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let mut events = Vec::new();
    for _ in 0..15 {
        let mut new = event("order.paid", &["audit", "orders", "audit"]);
        new.attributes.subject = Some("order_1".to_owned());
        events.insert(0, append(&store, new).await);
        for lease in lease(&store, "audit", 2).await {
            settle(&store, lease, dead()).await;
        }
    }
    let subject = Some("order_1".to_owned());
    for (state, ordinals) in
        [(None, &[0, 1, 2][..]), (Some(State::Dead), &[0, 2]), (Some(State::Ready), &[1])]
    {
        for subject in [None, subject.clone()] {
            let filter =
                DeliveryFilter { state, subject: subject.clone(), ..DeliveryFilter::default() };
            let found = all_deliveries(&store, &filter, 100).await;
            let ids: Vec<_> =
                found.iter().map(|delivery| (delivery.id.event, delivery.id.ordinal)).collect();
            let expected =
                events.iter().flat_map(|event| ordinals.iter().map(|ordinal| (*event, *ordinal)));
            assert_eq!(ids, expected.collect::<Vec<_>>(), "{filter:?}");
            let filter = EventFilter {
                state: state.map(EventState::Has),
                subject,
                ..EventFilter::default()
            };
            assert_eq!(ids_of(&all_events(&store, &filter, 100).await), events, "{filter:?}");
        }
    }
    let text = Some("order_1".to_owned());
    assert_eq!(ids(&store, EventFilter { text, ..EventFilter::default() }).await, events);
    // Where nothing filters, every look finds a whole page.
    let (page, next) =
        store.events(EventFilter::default(), Page { limit: 10, after: None }).await.unwrap();
    assert_eq!((ids_of(&page).as_slice(), next.is_some()), (&events[..10], true));
}

pub(super) fn ids_of(listed: &[EventSummary]) -> Vec<EventId> {
    listed.iter().map(|summary| summary.event.id).collect()
}

pub(in crate::store) async fn events_are_found_by_pattern_plugin_attempts_and_what_they_came_after(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let paid = append(&store, event("order.paid", &["audit"])).await;
    settle(&store, lease_one(&store, "audit").await, done()).await;
    let late = append(&store, event("order.paid.late", &["audit", "orders"])).await;
    let other = append(&store, event("video.done", &["orders"])).await;
    let none = EventFilter::default;
    let pattern = |text| Some(TypePattern::parse(text).unwrap());
    let plugin = |name: &str| Some(name.to_owned());
    let state = Some(EventState::Has(State::Done));
    for (filter, expected) in [
        (EventFilter { pattern: pattern("order.*"), ..none() }, vec![paid]),
        (EventFilter { pattern: pattern("order.**"), ..none() }, vec![late, paid]),
        (EventFilter { pattern: pattern("**"), after: Some(paid), ..none() }, vec![other, late]),
        (EventFilter { plugin: plugin("orders"), ..none() }, vec![other, late]),
        (EventFilter { plugin: plugin("audit"), state, ..none() }, vec![paid]),
        (EventFilter { plugin: plugin("orders"), state, ..none() }, vec![]),
        (EventFilter { min_attempts: Some(1), ..none() }, vec![paid]),
        (EventFilter { min_attempts: Some(2), ..none() }, vec![]),
        (EventFilter { after: Some(late), ..none() }, vec![other]),
        (EventFilter { after: Some(other), ..none() }, vec![]),
    ] {
        for limit in [1, 100] {
            let found = all_events(&store, &filter, limit).await;
            assert_eq!(ids_of(&found), expected, "{filter:?}");
        }
    }
}

pub(in crate::store) async fn events_are_found_by_who_emitted_them_and_by_whether_they_fail(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let died = append(&store, event("order.paid", &["audit"])).await;
    settle(&store, lease_one(&store, "audit").await, dead()).await;
    let tried = append(&store, event("order.paid", &["audit", "orders"])).await;
    settle(&store, lease_one(&store, "audit").await, retry_in(60_000)).await;
    settle(&store, lease_one(&store, "orders").await, done()).await;
    let put_away = append(&store, event("order.paid", &["audit"])).await;
    settle(&store, lease_one(&store, "audit").await, dead()).await;
    let away = Which::One(DeliveryId { event: put_away, ordinal: 0 });
    store.change(None, Action::Discard, away).await.unwrap();
    let ready = append(&store, event("order.paid", &["orders"])).await;
    let from = |source: &str| {
        let mut made = event("order.seen", &[]);
        made.attributes.source = source.into();
        made
    };
    let emitted = append(&store, from("plugins/orders")).await;
    let like = append(&store, from("pluginsx")).await;
    let none = EventFilter::default;
    let failing = Some(EventState::Failing);
    let plugin = |name: &str| Some(name.to_owned());
    let others = vec![like, ready, put_away, tried, died];
    for (filter, expected) in [
        (EventFilter { emitted: Some(true), ..none() }, vec![emitted]),
        (EventFilter { emitted: Some(false), ..none() }, others),
        (EventFilter { state: failing, ..none() }, vec![tried, died]),
        (EventFilter { state: failing, plugin: plugin("audit"), ..none() }, vec![tried, died]),
        (EventFilter { state: failing, plugin: plugin("orders"), ..none() }, vec![]),
        (EventFilter { state: failing, emitted: Some(true), ..none() }, vec![]),
    ] {
        for limit in [1, 100] {
            let found = all_events(&store, &filter, limit).await;
            assert_eq!(ids_of(&found), expected, "{filter:?}");
        }
    }
}

pub(in crate::store) async fn a_listing_shows_the_last_attempt(harness: impl Harness) {
    let store = harness.open().await;
    deliver(&store, "audit").await;
    settle(&store, lease_one(&store, "audit").await, retry_in(0)).await;
    settle(&store, lease_one(&store, "audit").await, done()).await;
    let listed = all_deliveries(&store, &DeliveryFilter::default(), 10).await;
    assert_eq!(listed[0].attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [2]);
    assert_eq!((listed[0].state, listed[0].attempt), (State::Done, 2));
}
