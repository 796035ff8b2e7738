//! Every statement uses an index: statements are traced, and SQLite is asked for their plans.
//!
//! There are never statistics in the file (nothing runs ANALYZE), so the plan of an almost empty
//! file is the plan of one with a million rows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use tempfile::TempDir;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::batch::WriteBatch;
use super::eras::{Eras, NO_ERAS, Span};
use super::recent::Recent;
use super::start::last_id;
use super::{Recovered, kv, pages, read, schema, search, steps};
use crate::event::{
    AttemptRecord, Attributes, DeliveryId, EventId, FailureId, LegacyKey, NewEvent, Outcome, State,
    Target,
};
use crate::store::journal::LeftRunning;
use crate::store::{
    Action, Cursor, DeliveryFilter, EventFilter, EventState, KvRange, KvTransaction, Lease,
    LeaseQueue, ListedKeys, NewStep, Next, Page, Progress, Recorded, Settled, Settlement,
};

mod schedules;
mod seeing;
mod sweeping;
mod workflows;

const NOW_MS: i64 = 1_770_000_000_000;

/// Tables of one row, and of 256.
const SMALL: [&str; 4] = ["SCAN swept", "SCAN dedupe_moved", "SCAN audit_swept", "SCAN emptied"];

/// The plan of each statement that was run, without its indentation.
type Plans = BTreeMap<String, Vec<String>>;

