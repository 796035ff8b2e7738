//! Seeing what waits behind a key or for members, and the trees of joins.

use super::gatherings::{HOUR_MS, JOIN, end, join, member, video};
use super::key_order::keyed_event;
use super::policies::PolicyHarness;
use super::seeing::{every_wait_is_named, tree};
use super::*;
use crate::event::{Counted, KeyPolicy, KeySource};
use crate::store::{GatheringFilter, GatheringState, Waits};

pub(in crate::store) async fn what_waits_behind_its_key_or_for_members_names_it(
    harness: impl PolicyHarness,
) {
    let policy = KeyPolicy { hold: true, ..KeyPolicy::of(KeySource::Subject) };
    harness.policies().set("charge", policy);
    let store = harness.open().await;
    let keyed = async || {
        let event = append(&store, keyed_event("k", &["charge"])).await;
        DeliveryId { event, ordinal: 0 }
    };
    let (first, second) = (keyed().await, keyed().await);
    every_wait_is_named(&harness, &store).await;
    let view = delivery(&store, second).await;
    assert_eq!(view.waits(START_MS), Some(Waits::Behind(first)));
    let lease = lease_one(&store, "charge").await;
    settle(&store, lease, dead()).await;
    let view = delivery(&store, second).await;
    assert_eq!(view.waits(START_MS), Some(Waits::Held(first)));
    let opens = append(&store, member(&join(), "o", video("v1"))).await;
    let view = delivery(&store, DeliveryId { event: opens, ordinal: 0 }).await;
    let Some(Waits::Members(gathering)) = view.waits(START_MS) else { panic!("{view:?}") };
    assert_eq!((gathering.count, &*gathering.key), (1, "o"));
    assert_eq!(gathering.until_ms, START_MS + HOUR_MS);
    every_wait_is_named(&harness, &store).await;
    pass(&harness, HOUR_MS);
    let view = delivery(&store, view.id).await;
    assert_eq!(view.waits(harness.clock().now_ms()), Some(Waits::Due));
}

pub(in crate::store) async fn the_tree_of_a_join_names_its_members_of_other_trees(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let mut last = member(&join(), "o", video("v3"));
    let first = append(&store, member(&join(), "o", video("v1"))).await;
    let second = append(&store, member(&join(), "o", Counted::Not)).await;
    last.members[0].closes = true;
    let last = append(&store, last).await;
    assert!(end(&store, JOIN).await.is_some());
    let of_join = tree(&store, first).await;
    assert_eq!(of_join.events.len(), 2, "the first member, and what the join has emitted");
    let joined = &of_join.events[0].deliveries[0];
    let members: Vec<_> = joined.members.iter().map(|member| (member.id, member.tree)).collect();
    assert_eq!(members, [(first, first), (second, second), (last, last)]);
    assert!(!joined.more_members && joined.members[0].kind.as_deref() == Some("order.video"));
    let state = joined.view.gathering.as_ref().unwrap();
    assert_eq!((state.count, state.why.map(|why| why.name())), (2, Some("close")));
    let emitted = of_join.events[1].summary.event.id;
    assert_eq!(tree(&store, emitted).await, of_join);
    // And from a member of another tree to the join.
    for (id, trees) in [(first, vec![]), (second, vec![first]), (last, vec![first])] {
        let own = tree(&store, id).await;
        let memberships = &own.events[0].member_of;
        assert_eq!(memberships.iter().map(|m| m.tree).collect::<Vec<_>>(), trees);
        assert!(memberships.iter().all(|m| m.delivery == joined.view.id && &*m.plugin == JOIN));
    }
}

pub(in crate::store) async fn open_gatherings_are_listed_until_they_end(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let other = crate::event::GatheringTerms { plugin: "joins/other".into(), ..join() };
    deliver(&store, "audit").await;
    for key in ["c", "a", "b"] {
        append(&store, member(&join(), key, video("v1"))).await;
        append(&store, member(&join(), key, video("v2"))).await;
        append(&store, member(&other, key, Counted::Not)).await;
        pass(&harness, 1);
    }
    let list = async |plugin: Option<&str>, key: Option<&str>, limit| {
        let filter =
            GatheringFilter { plugin: plugin.map(str::to_owned), key: key.map(str::to_owned) };
        let (mut found, mut after) = (Vec::<GatheringState>::new(), None);
        loop {
            let (page, next) = store.gatherings(filter.clone(), limit, after).await.unwrap();
            assert!(page.len() <= limit);
            found.extend(page);
            after = next;
            if after.is_none() {
                break found;
            }
        }
    };
    let names = |found: &[GatheringState]| {
        found.iter().map(|g| format!("{} {} {}", g.plugin, g.key, g.count)).collect::<Vec<_>>()
    };
    let mine = ["joins/order c 2", "joins/order a 2", "joins/order b 2"];
    let others = ["joins/other c 0", "joins/other a 0", "joins/other b 0"];
    for limit in 1..=7 {
        let all = list(None, None, limit).await;
        assert_eq!(names(&all), [mine, others].concat(), "{limit} a page");
        assert_eq!(names(&list(Some(JOIN), None, limit).await), mine);
        let a = list(None, Some("a"), limit).await;
        assert_eq!(names(&a), [mine[1], others[1]]);
        assert_eq!(names(&list(Some(JOIN), Some("a"), limit).await), mine[1..2]);
        assert_eq!(list(Some("joins/none"), None, limit).await, []);
        assert_eq!(all[0].since_ms, START_MS);
        assert_eq!(all[0].until_ms, START_MS + HOUR_MS);
    }
    // A leased gathering is still open; an ended one is not.
    let mut closes = member(&join(), "c", Counted::Not);
    closes.members[0].closes = true;
    append(&store, closes).await;
    let leased = lease_one(&store, JOIN).await;
    assert_eq!(list(Some(JOIN), Some("c"), 9).await.len(), 1);
    settle(&store, leased, done()).await;
    assert_eq!(names(&list(Some(JOIN), None, 9).await), mine[1..]);
    assert_eq!(list(Some(JOIN), Some("c"), 9).await, []);
}
