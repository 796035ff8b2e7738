//! Joins and batches: events that are gathered by a key.

use super::policies::PolicyHarness;
use super::*;
use crate::event::{Counted, GatheringKind, GatheringTerms, Key, NewMember, Why};
use crate::store::conformance::operator::act;
use crate::store::{Action, GatheringView};

pub(super) const JOIN: &str = "joins/order";
pub(super) const BATCH: &str = "batches/sync";

/// An hour in milliseconds.
pub(super) const HOUR_MS: i64 = 3_600_000;

pub(super) fn join() -> GatheringTerms {
    GatheringTerms {
        plugin: JOIN.into(),
        kind: GatheringKind::Join,
        within: time(HOUR_MS),
        quiet: None,
        need: None,
        types: 0,
    }
}

pub(super) fn batch(size: u32) -> GatheringTerms {
    let (plugin, kind) = (BATCH.into(), GatheringKind::Batch);
    GatheringTerms { plugin, kind, need: Some(size), quiet: Some(time(5_000)), ..join() }
}

/// An event that is gathered by this key.
pub(super) fn member(terms: &GatheringTerms, key: &str, counted: Counted) -> NewEvent {
    let member = NewMember {
        terms: Arc::new(terms.clone()),
        key: Key::Text(key.into()),
        counted,
        need: None,
        seen: 0,
        closes: false,
    };
    NewEvent { members: vec![member], ..event("order.video", &[]) }
}

/// The same that says how many there are to be, and is not counted itself.
pub(super) fn needs(terms: &GatheringTerms, key: &str, need: u32) -> NewEvent {
    let mut new = member(terms, key, Counted::Not);
    new.members[0].need = Some(need);
    new
}

pub(super) fn video(name: &str) -> Counted {
    Counted::Text(name.into())
}

/// Ends the gathering of `plugin` that is due, if one is.
pub(super) async fn end(store: &Arc<dyn Store>, plugin: &str) -> Option<GatheringView> {
    let lease = lease(store, plugin, 1).await.pop()?;
    let view = store.gathering(lease.delivery).await.unwrap().unwrap();
    assert_eq!(view.members[0].id, lease.event.id, "it belongs to its first member");
    let emitted = NewEvent { parent: Some(lease.event.id), ..event("order.ended", &[]) };
    let settled = settle(store, lease, done_with(vec![emitted], KvTransaction::default())).await;
    assert_eq!(settled, Settled::Kept);
    Some(view)
}

pub(super) fn ids(view: &GatheringView) -> Vec<EventId> {
    view.members.iter().map(|member| member.id).collect()
}

pub(in crate::store) async fn the_members_of_a_join_complete_it_in_any_order(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let terms = join();
    let all = || {
        [
            needs(&terms, "o", 3),
            member(&terms, "o", video("v1")),
            member(&terms, "o", video("v2")),
            member(&terms, "o", video("v3")),
        ]
    };
    for (number, order) in permutations(4).into_iter().enumerate() {
        let mut came = Vec::new();
        for index in order {
            assert!(end(&store, JOIN).await.is_none(), "{came:?}");
            let mut new = all()[index].clone();
            new.members[0].key = Key::Text(number.to_string().into());
            came.push(append(&store, new).await);
        }
        let view = end(&store, JOIN).await.expect("it is complete");
        assert_eq!((view.why, view.complete, view.count, view.need), (Why::Need, true, 3, Some(3)));
        assert_eq!((ids(&view), view.key), (came, number.to_string()));
        assert!(end(&store, JOIN).await.is_none());
    }
}

/// Every order of so many.
fn permutations(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for _ in 0..count {
        let mut longer = Vec::new();
        for order in &all {
            let next = (0..count).filter(|next| !order.contains(next));
            longer.extend(next.map(|next| [order.as_slice(), &[next]].concat()));
        }
        all = longer;
    }
    all
}

