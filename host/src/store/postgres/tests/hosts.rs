//! Several hosts on one database.

use std::time::Duration;

use tokio::sync::Semaphore;

use super::*;
use crate::event::{Attributes, NewEvent, State, Target};
use crate::store::{
    Count, Health, KvTransaction, LeaseQueue, Leased, Next, Queue, ReadOne, Settled, Settlement,
    StoreError,
};

/// Another host on the same database.
pub(super) async fn another(case: &OnePostgres) -> (Postgres, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let options = PostgresOptions { folder: folder.path().to_owned(), ..case.options().await };
    (Postgres::open(options).await.unwrap(), folder)
}

pub(super) fn event(key: Option<u8>) -> NewEvent {
    NewEvent {
        dedupe: key.into_iter().map(|key| [key; 16]).collect(),
        deliveries: vec![Target::to("audit").into()],
        ..NewEvent::from(Attributes {
            source: "acme".into(),
            kind: "order.paid".to_owned(),
            subject: None,
            content_type: None,
            time_ms: START_MS,
            body: bytes::Bytes::from_static(b"{}"),
        })
    }
}

pub(super) async fn lease(store: &Postgres, most: u32) -> Leased {
    let permits = Arc::new(Semaphore::new(most as usize)).try_acquire_many_owned(most).unwrap();
    store.lease(LeaseQueue::Plugin("audit".into()), permits).await.unwrap()
}

fn done() -> Settlement {
    let next = Next::Done { emitted: Vec::new(), kv: KvTransaction::default() };
    Settlement { next, record: None }
}

#[tokio::test]
async fn what_one_host_appends_another_leases_once() {
    let Some(case) = one_postgres() else { return };
    let first = case.open_postgres().await;
    let (second, _folder) = another(&case).await;
    for _ in 0..40 {
        first.append(event(None)).await.unwrap();
    }
    let (mine, theirs) = tokio::join!(lease(&first, 25), lease(&second, 25));
    let mut all: Vec<_> =
        mine.leases.iter().chain(&theirs.leases).map(|lease| lease.delivery).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), mine.leases.len() + theirs.leases.len());
    // Rows that the other one was locking are left for the next call.
    let rest = lease(&second, 40).await;
    assert_eq!(all.len() + rest.leases.len(), 40);
    for lease in mine.leases {
        assert_eq!(second.settle(lease, done()).await.unwrap(), Settled::Lost, "it is not theirs");
    }
    let stats = first.stats().await.unwrap();
    assert_eq!((stats.events, stats.deliveries(State::Leased)), (40, 40));
}

#[tokio::test]
async fn of_one_key_that_two_hosts_append_at_once_one_creates_an_event() {
    let Some(case) = one_postgres() else { return };
    let first = case.open_postgres().await;
    let (second, _folder) = another(&case).await;
    for key in 0..30 {
        let (one, other) =
            tokio::join!(first.append(event(Some(key))), second.append(event(Some(key))));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!(one.id, other.id);
        assert_ne!(one.duplicate, other.duplicate);
    }
    assert_eq!(first.stats().await.unwrap().events, 30);
}

#[tokio::test]
async fn a_host_that_ends_in_order_leaves_its_leases_and_its_row() {
    let Some(case) = one_postgres() else { return };
    let first = case.open_postgres().await;
    let (second, _folder) = another(&case).await;
    first.append(event(None)).await.unwrap();
    let held = lease(&first, 1).await;
    assert_eq!(lease(&second, 1).await.leases.len(), 0);
    first.close().await.unwrap();
    drop(held);
    let taken = lease(&second, 1).await;
    assert_eq!(taken.leases[0].attempt, 1, "no attempt was spent");
    let admin = case.database().await.admin().await;
    let hosts = admin.query_one("SELECT count(*) FROM hookbox.hosts", &[]).await.unwrap();
    assert_eq!(hosts.get::<_, i64>(0), 1);
}

#[tokio::test]
async fn a_host_whose_folder_was_copied_stops_when_the_copy_has_its_row() {
    let Some(case) = one_postgres() else { return };
    let store = case.open_postgres().await;
    let admin = case.database().await.admin().await;
    let copied = "UPDATE hookbox.hosts SET incarnation = nextval('hookbox.incarnations')";
    admin.batch_execute(copied).await.unwrap();
    store.stopped().await.unwrap();
    let refused = store.append(event(None)).await;
    assert!(
        matches!(&refused, Err(StoreError::Stopped(why)) if why.contains("copy")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_row_is_renewed_and_counts_are_folded_and_old_markers_go() {
    let Some(case) = one_postgres() else { return };
    let store = case.open_postgres().await;
    for _ in 0..5 {
        store.append(event(None)).await.unwrap();
    }
    let admin = case.database().await.admin().await;
    case.clock.set(START_MS + 60_000);
    let look = "SELECT (SELECT seen FROM hookbox.hosts), (SELECT count(*) FROM hookbox.commits),
        (SELECT count(*) FROM hookbox.count_deltas)";
    let renewed = async || {
        loop {
            let row = admin.query_one(look, &[]).await.unwrap();
            let (seen, markers, deltas): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
            if seen == START_MS + 60_000 {
                return (markers, deltas);
            }
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(60), renewed()).await;
    assert_eq!(found.unwrap(), (1, 0), "the last marker stays");
    assert_eq!(store.stats().await.unwrap().deliveries(State::Ready), 5);
}

#[tokio::test]
async fn one_command_that_the_database_refuses_does_not_fail_the_others() {
    let Some(case) = one_postgres() else { return };
    let store = case.open_postgres().await;
    let mut bad = event(None);
    // No text of a request holds it: the nouns refuse it before.
    bad.attributes.kind = "with\0zero".to_owned();
    let calls = [store.append(event(None)), store.append(bad), store.append(event(None))];
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await);
    }
    assert!(matches!(&answers[1], Err(StoreError::Query(_))), "{:?}", answers[1]);
    let kept: Vec<_> = [&answers[0], &answers[2]].map(|it| it.as_ref().unwrap().id).into();
    assert_ne!(kept[0], kept[1]);
    for id in kept {
        store.event(id).await.unwrap();
    }
    assert_eq!(store.stats().await.unwrap().events, 2);
}

#[tokio::test]
async fn a_recorded_step_comes_with_the_next_lease_and_goes_when_the_delivery_is_done() {
    let Some(case) = one_postgres() else { return };
    let store = case.open_postgres().await;
    let id = store.append(event(None)).await.unwrap().id;
    let held = lease(&store, 1).await.leases.remove(0);
    let step = |value: &[u8]| crate::store::NewStep {
        name: "paid".to_owned(),
        value: value.to_vec(),
        digest: None,
    };
    let holder = held.holder();
    for value in [b"first", b"other"] {
        let kept = store.record(&holder, step(value)).await.unwrap();
        assert_eq!(kept, crate::store::Recorded::Kept);
    }
    let view = store.event(id).await.unwrap().deliveries.remove(0);
    assert_eq!((view.steps[0].name.as_str(), view.steps[0].bytes), ("paid", 5));
    let retry = Settlement { next: Next::RetryIn(Duration::ZERO), record: None };
    store.settle(held, retry).await.unwrap();
    let lost = store.record(&holder, step(b"late")).await.unwrap();
    assert_eq!(lost, crate::store::Recorded::Lost);
    let again = lease(&store, 1).await.leases.remove(0);
    assert!(again.has_steps());
    store.settle(again, done()).await.unwrap();
    assert_eq!(store.event(id).await.unwrap().deliveries[0].steps, []);
}
