//! Seeing what happens: the tree of an event, and what an open delivery waits for.

use super::operator::act;
use super::queries::all_deliveries;
use super::*;
use crate::store::{Action, DeliveryFilter, MAX_TREE_CALLS, TreeView, Waits};

/// Checks that every open delivery names what it waits for, and no settled one anything.
pub(super) async fn every_wait_is_named(harness: &impl Harness, store: &Arc<dyn Store>) {
    let now_ms = harness.clock().now_ms();
    for view in all_deliveries(store, &DeliveryFilter::default(), 100).await {
        let waits = view.waits(now_ms);
        assert_eq!(waits.is_some(), !view.state.is_settled(), "{view:?}");
        match waits {
            Some(Waits::Until(until_ms)) => assert!(until_ms > now_ms, "{view:?}"),
            Some(Waits::Behind(other)) => {
                let other = delivery(store, other).await;
                assert_ne!(other.id, view.id);
                assert_eq!((&other.plugin, &other.key), (&view.plugin, &view.key));
                assert!(!other.state.is_settled(), "{other:?}");
            }
            Some(Waits::Held(other)) => {
                let other = delivery(store, other).await;
                assert_eq!((&other.plugin, &other.key), (&view.plugin, &view.key));
                assert_eq!(other.state, State::Dead);
            }
            Some(Waits::Members(gathering)) => assert_eq!(gathering.id, view.id),
            Some(Waits::Due | Waits::Leased) | None => {}
        }
    }
}

pub(in crate::store) async fn every_open_delivery_names_what_it_waits_for(harness: impl Harness) {
    let store = harness.open().await;
    let waits = async |id| {
        let view = delivery(&store, id).await;
        view.waits(harness.clock().now_ms()).map(|waits| format!("{waits:?}"))
    };
    let id = deliver(&store, "audit").await;
    assert_eq!(waits(id).await.as_deref(), Some("Due"));
    let first = lease_one(&store, "audit").await;
    assert_eq!(waits(id).await.as_deref(), Some("Leased"));
    settle(&store, first, retry_in(60_000)).await;
    let until_ms = START_MS + 60_000;
    assert_eq!(waits(id).await, Some(format!("{:?}", Waits::Until(until_ms))));
    pass(&harness, 60_000);
    assert_eq!(waits(id).await.as_deref(), Some("Due"));
    every_wait_is_named(&harness, &store).await;
    let second = lease_one(&store, "audit").await;
    settle(&store, second, done()).await;
    assert_eq!(waits(id).await, None);
}

pub(in crate::store) async fn the_attempt_that_ran_when_its_delivery_was_cancelled_is_known(
    harness: impl Harness,
) {
    let store = harness.open().await;
    // Cancelled while it waits for its second attempt: the first one was settled as it ended.
    let waiting = deliver(&store, "audit").await;
    let lease = lease_one(&store, "audit").await;
    settle(&store, lease, retry_in(60_000)).await;
    act(&store, Action::Cancel, waiting).await;
    assert_eq!(delivery(&store, waiting).await.attempt_cut_off(), None);
    // Cancelled while its second attempt runs, and given back: the first one was settled.
    let given_back = deliver(&store, "audit").await;
    let lease = lease_one(&store, "audit").await;
    settle(&store, lease, retry_in(0)).await;
    let lease = lease_one(&store, "audit").await;
    act(&store, Action::Cancel, given_back).await;
    assert_eq!(settle(&store, lease, give_back(0)).await, Settled::Cancelled);
    assert_eq!(delivery(&store, given_back).await.attempt_cut_off(), None);
    // Cancelled while its first attempt runs.
    let running = deliver(&store, "audit").await;
    let lease = lease_one(&store, "audit").await;
    act(&store, Action::Cancel, running).await;
    assert_eq!(settle(&store, lease, done()).await, Settled::Cancelled);
    let view = delivery(&store, running).await;
    assert_eq!((view.attempt_cut_off(), view.attempts[0].record.outcome), (Some(1), Outcome::Ok));
    // Retried and settled, nothing of it is cut off.
    act(&store, Action::Retry, running).await;
    let lease = lease_one(&store, "audit").await;
    settle(&store, lease, retry_in(60_000)).await;
    act(&store, Action::Cancel, running).await;
    assert_eq!(delivery(&store, running).await.attempt_cut_off(), None);
}

pub(super) async fn tree(store: &Arc<dyn Store>, id: EventId) -> TreeView {
    store.tree(id, 1_000, None).await.unwrap()
}

fn ids(tree: &TreeView) -> Vec<EventId> {
    tree.events.iter().map(|event| event.summary.event.id).collect()
}

/// A tree of an event, its two children and their four, and another tree.
async fn grown(store: &Arc<dyn Store>) -> (EventId, Vec<EventId>) {
    let root = deliver(store, "grow").await.event;
    deliver(store, "other").await;
    for _ in 0..2 {
        for lease in lease(store, "grow", 100).await {
            let child = NewEvent { parent: Some(lease.event.id), ..event("order.on", &["grow"]) };
            let settlement = done_with(vec![child.clone(), child], KvTransaction::default());
            assert_eq!(settle(store, lease, settlement).await, Settled::Kept);
        }
    }
    let all = ids(&tree(store, root).await);
    assert_eq!((all.len(), all[0]), (7, root));
    (root, all)
}

