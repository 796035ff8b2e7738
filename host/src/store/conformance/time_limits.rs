//! Time limits of joins and batches that change while some are open.

use super::gatherings::{BATCH, HOUR_MS, JOIN, batch, end, join, member, needs, video};
use super::policies::PolicyHarness;
use super::*;
use crate::event::{Counted, GatheringTerms, Why};
use crate::store::GatheringFilter;

/// A minute in milliseconds.
const MINUTE_MS: i64 = 60_000;

/// Sets the time limit of a plugin; returns how many open gatherings end at another time.
async fn limit(store: &Arc<dyn Store>, plugin: &str, ms: i64) -> u64 {
    store.set_time_limits(vec![(plugin.into(), time(ms))]).await.unwrap()
}

/// How long after its first member the only open gathering ends at the latest.
async fn open_for_ms(store: &Arc<dyn Store>) -> i64 {
    let (open, _) = store.gatherings(GatheringFilter::default(), 9, None).await.unwrap();
    assert_eq!(open.len(), 1, "{open:?}");
    open[0].until_ms - open[0].since_ms
}

/// Whether an event came too late to be a member.
async fn is_late(store: &Arc<dyn Store>, id: EventId) -> bool {
    let note = store.event(id).await.unwrap().note;
    note.is_some_and(|note| note.starts_with("late_member"))
}

pub(in crate::store) async fn an_open_join_ends_by_the_present_time_limit(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let terms = join();
    append(&store, member(&terms, "o", video("v1"))).await;
    pass(&harness, 30 * MINUTE_MS);
    // More time, counted from the first member on.
    assert_eq!(limit(&store, JOIN, 2 * HOUR_MS).await, 1);
    assert_eq!(open_for_ms(&store).await, 2 * HOUR_MS);
    pass(&harness, 45 * MINUTE_MS);
    assert!(end(&store, JOIN).await.is_none());
    let second = append(&store, member(&terms, "o", video("v2"))).await;
    assert!(!is_late(&store, second).await);
    pass(&harness, 45 * MINUTE_MS - 1);
    assert!(end(&store, JOIN).await.is_none());
    pass(&harness, 1);
    let view = end(&store, JOIN).await.unwrap();
    assert_eq!((view.why, view.complete, view.count), (Why::Within, false, 2));
    // A gathering that is opened by terms that were read before has the present limit as well.
    append(&store, member(&terms, "p", video("v1"))).await;
    assert_eq!(open_for_ms(&store).await, 2 * HOUR_MS);
    // Less time, and not over yet.
    pass(&harness, 5 * MINUTE_MS);
    assert_eq!(limit(&store, JOIN, 10 * MINUTE_MS).await, 1);
    pass(&harness, 5 * MINUTE_MS - 1);
    assert!(end(&store, JOIN).await.is_none());
    pass(&harness, 1);
    assert_eq!(end(&store, JOIN).await.unwrap().why, Why::Within);
    // Less time, and over: it ends at once, and late.
    append(&store, member(&terms, "q", video("v1"))).await;
    pass(&harness, 6 * MINUTE_MS);
    assert_eq!(limit(&store, JOIN, 4 * MINUTE_MS).await, 1);
    let late = append(&store, member(&terms, "q", video("v2"))).await;
    assert!(is_late(&store, late).await, "its time is over before anybody has leased it");
    assert_eq!(end(&store, JOIN).await.unwrap().why, Why::Within);
    // Its key is closed for the limit by which it has ended once more.
    pass(&harness, 2 * MINUTE_MS - 1);
    let late = append(&store, member(&terms, "q", video("v3"))).await;
    assert!(is_late(&store, late).await);
    pass(&harness, 1);
    let new = append(&store, member(&terms, "q", video("v4"))).await;
    assert!(!is_late(&store, new).await);
}

pub(in crate::store) async fn a_batch_that_has_more_time_still_ends_when_it_is_quiet(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let next = || member(&batch(100), "a", Counted::Event);
    // Less time than it may be quiet.
    append(&store, next()).await;
    pass(&harness, 2_000);
    append(&store, next()).await;
    assert_eq!(limit(&store, BATCH, 4_000).await, 1);
    pass(&harness, 1_999);
    assert!(end(&store, BATCH).await.is_none());
    pass(&harness, 1);
    let view = end(&store, BATCH).await.unwrap();
    assert_eq!((view.why, view.members.len()), (Why::Within, 2));
    // More time: it ends five seconds after its last member.
    append(&store, next()).await;
    pass(&harness, 1_000);
    append(&store, next()).await;
    pass(&harness, 2_000);
    assert_eq!(limit(&store, BATCH, HOUR_MS).await, 1);
    pass(&harness, 2_999);
    assert!(end(&store, BATCH).await.is_none());
    pass(&harness, 1);
    let view = end(&store, BATCH).await.unwrap();
    assert_eq!((view.why, view.members.len()), (Why::Quiet, 2));
}

