//! Erased data is gone, and counts stay.

use super::edits::edited;
use super::gatherings::{JOIN, end, ids, join, member, video};
use super::operations::{start, to};
use super::*;
use crate::event::GatheringTerms;
use crate::store::{
    Action, Actor, AuditFilter, AuditNote, DeliveryFilter, Emptied, Erased, Erasure, EventFilter,
    OperationDeed, OperationOptions, OperationScope, Page, Via, Which,
};

const ERASED: Emptied = Emptied { at_ms: START_MS, asked: true };

pub(super) fn about(subject: &str, targets: &[&str]) -> NewEvent {
    let mut new = event("order.paid", targets);
    new.attributes.subject = Some(subject.to_owned());
    new.attributes.body = Bytes::from_static(b"{\"name\": \"Jo\"}");
    new.headers = vec![("user-agent".to_owned(), "jo".to_owned())];
    new.dedupe = vec![key_of(9)];
    new.trace = Some(traces::creation());
    new
}

async fn erase(store: &Arc<dyn Store>, erasure: Erasure) -> Erased {
    store.erase(None, erasure, false).await.unwrap()
}

fn of(subject: &str) -> Erasure {
    Erasure::Subject(subject.to_owned())
}

pub(in crate::store) async fn nothing_of_an_erased_event_is_left_but_its_place(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = append(&store, about("jo", &["audit"])).await;
    let mut settlement = dead();
    let record = settlement.record.as_mut().unwrap();
    record.error = Some("no order of Jo".to_owned());
    record.logs = vec![LogLine { level: "info".to_owned(), message: "Jo".to_owned() }];
    settle(&store, lease_one(&store, "audit").await, settlement).await;
    let erased = erase(&store, Erasure::Event(id)).await;
    assert_eq!(erased, Erased { events: 1, ended: 1, ..Erased::default() });
    drop(store);
    let store = harness.open().await;
    let view = store.event(id).await.unwrap();
    assert_eq!(view.event.attributes.body.len(), 0);
    assert_eq!((&view.event.attributes.subject, view.headers.len()), (&None, 0));
    assert_eq!(view.event.trace, None);
    assert_eq!((view.emptied, view.note.as_deref()), (Some(ERASED), Some("erased")));
    let attempt = &view.deliveries[0].attempts[0].record;
    assert_eq!((&attempt.error, attempt.logs.len(), attempt.outcome), (&None, 0, Outcome::Reject));
    let page = Page { limit: 10, after: None };
    let listed = store.events(EventFilter::default(), page).await.unwrap().0;
    assert_eq!(listed[0].emptied, Some(ERASED));
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.events, stats.deliveries(State::Discarded)), (1, 1));
    assert_eq!(erase(&store, Erasure::Event(id)).await, Erased::default());
    // Its dedupe key stays.
    assert!(store.append(about("jo", &["audit"])).await.unwrap().duplicate);
}

pub(in crate::store) async fn an_erased_event_is_neither_replayed_nor_retried(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = append(&store, about("jo", &["audit"])).await;
    settle(&store, lease_one(&store, "audit").await, dead()).await;
    erase(&store, Erasure::Event(id)).await;
    let replayed = store.replay(None, id, vec![Target::to("audit")]).await;
    assert!(
        matches!(&replayed, Err(StoreError::Conflict(why)) if why.contains("was erased")),
        "{replayed:?}"
    );
    let made = store.make(None, edited(id, &[])).await;
    assert!(
        matches!(&made, Err(StoreError::Conflict(why)) if why.contains("was erased")),
        "{made:?}"
    );
    let delivery = DeliveryId { event: id, ordinal: 0 };
    let retried = store.change(None, Action::Retry, Which::One(delivery)).await;
    assert!(
        matches!(&retried, Err(StoreError::Conflict(why)) if why.contains("was erased")),
        "{retried:?}"
    );
    let filter = DeliveryFilter { state: Some(State::Discarded), ..DeliveryFilter::default() };
    let which = Which::Matching { filter, from: None };
    assert_eq!(store.change(None, Action::Retry, which).await.unwrap().deliveries, 0);
}

pub(in crate::store) async fn every_event_of_a_subject_is_erased_and_no_other(
    harness: impl Harness,
) {
    let store = harness.open().await;
    for _ in 0..5 {
        append(&store, NewEvent { dedupe: Vec::new(), ..about("jo", &["audit"]) }).await;
    }
    let other = append(&store, NewEvent { dedupe: Vec::new(), ..about("ann", &["audit"]) }).await;
    let first = erase(&store, of("jo")).await;
    assert_eq!(first, Erased { events: 3, ended: 3, more: true, ..Erased::default() });
    let second = erase(&store, of("jo")).await;
    assert_eq!(second, Erased { events: 2, ended: 2, ..Erased::default() });
    let left = store.event(other).await.unwrap();
    assert_eq!((left.emptied, left.event.attributes.subject.as_deref()), (None, Some("ann")));
    assert_eq!(state(&store, DeliveryId { event: other, ordinal: 0 }).await, State::Ready);
}

