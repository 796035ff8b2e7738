//! Trees of events: what descends from one event is bounded.

use std::collections::BTreeSet;

use super::*;
use crate::store::{Action, TreeBudget, Which};

/// The budget of every store that a harness opens.
pub(in crate::store) const BUDGET: TreeBudget = TreeBudget { events: 300, bytes: 64 << 10 };

/// `count` events for `loop`, each with a body of so many bytes.
fn children(parent: &Lease, count: u64, bytes: usize) -> Settlement {
    let mut child = NewEvent { parent: Some(parent.event.id), ..event("order.again", &["loop"]) };
    child.attributes.body = vec![b'x'; bytes].into();
    done_with(vec![child; usize::try_from(count).unwrap()], KvTransaction::default())
}

/// The last attempt's outcome and error.
async fn last(store: &Arc<dyn Store>, id: DeliveryId) -> (Outcome, String) {
    let attempt = delivery(store, id).await.attempts.pop().unwrap();
    (attempt.record.outcome, attempt.record.error.unwrap_or_default())
}

/// Of the events that are due for `loop`, all are settled with `settlement`; says what came of
/// each.
async fn settle_all(
    store: &Arc<dyn Store>,
    settlement: impl Fn(&Lease) -> Settlement,
) -> Vec<Settled> {
    let mut settled = Vec::new();
    for lease in lease(store, "loop", 1_000).await {
        let settlement = settlement(&lease);
        settled.push(settle(store, lease, settlement).await);
    }
    settled
}

pub(in crate::store) async fn a_tree_over_its_budget_is_a_dead_letter_that_names_key_and_root(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let root = deliver(&store, "loop").await;
    // 1 + 10 + 100 settlements of 10 events each would be 1,110: the budget ends it in the third
    // round.
    for _ in 0..2 {
        let kept = settle_all(&store, |lease| children(lease, 10, 1)).await;
        assert!(kept.iter().all(|settled| *settled == Settled::Kept), "{kept:?}");
    }
    let third = lease(&store, "loop", 1_000).await;
    let ids: Vec<_> = third.iter().map(|lease| lease.delivery).collect();
    let mut settled = Vec::new();
    for lease in third {
        assert_eq!(lease.event.tree(), root.event);
        let settlement = children(&lease, 10, 1);
        settled.push(settle(&store, lease, settlement).await);
    }
    let kept = settled.iter().filter(|settled| **settled == Settled::Kept).count();
    assert_eq!((kept, settled.len()), (19, 100), "110 and 19 times 10 are 300");
    assert_eq!(store.stats().await.unwrap().events, 1 + BUDGET.events);
    assert_eq!(settled.last(), Some(&Settled::OverBudget));
    let dead = *ids.last().unwrap();
    assert_eq!(state(&store, dead).await, State::Dead);
    let (outcome, error) = last(&store, dead).await;
    assert_eq!(outcome, Outcome::Error);
    assert!(
        error.contains("`server.tree_events`") && error.contains(&root.event.to_string()),
        "{error}"
    );
    assert!(error.contains("300"), "{error}");
}

pub(in crate::store) async fn the_bytes_of_a_tree_are_bounded_as_well(harness: impl Harness) {
    let store = harness.open().await;
    let root = deliver(&store, "loop").await;
    assert_eq!(settle_all(&store, |lease| children(lease, 2, 30 << 10)).await, [Settled::Kept]);
    let second = settle_all(&store, |lease| children(lease, 1, 4 << 10)).await;
    assert_eq!(second, [Settled::Kept, Settled::OverBudget], "60 KiB and 4 KiB are 64 KiB");
    let grandchild = store.event(root.event).await.unwrap().children[1];
    let (_, error) = last(&store, DeliveryId { event: grandchild, ordinal: 0 }).await;
    assert!(
        error.contains("`server.tree_size`") && error.contains(&root.event.to_string()),
        "{error}"
    );
}

pub(in crate::store) async fn an_attempt_over_the_budget_writes_no_key(harness: impl Harness) {
    let store = harness.open().await;
    let id = deliver(&store, "loop").await;
    let lease = lease_one(&store, "loop").await;
    let mut settlement = children(&lease, BUDGET.events + 1, 1);
    let Next::Done { kv, .. } = &mut settlement.next else { unreachable!() };
    kv.writes.push(("seen".to_owned(), Some(b"1".to_vec())));
    assert_eq!(settle(&store, lease, settlement).await, Settled::OverBudget);
    assert_eq!(store.kv_get("loop".into(), "seen".to_owned()).await.unwrap(), None);
    assert!(store.event(id.event).await.unwrap().children.is_empty());
}

