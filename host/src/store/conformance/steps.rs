//! Steps: results that outlive the attempt; and deliveries whose handler asks to be called again.

use super::operator::act;
use super::sweep::{exists, sweep_all};
use super::*;
use crate::event::StepUse;
use crate::store::{Action, LeaseHolder, NewStep, Recorded, Which};

async fn record_step(
    store: &Arc<dyn Store>,
    holder: &LeaseHolder,
    name: &str,
    value: &[u8],
) -> Recorded {
    let (name, value) = (name.to_owned(), value.to_vec());
    let step = NewStep { name, value, digest: Some(Digest([7; 32])) };
    store.record(holder, step).await.unwrap()
}

/// The recorded steps of a delivery, by name.
async fn recorded(store: &Arc<dyn Store>, id: DeliveryId) -> Vec<(String, Vec<u8>)> {
    store.steps(id).await.unwrap().into_iter().collect()
}

fn one(name: &str, value: &[u8]) -> Vec<(String, Vec<u8>)> {
    vec![(name.to_owned(), value.to_vec())]
}

/// A settlement that asks to be called again.
pub(super) fn again_with(emitted: Vec<NewEvent>, kv: KvTransaction, ms: i64) -> Settlement {
    let next = Next::Again { emitted, kv, after: time(ms) };
    Settlement { next, record: Some(record(Outcome::Again)) }
}

fn again(ms: i64) -> Settlement {
    again_with(Vec::new(), KvTransaction::default(), ms)
}

/// A success whose attempt has used this step.
fn done_after(name: &str) -> Settlement {
    let mut settlement = done();
    let used = StepUse { name: name.to_owned(), bytes: 1, recorded_after_ms: Some(3) };
    settlement.record.as_mut().unwrap().steps = vec![used];
    settlement
}

pub(in crate::store) async fn a_recorded_step_is_never_run_again_for_its_delivery_whatever_crashes(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = deliver(&store, "orders").await;
    let lease = lease_one(&store, "orders").await;
    assert!(!lease.has_steps());
    assert_eq!(record_step(&store, &lease.holder(), "charge", b"ok\0").await, Recorded::Kept);
    drop(store);
    // The host died while the attempt ran: the next one finds the result.
    let store = harness.open().await;
    assert_eq!(recorded(&store, id).await, one("charge", b"ok\0"));
    let lease = lease_one(&store, "orders").await;
    assert!(lease.has_steps());
    settle(&store, lease, retry_in(0)).await;
    let lease = lease_one(&store, "orders").await;
    assert!(lease.has_steps());
    // Given back: the next attempt has the same number, and what was recorded stays.
    settle(&store, lease, give_back(0)).await;
    store.close().await.unwrap();
    drop(store);
    let store = harness.open().await;
    let lease = lease_one(&store, "orders").await;
    assert!(lease.has_steps());
    settle(&store, lease, again(0)).await;
    let lease = lease_one(&store, "orders").await;
    assert!(lease.has_steps());
    let stale = KvTransaction { reads: vec![("n".to_owned(), Some(1))], ..Default::default() };
    assert_eq!(settle(&store, lease, done_with(Vec::new(), stale)).await, Settled::Conflict);
    assert_eq!(recorded(&store, id).await, one("charge", b"ok\0"));
    let view = delivery(&store, id).await;
    let seen: Vec<_> = view
        .steps
        .iter()
        .map(|step| (&*step.name, step.bytes, step.attempt, step.digest))
        .collect();
    assert_eq!(seen, [("charge", 3, 1, Some(Digest([7; 32])))]);
    assert_eq!(view.steps[0].recorded_at_ms, START_MS);
}

pub(in crate::store) async fn the_first_result_under_a_name_stays(harness: impl Harness) {
    let store = harness.open().await;
    let id = deliver(&store, "orders").await;
    let lease = lease_one(&store, "orders").await;
    for value in [&b"first"[..], b"second"] {
        assert_eq!(record_step(&store, &lease.holder(), "a", value).await, Recorded::Kept);
    }
    assert_eq!(record_step(&store, &lease.holder(), "b", b"").await, Recorded::Kept);
    let both = [one("a", b"first"), one("b", b"")].concat();
    assert_eq!(recorded(&store, id).await, both);
    // Of another delivery of the same event it is another step.
    let other = append(&store, event("order.paid", &["orders", "audit"])).await;
    let lease = lease_one(&store, "audit").await;
    assert_eq!(record_step(&store, &lease.holder(), "a", b"audit").await, Recorded::Kept);
    let id_of = |ordinal| DeliveryId { event: other, ordinal };
    assert_eq!(recorded(&store, id_of(1)).await, one("a", b"audit"));
    assert_eq!(recorded(&store, id_of(0)).await, []);
}