pub(in crate::store) async fn what_is_complete_or_has_ended_keeps_its_end(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let terms = GatheringTerms { need: Some(1), ..join() };
    // Complete, and not leased yet.
    append(&store, member(&terms, "o", video("v1"))).await;
    assert_eq!(limit(&store, JOIN, 2 * HOUR_MS).await, 0);
    assert_eq!(end(&store, JOIN).await.unwrap().why, Why::Need);
    assert_eq!(limit(&store, JOIN, MINUTE_MS).await, 0);
    pass(&harness, HOUR_MS - 1);
    let late = append(&store, member(&terms, "o", video("v2"))).await;
    assert!(is_late(&store, late).await, "the key is closed for the limit of then");
    // Leased when its time was over, also across a crash.
    append(&store, needs(&join(), "p", 2)).await;
    pass(&harness, MINUTE_MS);
    drop(lease_one(&store, JOIN).await);
    assert_eq!(limit(&store, JOIN, HOUR_MS).await, 0);
    drop(store);
    let store = harness.open().await;
    assert_eq!(end(&store, JOIN).await.unwrap().why, Why::Within);
    // Due, and not leased: it has not ended.
    append(&store, needs(&join(), "q", 2)).await;
    pass(&harness, HOUR_MS);
    assert_eq!(limit(&store, JOIN, MINUTE_MS).await, 1);
    assert_eq!(limit(&store, JOIN, 2 * HOUR_MS).await, 1);
    let waiting = store.stats().await.unwrap().deliveries(State::Waiting);
    assert_eq!((waiting, end(&store, JOIN).await.is_none()), (1, true));
    pass(&harness, HOUR_MS);
    assert_eq!(end(&store, JOIN).await.unwrap().why, Why::Within);
}

pub(in crate::store) async fn a_time_limit_outlives_a_crash_and_moves_nothing_twice(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    append(&store, needs(&join(), "o", 2)).await;
    assert_eq!(limit(&store, JOIN, 2 * HOUR_MS).await, 1);
    drop(store);
    let store = harness.open().await;
    assert_eq!(limit(&store, JOIN, 2 * HOUR_MS).await, 0);
    assert_eq!(open_for_ms(&store).await, 2 * HOUR_MS);
    pass(&harness, 2 * HOUR_MS);
    assert!(end(&store, JOIN).await.is_some());
    append(&store, needs(&join(), "p", 2)).await;
    assert_eq!(open_for_ms(&store).await, 2 * HOUR_MS);
}

pub(in crate::store) async fn thousands_of_open_joins_are_moved_and_each_once(
    harness: impl PolicyHarness,
) {
    const OPEN: usize = 1_234;
    let store = harness.open().await;
    let dispatch = dispatch::TestDispatch::attach(&store, &[(JOIN, 0)]);
    for part in 0..4 {
        let keys = (0..OPEN).filter(|key| key % 4 == part);
        let appended: Vec<_> =
            keys.map(|key| store.append(needs(&join(), &key.to_string(), 2))).collect();
        for answer in appended {
            answer.await.unwrap();
        }
        pass(&harness, MINUTE_MS);
    }
    append(&store, member(&batch(100), "a", Counted::Event)).await;
    let all = u64::try_from(OPEN).unwrap();
    for hours in [3, 1, 2] {
        assert_eq!(limit(&store, JOIN, hours * HOUR_MS).await, all, "{hours} hours");
        assert_eq!(limit(&store, JOIN, hours * HOUR_MS).await, 0);
    }
    assert!(lease(&store, JOIN, 9).await.is_empty());
    dispatch.notified(&store).await;
    // Those of the first minutes are over.
    assert_eq!(limit(&store, JOIN, 3 * MINUTE_MS).await, all);
    let is_told = |(plugin, due_in): &(String, Duration)| plugin == JOIN && due_in.is_zero();
    assert!(dispatch.notified(&store).await.iter().any(is_told));
    let over = (0..OPEN).filter(|key| key % 4 < 2).count();
    let leases = lease(&store, JOIN, 2_000).await;
    assert_eq!(leases.len(), over);
    let stats = store.stats().await.unwrap();
    // The batch waits as well, for its own time.
    assert_eq!(stats.deliveries(State::Leased), over as u64);
    assert_eq!(stats.deliveries(State::Ready), 0);
    assert_eq!(stats.deliveries(State::Waiting), all - over as u64 + 1);
}

pub(in crate::store) async fn of_two_calls_for_one_plugin_the_last_one_counts(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    for key in 0..600 {
        append(&store, needs(&join(), &key.to_string(), 2)).await;
    }
    // Both walk at once: whatever the first one has moved, the second one moves.
    let (first, second) =
        tokio::join!(limit(&store, JOIN, HOUR_MS / 2), limit(&store, JOIN, 2 * HOUR_MS));
    assert!(first <= 600 && second == 600, "{first}, {second}");
    let mut after = None;
    let mut seen = 0;
    loop {
        let page = store.gatherings(GatheringFilter::default(), 200, after).await.unwrap();
        let times = page.0.iter().map(|open| open.until_ms - open.since_ms);
        assert!(times.into_iter().all(|ms| ms == 2 * HOUR_MS));
        seen += page.0.len();
        after = page.1;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, 600);
}
