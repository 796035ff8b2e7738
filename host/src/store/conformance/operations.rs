//! Operations act on what was previewed: on all of it, and on nothing else.

use super::policies::PolicyHarness;
use super::*;
use crate::config::routes::TypePattern;
use crate::store::{
    Action, Actor, AuditNote, DeliveryFilter, EventFilter, EventState, FoundFacts, FoundOperation,
    ItemResult, NewOperation, OperationDeed, OperationId, OperationOptions, OperationScope,
    OperationState, Steer, TriedItem, Via,
};

pub(super) fn note() -> AuditNote {
    let actor = Actor { name: "ann".into(), role: "operator", via: Via::Api };
    AuditNote::new(actor, "operations", "all", "")
}

/// Plans to cancel what is open of `audit`, and starts it.
pub(super) async fn cancel(store: &Arc<dyn Store>, as_of_ms: Option<i64>) -> OperationId {
    let filter = DeliveryFilter { plugin: Some("audit".into()), ..DeliveryFilter::default() };
    let new = NewOperation {
        action: Action::Cancel.into(),
        scope: OperationScope::Filter(filter),
        total: 1,
        exact: true,
        as_of_ms,
        actor: note().actor,
    };
    let id = store.plan(note(), new).await.unwrap();
    store.steer(note(), id, Steer::Start(OperationOptions::default())).await.unwrap()
}

/// Goes on until everything is found and done.
async fn finish(store: &Arc<dyn Store>, id: OperationId) {
    for _ in 0..9 {
        store.find_more(id).await.unwrap();
        store.act(id, 100).await.unwrap();
        if store.operation(id).await.unwrap().unwrap().is_through() {
            return store.finish(id, None).await.unwrap();
        }
    }
    panic!("the operation does not end");
}

pub(in crate::store) async fn what_came_after_its_preview_is_left_by_an_operation(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let before = append(&store, event("order.paid", &["audit"])).await;
    let as_of_ms = store.event(before).await.unwrap().event.attributes.time_ms;
    let mut after = event("order.paid", &["audit"]);
    after.attributes.time_ms += 1_000;
    pass(&harness, 1_000);
    let after = append(&store, after).await;
    let id = cancel(&store, Some(as_of_ms)).await;
    finish(&store, id).await;
    let own = |event| DeliveryId { event, ordinal: 0 };
    assert_eq!(state(&store, own(before)).await, State::Cancelled);
    assert_eq!(state(&store, own(after)).await, State::Ready);
}

pub(in crate::store) async fn what_is_leased_behind_the_walk_of_an_operation_is_cancelled(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let mut all = Vec::new();
    for _ in 0..6 {
        all.push(append(&store, event("order.paid", &["audit"])).await);
        pass(&harness, 1);
    }
    let id = cancel(&store, None).await;
    // It walks from the last one to the first, which is leased now and behind the walk.
    store.find_more(id).await.unwrap();
    let lease = lease(&store, "audit", 1).await.pop().unwrap();
    assert_eq!(lease.event.id, all[0]);
    store.act(id, 100).await.unwrap();
    finish(&store, id).await;
    assert_eq!(settle(&store, lease, done()).await, Settled::Cancelled);
    for event in all {
        assert_eq!(state(&store, DeliveryId { event, ordinal: 0 }).await, State::Cancelled);
    }
}

pub(in crate::store) async fn operations_are_kept_for_thirty_days_after_their_end(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let long = time(1_000 * DAY_MS);
    let keep = Keep { events: long, dedupe_keys: long, ..ALL };
    let (late, paused) = (cancel(&store, None).await, cancel(&store, None).await);
    store.steer(note(), paused, Steer::Pause).await.unwrap();
    pass(&harness, 29 * DAY_MS);
    finish(&store, late).await;
    let is_there = async |id| store.operation(id).await.unwrap().is_some();
    for (days, left) in [(0, [true, true]), (2, [true, false]), (29, [false, false])] {
        pass(&harness, days * DAY_MS);
        while store.sweep(keep).await.unwrap() {}
        assert_eq!([is_there(late).await, is_there(paused).await], left, "{days}");
    }
    let done = cancel(&store, None).await;
    finish(&store, done).await;
    let operation = store.operation(done).await.unwrap().unwrap();
    assert_eq!(operation.state, OperationState::Done);
}

