//! Events that cancel deliveries.

use super::dispatch::TestDispatch;
use super::policies::PolicyHarness;
use super::*;
use crate::event::{KeyPolicy, KeySource, NewDelivery, Target, TargetOptions};
use crate::store::conformance::operator::act;
use crate::store::{Action, DeliveryFilter, Which};

/// An event of a subject for `reminder`, which events can cancel by `tag`.
fn cancellable(subject: Option<&str>, tag: i64) -> NewEvent {
    let mut new = event("order.created", &[]);
    new.attributes.subject = subject.map(str::to_owned);
    let options = TargetOptions { cancel_tag: Some(tag), ..TargetOptions::default() };
    let target = Arc::new(Target { plugin: "reminder".into(), options });
    new.deliveries = vec![NewDelivery::from(target)];
    new
}

/// An event of a subject that cancels what has one of these tags.
fn cancelling(subject: &str, tags: &[i64]) -> NewEvent {
    let mut new = NewEvent { cancels: tags.to_vec(), ..event("order.completed", &[]) };
    new.attributes.subject = Some(subject.to_owned());
    new
}

async fn wait_for(store: &Arc<dyn Store>, subject: &str, tag: i64) -> DeliveryId {
    DeliveryId { event: append(store, cancellable(Some(subject), tag)).await, ordinal: 0 }
}

pub(in crate::store) async fn an_event_cancels_what_waits_of_its_subject_and_nothing_else(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let delayed = NewEvent { delay_ms: 60_000, ..cancellable(Some("o1"), 1) };
    let delayed = DeliveryId { event: append(&store, delayed).await, ordinal: 0 };
    let ready = wait_for(&store, "o1", 1).await;
    let others = [
        wait_for(&store, "o2", 1).await,
        wait_for(&store, "o1", 2).await,
        DeliveryId { event: append(&store, cancellable(None, 1)).await, ordinal: 0 },
    ];
    append(&store, cancelling("o1", &[1, 3])).await;
    for id in [delayed, ready] {
        assert_eq!(state(&store, id).await, State::Cancelled);
    }
    for id in others {
        assert_eq!(state(&store, id).await, State::Ready, "{id}");
    }
    let leased = lease(&store, "reminder", 9).await;
    assert_eq!(leased.iter().map(|lease| lease.delivery).collect::<Vec<_>>(), others);
}

pub(in crate::store) async fn what_comes_after_an_event_is_not_cancelled_by_it(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    // Also its own deliveries come after it.
    let mut both = cancellable(Some("o1"), 1);
    both.cancels = vec![1];
    let own = DeliveryId { event: append(&store, both).await, ordinal: 0 };
    let later = wait_for(&store, "o1", 1).await;
    assert_eq!(state(&store, own).await, State::Ready);
    assert_eq!(state(&store, later).await, State::Ready);
}

pub(in crate::store) async fn a_delivery_that_an_acknowledged_event_has_cancelled_leaves_nothing(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let id = wait_for(&store, "o1", 1).await;
    let leased = lease_one(&store, "reminder").await;
    append(&store, cancelling("o1", &[1])).await;
    assert!(delivery(&store, id).await.cancelling);
    let kv = KvTransaction {
        reads: Vec::new(),
        writes: vec![("key".to_owned(), Some(b"value".to_vec()))],
        ..KvTransaction::default()
    };
    let child = NewEvent { parent: Some(id.event), ..event("child", &[]) };
    let settled = settle(&store, leased, done_with(vec![child], kv)).await;
    assert_eq!(settled, Settled::Cancelled);
    let view = delivery(&store, id).await;
    assert_eq!((view.state, view.attempts.len()), (State::Cancelled, 1));
    assert_eq!(view.attempts[0].record.outcome, Outcome::Ok, "the attempt keeps its own outcome");
    assert!(store.event(id.event).await.unwrap().children.is_empty());
    assert!(store.kv_get("reminder".into(), "key".to_owned()).await.unwrap().is_none());
    // The same across a crash.
    let id = wait_for(&store, "o1", 1).await;
    run_on(&store, &lease_one(&store, "reminder").await).await;
    append(&store, cancelling("o1", &[1])).await;
    drop(store);
    let store = harness.open().await;
    assert_eq!(state(&store, id).await, State::Cancelled);
    assert!(lease(&store, "reminder", 9).await.is_empty());
}

pub(in crate::store) async fn what_has_ended_is_not_cancelled_and_a_retry_can_be_again(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let id = wait_for(&store, "o1", 1).await;
    settle(&store, lease_one(&store, "reminder").await, dead()).await;
    append(&store, cancelling("o1", &[1])).await;
    assert_eq!(state(&store, id).await, State::Dead);
    act(&store, Action::Retry, id).await;
    append(&store, cancelling("o1", &[1])).await;
    assert_eq!(state(&store, id).await, State::Cancelled);
}

pub(in crate::store) async fn an_emitted_event_cancels_with_its_settlement(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let id = wait_for(&store, "o1", 1).await;
    deliver(&store, "worker").await;
    let leased = lease_one(&store, "worker").await;
    let parent = Some(leased.delivery.event);
    let emitted = NewEvent { parent, ..cancelling("o1", &[1]) };
    settle(&store, leased, done_with(vec![emitted], KvTransaction::default())).await;
    assert_eq!(state(&store, id).await, State::Cancelled);
}