pub(in crate::store) async fn a_join_whose_time_is_over_ends_late_and_once(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let terms = GatheringTerms { need: Some(2), ..join() };
    append(&store, member(&terms, "o", video("v1"))).await;
    pass(&harness, HOUR_MS - 1);
    assert!(end(&store, JOIN).await.is_none());
    pass(&harness, 1);
    let view = end(&store, JOIN).await.unwrap();
    assert_eq!((view.why, view.complete, view.count), (Why::Within, false, 1));
    let is_late = async |name: &str| {
        let late = append(&store, member(&terms, "o", video(name))).await;
        let note = store.event(late).await.unwrap().note;
        assert_eq!(note.as_deref(), Some("late_member: `joins/order` had ended before"));
    };
    // For as long again, what comes is late: a straggler that would complete it opens nothing.
    is_late("v2").await;
    let mut closing = member(&terms, "o", video("v3"));
    closing.members[0].closes = true;
    append(&store, closing).await;
    pass(&harness, HOUR_MS - 1);
    is_late("v4").await;
    assert!(end(&store, JOIN).await.is_none());
    pass(&harness, 1);
    // Then what comes is a join of its own.
    append(&store, member(&terms, "o", video("v5"))).await;
    append(&store, member(&terms, "o", video("v6"))).await;
    assert_eq!(end(&store, JOIN).await.unwrap().why, Why::Need);
    // While its time lasts, what comes after its end is late, and opens nothing.
    is_late("v7").await;
    pass(&harness, 2 * HOUR_MS);
    assert!(end(&store, JOIN).await.is_none());
}

pub(in crate::store) async fn types_a_closing_event_or_no_need_at_all_complete_a_join(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let terms = GatheringTerms { types: 0b11, ..join() };
    let seen = |bits: u64| {
        let mut new = member(&terms, "types", Counted::Event);
        new.members[0].seen = bits;
        new
    };
    for bits in [0b10, 0b10, 0] {
        append(&store, seen(bits)).await;
        assert!(end(&store, JOIN).await.is_none());
    }
    append(&store, seen(0b01)).await;
    assert_eq!(end(&store, JOIN).await.unwrap().why, Why::Types);
    let mut closing = member(&join(), "close", Counted::Event);
    append(&store, closing.clone()).await;
    assert!(end(&store, JOIN).await.is_none());
    closing.members[0].closes = true;
    append(&store, closing).await;
    assert_eq!(end(&store, JOIN).await.unwrap().why, Why::Close);
    append(&store, needs(&join(), "none", 0)).await;
    let view = end(&store, JOIN).await.unwrap();
    assert_eq!((view.why, view.count, view.members.len()), (Why::Need, 0, 1));
}

pub(in crate::store) async fn a_duplicate_adds_nothing_to_a_join(harness: impl PolicyHarness) {
    let store = harness.open().await;
    let terms = GatheringTerms { need: Some(2), ..join() };
    let with_key = NewEvent { dedupe: vec![key_of(1)], ..member(&terms, "o", Counted::Event) };
    append(&store, with_key.clone()).await;
    assert!(store.append(with_key).await.unwrap().duplicate);
    assert!(end(&store, JOIN).await.is_none());
    append(&store, member(&terms, "o", Counted::Not)).await;
    assert!(end(&store, JOIN).await.is_none(), "kept, and not counted");
    append(&store, member(&terms, "o", Counted::Event)).await;
    assert_eq!(end(&store, JOIN).await.unwrap().members.len(), 3);
    for (name, complete) in [("v1", false), ("v1", false), ("v2", true)] {
        append(&store, member(&terms, "p", video(name))).await;
        let view = end(&store, JOIN).await;
        assert_eq!(view.map(|view| (view.count, view.members.len())), complete.then_some((2, 3)));
    }
    // Of two different needs the first counts.
    for need in [2, 1] {
        append(&store, needs(&join(), "q", need)).await;
    }
    append(&store, member(&join(), "q", Counted::Event)).await;
    assert!(end(&store, JOIN).await.is_none());
}

