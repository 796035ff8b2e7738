//! The audit log, and requests that are repeated.

use super::*;
use crate::store::{
    Action, Actor, AuditEntry, AuditFilter, AuditNote, DeliveryFilter, KEY_KNOWN_FOR_MS, Via, Which,
};

/// Expires nothing but entries of the audit log.
fn keep_audit(audit: Duration) -> Keep {
    Keep { events: Duration::MAX, payloads: Duration::MAX, dedupe_keys: Duration::MAX, audit }
}

fn note(target: &str) -> AuditNote {
    let actor = Actor { name: "jo".into(), role: "operator", via: Via::Command };
    AuditNote::new(actor, "deliveries.discard", target, "")
}

pub(super) fn keyed_note(target: &str, key: &str) -> AuditNote {
    AuditNote { key: Some(key.to_owned()), ..note(target) }
}

pub(super) async fn entries(store: &Arc<dyn Store>) -> Vec<AuditEntry> {
    let (entries, next) = store.audit(AuditFilter::default(), 100, None).await.unwrap();
    assert_eq!(next, None);
    entries
}

/// As many dead deliveries of `audit`.
async fn dead_letters(store: &Arc<dyn Store>, count: usize) -> Vec<DeliveryId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(dead_letter(store, "audit").await);
    }
    ids
}

pub(in crate::store) async fn a_change_has_an_entry_that_says_who_did_what(harness: impl Harness) {
    let store = harness.open().await;
    let id = dead_letter(&store, "audit").await;
    pass(&harness, 5);
    let by_jo = Some(note(&id.to_string()));
    store.change(by_jo, Action::Discard, Which::One(id)).await.unwrap();
    let replayed = Some(note("replay"));
    let made = store.replay(replayed, id.event, vec![Target::to("audit")]).await.unwrap();
    store.note(note("clock")).await.unwrap();
    drop(store);
    let store = harness.open().await;
    let entries = entries(&store).await;
    let seen: Vec<_> = entries.iter().map(|it| (it.target.as_str(), it.result.as_str())).collect();
    let (made, id) = (format!("[\"{}\"]", made[0]), id.to_string());
    assert_eq!(seen, [("clock", "null"), ("replay", made.as_str()), (id.as_str(), "1")]);
    let AuditEntry { at_ms, actor, role, via, action, .. } = &entries[2];
    assert_eq!(
        (*at_ms, actor.as_str(), role.as_str(), via.as_str(), action.as_str()),
        (START_MS + 5, "jo", "operator", "command", "deliveries.discard")
    );
    assert!(entries[0].id > entries[1].id && entries[1].id > entries[2].id);
}

pub(in crate::store) async fn a_change_that_is_refused_has_no_entry(harness: impl Harness) {
    let store = harness.open().await;
    let id = deliver(&store, "audit").await;
    let refused = store.change(Some(note("open")), Action::Discard, Which::One(id)).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    let filter = DeliveryFilter::default();
    let which = Which::Matching { filter, from: None };
    let none = store.change(Some(note("none")), Action::Discard, which).await.unwrap();
    assert_eq!(none.deliveries, 0);
    assert_eq!(entries(&store).await, []);
}

