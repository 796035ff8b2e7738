//! Actions of an operator on one delivery: retry, cancel, discard, move; and the replay of an old
//! event.

use super::dispatch::TestDispatch;
use super::*;
use crate::store::{Action, DeliveryFilter, Which};

/// Does `action` to one delivery that allows it.
pub(super) async fn act(store: &Arc<dyn Store>, action: Action, id: DeliveryId) {
    let verb = action.name();
    let changed = store.change(None, action, Which::One(id)).await.unwrap();
    assert_eq!((changed.deliveries, changed.next), (1, None), "{verb} {id}");
}

pub(super) async fn assert_conflict(store: &Arc<dyn Store>, action: Action, id: DeliveryId) {
    let before = delivery(store, id).await;
    let refused = store.change(None, action, Which::One(id)).await.unwrap_err();
    assert!(
        matches!(&refused, StoreError::Conflict(why) if why.contains(&id.to_string())),
        "{refused}"
    );
    assert_eq!(delivery(store, id).await, before);
}

/// A delivery of `plugin` that waits for so many milliseconds.
pub(super) async fn waits(store: &Arc<dyn Store>, plugin: &str, ms: i64) -> DeliveryId {
    let id = deliver(store, plugin).await;
    let lease = lease_one(store, plugin).await;
    assert_eq!(lease.delivery, id);
    settle(store, lease, retry_in(ms)).await;
    id
}

pub(in crate::store) async fn a_retried_delivery_is_ready_and_its_attempts_are_not_counted(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    settle(&store, lease_one(&store, "audit").await, retry_in(0)).await;
    settle(&store, lease_one(&store, "audit").await, dead()).await;
    pass(&harness, 60_000);
    act(&store, Action::Retry, id).await;
    let view = delivery(&store, id).await;
    assert_eq!((view.state, view.due_ms), (State::Ready, Some(START_MS + 60_000)));
    let lease = lease_one(&store, "audit").await;
    assert_eq!((lease.attempt, lease.counted_attempt()), (3, 1));
    settle(&store, lease, done()).await;
    let numbers: Vec<_> =
        delivery(&store, id).await.attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
}

pub(in crate::store) async fn what_is_due_running_or_done_cannot_be_retried(harness: impl Harness) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    assert_conflict(&store, Action::Retry, id).await;
    let lease = lease_one(&store, "audit").await;
    assert_conflict(&store, Action::Retry, id).await;
    settle(&store, lease, done()).await;
    assert_conflict(&store, Action::Retry, id).await;
}

pub(in crate::store) async fn a_waiting_delivery_that_is_retried_is_due_at_once(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = waits(&store, "audit", DAY_MS).await;
    pass(&harness, 1_000);
    assert!(lease(&store, "audit", 1).await.is_empty());
    act(&store, Action::Retry, id).await;
    let view = delivery(&store, id).await;
    assert_eq!((view.state, view.due_ms), (State::Ready, Some(START_MS + 1_000)));
    let lease = lease_one(&store, "audit").await;
    assert_eq!((lease.attempt, lease.counted_attempt()), (2, 2), "nothing is uncounted");
}

pub(in crate::store) async fn what_waits_and_is_retried_leaves_the_quarantine_queue(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    run_on(&store, &lease_one(&store, "audit").await).await;
    drop(store);
    let store = harness.open().await;
    let quarantined =
        store.lease(quarantine(&["audit"]), permits(1)).await.unwrap().leases.remove(0);
    settle(&store, quarantined, give_back(DAY_MS)).await;
    act(&store, Action::Retry, id).await;
    assert_eq!(lease_one(&store, "audit").await.delivery, id);
}

pub(in crate::store) async fn what_an_operator_makes_ready_notifies_its_plugin(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let dispatch = TestDispatch::attach(&store, &[]);
    let dead = dead_letter(&store, "audit").await;
    let waiting = waits(&store, "audit", DAY_MS).await;
    dispatch.notified(&store).await;
    for id in [dead, waiting] {
        act(&store, Action::Retry, id).await;
        assert_eq!(dispatch.notified(&store).await, [("audit".to_owned(), Duration::ZERO)]);
    }
}

