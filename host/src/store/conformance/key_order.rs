//! Deliveries that are ordered by a key.

use std::num::NonZeroU32;

use super::dispatch::TestDispatch;
use super::operator::{act, assert_conflict};
use super::policies::PolicyHarness;
use super::*;
use crate::event::{Key, KeyPolicy, KeySource, NewDelivery};
use crate::store::Action;

/// An event for these plugins, all of whose deliveries have this key.
pub(in crate::store) fn keyed_event(key: &str, plugins: &[&str]) -> NewEvent {
    let mut new = event("order.paid", plugins);
    for delivery in &mut new.deliveries {
        delivery.key = Some(Key::Text(key.into()));
    }
    new
}

/// A new delivery of `charge` with this key.
pub(super) async fn enter(store: &Arc<dyn Store>, key: &str) -> DeliveryId {
    DeliveryId { event: append(store, keyed_event(key, &["charge"])).await, ordinal: 0 }
}

/// The policy of `charge`, changed by `change`.
pub(super) fn policy(harness: &impl PolicyHarness, change: impl FnOnce(&mut KeyPolicy)) {
    let mut policy = KeyPolicy::of(KeySource::Subject);
    change(&mut policy);
    harness.policies().set("charge", policy);
}

async fn behind(store: &Arc<dyn Store>, id: DeliveryId) -> Option<DeliveryId> {
    let view = delivery(store, id).await;
    assert_eq!(view.behind.is_some(), view.state == State::Waiting && view.due_ms.is_none());
    view.behind
}

/// Leases what is due of `charge` and settles it as done, one after the other; names them in order.
async fn work_off(store: &Arc<dyn Store>) -> Vec<DeliveryId> {
    let mut order = Vec::new();
    loop {
        let mut leases = lease(store, "charge", 1).await;
        let Some(lease) = leases.pop() else { return order };
        order.push(lease.delivery);
        settle(store, lease, done()).await;
    }
}

pub(in crate::store) async fn the_next_of_a_key_is_open_when_the_one_before_has_ended(
    harness: impl PolicyHarness,
) {
    policy(&harness, |_| ());
    let store = harness.open().await;
    let (first, other) = (enter(&store, "a").await, enter(&store, "b").await);
    let (second, third) = (enter(&store, "a").await, enter(&store, "a").await);
    assert_eq!(behind(&store, second).await, Some(first));
    assert_eq!(behind(&store, third).await, Some(first));
    let mut leases = lease(&store, "charge", 9).await;
    assert_eq!(leases.iter().map(|l| l.delivery).collect::<Vec<_>>(), [first, other]);
    settle(&store, leases.remove(0), done()).await;
    assert_eq!(state(&store, second).await, State::Ready);
    assert_eq!(behind(&store, third).await, Some(second));
    assert_eq!(work_off(&store).await, [second, third]);
}

pub(in crate::store) async fn a_retry_keeps_its_place_and_its_key_waits_for_it(
    harness: impl PolicyHarness,
) {
    policy(&harness, |_| ());
    let store = harness.open().await;
    let (first, second) = (enter(&store, "a").await, enter(&store, "a").await);
    settle(&store, lease_one(&store, "charge").await, retry_in(1_000)).await;
    assert!(lease(&store, "charge", 9).await.is_empty());
    assert_eq!(behind(&store, second).await, Some(first));
    let next = store.lease(queue("charge"), permits(1)).await.unwrap();
    assert_eq!(next.next_due_in, Some(time(1_000)), "what waits behind is never due");
    pass(&harness, 1_000);
    assert_eq!(work_off(&store).await, [first, second]);
}

pub(in crate::store) async fn as_many_of_a_key_are_open_as_its_policy_says(
    harness: impl PolicyHarness,
) {
    policy(&harness, |policy| policy.per_key = NonZeroU32::new(2).unwrap());
    let store = harness.open().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(enter(&store, "a").await);
    }
    let mut leases = lease(&store, "charge", 9).await;
    assert_eq!(leases.iter().map(|l| l.delivery).collect::<Vec<_>>(), ids[..2]);
    settle(&store, leases.pop().unwrap(), done()).await;
    assert_eq!(lease_one(&store, "charge").await.delivery, ids[2]);
    assert_eq!(behind(&store, ids[3]).await, Some(ids[0]));
    policy(&harness, |policy| policy.per_key = NonZeroU32::new(4).unwrap());
    settle(&store, leases.pop().unwrap(), done()).await;
    let more = lease(&store, "charge", 9).await;
    assert_eq!(more.iter().map(|l| l.delivery).collect::<Vec<_>>(), ids[3..]);
}

