//! Actions of an operator on all deliveries that match: in bounded steps, until there are no more.

use super::operator::{act, waits};
use super::*;
use crate::store::{Action, DeliveryFilter, Which};

/// Does `action` to all that match; says to how many, and in how many steps.
pub(super) async fn act_on_all(
    store: &Arc<dyn Store>,
    action: Action,
    filter: &DeliveryFilter,
) -> (u64, usize) {
    let (mut deliveries, mut steps, mut from) = (0, 0, None);
    loop {
        let changed = store
            .change(None, action.clone(), Which::Matching { filter: filter.clone(), from })
            .await
            .unwrap();
        (deliveries, steps) = (deliveries + changed.deliveries, steps + 1);
        assert!(steps < 1_000, "it ends");
        match changed.next {
            None => return (deliveries, steps),
            next => from = next,
        }
    }
}

async fn number(store: &Arc<dyn Store>, action: Action, filter: &DeliveryFilter) -> u64 {
    act_on_all(store, action, filter).await.0
}

/// How many deliveries `action` would change.
async fn preview(
    store: &Arc<dyn Store>,
    action: Action,
    filter: &DeliveryFilter,
) -> (u64, Vec<DeliveryId>) {
    let (mut deliveries, mut first, mut from) = (0, Vec::new(), None);
    loop {
        let preview = store.preview(action.clone(), filter.clone(), from).await.unwrap();
        deliveries += preview.deliveries;
        first.extend(preview.first.iter().map(|delivery| delivery.id));
        match preview.next {
            None => return (deliveries, first),
            next => from = next,
        }
    }
}

fn of(plugin: &str, state: Option<State>) -> DeliveryFilter {
    DeliveryFilter { plugin: Some(plugin.to_owned()), state, ..DeliveryFilter::default() }
}

fn everything() -> DeliveryFilter {
    DeliveryFilter::default()
}

pub(in crate::store) async fn a_bulk_retry_takes_the_dead_that_match(harness: impl Harness) {
    let store = harness.open().await;
    let audit = [dead_letter(&store, "audit").await, dead_letter(&store, "audit").await];
    let orders = dead_letter(&store, "orders").await;
    let ready = deliver(&store, "audit").await;
    assert_eq!(number(&store, Action::Retry, &of("audit", Some(State::Done))).await, 0);
    assert_eq!(number(&store, Action::Retry, &of("nobody", None)).await, 0);
    assert_eq!(number(&store, Action::Retry, &of("audit", Some(State::Dead))).await, 2);
    for id in [audit[0], audit[1], ready] {
        assert_eq!(state(&store, id).await, State::Ready);
    }
    assert_eq!(state(&store, orders).await, State::Dead);
    assert_eq!(number(&store, Action::Retry, &everything()).await, 1);
    assert_eq!(store.stats().await.unwrap().deliveries(State::Dead), 0);
}

pub(in crate::store) async fn a_bulk_retry_takes_what_waits_or_was_ended_only_when_asked(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let waiting = waits(&store, "audit", DAY_MS).await;
    let discarded = dead_letter(&store, "audit").await;
    act(&store, Action::Discard, discarded).await;
    let cancelled = deliver(&store, "audit").await;
    act(&store, Action::Cancel, cancelled).await;
    assert_eq!(number(&store, Action::Retry, &of("audit", None)).await, 0);
    for (state_wanted, id) in
        [(State::Waiting, waiting), (State::Discarded, discarded), (State::Cancelled, cancelled)]
    {
        assert_eq!(number(&store, Action::Retry, &of("audit", Some(state_wanted))).await, 1);
        assert_eq!(state(&store, id).await, State::Ready);
    }
    assert_eq!(lease(&store, "audit", 9).await.len(), 3);
}

pub(in crate::store) async fn what_fails_again_during_a_bulk_retry_has_had_its_chance(
    harness: impl Harness,
) {
    let store = harness.open().await;
    for _ in 0..10 {
        dead_letter(&store, "audit").await;
        waits(&store, "orders", 60_000).await;
        pass(&harness, 1);
    }
    for (plugin, wanted) in [("audit", State::Dead), ("orders", State::Waiting)] {
        let (mut retried, mut from) = (0, None);
        loop {
            let which = Which::Matching { filter: of(plugin, Some(wanted)), from };
            let changed = store.change(None, Action::Retry, which).await.unwrap();
            retried += changed.deliveries;
            for lease in lease(&store, plugin, 20).await {
                let again = if wanted == State::Dead { dead() } else { retry_in(60_000) };
                settle(&store, lease, again).await;
            }
            pass(&harness, 1);
            from = changed.next;
            if from.is_none() {
                break;
            }
        }
        assert_eq!(retried, 10, "{plugin}");
    }
}