/// Plans an operation and starts it.
pub(super) async fn start(
    store: &Arc<dyn Store>,
    action: OperationDeed,
    scope: OperationScope,
    options: OperationOptions,
) -> OperationId {
    let actor = note().actor;
    let new = NewOperation { action, scope, total: 1, exact: false, as_of_ms: None, actor };
    let id = store.plan(note(), new).await.unwrap();
    store.steer(note(), id, Steer::Start(options)).await.unwrap()
}

/// Each of these events for two plugins.
pub(super) fn to(events: &[EventId]) -> Vec<(EventId, Vec<Arc<Target>>)> {
    let targets = || vec![Target::to("orders"), Target::to("audit")];
    events.iter().map(|event| (*event, targets())).collect()
}

/// Finds everything that an operation is for.
async fn find_all(store: &Arc<dyn Store>, id: OperationId) {
    for _ in 0..20 {
        store.find_more(id).await.unwrap();
        if store.operation(id).await.unwrap().unwrap().is_found {
            return;
        }
    }
    panic!("the search does not end");
}

pub(in crate::store) async fn events_are_replayed_once_each_beyond_a_crash_the_oldest_first(
    harness: impl PolicyHarness,
) {
    let mut store = harness.open().await;
    let mut events = Vec::new();
    for _ in 0..9 {
        events.push(append(&store, event("order.paid", &["audit"])).await);
        append(&store, event("order.sent", &["audit"])).await;
        pass(&harness, 1);
    }
    let filter = EventFilter { kind: Some("order.paid".to_owned()), ..EventFilter::default() };
    let replay = OperationDeed::Replay(Vec::new());
    let options = OperationOptions::default();
    let id = start(&store, replay, OperationScope::Events(filter), options).await;
    pass(&harness, 1_000);
    let mut late = event("order.paid", &["audit"]);
    late.attributes.time_ms += 1_000;
    let late = append(&store, late).await;
    find_all(&store, id).await;
    let found = store.item_ids(id, ItemResult::Found, None, 100).await.unwrap();
    let found: Vec<EventId> = found.into_iter().map(|item| item.event).collect();
    assert_eq!(found, events, "the oldest first, and nothing that came later");
    store.replay_items(id, to(&events[..5])).await.unwrap();
    // The host dies before it learns of that, and does the step again.
    drop(store);
    store = harness.open().await;
    store.replay_items(id, to(&events[..6])).await.unwrap();
    let mut rest = to(&events[6..8]);
    rest.push((events[8], Vec::new()));
    store.replay_items(id, rest).await.unwrap();
    for event in &events {
        let replays = store.event(*event).await.unwrap().deliveries;
        let replays = replays.iter().filter(|delivery| delivery.replay).count();
        assert_eq!(replays, if *event == events[8] { 0 } else { 2 });
    }
    assert!(store.event(late).await.unwrap().deliveries.iter().all(|delivery| !delivery.replay));
    let operation = store.operation(id).await.unwrap().unwrap();
    let counts = [operation.total, operation.found, operation.open, operation.skipped];
    assert_eq!((counts, operation.exact), ([9, 9, 8, 1], true));
    // Of the first event one delivery fails, of the second both are well.
    for lease in lease(&store, "orders", 100).await {
        let settlement = if lease.event.id == events[0] { dead() } else { done() };
        settle(&store, lease, settlement).await;
    }
    for lease in lease(&store, "audit", 100).await {
        if lease.event.id == events[1] && store.delivery(lease.delivery).await.unwrap().replay {
            settle(&store, lease, done()).await;
        }
    }
    store.collect(id).await.unwrap();
    let operation = store.operation(id).await.unwrap().unwrap();
    assert_eq!([operation.ok, operation.failed, operation.open], [1, 1, 6]);
    let failed = store.operation_items(id, ItemResult::Failed, None, 10).await.unwrap();
    let told: Vec<_> = failed.iter().map(|it| (it.id.event, &*it.plugin, it.state)).collect();
    assert_eq!(told, [(events[0], "orders", State::Dead)]);
    let skipped = store.item_ids(id, ItemResult::Skipped, None, 10).await.unwrap();
    assert_eq!(skipped, [DeliveryId { event: events[8], ordinal: 0 }]);
}