pub(in crate::store) async fn each_event_of_a_batch_is_in_exactly_one(harness: impl PolicyHarness) {
    let store = harness.open().await;
    let terms = batch(3);
    let next = || member(&terms, "a", Counted::Event);
    let mut came = Vec::new();
    for _ in 0..7 {
        came.push(append(&store, next()).await);
    }
    append(&store, member(&terms, "b", Counted::Event)).await;
    let (first, second) = (end(&store, BATCH).await.unwrap(), end(&store, BATCH).await.unwrap());
    assert_eq!(
        (first.why, ids(&first), ids(&second)),
        (Why::Size, came[..3].into(), came[3..6].into())
    );
    assert!(end(&store, BATCH).await.is_none());
    // Each member puts its end off.
    pass(&harness, 4_000);
    came.push(append(&store, next()).await);
    pass(&harness, 4_000);
    assert_eq!(end(&store, BATCH).await.unwrap().key, "b");
    assert!(end(&store, BATCH).await.is_none());
    pass(&harness, 1_000);
    let third = end(&store, BATCH).await.unwrap();
    assert_eq!((third.why, ids(&third)), (Why::Quiet, came[6..].into()));
    // But not for ever.
    let terms = GatheringTerms { within: time(9_000), ..batch(100) };
    for _ in 0..4 {
        append(&store, member(&terms, "a", Counted::Event)).await;
        pass(&harness, 3_000);
    }
    let fourth = end(&store, BATCH).await.unwrap();
    assert_eq!((fourth.why, fourth.members.len()), (Why::Within, 4));
}

pub(in crate::store) async fn what_comes_while_a_gathering_ends_is_not_a_member(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let of_batch = || member(&batch(2), "a", Counted::Event);
    let of_join = || member(&GatheringTerms { need: Some(1), ..join() }, "o", Counted::Event);
    for new in [of_batch(), of_batch(), of_join()] {
        append(&store, new).await;
    }
    let leases = [lease_one(&store, BATCH).await, lease_one(&store, JOIN).await];
    let next = append(&store, of_batch()).await;
    let late = append(&store, of_join()).await;
    assert!(store.event(late).await.unwrap().note.is_some());
    // Also across a crash.
    drop(leases);
    drop(store);
    let store = harness.open().await;
    assert_eq!(end(&store, BATCH).await.unwrap().members.len(), 2);
    assert_eq!(end(&store, JOIN).await.unwrap().members.len(), 1);
    let last = append(&store, of_batch()).await;
    assert_eq!(ids(&end(&store, BATCH).await.unwrap()), [next, last]);
}

pub(in crate::store) async fn a_cancelled_join_takes_no_more_members(harness: impl PolicyHarness) {
    let store = harness.open().await;
    let terms = GatheringTerms { need: Some(2), ..join() };
    let first = append(&store, member(&terms, "o", video("v1"))).await;
    act(&store, Action::Cancel, DeliveryId { event: first, ordinal: 0 }).await;
    append(&store, member(&terms, "o", video("v2"))).await;
    pass(&harness, HOUR_MS);
    assert!(end(&store, JOIN).await.is_none());
}

pub(in crate::store) async fn a_gathering_that_is_complete_is_leased_with_its_last_member(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let mut dispatch = dispatch::TestDispatch::attach(&store, &[(JOIN, 1)]);
    let terms = GatheringTerms { need: Some(2), ..join() };
    append(&store, member(&terms, "o", video("v1"))).await;
    assert!(dispatch.delivered(&store).await.is_empty());
    append(&store, member(&terms, "o", video("v2"))).await;
    let lease = dispatch.delivered(&store).await.remove(0);
    let view = store.gathering(lease.delivery).await.unwrap().unwrap();
    assert_eq!((view.members.len(), view.complete), (2, true));
    let late = append(&store, member(&terms, "o", video("v3"))).await;
    assert!(store.event(late).await.unwrap().note.is_some(), "it was frozen by the lease");
    settle(&store, lease, done()).await;
    // A gathering that is complete at once is leased on insert.
    append(&store, needs(&join(), "p", 0)).await;
    assert_eq!(dispatch.delivered(&store).await.len(), 1);
}

pub(in crate::store) async fn a_member_that_comes_after_the_time_of_its_join_is_late(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    append(&store, needs(&join(), "o", 1)).await;
    pass(&harness, HOUR_MS);
    // Its delivery is due, and nobody has leased it yet.
    let late = append(&store, member(&join(), "o", video("v1"))).await;
    assert!(store.event(late).await.unwrap().note.unwrap().contains("late_member"));
    let view = end(&store, JOIN).await.unwrap();
    assert_eq!((view.why, view.complete, view.members.len()), (Why::Within, false, 1));
    // The key may begin anew when as much time has passed again.
    pass(&harness, HOUR_MS);
    append(&store, needs(&join(), "o", 0)).await;
    assert!(end(&store, JOIN).await.unwrap().complete);
}