pub(in crate::store) async fn a_bulk_move_takes_what_is_ready_or_waits_once(harness: impl Harness) {
    let store = harness.open().await;
    let dead = dead_letter(&store, "audit").await;
    let mut open = Vec::new();
    for later in 0..9 {
        open.push(waits(&store, "audit", 60_000 + later).await);
        open.push(deliver(&store, "orders").await);
    }
    let leased = deliver(&store, "audit").await;
    let held = lease_one(&store, "audit").await;
    let action = || Action::Move("zeta".into());
    assert_eq!(preview(&store, action(), &of("audit", Some(State::Ready))).await.0, 0);
    assert_eq!(preview(&store, action(), &everything()).await.0, 18);
    assert_eq!(number(&store, action(), &of("audit", None)).await, 9);
    assert_eq!(number(&store, action(), &everything()).await, 9, "none is moved twice");
    for id in open {
        assert_eq!(&*delivery(&store, id).await.plugin, "zeta");
    }
    for id in [dead, leased] {
        assert_eq!(&*delivery(&store, id).await.plugin, "audit");
    }
    settle(&store, held, done()).await;
    assert_eq!(store.stats().await.unwrap().plugins["zeta"].open(), 18);
}

pub(in crate::store) async fn of_two_deliveries_of_an_event_one_is_moved_and_one_is_counted(
    harness: impl Harness,
) {
    let store = harness.open().await;
    append(&store, event("order.paid", &["audit", "audit"])).await;
    let action = || Action::Move("orders".into());
    assert_eq!(preview(&store, action(), &everything()).await.0, 1);
    assert_eq!(number(&store, action(), &everything()).await, 1);
}

pub(in crate::store) async fn a_bulk_cancel_takes_all_that_is_open_and_nothing_else(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let mut settled = vec![dead_letter(&store, "audit").await];
    settled.push(deliver(&store, "audit").await);
    settle(&store, lease_one(&store, "audit").await, done()).await;
    let quarantined = deliver(&store, "audit").await;
    run_on(&store, &lease_one(&store, "audit").await).await;
    drop(store);
    let store = harness.open().await;
    let leased = deliver(&store, "audit").await;
    let lease = lease_one(&store, "audit").await;
    let mut open = vec![quarantined];
    for later in 0..8 {
        open.push(waits(&store, "orders", 1_000 + later).await);
    }
    for plugin in ["audit", "orders", "third"] {
        open.push(deliver(&store, plugin).await);
    }
    let (cancelled, steps) = act_on_all(&store, Action::Cancel, &everything()).await;
    assert_eq!(cancelled, open.len() as u64 + 1);
    assert!(steps > 2, "{steps} bounded steps");
    for id in open {
        assert_eq!(state(&store, id).await, State::Cancelled, "{id}");
    }
    assert_eq!(state(&store, leased).await, State::Leased);
    assert_eq!(settle(&store, lease, done()).await, Settled::Cancelled);
    assert_eq!(state(&store, settled[0]).await, State::Dead);
    assert_eq!(state(&store, settled[1]).await, State::Done);
    assert_eq!(number(&store, Action::Cancel, &everything()).await, 0);
}

pub(in crate::store) async fn a_bulk_change_takes_what_its_filter_says(harness: impl Harness) {
    let store = harness.open().await;
    let mut ids = Vec::new();
    for (kind, subject) in
        [("order.paid", "a"), ("order.paid", "b"), ("order.sent", "a"), ("order.sent", "b")]
    {
        let mut new = event(kind, &["audit", "orders"]);
        new.attributes.subject = Some(subject.to_owned());
        new.attributes.time_ms = harness.clock().now_ms();
        ids.push(append(&store, new).await);
        pass(&harness, 1_000);
    }
    let filter = |change: fn(&mut DeliveryFilter)| {
        let mut filter = DeliveryFilter::default();
        change(&mut filter);
        filter
    };
    for (expected, filter) in [
        (8, filter(|f| f.source = Some("acme".to_owned()))),
        (0, filter(|f| f.source = Some("other".to_owned()))),
        (4, filter(|f| f.kind = Some("order.sent".to_owned()))),
        (4, filter(|f| f.subject = Some("b".to_owned()))),
        (
            1,
            filter(|f| {
                (f.subject, f.kind, f.plugin) =
                    (Some("b".to_owned()), Some("order.paid".to_owned()), Some("orders".to_owned()))
            }),
        ),
        (6, filter(|f| f.since_ms = Some(START_MS + 1_000))),
        (2, filter(|f| f.until_ms = Some(START_MS + 1_000))),
        (
            2,
            filter(|f| (f.since_ms, f.until_ms) = (Some(START_MS + 1_000), Some(START_MS + 1_999))),
        ),
        (8, filter(|f| f.state = Some(State::Ready))),
        (0, filter(|f| f.state = Some(State::Waiting))),
    ] {
        assert_eq!(preview(&store, Action::Cancel, &filter).await.0, expected, "{filter:?}");
    }
    let subject = filter(|f| f.subject = Some("a".to_owned()));
    assert_eq!(number(&store, Action::Cancel, &subject).await, 4);
    for (id, expected) in
        ids.into_iter().zip([State::Cancelled, State::Ready, State::Cancelled, State::Ready])
    {
        assert_eq!(state(&store, DeliveryId { event: id, ordinal: 1 }).await, expected);
    }
}