pub(in crate::store) async fn a_record_of_an_attempt_that_lost_its_lease_is_refused(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = deliver(&store, "orders").await;
    let zombie = lease_one(&store, "orders").await.holder();
    drop(store);
    let store = harness.open().await;
    assert_eq!(record_step(&store, &zombie, "a", b"late").await, Recorded::Lost);
    let lease = lease_one(&store, "orders").await;
    assert_eq!(record_step(&store, &zombie, "a", b"late").await, Recorded::Lost);
    let holder = lease.holder();
    assert_eq!(record_step(&store, &holder, "a", b"right").await, Recorded::Kept);
    assert_eq!(record_step(&store, &zombie, "b", b"late").await, Recorded::Lost);
    assert_eq!(recorded(&store, id).await, one("a", b"right"));
    settle(&store, lease, dead()).await;
    assert_eq!(record_step(&store, &holder, "b", b"late").await, Recorded::Lost);
    assert_eq!(recorded(&store, id).await, one("a", b"right"));
}

pub(in crate::store) async fn a_delivery_that_is_done_keeps_no_step(harness: impl Harness) {
    let store = harness.open().await;
    let id = deliver(&store, "orders").await;
    let lease = lease_one(&store, "orders").await;
    record_step(&store, &lease.holder(), "a", b"1").await;
    settle(&store, lease, done_after("a")).await;
    assert_eq!(recorded(&store, id).await, []);
    let view = delivery(&store, id).await;
    assert_eq!(view.steps, []);
    let kept = &view.attempts[0].record.steps;
    assert_eq!((kept[0].name.as_str(), kept[0].recorded_after_ms), ("a", Some(3)), "for people");
    // Also if it was an earlier attempt that recorded it.
    let id = deliver(&store, "orders").await;
    let lease = lease_one(&store, "orders").await;
    record_step(&store, &lease.holder(), "a", b"1").await;
    settle(&store, lease, retry_in(0)).await;
    settle(&store, lease_one(&store, "orders").await, done()).await;
    assert_eq!(recorded(&store, id).await, []);
}

pub(in crate::store) async fn what_can_be_retried_goes_on_from_its_steps_unless_it_is_to_begin_anew(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = deliver(&store, "orders").await;
    let lease = lease_one(&store, "orders").await;
    record_step(&store, &lease.holder(), "a", b"1").await;
    settle(&store, lease, dead()).await;
    act(&store, Action::Retry, id).await;
    act(&store, Action::Cancel, id).await;
    act(&store, Action::Retry, id).await;
    let lease = lease_one(&store, "orders").await;
    assert!(lease.has_steps());
    assert_eq!(recorded(&store, id).await, one("a", b"1"));
    settle(&store, lease, dead()).await;
    act(&store, Action::Discard, id).await;
    act(&store, Action::RetryFresh, id).await;
    assert_eq!(recorded(&store, id).await, []);
    let lease = lease_one(&store, "orders").await;
    assert_eq!(lease.counted_attempt(), 1);
    assert_eq!(record_step(&store, &lease.holder(), "a", b"2").await, Recorded::Kept);
    settle(&store, lease, retry_in(DAY_MS)).await;
    act(&store, Action::RetryFresh, id).await;
    assert_eq!(recorded(&store, id).await, [], "also one that waits");
}

pub(in crate::store) async fn a_replay_and_another_plugin_begin_without_steps(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = deliver(&store, "orders").await;
    let lease = lease_one(&store, "orders").await;
    record_step(&store, &lease.holder(), "a", b"1").await;
    settle(&store, lease, again(DAY_MS)).await;
    let replayed = store.replay(None, id.event, vec![Target::to("audit")]).await.unwrap()[0];
    assert!(!lease_one(&store, "audit").await.has_steps());
    assert_eq!(recorded(&store, replayed).await, []);
    act(&store, Action::Move("other".into()), id).await;
    pass(&harness, DAY_MS);
    let lease = lease_one(&store, "other").await;
    assert_eq!(recorded(&store, id).await, []);
    assert_eq!((lease.counted_attempt(), lease.again().count), (1, 0));
}