pub(in crate::store) async fn events_to_replay_are_found_bit_by_bit_while_others_are_replayed(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let mut letters = Vec::new();
    for _ in 0..7 {
        letters.push(dead_letter(&store, "audit").await.event);
        append(&store, event("invoice.sent", &["orders"])).await;
        pass(&harness, 1);
    }
    let pattern = Some(TypePattern::parse("order.**").unwrap());
    let filters = [
        EventFilter { kind: Some("order.paid".to_owned()), ..EventFilter::default() },
        EventFilter { pattern, ..EventFilter::default() },
        EventFilter { state: Some(EventState::Has(State::Dead)), ..EventFilter::default() },
    ];
    for filter in filters {
        let (replay, options) = (OperationDeed::Replay(Vec::new()), OperationOptions::default());
        let scope = OperationScope::Events(filter);
        let id = start(&store, replay, scope, options).await;
        let (mut found, mut looks) = (Vec::new(), 0);
        while !store.operation(id).await.unwrap().unwrap().is_found {
            looks += 1;
            store.find_more(id).await.unwrap();
            let items = store.item_ids(id, ItemResult::Found, None, 100).await.unwrap();
            let items: Vec<EventId> = items.into_iter().map(|item| item.event).collect();
            assert!(items.len() <= 4, "one look is bounded: {items:?}");
            store.replay_items(id, to(&items)).await.unwrap();
            found.extend(items);
        }
        assert_eq!(found, letters, "each once, the oldest first");
        assert!(looks > 1);
    }
}

pub(in crate::store) async fn routes_need_no_more_of_an_event_than_its_facts(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let headers = vec![("x-shop".to_owned(), "b".to_owned())];
    let sent = NewEvent { headers, ..event("invoice.sent", &["audit"]) };
    let id = append(&store, sent).await;
    let whole = store.event(id).await.unwrap();
    let Some(FoundFacts::Whole(facts)) = store.facts(id).await.unwrap() else {
        panic!("its facts are there");
    };
    assert_eq!(facts.attributes, whole.event.attributes);
    assert_eq!((facts.headers, facts.hops), (whole.headers, whole.event.hops));
    let gone = EventId::from_row(id.row() + 1);
    assert_eq!(store.facts(gone).await.unwrap(), None);
}

pub(in crate::store) async fn the_rests_of_an_operation_are_not_its_work(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let id = cancel(&store, None).await;
    let worked = async |store: &Arc<dyn Store>| {
        let operation = store.operation(id).await.unwrap().unwrap();
        operation.worked_ms(operation.started_ms.unwrap() + 10_000).unwrap()
    };
    assert_eq!(worked(&store).await, 10_000);
    pass(&harness, 1_000);
    store.steer(note(), id, Steer::Pause).await.unwrap();
    assert_eq!(worked(&store).await, 1_000);
    pass(&harness, 5_000);
    store.steer(note(), id, Steer::Resume).await.unwrap();
    assert_eq!(worked(&store).await, 5_000);
    pass(&harness, 1_000);
    store.finish(id, Some("enough".to_owned())).await.unwrap();
    assert_eq!(worked(&store).await, 2_000);
    store.steer(note(), id, Steer::Cancel).await.unwrap();
    let ended = store.operation(id).await.unwrap().unwrap();
    assert_eq!(ended.worked_ms(i64::MAX), Some(2_000));
}

pub(in crate::store) async fn the_one_that_is_tried_first_is_remembered(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let mut letters = Vec::new();
    for _ in 0..3 {
        letters.push(dead_letter(&store, "audit").await);
        pass(&harness, 1);
    }
    let options = OperationOptions { first: true, ..OperationOptions::default() };
    let scope = OperationScope::Ids(letters.clone());
    let id = start(&store, Action::Retry.into(), scope, options).await;
    find_all(&store, id).await;
    let tried =
        async |store: &Arc<dyn Store>| store.operation(id).await.unwrap().unwrap().marks.tried;
    assert_eq!(tried(&store).await, None);
    store.act(id, 1).await.unwrap();
    let first = Some(TriedItem { id: letters[0], number: 1 });
    assert_eq!(tried(&store).await, first);
    settle(&store, lease_one(&store, "audit").await, done()).await;
    store.collect(id).await.unwrap();
    store.act(id, 10).await.unwrap();
    assert_eq!(tried(&store).await, first, "the rest follows, and it stays the first");
}