pub(in crate::store) async fn the_tree_of_an_event_is_the_same_from_each_of_its_members(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let (root, all) = grown(&store).await;
    let from_root = tree(&store, root).await;
    assert_eq!((from_root.root, from_root.started_ms, from_root.next), (root, START_MS, None));
    for id in &all {
        assert_eq!(tree(&store, *id).await, from_root, "{id}");
    }
    let parents: Vec<_> = from_root.events.iter().map(|event| event.summary.event.parent).collect();
    let expected = [None, Some(0), Some(0), Some(1), Some(1), Some(2), Some(2)];
    assert_eq!(parents, expected.map(|at| at.map(|at: usize| all[at])));
    let first = &from_root.events[0].deliveries[0].view;
    assert_eq!((first.state, first.attempts.len()), (State::Done, 1));
    assert!(first.attempts[0].record.logs.is_empty(), "logs are no part of a tree");
    assert_eq!(delivery(&store, first.id).await.attempts[0].record.logs.len(), 1);
    let missing = store.tree(EventId::first_at(1), 10, None).await;
    assert!(matches!(missing, Err(StoreError::NotFound(_))), "{missing:?}");
}

pub(in crate::store) async fn a_tree_is_read_in_pages_that_follow_one_another(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let (root, all) = grown(&store).await;
    for limit in 1..=8 {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = store.tree(all[3], limit, after).await.unwrap();
            assert!(page.events.len() <= limit && page.root == root);
            found.extend(ids(&page));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, all, "{limit} a page");
    }
}

pub(in crate::store) async fn a_tree_shows_what_attempts_used_and_the_first_of_their_requests(
    harness: impl Harness,
) {
    let mut store = harness.open().await;
    for count in [0, 1, MAX_TREE_CALLS, MAX_TREE_CALLS + 1, 40] {
        let id = deliver(&store, "asks").await;
        let mut sent = record(Outcome::Retry);
        let call = |at: usize| HttpCall { offset_ms: Some(at as u64), ..sent.calls[0].clone() };
        sent.calls = (0..count).map(call).collect();
        let retried =
            Settlement { next: Next::RetryIn(Duration::ZERO), record: Some(sent.clone()) };
        settle(&store, lease_one(&store, "asks").await, retried).await;
        let ended = Settlement { record: Some(sent.clone()), ..dead() };
        settle(&store, lease_one(&store, "asks").await, ended).await;
        drop(store);
        store = harness.open().await;
        let seen = tree(&store, id.event).await.events.remove(0).deliveries.remove(0).view;
        let whole = delivery(&store, id).await;
        assert_eq!((seen.attempts.len(), whole.attempts.len()), (2, 2));
        for (seen, whole) in seen.attempts.iter().zip(&whole.attempts) {
            assert_eq!((seen.record.used, whole.record.used), (sent.used, sent.used));
            assert!(sent.used.is_some() && whole.record.calls == sent.calls);
            let first = &sent.calls[..count.min(MAX_TREE_CALLS + 1)];
            assert_eq!(seen.record.calls, first, "one more than are shown, if there are more");
        }
        // Of a dead letter that is retried nothing is lost.
        act(&store, Action::Retry, id).await;
        assert_eq!(delivery(&store, id).await.attempts, whole.attempts);
        settle(&store, lease_one(&store, "asks").await, done()).await;
    }
}

/// Changes the last attempt of a delivery by these texts, each beside the lists that it damages, or
/// nothing if the attempt cannot be read at all.
pub(in crate::store) async fn a_damaged_attempt_leaves_the_rest_of_its_page(
    store: Arc<dyn Store>,
    damages: &[(&str, Option<&str>)],
    damage: impl AsyncFn(DeliveryId, &str),
) {
    for (change, lists) in damages {
        let event = append(&store, event("order.paid", &["asks", "audit"])).await;
        for plugin in ["asks", "audit"] {
            let ended = Settlement { record: Some(record(Outcome::Retry)), ..dead() };
            settle(&store, lease_one(&store, plugin).await, ended).await;
        }
        let [damaged, sound] = [0, 1].map(|ordinal| DeliveryId { event, ordinal });
        damage(damaged, change).await;
        let seen = tree(&store, event).await.events.remove(0).deliveries;
        let [one, other] = [0, 1].map(|at| seen[at].view.attempts.clone());
        assert_eq!(other[0].record.calls, record(Outcome::Retry).calls, "{change}");
        let shown = store.event(event).await.unwrap().deliveries;
        assert_eq!(shown.len(), 2);
        assert_eq!(delivery(&store, sound).await.attempts.len(), 1);
        let whole = delivery(&store, damaged).await.attempts;
        let listed = all_deliveries(&store, &DeliveryFilter::default(), 100).await;
        assert!(listed.iter().any(|view| view.id == damaged), "{change}");
        let Some(lists) = lists else {
            assert!(one.is_empty() && whole.is_empty(), "{change}");
            continue;
        };
        let error = whole[0].record.error.as_deref().unwrap();
        let says = format!("the stored attempt is damaged and cannot be read: its {lists}");
        assert!(error.ends_with(&says), "{change}: {error}");
        let of_tree = one[0].record.error.as_deref().unwrap();
        assert_eq!(of_tree.contains("is damaged"), *lists != "logs", "{change}: {of_tree}");
    }
}
