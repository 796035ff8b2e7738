//! Bounds of gatherings: how many members, which of them are read, and what operators may do.

use super::gatherings::{BATCH, HOUR_MS, JOIN, batch, end, join, member, needs, video};
use super::operator::{act, assert_conflict};
use super::policies::PolicyHarness;
use super::*;
use crate::event::{Counted, MAX_MEMBERS, Why};
use crate::store::{Action, DeliveryFilter, Which};

pub(in crate::store) async fn a_gathering_has_at_most_ten_thousand_members(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    // Repeats of one member, and events that do not count: they are members all the same.
    for _ in 0..MAX_MEMBERS / 1_000 {
        let appended: Vec<_> = (0..1_000)
            .map(|n| {
                let counted = if n % 2 == 0 { video("v1") } else { Counted::Not };
                store.append(member(&join(), "o", counted))
            })
            .collect();
        for answer in appended {
            answer.await.unwrap();
        }
    }
    let view = end(&store, JOIN).await.expect("it has ended");
    assert_eq!((view.why, view.count, view.members.len()), (Why::Limit, 1, MAX_MEMBERS as usize));
    let late = append(&store, member(&join(), "o", video("v2"))).await;
    assert!(store.event(late).await.unwrap().note.is_some());
}

pub(in crate::store) async fn the_last_member_is_read_however_many_there_are(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    for _ in 0..300 {
        append(&store, member(&batch(300), "o", Counted::Event)).await;
    }
    let view = end(&store, BATCH).await.unwrap();
    let read: Vec<_> = (0..300).filter(|index| view.members[*index].event.is_some()).collect();
    assert_eq!(read, (0..255).chain([299]).collect::<Vec<_>>());
}

pub(in crate::store) async fn an_operator_neither_moves_a_gathering_nor_ends_it_by_a_retry(
    harness: impl PolicyHarness,
) {
    let store = harness.open().await;
    let id = DeliveryId { event: append(&store, needs(&join(), "o", 2)).await, ordinal: 0 };
    assert_conflict(&store, Action::Move("audit".into()), id).await;
    assert_conflict(&store, Action::Retry, id).await;
    for action in [Action::Move("audit".into()), Action::Retry] {
        let filter = DeliveryFilter::default();
        let changed =
            store.change(None, action, Which::Matching { filter, from: None }).await.unwrap();
        assert_eq!(changed.deliveries, 0);
    }
    act(&store, Action::Cancel, id).await;
    act(&store, Action::Retry, id).await;
    let view = delivery(&store, id).await;
    assert_eq!((view.state, view.due_ms), (State::Waiting, Some(START_MS + HOUR_MS)));
    assert!(end(&store, JOIN).await.is_none(), "it waits on");
    for video_id in ["v1", "v2"] {
        append(&store, member(&join(), "o", video(video_id))).await;
    }
    let view = end(&store, JOIN).await.expect("it is complete");
    assert_eq!((view.why, view.count), (Why::Need, 2));
    // A join whose time is over ends at once.
    let id = DeliveryId { event: append(&store, needs(&join(), "p", 2)).await, ordinal: 0 };
    act(&store, Action::Cancel, id).await;
    pass(&harness, HOUR_MS);
    act(&store, Action::Retry, id).await;
    assert_eq!(end(&store, JOIN).await.expect("its time is over").why, Why::Within);
}