pub(in crate::store) async fn a_tree_is_counted_on_after_a_crash(harness: impl Harness) {
    let mut store = harness.open().await;
    deliver(&store, "loop").await;
    let mut kept = 0;
    // 1, 99 and 99 times 2: 297 of 300.
    for count in [99, 2] {
        let settled = settle_all(&store, |lease| children(lease, count, 1)).await;
        kept += settled.iter().filter(|settled| **settled == Settled::Kept).count();
        drop(store);
        store = harness.open().await;
    }
    assert_eq!((kept, store.stats().await.unwrap().events), (100, 298));
    let settled = settle_all(&store, |lease| children(lease, 1, 1)).await;
    assert_eq!(settled.iter().filter(|settled| **settled == Settled::Kept).count(), 3);
}

pub(in crate::store) async fn trees_do_not_count_for_each_other(harness: impl Harness) {
    let store = harness.open().await;
    let roots = [deliver(&store, "loop").await, deliver(&store, "loop").await];
    let settled = settle_all(&store, |lease| children(lease, BUDGET.events, 1)).await;
    assert_eq!(settled, [Settled::Kept, Settled::Kept]);
    for root in roots {
        let children = store.event(root.event).await.unwrap().children;
        let child = store.event(children[0]).await.unwrap().event;
        assert_eq!((child.root, child.tree()), (Some(root.event), root.event));
    }
}

pub(in crate::store) async fn a_replay_adds_to_the_tree_of_its_event(harness: impl Harness) {
    let store = harness.open().await;
    let root = deliver(&store, "loop").await;
    assert_eq!(settle_all(&store, |lease| children(lease, 200, 0)).await, [Settled::Kept]);
    settle_all(&store, |_| done()).await;
    store.replay(None, root.event, vec![Target::to("loop")]).await.unwrap();
    assert_eq!(settle_all(&store, |lease| children(lease, 200, 0)).await, [Settled::OverBudget]);
}

pub(in crate::store) async fn the_mark_of_a_tree_is_another_one_once_it_stands_otherwise(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let root = deliver(&store, "loop").await.event;
    let mark = async |event| store.tree_mark(event).await.unwrap();
    let mut marks = vec![mark(root).await];
    let other = deliver(&store, "audit").await;
    settle(&store, lease_one(&store, "audit").await, done()).await;
    assert_eq!(mark(root).await, marks[0], "another tree is no concern of it");
    let lease = lease_one(&store, "loop").await;
    marks.push(mark(root).await);
    let settlement = children(&lease, 1, 1);
    settle(&store, lease, settlement).await;
    marks.push(mark(root).await);
    let child = store.event(root).await.unwrap().children[0];
    assert_eq!(mark(child).await, mark(root).await, "it is of the tree, and not of the event");
    store.replay(None, root, vec![Target::to("loop")]).await.unwrap();
    marks.push(mark(root).await);
    cancel_tree(&store, child).await;
    marks.push(mark(root).await);
    marks.push(mark(other.event).await);
    let all: BTreeSet<u64> = marks.iter().copied().collect();
    assert_eq!(all.len(), marks.len(), "{marks:?}");
}

/// Cancels what is open of a tree, step by step; says how many.
async fn cancel_tree(store: &Arc<dyn Store>, event: EventId) -> u64 {
    let (mut cancelled, mut steps, mut from) = (0, 0, None);
    loop {
        let which = Which::Tree { event, from };
        let changed = store.change(None, Action::Cancel, which).await.unwrap();
        (cancelled, steps) = (cancelled + changed.deliveries, steps + 1);
        assert!(steps < 100, "it ends");
        match changed.next {
            None => return cancelled,
            next => from = next,
        }
    }
}

pub(in crate::store) async fn all_that_is_open_of_a_tree_is_cancelled_from_any_of_its_events(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let root = append(&store, event("order.paid", &["loop", "audit"])).await;
    assert_eq!(settle_all(&store, |lease| children(lease, 9, 1)).await, [Settled::Kept]);
    let other = deliver(&store, "audit").await;
    let running = lease(&store, "loop", 1).await.remove(0);
    let child = running.event.id;
    let cancelled = cancel_tree(&store, child).await;
    // That of the root, and those of nine children.
    assert_eq!(cancelled, 10);
    let settlement = children(&running, 5, 1);
    assert_eq!(settle(&store, running, settlement).await, Settled::Cancelled);
    assert_eq!(store.stats().await.unwrap().deliveries(State::Cancelled), 10);
    assert_eq!(state(&store, other).await, State::Ready, "it is of another tree");
    assert_eq!(store.stats().await.unwrap().events, 11, "the one that ran has left nothing");
    assert_eq!(cancel_tree(&store, root).await, 0, "nothing is open");
    let nobody = Which::Tree { event: EventId::from_row(1), from: None };
    let unknown = store.change(None, Action::Cancel, nobody).await.unwrap_err();
    assert!(matches!(unknown, StoreError::NotFound(_)), "{unknown}");
}