pub(in crate::store) async fn of_a_change_of_many_the_entries_count_each_delivery_once(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let ids = dead_letters(&store, 5).await;
    let (mut changed, mut from) = (0, None);
    loop {
        let which = Which::Matching { filter: DeliveryFilter::default(), from };
        let some = store.change(Some(keyed_note("all", "k")), Action::Discard, which).await;
        let some = some.unwrap();
        changed += some.deliveries;
        from = some.next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!(changed, ids.len() as u64);
    let counts = entries(&store).await.into_iter().map(|entry| entry.result.parse::<u64>());
    assert_eq!(counts.map(Result::unwrap).sum::<u64>(), changed);
}

pub(in crate::store) async fn a_request_that_is_repeated_with_its_key_does_nothing_again(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let id = dead_letter(&store, "audit").await;
    let replay = || {
        let note = Some(keyed_note("replay", "k1"));
        store.replay(note, id.event, vec![Target::to("audit")])
    };
    let (first, second) = tokio::join!(replay(), replay());
    let first = first.unwrap();
    assert_eq!(second.unwrap(), first);
    drop(store);
    let store = harness.open().await;
    let replay = |note| store.replay(Some(note), id.event, vec![Target::to("audit")]);
    pass(&harness, KEY_KNOWN_FOR_MS - 1);
    assert_eq!(replay(keyed_note("replay", "k1")).await.unwrap(), first);
    assert_eq!(entries(&store).await.len(), 1);
    let other = replay(keyed_note("another", "k1")).await;
    assert!(matches!(&other, Err(StoreError::Conflict(why)) if why.contains("`k1`")), "{other:?}");
    // The keys of one client mean nothing to another.
    let mut of_ann = keyed_note("another", "k1");
    of_ann.actor.name = "ann".into();
    assert_ne!(replay(of_ann).await.unwrap(), first);
    pass(&harness, 1);
    assert_ne!(replay(keyed_note("replay", "k1")).await.unwrap(), first);
    assert_eq!(store.event(id.event).await.unwrap().deliveries.len(), 4);
}

pub(in crate::store) async fn an_answer_is_kept_for_its_request_and_its_time(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let asked = keyed_note("all", "k");
    assert_eq!(store.answer(asked.clone()).await.unwrap(), None);
    store.keep_answer(asked.clone(), "[7,null]".to_owned()).await.unwrap();
    assert_eq!(store.answer(asked.clone()).await.unwrap().as_deref(), Some("[7,null]"));
    let other = store.answer(keyed_note("some", "k")).await;
    assert!(matches!(other, Err(StoreError::Conflict(_))), "{other:?}");
    assert_eq!(store.answer(note("all")).await.unwrap(), None);
    pass(&harness, KEY_KNOWN_FOR_MS);
    assert_eq!(store.answer(asked).await.unwrap(), None);
}

pub(in crate::store) async fn entries_are_found_by_what_is_asked_and_in_pages(
    harness: impl Harness,
) {
    let store = harness.open().await;
    for at in 0..10 {
        let mut note = note(&format!("dlv_{at}"));
        if at % 2 == 0 {
            note.actor.name = "ann".into();
            note.action = "deliveries";
        }
        store.note(note).await.unwrap();
        pass(&harness, 1_000);
    }
    let ask = async |filter: AuditFilter| {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let (some, next) = store.audit(filter.clone(), 2, before).await.unwrap();
            assert!(some.len() <= 2);
            found.extend(some.into_iter().map(|entry| entry.target));
            before = next;
            if before.is_none() {
                return found;
            }
        }
    };
    let all = AuditFilter::default();
    assert_eq!(ask(all.clone()).await.len(), 10);
    let by_ann = AuditFilter { actor: Some("ann".into()), ..all.clone() };
    assert_eq!(ask(by_ann).await, ["dlv_8", "dlv_6", "dlv_4", "dlv_2", "dlv_0"]);
    let discarded = AuditFilter { action: Some("deliveries.discard".into()), ..all.clone() };
    assert_eq!(ask(discarded).await.len(), 5);
    let deliveries = AuditFilter { action: Some("deliveries".into()), ..all.clone() };
    assert_eq!(ask(deliveries).await.len(), 10);
    let partly = AuditFilter { action: Some("deliv".into()), ..all.clone() };
    assert_eq!(ask(partly).await.len(), 0);
    let target = AuditFilter { target: Some("lv_3".into()), ..all.clone() };
    assert_eq!(ask(target).await, ["dlv_3"]);
    let (since_ms, until_ms) = (Some(START_MS + 4_000), Some(START_MS + 6_000));
    assert_eq!(ask(AuditFilter { since_ms, until_ms, ..all }).await, ["dlv_5", "dlv_4"]);
}

pub(in crate::store) async fn entries_are_kept_for_their_time_and_then_deleted(
    harness: impl Harness,
) {
    let store = harness.open().await;
    store.note(note("old")).await.unwrap();
    pass(&harness, DAY_MS);
    store.note(note("new")).await.unwrap();
    store.sweep(keep_audit(time(2 * DAY_MS))).await.unwrap();
    assert_eq!(entries(&store).await.len(), 2);
    pass(&harness, 60_000);
    while store.sweep(keep_audit(time(DAY_MS))).await.unwrap() {}
    let left: Vec<_> = entries(&store).await.into_iter().map(|entry| entry.target).collect();
    assert_eq!(left, ["new"]);
    store.note(note("newer")).await.unwrap();
    let ids: Vec<_> = entries(&store).await.into_iter().map(|entry| entry.id).collect();
    assert_eq!(ids, [3, 2], "no number is given twice");
}