pub(in crate::store) async fn an_event_whose_attempt_runs_is_cancelled_and_erased_afterwards(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = append(&store, about("jo", &["audit"])).await;
    let lease = lease_one(&store, "audit").await;
    let erased = erase(&store, of("jo")).await;
    assert_eq!(erased, Erased { ended: 1, running: 1, ..Erased::default() });
    assert_eq!(store.event(id).await.unwrap().emptied, None);
    assert_eq!(settle(&store, lease, done()).await, Settled::Cancelled);
    assert_eq!(erase(&store, of("jo")).await.events, 1);
    assert_eq!(store.event(id).await.unwrap().event.attributes.body.len(), 0);
}

pub(in crate::store) async fn a_dead_letter_that_tells_of_an_erased_event_is_erased(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = append(&store, about("jo", &["audit"])).await;
    let lease = lease_one(&store, "audit").await;
    let told = NewEvent { parent: Some(id), ..event(crate::event::DEAD, &["orders"]) };
    let next = Next::Dead(Some(Box::new(told)));
    settle(&store, lease, Settlement { next, ..dead() }).await;
    let erased = erase(&store, Erasure::Event(id)).await;
    assert_eq!(erased, Erased { events: 2, ended: 2, ..Erased::default() });
    let copy = store.event(id).await.unwrap().children[0];
    assert!(store.event(copy).await.unwrap().emptied.is_some());
}

/// An event about a person that is a member of a join of so many.
fn joined(subject: &str, need: u32, name: &str) -> NewEvent {
    let terms = GatheringTerms { need: Some(need), ..join() };
    let members = member(&terms, "o", video(name)).members;
    NewEvent { members, dedupe: Vec::new(), ..about(subject, &[]) }
}

pub(in crate::store) async fn what_a_complete_join_made_of_an_erased_event_is_erased(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let first = append(&store, joined("jo", 2, "v1")).await;
    let last = append(&store, joined("ann", 2, "v2")).await;
    let lease = lease_one(&store, JOIN).await;
    // The attempt has read the body.
    assert_eq!(erase(&store, of("jo")).await, Erased { running: 1, ..Erased::default() });
    let mut made = NewEvent { parent: Some(last), ..event("order.ended", &["audit"]) };
    made.attributes.source = JOIN.into();
    let settled = settle(&store, lease, done_with(vec![made], KvTransaction::default())).await;
    assert_eq!(settled, Settled::Kept);
    let made = store.event(last).await.unwrap().children[0];
    let erased = erase(&store, of("jo")).await;
    assert_eq!(erased, Erased { events: 2, ended: 1, ..Erased::default() });
    let is_erased = async |id| store.event(id).await.unwrap().emptied.is_some();
    assert!(is_erased(first).await && is_erased(made).await && !is_erased(last).await);
}

pub(in crate::store) async fn a_join_of_others_goes_on_without_the_event_that_opened_it(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let first = append(&store, joined("jo", 3, "v1")).await;
    let second = append(&store, joined("ann", 3, "v2")).await;
    assert_eq!(erase(&store, of("jo")).await, Erased { events: 1, ..Erased::default() });
    let third = append(&store, joined("ann", 3, "v3")).await;
    let view = end(&store, JOIN).await.expect("it is complete");
    assert_eq!(ids(&view), [first, second, third]);
    let bytes = |at: usize| view.members[at].event.as_ref().unwrap().attributes.body.len();
    assert_eq!((bytes(0), bytes(1) > 0, bytes(2) > 0), (0, true, true));
}

pub(in crate::store) async fn a_join_ends_when_every_member_is_erased(harness: impl Harness) {
    let store = harness.open().await;
    let first = append(&store, joined("jo", 9, "v1")).await;
    for name in ["v2", "v3", "v4", "v5"] {
        append(&store, joined("jo", 9, name)).await;
    }
    let own = DeliveryId { event: first, ordinal: 0 };
    let some = erase(&store, of("jo")).await;
    assert_eq!(some, Erased { events: 3, more: true, ..Erased::default() });
    assert_eq!(state(&store, own).await, State::Waiting);
    assert_eq!(erase(&store, of("jo")).await, Erased { events: 2, ended: 1, ..Erased::default() });
    assert_eq!(state(&store, own).await, State::Cancelled);
}

pub(in crate::store) async fn a_subject_is_found_until_nothing_of_its_events_runs(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = append(&store, about("jo", &["audit"])).await;
    let lease = lease_one(&store, "audit").await;
    let told = NewEvent { parent: Some(id), ..event(crate::event::DEAD, &["orders"]) };
    settle(&store, lease, Settlement { next: Next::Dead(Some(Box::new(told))), ..dead() }).await;
    let copy = lease_one(&store, "orders").await;
    let erased = erase(&store, of("jo")).await;
    assert_eq!(erased, Erased { ended: 2, running: 1, ..Erased::default() });
    assert_eq!(settle(&store, copy, done()).await, Settled::Cancelled);
    assert_eq!(erase(&store, of("jo")).await, Erased { events: 2, ..Erased::default() });
    assert_eq!(erase(&store, of("jo")).await, Erased::default());
}

