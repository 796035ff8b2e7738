//! Retention of events that are gathered.

use super::gatherings::{BATCH, JOIN, batch, end, ids, join, member, video};
use super::policies::PolicyHarness;
use super::*;
use crate::event::{GatheringTerms, Why};
use crate::store::GatheringFilter;

pub(in crate::store) async fn members_of_an_open_gathering_are_kept(harness: impl PolicyHarness) {
    let store = harness.open().await;
    let terms = GatheringTerms { need: Some(3), within: time(30 * DAY_MS), ..join() };
    let mut came = Vec::new();
    for name in ["v1", "v2"] {
        came.push(append(&store, member(&terms, "o", video(name))).await);
        pass(&harness, DAY_MS);
    }
    let keep = Keep {
        events: Duration::ZERO,
        payloads: Duration::MAX,
        dedupe_keys: Duration::ZERO,
        audit: Duration::ZERO,
    };
    while store.sweep(keep).await.unwrap() {}
    came.push(append(&store, member(&terms, "o", video("v3"))).await);
    let view = end(&store, JOIN).await.unwrap();
    assert_eq!(ids(&view), came);
    assert!(view.members.iter().all(|member| member.event.is_some()));
    pass(&harness, 30 * DAY_MS);
    while store.sweep(keep).await.unwrap() {}
    assert!(store.event(came[0]).await.is_err());
}

pub(in crate::store) async fn the_key_of_a_join_is_closed_for_its_time_whatever_retention_is(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let terms = GatheringTerms { need: Some(2), within: time(7 * DAY_MS), ..join() };
    let once = GatheringTerms { within: time(7 * DAY_MS), ..batch(1) };
    let first = append(&store, member(&terms, "o", video("v1"))).await;
    append(&store, member(&terms, "o", video("v2"))).await;
    let batched = append(&store, member(&once, "o", video("v1"))).await;
    assert!(end(&store, JOIN).await.is_some() && end(&store, BATCH).await.is_some());
    let keep = Keep {
        events: time(DAY_MS),
        payloads: Duration::MAX,
        dedupe_keys: time(DAY_MS),
        audit: Duration::MAX,
    };
    for _ in 0..2 {
        pass(&harness, 3 * DAY_MS);
        while store.sweep(keep).await.unwrap() {}
        append(&store, member(&terms, "o", video("v3"))).await;
        assert!(end(&store, JOIN).await.is_none(), "a straggler opens nothing");
    }
    assert!(store.event(batched).await.is_err(), "a batch has no key to close");
    assert!(store.event(first).await.is_ok());
    pass(&harness, 2 * DAY_MS);
    while store.sweep(keep).await.unwrap() {}
    assert!(store.event(first).await.is_err(), "its time is over");
    // After a late end the key is closed for as long again.
    let late = append(&store, member(&terms, "late", video("v1"))).await;
    pass(&harness, 7 * DAY_MS);
    assert_eq!(end(&store, JOIN).await.unwrap().why, Why::Within);
    for (days, is_kept) in [(6, true), (2, false)] {
        pass(&harness, days * DAY_MS);
        while store.sweep(keep).await.unwrap() {}
        assert_eq!(store.event(late).await.is_ok(), is_kept, "{days}");
    }
    let open = store.gatherings(GatheringFilter::default(), 10, None).await.unwrap().0;
    assert_eq!(open.len(), 0, "no straggler has opened a join");
}
