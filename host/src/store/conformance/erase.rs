//! What is erased is gone, and what counts stays.

use super::edits::edited;
use super::*;
use crate::store::{
    Action, Actor, AuditFilter, AuditNote, DeliveryFilter, Emptied, Erased, Erasure, EventFilter,
    Page, Via, Which,
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