pub(in crate::store) async fn a_quarantined_delivery_that_is_retried_may_crash_twice_again(
    harness: impl Harness,
) {
    let mut store = harness.open().await;
    let id = deliver(&store, "audit").await;
    let mut zombies = vec![lease_one(&store, "audit").await];
    for expected in [State::Ready, State::Dead, State::Ready, State::Dead] {
        run_on(&store, zombies.last().unwrap()).await;
        drop(store);
        store = harness.open().await;
        assert_eq!(state(&store, id).await, expected);
        if expected == State::Dead {
            act(&store, Action::Retry, id).await;
            zombies.push(lease_one(&store, "audit").await);
        } else {
            zombies.extend(store.lease(quarantine(&["audit"]), permits(1)).await.unwrap().leases);
        }
    }
    assert_eq!(zombies.iter().map(|lease| lease.attempt).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

pub(in crate::store) async fn a_cancelled_delivery_is_leased_no_more(harness: impl Harness) {
    let store = harness.open().await;
    let waiting = waits(&store, "audit", 1_000).await;
    let ready = deliver(&store, "audit").await;
    for id in [ready, waiting] {
        act(&store, Action::Cancel, id).await;
        let view = delivery(&store, id).await;
        assert_eq!((view.state, view.due_ms, view.cancelling), (State::Cancelled, None, false));
    }
    pass(&harness, DAY_MS);
    let leased = store.lease(queue("audit"), permits(2)).await.unwrap();
    assert!(leased.leases.is_empty() && leased.next_due_in.is_none(), "{leased:?}");
    assert_eq!(delivery(&store, waiting).await.attempts.len(), 1, "what it tried is still shown");
}

pub(in crate::store) async fn of_a_leased_delivery_that_is_cancelled_only_the_attempt_is_stored(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    let lease = lease_one(&store, "audit").await;
    act(&store, Action::Cancel, id).await;
    let view = delivery(&store, id).await;
    assert_eq!((view.state, view.cancelling), (State::Leased, true));
    let kv =
        KvTransaction { writes: vec![("n".to_owned(), Some(b"1".to_vec()))], ..Default::default() };
    let child = NewEvent { parent: Some(id.event), ..event("order.ready", &["orders"]) };
    assert_eq!(settle(&store, lease, done_with(vec![child], kv)).await, Settled::Cancelled);
    let view = delivery(&store, id).await;
    assert_eq!((view.state, view.cancelling, view.due_ms), (State::Cancelled, false, None));
    assert_eq!(view.attempts.iter().map(|a| a.record.outcome).collect::<Vec<_>>(), [Outcome::Ok]);
    assert_eq!(store.event(id.event).await.unwrap().children, []);
    assert_eq!(store.kv_get("audit".into(), "n".to_owned()).await.unwrap(), None);
    assert_eq!(store.stats().await.unwrap().events, 1);
}

pub(in crate::store) async fn a_leased_delivery_that_is_cancelled_ends_however_it_is_settled(
    harness: impl Harness,
) {
    let store = harness.open().await;
    for (settlement, attempts) in [(retry_in(0), 1), (dead(), 1), (give_back(0), 0)] {
        let id = deliver(&store, "audit").await;
        let lease = lease_one(&store, "audit").await;
        act(&store, Action::Cancel, id).await;
        assert_eq!(settle(&store, lease, settlement).await, Settled::Cancelled);
        let view = delivery(&store, id).await;
        assert_eq!((view.state, view.attempts.len()), (State::Cancelled, attempts));
    }
    assert!(lease(&store, "audit", 1).await.is_empty());
}

pub(in crate::store) async fn a_leased_delivery_that_was_cancelled_ends_with_the_crash(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let ids = [deliver(&store, "audit").await, deliver(&store, "audit").await];
    let zombies = lease(&store, "audit", 2).await;
    run_on(&store, &zombies[0]).await;
    for id in ids {
        act(&store, Action::Cancel, id).await;
    }
    drop(store);
    let store = harness.open().await;
    for (id, outcomes) in ids.into_iter().zip([vec![Outcome::Crash], vec![]]) {
        let view = delivery(&store, id).await;
        assert_eq!((view.state, view.cancelling), (State::Cancelled, false));
        assert_eq!(view.attempts.iter().map(|a| a.record.outcome).collect::<Vec<_>>(), outcomes);
    }
    for zombie in zombies {
        assert_eq!(settle(&store, zombie, done()).await, Settled::Lost);
    }
}

pub(in crate::store) async fn what_is_in_the_quarantine_queue_can_be_cancelled(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    run_on(&store, &lease_one(&store, "audit").await).await;
    drop(store);
    let store = harness.open().await;
    act(&store, Action::Cancel, id).await;
    assert!(store.lease(quarantine(&["audit"]), permits(1)).await.unwrap().leases.is_empty());
    assert_eq!(state(&store, id).await, State::Cancelled);
}

pub(in crate::store) async fn what_is_settled_cannot_be_cancelled_and_nothing_twice(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let done_id = deliver(&store, "audit").await;
    settle(&store, lease_one(&store, "audit").await, done()).await;
    let dead = dead_letter(&store, "audit").await;
    for id in [done_id, dead] {
        assert_conflict(&store, Action::Cancel, id).await;
    }
    let id = deliver(&store, "audit").await;
    let lease = lease_one(&store, "audit").await;
    act(&store, Action::Cancel, id).await;
    assert_conflict(&store, Action::Cancel, id).await;
    settle(&store, lease, done()).await;
    assert_conflict(&store, Action::Cancel, id).await;
}

pub(in crate::store) async fn only_a_dead_delivery_can_be_discarded(harness: impl Harness) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    assert_conflict(&store, Action::Discard, id).await;
    let lease = lease_one(&store, "audit").await;
    assert_conflict(&store, Action::Discard, id).await;
    settle(&store, lease, dead()).await;
    act(&store, Action::Discard, id).await;
    assert_eq!(state(&store, id).await, State::Discarded);
    assert_conflict(&store, Action::Discard, id).await;
    assert_conflict(&store, Action::Cancel, id).await;
}

pub(in crate::store) async fn what_an_operator_has_ended_can_be_retried(harness: impl Harness) {
    let store = harness.open().await;
    let discarded = dead_letter(&store, "audit").await;
    act(&store, Action::Discard, discarded).await;
    let cancelled = deliver(&store, "audit").await;
    let lease = lease_one(&store, "audit").await;
    act(&store, Action::Cancel, cancelled).await;
    settle(&store, lease, retry_in(0)).await;
    for id in [discarded, cancelled] {
        act(&store, Action::Retry, id).await;
        let lease = lease_one(&store, "audit").await;
        assert_eq!((lease.delivery, lease.attempt, lease.counted_attempt()), (id, 2, 1));
        assert_eq!(settle(&store, lease, done()).await, Settled::Kept);
    }
}

pub(in crate::store) async fn a_replay_creates_new_deliveries_of_an_old_event(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    settle(&store, lease_one(&store, "audit").await, done()).await;
    let replayed = store
        .replay(None, id.event, vec![Target::to("audit"), Target::to("orders")])
        .await
        .unwrap();
    assert_eq!(replayed.iter().map(|delivery| delivery.ordinal).collect::<Vec<_>>(), [1, 2]);
    let view = store.event(id.event).await.unwrap();
    let shown: Vec<_> = view.deliveries.iter().map(|d| (&*d.plugin, d.state, d.replay)).collect();
    assert_eq!(
        shown,
        [
            ("audit", State::Done, false),
            ("audit", State::Ready, true),
            ("orders", State::Ready, true)
        ]
    );
    assert_eq!(lease_one(&store, "orders").await.delivery, replayed[1]);
    let again = store.replay(None, id.event, vec![Target::to("audit")]).await.unwrap();
    assert_eq!(again[0].ordinal, 3);
}

fn to(plugin: &str) -> Action {
    Action::Move(plugin.into())
}

pub(in crate::store) async fn a_moved_delivery_is_another_plugins_at_the_same_time(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let dispatch = TestDispatch::attach(&store, &[]);
    let waiting = waits(&store, "audit", 1_000).await;
    let ready = deliver(&store, "audit").await;
    dispatch.notified(&store).await;
    for (id, due_in_ms) in [(waiting, 1_000), (ready, 0)] {
        let before = delivery(&store, id).await;
        act(&store, to("orders"), id).await;
        let after = delivery(&store, id).await;
        assert_eq!(
            (&*after.plugin, after.state, after.due_ms),
            ("orders", before.state, Some(START_MS + due_in_ms))
        );
        assert_eq!(after.attempts, before.attempts, "what the other one tried is still shown");
        assert_eq!(dispatch.notified(&store).await, [("orders".to_owned(), time(due_in_ms))]);
    }
    let stats = store.stats().await.unwrap();
    let open = |plugin| stats.plugins.get(plugin).map_or(0, crate::store::PluginCounts::open);
    assert_eq!((open("audit"), open("orders")), (0, 2));
    assert!(lease(&store, "audit", 2).await.is_empty());
    assert_eq!(lease_one(&store, "orders").await.delivery, ready);
    pass(&harness, 1_000);
    let lease = lease_one(&store, "orders").await;
    assert_eq!((lease.delivery, lease.attempt, lease.counted_attempt()), (waiting, 2, 1));
}

pub(in crate::store) async fn what_runs_or_is_settled_cannot_be_moved(harness: impl Harness) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    let lease = lease_one(&store, "audit").await;
    assert_conflict(&store, to("orders"), id).await;
    settle(&store, lease, done()).await;
    assert_conflict(&store, to("orders"), id).await;
    let dead = dead_letter(&store, "audit").await;
    assert_conflict(&store, to("orders"), dead).await;
}

