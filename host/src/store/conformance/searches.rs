//! The search of a replay finds the events that its filter takes, and each of them once.
//!
//! The store in memory has no operations, because they go on by steps that survive a crash. It
//! keeps the same law of lists (`filters.rs`).

use super::filters::{
    APART_MS, FilterCase, KnownEvent, any, by_several, by_state, by_subject, by_time, stored,
};
use super::operations::note;
use super::policies::PolicyHarness;
use super::*;
use crate::store::model::MAX_EVENTS_FOUND;
use crate::store::{
    EventFilter, ItemResult, NewOperation, OperationDeed, OperationOptions, OperationScope, Steer,
};

/// The events that a replay with this filter finds, in the order in which they are replayed.
async fn found(store: &Arc<dyn Store>, filter: EventFilter, as_of_ms: Option<i64>) -> Vec<EventId> {
    let new = NewOperation {
        action: OperationDeed::Replay(Vec::new()),
        scope: OperationScope::Events(filter.clone()),
        total: 1,
        exact: false,
        as_of_ms,
        actor: note().actor,
    };
    let id = store.plan(note(), new).await.unwrap();
    store.steer(note(), id, Steer::Start(OperationOptions::default())).await.unwrap();
    let mut before = 0;
    for _ in 0..200 {
        store.find_more(id).await.unwrap();
        let operation = store.operation(id).await.unwrap().unwrap();
        assert!(operation.found - before <= MAX_EVENTS_FOUND as u64, "one look is bounded");
        before = operation.found;
        if operation.is_found {
            let items = store.item_ids(id, ItemResult::Found, None, 1_000).await.unwrap();
            assert_eq!(items.len() as u64, before);
            store.steer(note(), id, Steer::Cancel).await.unwrap();
            return items.into_iter().map(|item| item.event).collect();
        }
    }
    panic!("the search does not end: {filter:?}");
}

/// A replay with each of these filters finds what the filter takes, and nothing else.
async fn assert_found(store: &Arc<dyn Store>, known: &[KnownEvent], cases: Vec<FilterCase>) {
    let mut most = 0;
    for case in cases {
        let events = found(store, case.filter.clone(), None).await;
        assert_eq!(events, case.taken(known), "{:?}", case.filter);
        most = most.max(events.len());
    }
    assert!(most > MAX_EVENTS_FOUND, "some are found by several looks");
}

pub(in crate::store) async fn a_replay_takes_the_events_of_its_subject_and_no_other(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let (known, _leases) = stored(&harness, &store).await;
    assert_found(&store, &known, by_subject()).await;
}

pub(in crate::store) async fn a_replay_takes_events_from_a_time_on_and_before_another_by_their_own(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let (known, _leases) = stored(&harness, &store).await;
    assert_found(&store, &known, by_time()).await;
    // The time of its preview is the last one, whatever the filter says.
    let previewed_ms = START_MS + APART_MS * 12;
    for until_ms in [None, Some(previewed_ms + APART_MS)] {
        let filter = EventFilter { until_ms, ..any() };
        let expected = known.iter().filter(|it| it.time_ms <= previewed_ms).map(|it| it.id);
        let events = found(&store, filter, Some(previewed_ms)).await;
        assert_eq!(events, expected.collect::<Vec<_>>(), "{until_ms:?}");
    }
}

pub(in crate::store) async fn a_replay_takes_events_by_the_state_of_a_delivery_open_or_settled(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let (known, _leases) = stored(&harness, &store).await;
    assert_found(&store, &known, by_state()).await;
}

pub(in crate::store) async fn a_replay_takes_the_events_that_meet_all_of_its_filter(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let (known, _leases) = stored(&harness, &store).await;
    assert_found(&store, &known, by_several(&known)).await;
}