/// Runs `work` on an empty file and explains every statement it ran.
fn plans_of(work: impl FnOnce(&Connection)) -> Plans {
    let folder = TempDir::new().unwrap();
    let mut connection = schema::open_writer(&folder.path().join("hookbox.db")).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let traced = seen.clone();
    let note = move |event: TraceEvent<'_>| {
        if let TraceEvent::Stmt(statement, _) = event {
            traced.lock().unwrap().push(statement.sql().into_owned());
        }
    };
    connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(note)).unwrap();
    work(&connection);
    connection.trace_v2(TraceEventCodes::empty(), None::<fn(TraceEvent<'_>)>).unwrap();
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    seen.into_iter().map(|sql| (sql.clone(), explain(&connection, &sql))).collect()
}

fn explain(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    // Parameters stay NULL: a plan does not depend on them.
    statement.raw_query().mapped(|row| row.get(3)).collect::<Result<_, _>>().unwrap()
}

fn event(targets: &[&str]) -> NewEvent {
    NewEvent {
        dedupe: vec![[1; 16]],
        deliveries: targets.iter().map(|target| Target::to(*target).into()).collect(),
        ..NewEvent::from(Attributes {
            source: "acme".into(),
            kind: "order.paid".to_owned(),
            subject: Some("order_1".to_owned()),
            content_type: None,
            time_ms: NOW_MS,
            body: bytes::Bytes::from_static(b"{}"),
        })
    }
}

fn permits(count: u32) -> OwnedSemaphorePermit {
    Arc::new(Semaphore::new(count as usize)).try_acquire_many_owned(count).unwrap()
}

fn settlement(next: Next) -> Settlement {
    Settlement { next, record: Some(AttemptRecord::of_host(NOW_MS, Outcome::Ok, None)) }
}

/// A list of no keys.
fn listed(prefix: &str) -> ListedKeys {
    let range = KvRange { prefix: prefix.to_owned(), after: None, limit: 9 };
    ListedKeys { range, keys: Vec::new() }
}

/// Every operation on keys.
fn transaction() -> KvTransaction {
    KvTransaction {
        reads: vec![("n".to_owned(), None)],
        writes: vec![("n".to_owned(), Some(b"1".to_vec())), ("m".to_owned(), None)],
        adds: vec![("sum".to_owned(), 1)],
        lists: ["", "a"].map(listed).to_vec(),
        ..KvTransaction::default()
    }
}

/// Every verb of the writer, and the start.
fn write(connection: &Connection) {
    connection.execute("UPDATE swept SET legacy_keys_up_to = 1", []).unwrap();
    let mut recent = Recent::load(connection, 1).unwrap();
    let mut batch =
        WriteBatch::new(connection, NOW_MS, last_id(connection, &recent).unwrap(), &recent);
    batch.append(&NewEvent { dedupe: vec![[2; 16]], ..event(&[]) }).unwrap();
    batch.flush_keys().unwrap();
    let WriteBatch { last_id, keys, .. } = batch;
    recent.apply(keys, last_id);
    let mut batch = WriteBatch::new(connection, NOW_MS, last_id, &recent);
    let first = batch.append(&event(&["audit", "audit", "audit", "audit", "audit"])).unwrap().id;
    batch.append(&event(&[])).unwrap();
    let legacy_key = Some(LegacyKey { key: [2; 16], header: None });
    let again =
        batch.append(&NewEvent { dedupe: vec![[3; 16]], legacy_key, ..event(&[]) }).unwrap();
    assert!(again.duplicate);
    let spends = |key| Some([key; 16]);
    batch.append(&NewEvent { dedupe: vec![[2; 16]], spends: spends(4), ..event(&[]) }).unwrap();
    batch.append(&NewEvent { dedupe: vec![[1; 16]], spends: spends(5), ..event(&[]) }).unwrap();
    let queue = LeaseQueue::Plugin("audit".into());
    let mut leases = batch.lease(&queue, permits(9), NOW_MS).unwrap().leases;
    assert_eq!(leases.len(), 5);
    let kv = transaction();
    let holder = leases[0].holder();
    let step = NewStep { name: "charge".to_owned(), value: vec![1], digest: None };
    assert_eq!(batch.record_step(&holder, &step).unwrap(), Recorded::Kept);
    let mut settle = |lease: Lease, next| batch.settle(&lease, &settlement(next)).unwrap();
    let emitted = vec![NewEvent { parent: Some(first), dedupe: Vec::new(), ..event(&["orders"]) }];
    settle(leases.remove(0), Next::Done { emitted, kv });
    let (emitted, kv) = (Vec::new(), KvTransaction::default());
    settle(leases.remove(0), Next::Again { emitted, kv, after: Duration::from_millis(1) });
    settle(leases.remove(0), Next::Dead(None));
    settle(leases.remove(0), Next::RetryIn(Duration::from_millis(1)));
    assert_eq!(batch.recover(&LeftRunning::Unknown).unwrap(), Recovered { held: 1, running: 1 });
    let quarantined =
        batch.lease(&LeaseQueue::Quarantine(vec!["audit".into()]), permits(1), NOW_MS).unwrap();
    batch.settle(&quarantined.leases[0], &settlement(Next::Dead(None))).unwrap();
    let dead = DeliveryId { event: first, ordinal: 2 };
    assert_eq!(batch.change(&Action::RetryFresh, dead).unwrap().unwrap(), 1);
    steps::values(connection, dead).unwrap();
    steps::views(connection, dead).unwrap();
    kv::kv_get(connection, "audit", "n").unwrap();
    assert_eq!(batch.change_all(&Action::Cancel, &[State::Ready], &[dead]).unwrap(), 1);
    let waiting = DeliveryId { event: first, ordinal: 3 };
    assert_eq!(batch.change_all(&Action::Retry, &[State::Waiting], &[waiting]).unwrap(), 1);
    let leased = batch.lease(&queue, permits(1), NOW_MS).unwrap().leases.remove(0);
    assert_eq!(batch.change(&Action::Cancel, leased.delivery).unwrap().unwrap(), 1);
    assert_eq!(batch.settle(&leased, &settlement(Next::Dead(None))).unwrap(), Settled::Cancelled);
    schedules::every_step(&mut batch);
    sweeping::change_and_sweep(&mut batch, first);
    batch.delta.write(connection).unwrap();
}

#[test]
fn no_statement_of_the_writer_scans_or_sorts() {
    let plans = plans_of(write);
    assert!(plans.len() > 25, "{}", plans.len());
    let of_workflows = plans_of(workflows::write);
    assert!(of_workflows.len() > 25, "{}", of_workflows.len());
    for (sql, plan) in plans.iter().chain(&of_workflows) {
        let slow = plan.iter().find(|step| {
            (step.starts_with("SCAN") && !SMALL.contains(&step.as_str()))
                || step.contains("TEMP B-TREE")
        });
        assert_eq!(slow, None, "{sql}\n{plan:#?}");
    }
}

#[test]
fn what_is_due_is_found_by_the_index_of_open_deliveries() {
    let plans = plans_of(write);
    let through_open: Vec<_> =
        plans.iter().filter(|(_, plan)| plan[..].join(" ").contains("deliveries_open")).collect();
    // Leasing, when the next one is due, and the two steps of recovering.
    assert_eq!(through_open.len(), 4, "{through_open:#?}");
    for (sql, plan) in through_open {
        assert!(plan[0].contains("deliveries_open (crashes=?"), "{sql}\n{plan:#?}");
    }
}

/// Where events of this time are; if it has a beginning, by a clock that was set back.
fn span_of(since_ms: Option<i64>, until_ms: Option<i64>) -> Span {
    let eras = if since_ms.is_some() { Eras::set_back(&[NOW_MS]) } else { NO_ERAS.clone() };
    eras.span(since_ms, until_ms)
}

/// Every mix of filters.
fn list(connection: &Connection) {
    for bits in 0..128u32 {
        let has = |bit: u32| (bits >> bit & 1 == 1).then(|| "a".to_owned());
        let times = |bit: u32| (bits >> bit & 1 == 1).then_some(NOW_MS);
        let states = State::ALL.into_iter().map(Some).chain([None]);
        for state in states {
            let (kind, source, subject) = (has(0), has(1), has(2));
            let (since_ms, until_ms) = (times(3), times(4));
            let after = (bits >> 5 & 1 == 1)
                .then_some(Cursor(DeliveryId { event: EventId::from_row(5), ordinal: 1 }));
            let page = Page { limit: 50, after };
            let wanted = state.map_or(EventState::Unrouted, EventState::Has);
            let filter = EventFilter {
                kind: kind.clone(),
                source: source.clone(),
                subject: subject.clone(),
                state: (bits >> 6 & 1 == 1).then_some(wanted),
                text: has(5),
                since_ms,
                until_ms,
                plugin: has(2),
                min_attempts: times(4).map(|_| 2),
                ..EventFilter::default()
            };
            let span = span_of(since_ms, until_ms);
            pages::events(connection, &filter, &span, page).unwrap();
            pages::events_onward(connection, &filter, &span, Some(5), 50).unwrap();
            let filter = DeliveryFilter {
                state,
                plugin: has(6),
                kind,
                source,
                subject,
                since_ms,
                until_ms,
                ..DeliveryFilter::default()
            };
            pages::deliveries(connection, &filter, &span, page).unwrap();
            let failure = Some(FailureId::other(&"audit".into()));
            pages::deliveries(connection, &DeliveryFilter { failure, ..filter }, &span, page)
                .unwrap();
        }
    }
    read::event(connection, EventId::from_row(1)).unwrap();
    read::facts(connection, EventId::from_row(1)).unwrap();
    read::whole_delivery(connection, DeliveryId { event: EventId::from_row(1), ordinal: 0 })
        .unwrap();
    seeing::what_fails(connection);
}

#[test]
fn no_listing_walks_more_than_its_window() {
    let plans = plans_of(list);
    assert!(plans.len() > 200, "{}", plans.len());
    let within = [
        "rowid<?",
        "rowid=?",
        "event<?",
        "event=?",
        "failure=?",
        "subject=?",
        "parent=?",
        "plugin=? AND key=?",
    ];
    for (sql, plan) in &plans {
        let bounded = within.iter().any(|by| plan[0].contains(by));
        let scans = plan.iter().any(|step| step.starts_with("SCAN"));
        // The order of ordinals within one event is not stored: that much may be sorted.
        let sorts =
            plan.iter().any(|step| step.contains("TEMP B-TREE") && !step.contains("LAST TERM"));
        assert!(bounded && !scans && !sorts, "{sql}\n{plan:#?}");
    }
}

#[test]
fn dead_letters_are_listed_by_their_index() {
    let plans = plans_of(|connection| {
        let page = Page { limit: 50, after: None };
        let (state, span) = (Some(State::Dead), span_of(None, None));
        pages::deliveries(
            connection,
            &DeliveryFilter { state, ..DeliveryFilter::default() },
            &span,
            page,
        )
        .unwrap();
        let filter =
            DeliveryFilter { state, plugin: Some("audit".to_owned()), ..DeliveryFilter::default() };
        pages::deliveries(connection, &filter, &span, page).unwrap();
        let state = Some(EventState::Has(State::Dead));
        pages::events(connection, &EventFilter { state, ..EventFilter::default() }, &span, page)
            .unwrap();
    });
    // Three pages, and where their windows end.
    assert_eq!(plans.len(), 4, "{plans:#?}");
    assert!(
        plans.values().all(|plan| plan.join(" ").contains("deliveries_dead (event")),
        "{plans:#?}"
    );
}

/// The statements by which what an operator means is found, beside one open delivery, but for the
/// newest event's.
fn plans_of_search(action: &Action, filters: &[DeliveryFilter]) -> Plans {
    let mut plans = plans_of(|connection| {
        let open = "INSERT INTO deliveries (event, ordinal, plugin, state, attempt, pardoned, crashes, replay, due_ms)
                    VALUES (1, 0, 'audit', 0, 0, 0, 0, 0, 1)";
        connection.execute_batch(open).unwrap();
        for filter in filters {
            let from = Progress { before: i64::MAX, at: None, changed: false };
            search::find(
                connection,
                action,
                filter,
                &span_of(filter.since_ms, filter.until_ms),
                Some(&from),
            )
            .unwrap();
        }
    });
    plans.retain(|sql, _| !sql.starts_with("INSERT"));
    plans
}

fn filter(change: impl FnOnce(&mut DeliveryFilter)) -> DeliveryFilter {
    let mut filter = DeliveryFilter::default();
    change(&mut filter);
    filter
}

/// Filters of all kinds, but for a subject.
fn filters(state: Option<State>) -> [DeliveryFilter; 4] {
    [
        filter(|f| f.state = state),
        filter(|f| (f.state, f.plugin) = (state, Some("audit".to_owned()))),
        filter(|f| {
            (f.state, f.kind, f.source) = (state, Some("a".to_owned()), Some("b".to_owned()))
        }),
        filter(|f| (f.state, f.since_ms, f.until_ms) = (state, Some(NOW_MS), Some(NOW_MS))),
    ]
}

#[test]
fn a_bulk_change_of_dead_letters_looks_at_dead_letters_only() {
    for action in [Action::Retry, Action::Discard] {
        let plans = plans_of_search(&action, &filters(None));
        assert!(plans.len() >= 4, "{plans:#?}");
        for (sql, plan) in &plans {
            assert!(
                plan[0].contains("deliveries_dead") && !plan.join(" ").contains("TEMP B-TREE"),
                "{sql}\n{plan:#?}"
            );
        }
    }
}

#[test]
fn a_bulk_change_of_what_is_open_looks_at_that_only() {
    for (action, state) in [
        (Action::Cancel, None),
        (Action::Cancel, Some(State::Waiting)),
        (Action::Retry, Some(State::Waiting)),
        (Action::Move("orders".into()), None),
    ] {
        let plans = plans_of_search(&action, &filters(state));
        assert!(plans.len() > 4, "{plans:#?}");
        for (sql, plan) in &plans {
            // But for the look whether an event is at the other plugin already.
            let of_one_event = plan[0] == "SEARCH deliveries USING PRIMARY KEY (event=?)";
            assert!(
                plan[0].contains("deliveries_open (crashes=?") || of_one_event,
                "{sql}\n{plan:#?}"
            );
            assert!(
                !plan.join(" ").contains("SCAN") && !plan.join(" ").contains("TEMP B-TREE"),
                "{sql}\n{plan:#?}"
            );
        }
    }
}

#[test]
fn a_bulk_change_by_subject_or_of_what_was_ended_walks_no_more_than_its_window() {
    let subject = |state| filter(|f| (f.state, f.subject) = (state, Some("order_1".to_owned())));
    for (action, filters) in [
        (Action::Cancel, vec![subject(None), subject(Some(State::Ready))]),
        (Action::Discard, vec![subject(None)]),
        (Action::Retry, filters(Some(State::Cancelled)).to_vec()),
        (Action::Retry, filters(Some(State::Discarded)).to_vec()),
    ] {
        let within = ["subject=? AND rowid>?", "rowid>?", "event>? AND event<?"];
        for (sql, plan) in &plans_of_search(&action, &filters) {
            assert!(within.iter().any(|by| plan[0].contains(by)), "{sql}\n{plan:#?}");
            let steps = plan.join(" ");
            assert!(!steps.contains("SCAN") && !steps.contains("TEMP B-TREE"), "{sql}\n{plan:#?}");
        }
    }
}