pub(in crate::store) async fn the_order_of_a_key_outlives_a_crash(harness: impl PolicyHarness) {
    policy(&harness, |_| ());
    let store = harness.open().await;
    let (first, second, third) =
        (enter(&store, "a").await, enter(&store, "a").await, enter(&store, "a").await);
    run_on(&store, &lease_one(&store, "charge").await).await;
    drop(store);
    let store = harness.open().await;
    assert!(lease(&store, "charge", 9).await.is_empty(), "the crash counts against the first");
    let lease = store.lease(quarantine(&["charge"]), permits(1)).await.unwrap().leases.remove(0);
    assert_eq!(lease.delivery, first);
    run_on(&store, &lease).await;
    drop(store);
    let store = harness.open().await;
    assert_eq!(state(&store, first).await, State::Dead);
    assert_eq!(work_off(&store).await, [second, third]);
}

pub(in crate::store) async fn the_next_of_a_key_is_leased_when_the_one_before_is_settled(
    harness: impl PolicyHarness,
) {
    policy(&harness, |_| ());
    let store = harness.open().await;
    let mut dispatch = TestDispatch::attach(&store, &[("charge", 2)]);
    let (first, second) = (enter(&store, "a").await, enter(&store, "a").await);
    let leased = dispatch.delivered(&store).await.remove(0);
    assert_eq!(leased.delivery, first);
    settle(&store, leased, done()).await;
    let leased = dispatch.delivered(&store).await.remove(0);
    assert_eq!((leased.delivery, leased.attempt), (second, 1));
    assert_eq!(dispatch.notified(&store).await, [], "it never waited to be leased");
    settle(&store, leased, done()).await;
    assert!(dispatch.delivered(&store).await.is_empty());
    assert_eq!(dispatch.free("charge"), 2);
}

pub(in crate::store) async fn a_delayed_delivery_enters_its_key_when_its_delay_is_over(
    harness: impl PolicyHarness,
) {
    policy(&harness, |_| ());
    let store = harness.open().await;
    let later = NewEvent { delay_ms: 500, ..keyed_event("a", &["charge"]) };
    let later = DeliveryId { event: append(&store, later).await, ordinal: 0 };
    let (first, second) = (enter(&store, "a").await, enter(&store, "a").await);
    assert_eq!(delivery(&store, later).await.due_ms, Some(START_MS + 500));
    let leased = lease_one(&store, "charge").await;
    assert_eq!(leased.delivery, first);
    pass(&harness, 500);
    assert!(lease(&store, "charge", 9).await.is_empty());
    assert_eq!(behind(&store, later).await, Some(first));
    settle(&store, leased, done()).await;
    assert_eq!(work_off(&store).await, [second, later]);
}

pub(in crate::store) async fn thousands_that_enter_one_key_late_keep_nobody_waiting(
    harness: impl PolicyHarness,
) {
    policy(&harness, |_| ());
    let store = harness.open().await;
    for _ in 0..1_200 {
        append(&store, NewEvent { delay_ms: 10, ..keyed_event("a", &["charge"]) }).await;
    }
    pass(&harness, 10);
    let other = enter(&store, "b").await;
    let mut leased = Vec::new();
    // Each call gives a bounded number their places, and says that there are more.
    for _ in 0..4 {
        let found = store.lease(queue("charge"), permits(9)).await.unwrap();
        assert!(!found.memory_is_full);
        leased.extend(found.leases.into_iter().map(|lease| lease.delivery));
    }
    assert_eq!(leased.len(), 2);
    assert!(leased.contains(&other));
    let left = store.lease(queue("charge"), permits(9)).await.unwrap();
    assert_eq!(left.next_due_in, None);
}

pub(in crate::store) async fn a_keys_backlog_delays_no_other_key(harness: impl PolicyHarness) {
    policy(&harness, |_| ());
    let store = harness.open().await;
    for _ in 0..50 {
        enter(&store, "a").await;
    }
    let others = [enter(&store, "b").await, enter(&store, "c").await];
    let leased = lease(&store, "charge", 9).await;
    assert_eq!(leased[1..].iter().map(|l| l.delivery).collect::<Vec<_>>(), others);
    let next = store.lease(queue("charge"), permits(1)).await.unwrap();
    assert!(next.leases.is_empty() && next.next_due_in.is_none());
}

