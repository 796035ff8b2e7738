//! Events and pages that are not what was written.

use std::fs;

use super::*;
use crate::event::DeliveryId;
use crate::store::conformance;
use crate::store::{Action, DeliveryFilter, EventFilter, Lease, OnLoss, OperationId, Page, Which};

async fn lease(store: &Sqlite) -> Vec<Lease> {
    let permits = Arc::new(Semaphore::new(9)).try_acquire_many_owned(9).unwrap();
    store.lease(LeaseQueue::Plugin("audit".into()), permits).await.unwrap().leases
}

#[tokio::test]
async fn a_damaged_event_is_a_dead_letter_that_says_so_and_its_neighbours_are_delivered() {
    let file = one_file();
    let store = file.open_sqlite().await;
    let with = |body: &'static [u8]| {
        let mut event = NewEvent { deliveries: vec![Target::to("audit").into()], ..event() };
        event.attributes.body = body.into();
        event
    };
    let mut ids = Vec::new();
    for body in [&b"{\"amount\":10}"[..], b"{\"amount\":20}", b"{\"amount\":30}"] {
        ids.push(store.append(with(body)).await.unwrap().id);
    }
    let change = |sql: &str, id: EventId| file.connection().execute(sql, [id.row()]).unwrap();
    change("UPDATE events SET body = CAST('{\"amount\":99}' AS BLOB) WHERE id = ?1", ids[1]);
    change(
        "UPDATE events SET body = CAST('of an older host' AS BLOB), sum = NULL WHERE id = ?1",
        ids[2],
    );
    let leased: Vec<EventId> = lease(&store).await.iter().map(|lease| lease.event.id).collect();
    assert_eq!(leased, [ids[0], ids[2]], "without a checksum there is nothing to compare");
    let view = store.event(ids[1]).await.unwrap();
    let delivery = &view.deliveries[0];
    let record = &delivery.attempts[0].record;
    assert_eq!(
        (delivery.state, delivery.attempt, record.outcome),
        (State::Dead, 1, Outcome::Error)
    );
    let (error, note) = (record.error.as_deref().unwrap(), view.note.as_deref().unwrap());
    assert!(
        error.contains("the stored event is damaged: its checksum is") && error == note,
        "{error}, {note}"
    );
    assert_eq!(store.event(ids[0]).await.unwrap().note, None);
    let id = DeliveryId { event: ids[1], ordinal: 0 };
    // However often it is asked for.
    let replayed = store.replay(None, ids[1], vec![Target::to("audit")]).await;
    assert!(matches!(&replayed, Err(StoreError::Conflict(why)) if why == error), "{replayed:?}");
    store.change(None, Action::Retry, Which::One(id)).await.unwrap();
    assert!(lease(&store).await.is_empty());
    let delivery = store.event(ids[1]).await.unwrap().deliveries.remove(0);
    assert_eq!((delivery.state, delivery.attempts.len()), (State::Dead, 2));
    assert_eq!(store.stats().await.unwrap().plugins["audit"].0[usize::from(State::Dead.code())], 1);
}

#[tokio::test]
async fn a_damaged_text_of_an_event_ends_neither_a_start_nor_a_listing() {
    for (column, sum) in [
        ("type", "sum"),
        ("source", "sum"),
        ("subject", "sum"),
        ("content_type", "sum"),
        ("type", "NULL"),
    ] {
        let file = one_file();
        let store = file.open_sqlite().await;
        let mut damaged = NewEvent { deliveries: vec![Target::to("audit").into()], ..event() };
        damaged.attributes.subject = Some("a".to_owned());
        damaged.attributes.content_type = Some("text/plain".to_owned());
        let id = store.append(damaged).await.unwrap().id;
        let good = store
            .append(NewEvent { deliveries: vec![Target::to("audit").into()], ..event() })
            .await
            .unwrap()
            .id;
        store.close().await.unwrap();
        let change = format!(
            "UPDATE events SET {column} = CAST(x'61AE62' AS TEXT), sum = {sum} WHERE id = ?1"
        );
        file.connection().execute(&change, [id.row()]).unwrap();
        let store = file.open_sqlite().await;
        let leased: Vec<EventId> = lease(&store).await.iter().map(|lease| lease.event.id).collect();
        assert_eq!(leased, [good], "{column}");
        let view = store.event(id).await.unwrap();
        assert_eq!(view.deliveries[0].state, State::Dead, "{column}");
        assert!(
            view.note.as_deref().unwrap().contains("the stored event is damaged"),
            "{:?}",
            view.note
        );
        let page = Page { limit: 9, after: None };
        assert_eq!(
            store.events(EventFilter::default(), page).await.unwrap().0.len(),
            2,
            "{column}"
        );
        assert_eq!(
            store.deliveries(DeliveryFilter::default(), page).await.unwrap().0.len(),
            2,
            "{column}"
        );
        let replayed = store.replay(None, id, vec![Target::to("audit")]).await;
        assert!(matches!(replayed, Err(StoreError::Conflict(_))), "{column}: {replayed:?}");
        file.clock.set(START_MS + 1_000);
        let since_ms = START_MS + 500;
        while store.sweep(file.keep_since(since_ms)).await.unwrap() {}
    }
}