pub(in crate::store) async fn an_event_is_erased_with_all_of_its_copies_however_many_there_are(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = append(&store, about("jo", &["audit"])).await;
    let mut all = vec![id];
    for number in 0..20 {
        // Some are copies of copies.
        let of = all[number / 2];
        all.push(store.make(None, edited(of, &["audit"])).await.unwrap().id);
    }
    let is_emptied = async |id| store.event(id).await.unwrap().emptied.is_some();
    let (mut sum, mut calls) = (Erased::default(), 0);
    loop {
        let some = erase(&store, of("jo")).await;
        (sum, calls) = (sum.and(some), calls + 1);
        // By its subject the next call finds the rest.
        assert_eq!(is_emptied(id).await, !some.more);
        if !some.more {
            break;
        }
    }
    assert_eq!(sum, Erased { events: 21, ended: 21, ..Erased::default() });
    assert_eq!(calls, 3, "a call erases eight of them");
    for copy in all {
        assert!(is_emptied(copy).await);
    }
}

pub(in crate::store) async fn with_keys_the_values_that_an_erased_event_wrote_last_are_deleted(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let write = |key: &str| KvTransaction {
        writes: vec![(key.to_owned(), Some(b"Jo".to_vec())), ("shared".to_owned(), Some(vec![1]))],
        ..KvTransaction::default()
    };
    let id = append(&store, about("jo", &["audit"])).await;
    let lease = lease_one(&store, "audit").await;
    settle(&store, lease, done_with(Vec::new(), write("jo"))).await;
    append(&store, event("order.paid", &["audit"])).await;
    let lease = lease_one(&store, "audit").await;
    settle(&store, lease, done_with(Vec::new(), write("other"))).await;
    let erased = store.erase(None, Erasure::Event(id), true).await.unwrap();
    assert_eq!(erased, Erased { events: 1, keys: 1, ..Erased::default() });
    let value = async |key: &str| store.kv_get("audit".into(), key.to_owned()).await.unwrap();
    assert!(value("jo").await.is_none());
    assert!(value("shared").await.is_some() && value("other").await.is_some());
    let bytes = ("other".len() + 2 + "shared".len() + 1) as u64;
    assert_eq!(store.kv_bytes("audit").await.unwrap(), bytes);
}

pub(in crate::store) async fn what_was_erased_has_one_entry_in_the_audit_log(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = append(&store, about("jo", &["audit"])).await;
    let actor = Actor { name: "ann".into(), role: "operator", via: Via::Api };
    let note = AuditNote::new(actor, "events.erase", &id.to_string(), "");
    for _ in 0..2 {
        store.erase(Some(note.clone()), Erasure::Event(id), false).await.unwrap();
    }
    let missing = Erasure::Event(EventId::first_at(START_MS - 1));
    let missing = store.erase(Some(note), missing, false).await;
    assert!(matches!(missing, Err(StoreError::NotFound(_))), "{missing:?}");
    let (entries, _) = store.audit(AuditFilter::default(), 9, None).await.unwrap();
    assert_eq!(entries.len(), 1);
    assert!(entries[0].result.contains("\"events\":1"), "{}", entries[0].result);
}

pub(in crate::store) async fn no_replay_leaves_an_open_delivery_of_an_erased_event(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let mut events = Vec::new();
    for _ in 0..2 {
        let new = NewEvent { dedupe: Vec::new(), ..about("jo", &["audit"]) };
        events.push(append(&store, new).await);
    }
    let (replay, scope) =
        (OperationDeed::Replay(Vec::new()), OperationScope::EventIds(events.clone()));
    let id = start(&store, replay, scope, OperationOptions::default()).await;
    store.find_more(id).await.unwrap();
    // The erasure comes between the two events.
    store.replay_items(id, to(&events[..1])).await.unwrap();
    assert_eq!(erase(&store, of("jo")).await, Erased { events: 2, ended: 4, ..Erased::default() });
    store.replay_items(id, to(&events)).await.unwrap();
    for (event, deliveries) in events.into_iter().zip([3, 1]) {
        let view = store.event(event).await.unwrap();
        assert!(view.emptied.is_some());
        let states: Vec<State> = view.deliveries.iter().map(|delivery| delivery.state).collect();
        assert_eq!(states, vec![State::Cancelled; deliveries]);
    }
    store.collect(id).await.unwrap();
    let operation = store.operation(id).await.unwrap().unwrap();
    assert_eq!([operation.found, operation.skipped], [2, 2]);
}