pub(in crate::store) async fn a_dead_letter_lets_the_next_one_go_unless_it_holds_its_key(
    harness: impl PolicyHarness,
) {
    policy(&harness, |_| ());
    let store = harness.open().await;
    let (_, second) = (enter(&store, "a").await, enter(&store, "a").await);
    settle(&store, lease_one(&store, "charge").await, dead()).await;
    assert_eq!(work_off(&store).await, [second]);
    policy(&harness, |policy| policy.hold = true);
    let (held, next) = (enter(&store, "a").await, enter(&store, "a").await);
    settle(&store, lease_one(&store, "charge").await, dead()).await;
    let later = enter(&store, "a").await;
    assert_eq!(behind(&store, next).await, Some(held));
    assert_eq!(behind(&store, later).await, Some(held));
    drop(store);
    let store = harness.open().await;
    assert!(lease(&store, "charge", 9).await.is_empty(), "it is held across a crash");
    act(&store, Action::Retry, held).await;
    assert_eq!(work_off(&store).await, [held, next, later], "it comes first");
}

pub(in crate::store) async fn a_held_key_goes_on_when_its_dead_letter_is_discarded(
    harness: impl PolicyHarness,
) {
    policy(&harness, |policy| policy.hold = true);
    let store = harness.open().await;
    let held = enter(&store, "a").await;
    settle(&store, lease_one(&store, "charge").await, dead()).await;
    // Nothing else is there: what comes waits for the dead letter all the same.
    let next = enter(&store, "a").await;
    assert_eq!(behind(&store, next).await, Some(held));
    act(&store, Action::Discard, held).await;
    assert_eq!(work_off(&store).await, [next]);
    let (dead_again, later) = (enter(&store, "a").await, enter(&store, "a").await);
    settle(&store, lease_one(&store, "charge").await, dead()).await;
    // A deleted delivery holds nothing.
    pass(&harness, 10 * DAY_MS);
    let keep = Keep {
        events: Duration::ZERO,
        payloads: Duration::MAX,
        dedupe_keys: Duration::ZERO,
        audit: Duration::ZERO,
    };
    while store.sweep(keep).await.unwrap() {}
    assert!(store.delivery(dead_again).await.is_err());
    assert_eq!(work_off(&store).await, [later]);
}

pub(in crate::store) async fn attempts_of_a_key_are_its_interval_apart(
    harness: impl PolicyHarness,
) {
    policy(&harness, |policy| policy.interval = time(1_000));
    let store = harness.open().await;
    let (first, second) = (enter(&store, "a").await, enter(&store, "a").await);
    let leased = lease_one(&store, "charge").await;
    pass(&harness, 100);
    // The attempt ran for 1.234 ms, as its record says.
    settle(&store, leased, retry_in(0)).await;
    assert_eq!(delivery(&store, first).await.due_ms, Some(START_MS + 100 + 998));
    pass(&harness, 998);
    settle(&store, lease_one(&store, "charge").await, done()).await;
    let due_ms = delivery(&store, second).await.due_ms;
    assert_eq!(due_ms, Some(START_MS + 1_098 + 998));
    pass(&harness, 998);
    settle(&store, lease_one(&store, "charge").await, done()).await;
    // Nobody waits, and what comes is not too early either.
    let third = enter(&store, "a").await;
    assert_eq!(delivery(&store, third).await.due_ms, Some(START_MS + 2_096 + 998));
    // An operator's cancel gives the next one no earlier start.
    let fourth = enter(&store, "a").await;
    act(&store, Action::Cancel, third).await;
    assert_eq!(delivery(&store, fourth).await.due_ms, Some(START_MS + 2_096 + 998));
    let other = enter(&store, "b").await;
    assert_eq!(lease_one(&store, "charge").await.delivery, other);
}