pub(in crate::store) async fn a_swept_event_leaves_no_step(harness: impl Harness) {
    let store = harness.open().await;
    let id = deliver(&store, "orders").await;
    let lease = lease_one(&store, "orders").await;
    record_step(&store, &lease.holder(), "a", b"1").await;
    settle(&store, lease, dead()).await;
    act(&store, Action::Discard, id).await;
    pass(&harness, DAY_MS);
    sweep_all(
        &store,
        Keep {
            events: time(1),
            payloads: Duration::MAX,
            dedupe_keys: time(1),
            audit: Duration::MAX,
        },
    )
    .await;
    assert!(!exists(&store, id.event).await);
    assert_eq!(recorded(&store, id).await, []);
}

pub(in crate::store) async fn a_delivery_that_asks_to_be_called_again_spends_no_attempt_and_loses_no_event(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = deliver(&store, "orders").await;
    settle(&store, lease_one(&store, "orders").await, retry_in(0)).await;
    let lease = lease_one(&store, "orders").await;
    assert_eq!((lease.counted_attempt(), lease.again().count), (2, 0));
    let kv = KvTransaction {
        writes: vec![("n".to_owned(), Some(b"1".to_vec()))],
        ..KvTransaction::default()
    };
    let child = NewEvent { parent: Some(id.event), ..event("order.polled", &["audit"]) };
    assert_eq!(settle(&store, lease, again_with(vec![child], kv, 30_000)).await, Settled::Kept);
    drop(store);
    let store = harness.open().await;
    let view = delivery(&store, id).await;
    assert_eq!((view.state, view.due_ms), (State::Waiting, Some(START_MS + 30_000)));
    assert_eq!((view.again, view.attempts.len()), (1, 2));
    assert_eq!(view.attempts[1].record.outcome, Outcome::Again);
    assert_eq!(store.kv_get("orders".into(), "n".to_owned()).await.unwrap().unwrap().value, b"1");
    let children = store.event(id.event).await.unwrap().children;
    assert_eq!(children.len(), 1, "emitted once");
    assert_eq!(lease_one(&store, "audit").await.event.id, children[0]);
    let early = super::lease(&store, "orders", 1).await;
    assert!(early.is_empty(), "never early");
    pass(&harness, 30_000);
    let lease = lease_one(&store, "orders").await;
    assert_eq!((lease.attempt, lease.counted_attempt()), (3, 1), "counted anew");
    assert_eq!((lease.again().count, lease.again().since), (1, time(30_000)));
    settle(&store, lease, again(0)).await;
    let lease = lease_one(&store, "orders").await;
    assert_eq!((lease.again().count, lease.again().since), (2, time(30_000)));
    settle(&store, lease, dead()).await;
    act(&store, Action::Retry, id).await;
    assert_eq!(
        lease_one(&store, "orders").await.again().count,
        0,
        "an operator's retry begins anew"
    );
}

pub(in crate::store) async fn of_a_cancelled_delivery_that_asks_to_be_called_again_only_the_attempt_is_stored(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = deliver(&store, "orders").await;
    let lease = lease_one(&store, "orders").await;
    act(&store, Action::Cancel, id).await;
    let child = NewEvent { parent: Some(id.event), ..event("order.polled", &["audit"]) };
    let settlement = again_with(vec![child], KvTransaction::default(), 0);
    assert_eq!(settle(&store, lease, settlement).await, Settled::Cancelled);
    let view = delivery(&store, id).await;
    assert_eq!((view.state, view.again, view.attempts.len()), (State::Cancelled, 0, 1));
    assert!(store.event(id.event).await.unwrap().children.is_empty());
    assert!(super::lease(&store, "orders", 1).await.is_empty());
}

pub(in crate::store) async fn a_bulk_retry_that_begins_anew_drops_every_step(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(deliver(&store, "orders").await);
        let lease = lease_one(&store, "orders").await;
        record_step(&store, &lease.holder(), "a", b"1").await;
        settle(&store, lease, dead()).await;
    }
    let filter = crate::store::DeliveryFilter {
        plugin: Some("orders".to_owned()),
        ..crate::store::DeliveryFilter::default()
    };
    let which = Which::Matching { filter, from: None };
    assert_eq!(store.change(None, Action::RetryFresh, which).await.unwrap().deliveries, 3);
    for id in ids {
        assert_eq!((state(&store, id).await, recorded(&store, id).await), (State::Ready, vec![]));
    }
}