pub(in crate::store) async fn a_plugin_that_has_an_event_gets_it_from_no_other(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let event = append(&store, event("order.paid", &["audit", "orders"])).await;
    let [audit, orders] = [0, 1].map(|ordinal| DeliveryId { event, ordinal });
    assert_conflict(&store, to("orders"), audit).await;
    assert_conflict(&store, to("audit"), audit).await;
    let which = || Which::Matching { filter: DeliveryFilter::default(), from: None };
    assert_eq!(store.change(None, to("orders"), which()).await.unwrap().deliveries, 0);
    assert_eq!(
        store.preview(to("orders"), DeliveryFilter::default(), None).await.unwrap().deliveries,
        0
    );
    act(&store, Action::Cancel, orders).await;
    assert_eq!(store.change(None, to("orders"), which()).await.unwrap().deliveries, 1);
    assert_eq!(&*delivery(&store, audit).await.plugin, "orders");
}

pub(in crate::store) async fn what_is_moved_leaves_the_quarantine_queue(harness: impl Harness) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    run_on(&store, &lease_one(&store, "audit").await).await;
    drop(store);
    let store = harness.open().await;
    act(&store, to("orders"), id).await;
    assert_eq!(lease_one(&store, "orders").await.delivery, id);
}

pub(in crate::store) async fn what_does_not_exist_is_not_found(harness: impl Harness) {
    let store = harness.open().await;
    let event = EventId::first_at(START_MS);
    let not_found =
        |error: StoreError| assert!(matches!(error, StoreError::NotFound(_)), "{error}");
    not_found(store.event(event).await.unwrap_err());
    not_found(store.delivery(DeliveryId { event, ordinal: 0 }).await.unwrap_err());
    not_found(store.replay(None, event, vec![Target::to("audit")]).await.unwrap_err());
    for action in [Action::Retry, Action::Cancel, Action::Discard, Action::Move("orders".into())] {
        not_found(
            store
                .change(None, action, Which::One(DeliveryId { event, ordinal: 0 }))
                .await
                .unwrap_err(),
        );
    }
    assert_eq!(store.stats().await.unwrap(), crate::store::Stats::default());
}

pub(in crate::store) async fn an_event_has_a_bounded_number_of_deliveries(harness: impl Harness) {
    let store = harness.open().await;
    let id = append(&store, event("order.paid", &[])).await;
    store.replay(None, id, vec![Target::to("audit"); 999]).await.unwrap();
    let refused = store.replay(None, id, vec![Target::to("audit"); 2]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict(_)), "{refused}");
    assert_eq!(store.replay(None, id, vec![Target::to("audit")]).await.unwrap().len(), 1);
}