pub(in crate::store) async fn one_that_finds_too_many_waiting_is_a_dead_letter_at_once(
    harness: impl PolicyHarness,
) {
    policy(&harness, |policy| policy.max_waiting = 2);
    let store = harness.open().await;
    let ids = [enter(&store, "a").await, enter(&store, "a").await, enter(&store, "a").await];
    let refused = enter(&store, "a").await;
    let view = delivery(&store, refused).await;
    assert_eq!((view.state, view.attempts.len()), (State::Dead, 1));
    let error = view.attempts[0].record.error.clone().unwrap();
    assert!(error.contains("max_waiting_per_key") && error.contains("`a`"), "{error}");
    let late = NewEvent { delay_ms: 1, ..keyed_event("a", &["charge"]) };
    let late = DeliveryId { event: append(&store, late).await, ordinal: 0 };
    pass(&harness, 1);
    let leased = lease_one(&store, "charge").await;
    assert_eq!(state(&store, late).await, State::Dead);
    settle(&store, leased, done()).await;
    let fits = enter(&store, "a").await;
    assert_eq!(work_off(&store).await, [ids[1], ids[2], fits]);
}

pub(in crate::store) async fn what_an_operator_ends_lets_its_key_go_on(
    harness: impl PolicyHarness,
) {
    policy(&harness, |_| ());
    let store = harness.open().await;
    let ids = [enter(&store, "a").await, enter(&store, "a").await, enter(&store, "a").await];
    assert_conflict(&store, Action::Retry, ids[1]).await;
    act(&store, Action::Cancel, ids[1]).await;
    act(&store, Action::Cancel, ids[0]).await;
    let leased = lease_one(&store, "charge").await;
    assert_eq!(leased.delivery, ids[2]);
    let last = enter(&store, "a").await;
    act(&store, Action::Cancel, ids[2]).await;
    assert_eq!(behind(&store, last).await, Some(ids[2]), "it ends with its attempt");
    assert_eq!(settle(&store, leased, done()).await, Settled::Cancelled);
    assert_eq!(state(&store, last).await, State::Ready);
    // A retried delivery enters anew, behind the open ones.
    act(&store, Action::Retry, ids[0]).await;
    assert_eq!(behind(&store, ids[0]).await, Some(last));
    assert_eq!(work_off(&store).await, [last, ids[0]]);
}

pub(in crate::store) async fn a_moved_delivery_has_the_key_of_its_new_plugin(
    harness: impl PolicyHarness,
) {
    policy(&harness, |_| ());
    harness.policies().set("ship", KeyPolicy::of(KeySource::Json("/item".into())));
    let store = harness.open().await;
    let mut first = keyed_event("a", &["charge"]);
    first.attributes.body = Bytes::from_static(b"{\"item\": 7}");
    let first = DeliveryId { event: append(&store, first).await, ordinal: 0 };
    let second = enter(&store, "a").await;
    act(&store, Action::Move("ship".into()), first).await;
    assert_eq!(state(&store, second).await, State::Ready);
    assert_eq!(delivery(&store, first).await.key.as_deref(), Some("7"));
    act(&store, Action::Move("ship".into()), second).await;
    assert_eq!(delivery(&store, second).await.key, None, "its body has no item");
    assert_eq!(lease(&store, "ship", 9).await.len(), 2);
}

pub(in crate::store) async fn the_root_of_a_tree_is_a_key(harness: impl PolicyHarness) {
    policy(&harness, |policy| policy.source = KeySource::Root);
    let store = harness.open().await;
    let rooted = |parent| {
        let mut new = NewEvent { parent, ..event("order.paid", &["charge"]) };
        new.deliveries = vec![NewDelivery { key: Some(Key::Root), ..new.deliveries.remove(0) }];
        new
    };
    let root = append(&store, rooted(None)).await;
    let lease = lease_one(&store, "charge").await;
    settle(&store, lease, done_with(vec![rooted(Some(root))], KvTransaction::default())).await;
    let child = store.event(root).await.unwrap().children[0];
    let view = delivery(&store, DeliveryId { event: child, ordinal: 0 }).await;
    assert_eq!(view.key, Some(root.to_string()));
}

pub(in crate::store) async fn any_text_is_a_key(harness: impl PolicyHarness) {
    policy(&harness, |_| ());
    let store = harness.open().await;
    let keys = ["", "\0", "a\0b", "a", &"x".repeat(512), "\u{fffd}", "ä", "A"];
    for key in keys {
        let (first, second) = (enter(&store, key).await, enter(&store, key).await);
        assert_eq!(behind(&store, second).await, Some(first), "{key:?}");
        assert_eq!(delivery(&store, second).await.key.as_deref(), Some(key));
    }
    assert_eq!(lease(&store, "charge", 99).await.len(), keys.len(), "no two are the same");
}