pub(in crate::store) async fn what_is_cancelled_lets_its_key_go_on(harness: impl PolicyHarness) {
    harness.policies().set("reminder", KeyPolicy::of(KeySource::Subject));
    let store = harness.open().await;
    let keyed = |subject: &str| {
        let mut new = cancellable(Some(subject), 1);
        new.deliveries[0].key = Some(crate::event::Key::Text("k".into()));
        new
    };
    let first = DeliveryId { event: append(&store, keyed("o1")).await, ordinal: 0 };
    let second = DeliveryId { event: append(&store, keyed("o2")).await, ordinal: 0 };
    assert_eq!(delivery(&store, second).await.behind, Some(first));
    append(&store, cancelling("o1", &[1])).await;
    assert_eq!(lease_one(&store, "reminder").await.delivery, second);
}

pub(in crate::store) async fn of_what_an_event_cancels_none_is_leased_by_the_end_of_another(
    harness: impl PolicyHarness,
) {
    harness.policies().set("reminder", KeyPolicy::of(KeySource::Subject));
    let store = harness.open().await;
    let mut dispatch = TestDispatch::attach(&store, &[("reminder", 8)]);
    let keyed = |tag: i64, delay_ms: u64| {
        let mut new = NewEvent { delay_ms, ..cancellable(Some("o1"), tag) };
        new.deliveries[0].key = Some(crate::event::Key::Text("k".into()));
        new
    };
    // The oldest enters last, because it is delayed.
    let late = DeliveryId { event: append(&store, keyed(1, 10)).await, ordinal: 0 };
    let open = DeliveryId { event: append(&store, keyed(2, 0)).await, ordinal: 0 };
    let leased = dispatch.delivered(&store).await.remove(0);
    settle(&store, leased, retry_in(60_000)).await;
    pass(&harness, 20);
    assert!(lease(&store, "reminder", 8).await.is_empty(), "it has entered behind the other");
    let behind = DeliveryId { event: append(&store, keyed(1, 0)).await, ordinal: 0 };
    append(&store, cancelling("o1", &[2, 1])).await;
    for id in [late, open, behind] {
        let found = delivery(&store, id).await;
        assert_eq!((found.state, found.cancelling), (State::Cancelled, false), "{id}");
    }
    assert!(dispatch.delivered(&store).await.is_empty(), "nothing of it runs");
    // The same by an operator, who names all of them.
    let ids = [
        DeliveryId { event: append(&store, keyed(3, 0)).await, ordinal: 0 },
        DeliveryId { event: append(&store, keyed(3, 0)).await, ordinal: 0 },
    ];
    settle(&store, dispatch.delivered(&store).await.remove(0), retry_in(60_000)).await;
    let filter = DeliveryFilter { plugin: Some("reminder".into()), ..DeliveryFilter::default() };
    store.change(None, Action::Cancel, Which::Matching { filter, from: None }).await.unwrap();
    for id in ids {
        assert_eq!(state(&store, id).await, State::Cancelled);
    }
    assert!(dispatch.delivered(&store).await.is_empty());
}

pub(in crate::store) async fn a_settlement_opens_nothing_that_its_own_events_cancel(
    harness: impl PolicyHarness,
) {
    harness.policies().set("reminder", KeyPolicy::of(KeySource::Subject));
    let store = harness.open().await;
    let mut dispatch = TestDispatch::attach(&store, &[("reminder", 8)]);
    let keyed = || {
        let mut new = cancellable(Some("o1"), 1);
        new.deliveries[0].key = Some(crate::event::Key::Text("k".into()));
        new
    };
    for dies in [false, true] {
        let first = append(&store, keyed()).await;
        let second = DeliveryId { event: append(&store, keyed()).await, ordinal: 0 };
        let lease = dispatch.delivered(&store).await.remove(0);
        let emitted = NewEvent { parent: Some(first), ..cancelling("o1", &[1]) };
        let settlement = match dies {
            false => done_with(vec![emitted], KvTransaction::default()),
            true => {
                let next = Next::Dead(Some(Box::new(emitted)));
                Settlement { next, record: Some(record(Outcome::Reject)) }
            }
        };
        assert_eq!(settle(&store, lease, settlement).await, Settled::Kept);
        let view = delivery(&store, second).await;
        assert_eq!((view.state, view.cancelling), (State::Cancelled, false), "dies: {dies}");
        assert!(dispatch.delivered(&store).await.is_empty(), "nothing of it runs");
    }
    // An emitted delivery enters the key behind those that wait already.
    append(&store, keyed()).await;
    let second = DeliveryId { event: append(&store, keyed()).await, ordinal: 0 };
    let lease = dispatch.delivered(&store).await.remove(0);
    let emitted = NewEvent { parent: Some(lease.event.id), ..keyed() };
    settle(&store, lease, done_with(vec![emitted], KvTransaction::default())).await;
    let leases = dispatch.delivered(&store).await;
    assert_eq!(leases.iter().map(|lease| lease.delivery).collect::<Vec<_>>(), [second]);
}

pub(in crate::store) async fn an_attempt_that_read_what_changed_is_recorded_if_it_was_cancelled(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let id = wait_for(&store, "o1", 1).await;
    let leased = lease_one(&store, "reminder").await;
    append(&store, cancelling("o1", &[1])).await;
    let kv = KvTransaction { reads: vec![("key".to_owned(), Some(7))], ..KvTransaction::default() };
    assert_eq!(settle(&store, leased, done_with(Vec::new(), kv)).await, Settled::Cancelled);
    let found = delivery(&store, id).await;
    assert_eq!((found.state, found.attempts.len()), (State::Cancelled, 1));
    assert_eq!(found.attempts[0].number, 1);
}