/// Changes rows of operations by these texts, each of which damages one column.
pub(in crate::store) async fn an_unreadable_one_hinders_no_other_and_can_be_cancelled(
    store: Arc<dyn Store>,
    damages: &[(&str, &str)],
    damage: impl AsyncFn(OperationId, &str),
) {
    for (column, change) in damages {
        let event = append(&store, event("order.paid", &["audit"])).await;
        let (odd, sound) = (cancel(&store, None).await, cancel(&store, None).await);
        damage(odd, change).await;
        let listed = store.operations(None, 2).await.unwrap();
        let [FoundOperation::Whole(whole), FoundOperation::Unreadable(unreadable)] = &listed[..]
        else {
            panic!("{column}: {listed:?}");
        };
        assert_eq!((whole.id, unreadable.id), (sound, odd));
        let why = unreadable.why();
        assert!(why.contains(&format!("`{odd}` cannot be read: its `{column}`")), "{why}");
        let refused = store.operation(odd).await.unwrap_err();
        assert!(matches!(&refused, StoreError::Query(said) if *said == why), "{refused}");
        let running = store.running_operations().await.unwrap();
        assert_eq!(running.iter().map(|it| it.id).collect::<Vec<_>>(), [sound], "{column}");
        // Nothing is done with it, and the writer goes on.
        store.find_more(odd).await.unwrap();
        store.act(odd, 9).await.unwrap();
        store.collect(odd).await.unwrap();
        store.finish(odd, None).await.unwrap();
        assert!(store.operation_items(odd, ItemResult::Ok, None, 9).await.unwrap().is_empty());
        for refused in [store.steer(note(), odd, Steer::Pause).await, store.undo(note(), odd).await]
        {
            let refused = refused.unwrap_err();
            assert!(matches!(&refused, StoreError::Conflict(said) if said.contains(&why)));
        }
        finish(&store, sound).await;
        assert_eq!(state(&store, DeliveryId { event, ordinal: 0 }).await, State::Cancelled);
        for _ in 0..2 {
            assert_eq!(store.steer(note(), odd, Steer::Cancel).await.unwrap(), odd);
        }
        let (now, ended_ms) = match store.found_operation(odd).await.unwrap().unwrap() {
            FoundOperation::Whole(it) => (Some(it.state), it.ended_ms),
            FoundOperation::Unreadable(it) => (it.state, it.ended_ms),
        };
        assert_eq!(now, Some(OperationState::Cancelled), "{column}");
        assert!(ended_ms.is_some());
    }
}

/// Damages the headers of an event by these texts.
pub(in crate::store) async fn damaged_headers_are_not_taken_for_none(
    store: Arc<dyn Store>,
    damages: &[&str],
    damage: impl AsyncFn(EventId, &str),
) {
    for change in damages {
        let id = append(&store, event("order.paid", &["audit"])).await;
        assert!(matches!(store.facts(id).await.unwrap(), Some(FoundFacts::Whole(_))));
        damage(id, change).await;
        let unreadable = FoundFacts::Unreadable { column: "headers".to_owned() };
        assert_eq!(store.facts(id).await.unwrap(), Some(unreadable), "{change}");
    }
}

/// Changes the `walk` of an operation to this text, or to nothing.
pub(in crate::store) async fn a_search_that_is_lost_replays_no_event_again(
    store: Arc<dyn Store>,
    set_walk: impl AsyncFn(OperationId, Option<&str>),
) {
    let mut events = Vec::new();
    for _ in 0..7 {
        // Its replays have other ordinals than 0.
        events.push(append(&store, event("order.paid", &["audit"])).await);
    }
    let scope = OperationScope::Events(EventFilter::default());
    let replay = OperationDeed::Replay(Vec::new());
    let id = start(&store, replay, scope, OperationOptions::default()).await;
    store.find_more(id).await.unwrap();
    let found = store.item_ids(id, ItemResult::Found, None, 100).await.unwrap();
    let found: Vec<EventId> = found.into_iter().map(|item| item.event).collect();
    assert!(!found.is_empty() && found.len() < events.len(), "there is more: {found:?}");
    store.replay_items(id, to(&found)).await.unwrap();
    set_walk(id, Some("{\"at\":")).await;
    let refused = store.find_more(id).await.unwrap_err();
    assert!(
        matches!(&refused, StoreError::Query(why) if why.contains("its `walk` is damaged")),
        "{refused}"
    );
    // It begins anew.
    set_walk(id, None).await;
    find_all(&store, id).await;
    store.replay_items(id, to(&events)).await.unwrap();
    for event in &events {
        let deliveries = store.event(*event).await.unwrap().deliveries;
        assert_eq!(deliveries.iter().filter(|delivery| delivery.replay).count(), 2);
    }
    let operation = store.operation(id).await.unwrap().unwrap();
    assert_eq!([operation.found, operation.total, operation.open], [7, 7, 7]);
}