pub(in crate::store) async fn what_comes_after_a_bulk_change_has_begun_is_not_meant(
    harness: impl Harness,
) {
    let store = harness.open().await;
    for _ in 0..12 {
        deliver(&store, "audit").await;
    }
    let (mut cancelled, mut later, mut from) = (0, Vec::new(), None);
    loop {
        let changed = store
            .change(None, Action::Cancel, Which::Matching { filter: everything(), from })
            .await
            .unwrap();
        cancelled += changed.deliveries;
        from = changed.next;
        if from.is_none() {
            break;
        }
        pass(&harness, 1);
        later.push(deliver(&store, "audit").await);
    }
    assert_eq!(cancelled, 12);
    for id in later {
        assert_eq!(state(&store, id).await, State::Ready);
    }
}

pub(in crate::store) async fn what_comes_back_behind_the_walk_is_cancelled_as_well(
    harness: impl Harness,
) {
    let store = harness.open().await;
    for _ in 0..12 {
        deliver(&store, "audit").await;
        pass(&harness, 1);
    }
    let which = Which::Matching { filter: everything(), from: None };
    let first = store.change(None, Action::Cancel, which).await.unwrap();
    assert!(first.deliveries < 12 && first.next.is_some(), "{first:?}");
    // The one that is due first, and that the walk would come to last.
    let leased = lease(&store, "audit", 1).await.remove(0);
    let id = leased.delivery;
    settle(&store, leased, retry_in(DAY_MS)).await;
    let (mut cancelled, mut from) = (first.deliveries, first.next);
    while from.is_some() {
        let changed = store
            .change(None, Action::Cancel, Which::Matching { filter: everything(), from })
            .await
            .unwrap();
        (cancelled, from) = (cancelled + changed.deliveries, changed.next);
    }
    assert_eq!((cancelled, state(&store, id).await), (12, State::Cancelled));
}

pub(in crate::store) async fn a_bulk_discard_takes_the_dead_that_match(harness: impl Harness) {
    let store = harness.open().await;
    for _ in 0..9 {
        dead_letter(&store, "audit").await;
    }
    let other = dead_letter(&store, "orders").await;
    let waiting = waits(&store, "audit", 1).await;
    let (discarded, steps) = act_on_all(&store, Action::Discard, &of("audit", None)).await;
    assert_eq!(discarded, 9);
    assert!(steps > 1, "bounded steps");
    assert_eq!(
        (state(&store, other).await, state(&store, waiting).await),
        (State::Dead, State::Waiting)
    );
    assert_eq!(store.stats().await.unwrap().deliveries(State::Discarded), 9);
}

pub(in crate::store) async fn a_preview_counts_and_changes_nothing(harness: impl Harness) {
    let store = harness.open().await;
    let mut dead = Vec::new();
    for _ in 0..9 {
        dead.push(dead_letter(&store, "audit").await);
        deliver(&store, "orders").await;
    }
    let before = store.stats().await.unwrap();
    let (count, first) = preview(&store, Action::Discard, &everything()).await;
    assert_eq!(count, 9);
    assert!(!first.is_empty() && dead.starts_with(&first), "{first:?}");
    assert_eq!(preview(&store, Action::Cancel, &everything()).await.0, 9);
    assert_eq!(preview(&store, Action::Retry, &of("orders", None)).await.0, 0);
    assert_eq!(store.stats().await.unwrap(), before);
}
