//! Every law, for SQLite; and what only a file can get wrong.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::Semaphore;

use super::published::Published;
use super::{OpenError, Recovered, Sqlite, SqliteOptions};
use crate::clock::{Clock, until};
use crate::event::{
    AttemptRecord, Attributes, EventId, LogLine, NewEvent, Outcome, PluginName, State, Target,
};
use crate::store::conformance::policies::{PolicyHarness, TestPolicies};
use crate::store::conformance::tree::BUDGET;
use crate::store::conformance::{Disk, START_MS, StoreHarness, record};
use crate::store::{
    Count, Health, Keep, KvTransaction, LeaseQueue, Next, Operate, Queue, Read, ReadOne, Settled,
    Settlement, Store, StoreError,
};

mod damage;
mod entries;
mod erasures;
mod files;
mod order;
mod time;
mod versions;

/// Dedupe keys move from memory into their table within so many events.
const FLUSH_EVENTS: u64 = 8;

/// A file in a folder of its own.
struct OneFile {
    folder: TempDir,
    clock: Clock,
    last: Mutex<Weak<Published>>,
    policies: Arc<TestPolicies>,
}

fn one_file() -> OneFile {
    OneFile {
        folder: TempDir::new().unwrap(),
        clock: Clock::manual(START_MS),
        last: Mutex::default(),
        policies: Arc::default(),
    }
}

impl OneFile {
    fn options(&self) -> SqliteOptions {
        let path = self.folder.path().join("data").join("hookbox.db");
        SqliteOptions {
            max_waiting_appends: 4_000,
            tree: BUDGET,
            policies: self.policies.clone(),
            ..SqliteOptions::at(path, self.clock.clone())
        }
    }

    /// Expires events that were received before this time.
    fn keep_since(&self, unix_ms: i64) -> Keep {
        let time = until(unix_ms, self.clock.deletion_ms());
        Keep { events: time, payloads: std::time::Duration::MAX, dedupe_keys: time, audit: time }
    }

    fn connection(&self) -> Connection {
        Connection::open(self.options().path).unwrap()
    }

    /// Opens the file as soon as the store before has let go of it.
    async fn open_sqlite(&self) -> Sqlite {
        loop {
            match Sqlite::open_with_flushes(self.options(), FLUSH_EVENTS) {
                Err(OpenError::InUse(_)) => tokio::task::yield_now().await,
                opened => return opened.unwrap(),
            }
        }
    }
}

impl StoreHarness for OneFile {
    type Store = dyn Store;

    fn clock(&self) -> &Clock {
        &self.clock
    }

    async fn open(&self) -> Arc<dyn Store> {
        let store = self.open_sqlite().await;
        *self.last.lock().unwrap() = Arc::downgrade(&store.published);
        Arc::new(store)
    }

    fn set_disk(&self, disk: Disk) {
        let last = self.last.lock().unwrap().upgrade().unwrap();
        *last.disk.lock().unwrap_or_else(PoisonError::into_inner) = disk;
    }
}

impl PolicyHarness for OneFile {
    fn policies(&self) -> &Arc<TestPolicies> {
        &self.policies
    }
}

crate::store::conformance::laws!(super::one_file);
crate::store::conformance::failure_laws!(super::one_file);
crate::store::conformance::operator_laws!(super::one_file);
crate::store::conformance::disk_laws!(super::one_file);
crate::store::conformance::workflow_laws!(super::one_file);

impl Sqlite {
    /// Has every write refused, as by a full disk, until it is taken back.
    pub(crate) fn refuse_writes(&self, refuse: bool) {
        let disk = if refuse { Disk::Refusing } else { Disk::Sound };
        *self.published.disk.lock().unwrap_or_else(PoisonError::into_inner) = disk;
    }
}

fn event() -> NewEvent {
    NewEvent::from(Attributes {
        source: "acme".into(),
        kind: "order.paid".to_owned(),
        subject: None,
        content_type: None,
        time_ms: START_MS,
        body: bytes::Bytes::new(),
    })
}

