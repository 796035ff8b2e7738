//! Operations act on what was previewed: on all of it, and on nothing else.

use super::policies::PolicyHarness;
use super::*;
use crate::store::{
    Action, Actor, AuditNote, DeliveryFilter, NewOperation, OperationId, OperationOptions,
    OperationScope, OperationState, Steer, Via,
};

fn note() -> AuditNote {
    let actor = Actor { name: "ann".into(), role: "operator", via: Via::Api };
    AuditNote::new(actor, "operations", "all", "")
}

/// Plans to cancel what is open of `audit`, and starts it.
async fn cancel(store: &Arc<dyn Store>, as_of_ms: Option<i64>) -> OperationId {
    let filter = DeliveryFilter { plugin: Some("audit".into()), ..DeliveryFilter::default() };
    let new = NewOperation {
        action: Action::Cancel,
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