#[tokio::test]
async fn a_page_that_is_no_page_ends_the_start_or_the_store_with_the_way_out() {
    let file = one_file();
    let store = file.open_sqlite().await;
    let large = || {
        let mut event = NewEvent { deliveries: vec![Target::to("audit").into()], ..event() };
        event.attributes.body = vec![b'x'; 64 << 10].into();
        event
    };
    for _ in 0..20 {
        store.append(large()).await.unwrap();
    }
    store.close().await.unwrap();
    let whole = fs::read(file.beside("")).unwrap();
    let damage = |keep: usize| {
        let mut bytes = whole.clone();
        bytes[keep * 4096..].fill(0xa5);
        fs::write(file.beside(""), bytes).unwrap();
    };
    damage(1);
    let error = file.reopen(OnLoss::Refuse).await.unwrap_err().to_string();
    for part in ["is damaged", "hookbox.db", ".recover", "restore a backup"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    // A page in the middle of a body, whose next page is none: a start does not read it, a lease
    // does.
    let mut bytes = whole.clone();
    let of_body = |page: &[u8]| page[4..].iter().all(|byte| *byte == b'x');
    let page = bytes.chunks_mut(4096).find(|page| of_body(page)).unwrap();
    page[..4].fill(0xa5);
    fs::write(file.beside(""), bytes).unwrap();
    let store = file.open_sqlite().await;
    let permits = Arc::new(Semaphore::new(9)).try_acquire_many_owned(9).unwrap();
    let error = store.lease(LeaseQueue::Plugin("audit".into()), permits).await.unwrap_err();
    assert!(matches!(&error, StoreError::Stopped(why) if why.contains(".recover")), "{error}");
    store.stopped().await.unwrap();
}

#[tokio::test]
async fn an_operation_that_cannot_be_read_hinders_no_other_and_can_be_cancelled() {
    let file = one_file();
    let damages = [
        ("scope", "scope = '{\"tenant\":\"a\"}'"),
        ("scope", "scope = CAST(x'61AE62' AS TEXT)"),
        ("action", "action = 'move'"),
        ("total", "total = -1"),
        ("state", "state = 99"),
    ];
    let damage = async |id: OperationId, change: &str| {
        let sql = format!("UPDATE operations SET {change} WHERE id = ?1");
        assert_eq!(file.connection().execute(&sql, [id.0]).unwrap(), 1);
    };
    let store = file.open().await;
    let law = conformance::operations::an_unreadable_one_hinders_no_other_and_can_be_cancelled;
    law(store, &damages, damage).await;
}

#[tokio::test]
async fn a_damaged_attempt_leaves_the_rest_of_its_page() {
    let file = one_file();
    let damages = [
        ("calls = 'x'", Some("requests")),
        ("calls = CAST(x'61AE62' AS TEXT)", Some("requests")),
        ("calls = '{}'", Some("requests")),
        ("steps = '[', logs = 'x', calls = '7'", Some("logs, requests, steps")),
        ("logs = 'x'", Some("logs")),
        ("outcome = 99", None),
        ("digest = x'00'", None),
    ];
    let damage = async |id: DeliveryId, change: &str| {
        let sql = format!("UPDATE attempts SET {change} WHERE event = ?1 AND ordinal = ?2");
        let changed = file.connection().execute(&sql, (id.event.row(), id.ordinal)).unwrap();
        assert_eq!(changed, 1);
    };
    let law = conformance::seeing::a_damaged_attempt_leaves_the_rest_of_its_page;
    law(file.open().await, &damages, damage).await;
}

#[tokio::test]
async fn damaged_headers_are_not_taken_for_none() {
    let file = one_file();
    let damages = ["headers = 'x'", "headers = '{}'", "headers = CAST(x'61AE62' AS TEXT)"];
    let damage = async |id: EventId, change: &str| {
        let sql = format!("UPDATE events SET {change} WHERE id = ?1");
        assert_eq!(file.connection().execute(&sql, [id.row()]).unwrap(), 1);
    };
    let law = conformance::operations::damaged_headers_are_not_taken_for_none;
    law(file.open().await, &damages, damage).await;
}

#[tokio::test]
async fn a_search_that_is_lost_replays_no_event_again() {
    let file = one_file();
    let set_walk = async |id: OperationId, walk: Option<&str>| {
        let sql = "UPDATE operations SET walk = ?2 WHERE id = ?1 AND is_found = 0";
        assert_eq!(file.connection().execute(sql, (id.0, walk)).unwrap(), 1);
    };
    let law = conformance::operations::a_search_that_is_lost_replays_no_event_again;
    law(file.open().await, set_walk).await;
}

#[tokio::test]
async fn however_many_operations_are_unreadable_those_that_run_are_found() {
    let file = one_file();
    let damage = async |id: OperationId| {
        let sql = "UPDATE operations SET action = 'move' WHERE id = ?1";
        assert_eq!(file.connection().execute(sql, [id.0]).unwrap(), 1);
    };
    let law = conformance::unreadable::however_many_are_unreadable_those_that_run_are_found;
    law(file.open().await, damage).await;
}