#[tokio::test]
async fn a_second_host_on_the_same_file_is_refused() {
    let file = one_file();
    let store = file.open_sqlite().await;
    let refused = Sqlite::open(file.options()).unwrap_err();
    assert!(matches!(refused, OpenError::InUse(_)), "{refused}");
    store.append(event()).await.unwrap();
    store.close().await.unwrap();
    file.open_sqlite().await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_second_host_under_another_name_of_the_file_is_refused() {
    let file = one_file();
    let _store = file.open_sqlite().await;
    let other = file.folder.path().join("other.db");
    std::os::unix::fs::symlink(file.options().path, &other).unwrap();
    let refused = Sqlite::open(SqliteOptions { path: other, ..file.options() }).unwrap_err();
    assert!(matches!(refused, OpenError::InUse(_)), "{refused}");
}

#[tokio::test]
async fn two_files_in_one_folder_do_not_hinder_each_other() {
    let file = one_file();
    let _store = file.open_sqlite().await;
    let other = file.options().path.with_extension("sqlite");
    Sqlite::open(SqliteOptions { path: other, ..file.options() }).unwrap();
}

#[tokio::test]
async fn a_tree_is_forgotten_with_the_last_of_its_events() {
    let file = one_file();
    let store = file.open_sqlite().await;
    store
        .append(NewEvent { deliveries: vec![Target::to("audit").into()], ..event() })
        .await
        .unwrap();
    let permits = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let lease =
        store.lease(LeaseQueue::Plugin("audit".into()), permits).await.unwrap().leases.remove(0);
    let kv = KvTransaction::default();
    let next = Next::Done { emitted: vec![event(), event()], kv };
    store.settle(lease, Settlement { next, record: None }).await.unwrap();
    let trees = || {
        file.connection()
            .query_row("SELECT count(*) FROM trees", [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    assert_eq!(trees(), 1);
    file.clock.set(START_MS + 1_000);
    while store.sweep(file.keep_since(START_MS + 500)).await.unwrap() {}
    assert_eq!((store.stats().await.unwrap().events, trees()), (0, 0));
}

#[tokio::test]
async fn how_often_an_event_was_repeated_is_forgotten_with_it() {
    let file = one_file();
    let store = file.open_sqlite().await;
    let keyed = || NewEvent { dedupe: vec![[1; 16]], ..event() };
    for _ in 0..2 {
        store.append(keyed()).await.unwrap();
    }
    let rows = || {
        file.connection()
            .query_row("SELECT count(*) FROM duplicates", [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    assert_eq!(rows(), 1);
    file.clock.set(START_MS + 1_000);
    while store.sweep(file.keep_since(START_MS + 500)).await.unwrap() {}
    assert_eq!((store.stats().await.unwrap().events, rows()), (0, 0));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let file = one_file();
    std::fs::create_dir_all(file.options().path.parent().unwrap()).unwrap();
    std::fs::write(file.options().path, "a text, and by no means a database").unwrap();
    let refused = Sqlite::open(file.options()).unwrap_err();
    assert!(matches!(refused, OpenError::Sqlite { .. }), "{refused}");
}

#[tokio::test]
async fn a_dropped_store_commits_what_is_queued_and_lets_go_of_its_file() {
    let file = one_file();
    let store = file.open_sqlite().await;
    for _ in 0..100 {
        drop(store.append(event()));
    }
    drop(store);
    // Opens only once the writer's thread has ended: until then the file is in use.
    assert_eq!(file.open_sqlite().await.stats().await.unwrap().events, 100);
}

#[tokio::test]
async fn without_the_in_flight_journal_all_that_was_held_counts_as_running() {
    let file = one_file();
    for (broken, running) in [(false, 0), (true, 1)] {
        let store = file.open_sqlite().await;
        store
            .append(NewEvent { deliveries: vec![Target::to("audit").into()], ..event() })
            .await
            .unwrap();
        let permits = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let leased = store.lease(LeaseQueue::Plugin("audit".into()), permits).await.unwrap();
        assert_eq!(leased.leases.len(), 1);
        drop(store);
        if broken {
            std::fs::remove_file(file.options().path.with_extension("db-running")).unwrap();
        }
        let store = file.open_sqlite().await;
        assert_eq!(store.recovered(), Recovered { held: 1, running });
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn an_append_beyond_the_bound_is_saturated() {
    let file = one_file();
    let store = Sqlite::open(SqliteOptions { max_waiting_appends: 0, ..file.options() }).unwrap();
    let refused = store.append(event()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Saturated { .. }), "{refused}");
    assert!(store.trouble().is_none());
}

#[tokio::test]
async fn an_append_that_was_answered_makes_room_for_the_next() {
    let file = one_file();
    let store = Sqlite::open(SqliteOptions { max_waiting_appends: 1, ..file.options() }).unwrap();
    for _ in 0..20 {
        store.append(event()).await.unwrap();
    }
}

#[tokio::test]
async fn a_closed_file_is_whole_without_its_wal() {
    let file = one_file();
    let store = file.open_sqlite().await;
    let id = store.append(event()).await.unwrap().id;
    store.event(id).await.unwrap();
    store.close().await.unwrap();
    let wal = file.options().path.with_extension("db-wal");
    assert!(!wal.exists());
}

#[tokio::test]
async fn the_wal_stays_short_while_commits_follow_each_other() {
    let file = one_file();
    let store = file.open_sqlite().await;
    let wal = file.options().path.with_extension("db-wal");
    let large = || {
        let mut event = event();
        event.attributes.body = vec![b'x'; 256 << 10].into();
        event
    };
    // Some 65 pages each, and so five times as many in all as make the WAL long.
    for _ in 0..80 {
        store.append(large()).await.unwrap();
        let bytes = std::fs::metadata(&wal).unwrap().len();
        assert!(bytes < 1_100 * 4_120, "{bytes}");
    }
    store.close().await.unwrap();
    assert!(!wal.exists());
    assert_eq!(file.open_sqlite().await.stats().await.unwrap().events, 80);
}

#[tokio::test]
async fn every_commit_is_synced() {
    let file = one_file();
    let store = file.open_sqlite().await;
    let mode: String =
        file.connection().pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    // 2 is FULL; it belongs to a connection, so it is asked of one that is opened as the writer's
    // is.
    store.close().await.unwrap();
    let writer = super::schema::open_writer(&file.options().path).unwrap();
    let synchronous: i64 =
        writer.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
    assert_eq!(synchronous, 2);
}

#[tokio::test]
async fn a_store_at_its_bound_refuses_new_events_and_settles_what_it_has_without_logs() {
    let file = one_file();
    let store = Sqlite::open(SqliteOptions { max_bytes: Some(1), ..file.options() }).unwrap();
    // It looks at its size with the first commit.
    let accepted = store
        .append(NewEvent { deliveries: vec![Target::to("audit").into()], ..event() })
        .await
        .unwrap();
    let refused = store.append(event()).await.unwrap_err();
    assert!(
        matches!(&refused, StoreError::Full(why) if why.contains("`store.max_size`")),
        "{refused}"
    );
    assert!(matches!(store.trouble(), Some(StoreError::Full(_))));
    let permits = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let lease =
        store.lease(LeaseQueue::Plugin("audit".into()), permits).await.unwrap().leases.remove(0);
    let logs = vec![LogLine { level: "info".to_owned(), message: "much".repeat(1_000) }];
    let record = AttemptRecord { logs, ..record(Outcome::Ok) };
    let child = NewEvent { parent: Some(accepted.id), ..event() };
    let next = Next::Done { emitted: vec![child], kv: KvTransaction::default() };
    let settled = store.settle(lease, Settlement { next, record: Some(record) }).await.unwrap();
    assert_eq!(settled, Settled::Kept);
    let view = store.event(accepted.id).await.unwrap();
    let logs = &view.deliveries[0].attempts[0].record.logs;
    assert!(logs.len() == 1 && logs[0].message.contains("the store is full"), "{logs:?}");
    assert_eq!((view.deliveries[0].state, view.children.len()), (State::Done, 1));
    drop(store);
    // With more room it takes events again.
    file.open_sqlite().await.append(event()).await.unwrap();
}
