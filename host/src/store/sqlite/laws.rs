//! Every law, for SQLite; and what only a file can get wrong.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::Semaphore;

use super::writer::Shared;
use super::{OpenError, Recovered, Sqlite, SqliteOptions};
use crate::clock::Clock;
use crate::event::{Attributes, NewEvent};
use crate::store::conformance::{Disk, Harness, START_MS};
use crate::store::{Lane, Store, StoreError};

/// Dedupe keys move from memory into their table within so many events.
const ROUND_EVENTS: u64 = 8;

/// A file in a folder of its own.
struct OneFile {
    folder: TempDir,
    clock: Clock,
    last: Mutex<Option<Arc<Shared>>>,
}

fn one_file() -> OneFile {
    OneFile { folder: TempDir::new().unwrap(), clock: Clock::manual(START_MS), last: Mutex::default() }
}

impl OneFile {
    fn options(&self) -> SqliteOptions {
        let path = self.folder.path().join("data").join("hookbox.db");
        SqliteOptions { path, max_waiting_appends: 2_000, clock: self.clock.clone() }
    }

    fn connection(&self) -> Connection {
        Connection::open(self.options().path).unwrap()
    }

    /// Opens the file as soon as the store before has let go of it.
    async fn open_sqlite(&self) -> Sqlite {
        loop {
            match Sqlite::open_with_round(self.options(), ROUND_EVENTS) {
                Err(OpenError::InUse(_)) => tokio::task::yield_now().await,
                opened => return opened.unwrap(),
            }
        }
    }
}

impl Harness for OneFile {
    fn clock(&self) -> &Clock {
        &self.clock
    }

    async fn open(&self) -> Arc<dyn Store> {
        let store = self.open_sqlite().await;
        *self.last.lock().unwrap() = Some(store.shared.clone());
        Arc::new(store)
    }

    fn set_disk(&self, disk: Disk) {
        let last = self.last.lock().unwrap();
        *last.as_ref().unwrap().disk.lock().unwrap_or_else(PoisonError::into_inner) = disk;
    }
}

crate::store::conformance::laws!(super::one_file);

fn event() -> NewEvent {
    NewEvent {
        attributes: Attributes {
            source: "acme".into(),
            kind: "order.paid".to_owned(),
            subject: None,
            content_type: None,
            time_ms: START_MS,
            body: bytes::Bytes::new(),
        },
        provider_id: None,
        dedupe: Vec::new(),
        headers: Vec::new(),
        note: None,
        parent: None,
        hops: 0,
        targets: Vec::new(),
        delay_ms: 0,
    }
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
async fn a_file_of_a_newer_host_is_refused_and_left_alone() {
    let file = one_file();
    file.open_sqlite().await.close().await.unwrap();
    file.connection().pragma_update(None, "user_version", 1_000).unwrap();
    let before = std::fs::read(file.options().path).unwrap();
    let refused = Sqlite::open(file.options()).unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found: 1_000, .. }), "{refused}");
    assert_eq!(std::fs::read(file.options().path).unwrap(), before);
}

#[tokio::test]
async fn a_file_of_an_older_host_is_taken_along_with_what_it_holds() {
    let file = one_file();
    let store = file.open_sqlite().await;
    store.append(event()).await.unwrap();
    store.close().await.unwrap();
    let back = "DROP TABLE dedupe_moved; ALTER TABLE attempts DROP COLUMN calls; PRAGMA user_version = 1";
    file.connection().execute_batch(back).unwrap();
    let store = file.open_sqlite().await;
    assert_eq!(store.stats().events, 1);
    let calls = file.connection().query_row("SELECT count(calls) FROM attempts", [], |row| row.get::<_, i64>(0));
    assert_eq!(calls, Ok(0), "the column is there");
}

#[tokio::test]
async fn the_keys_of_a_file_of_version_2_are_all_known() {
    let file = one_file();
    let store = file.open_sqlite().await;
    let keyed = |number: u8| NewEvent { dedupe: vec![[number; 16], [number + 100; 16]], ..event() };
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(store.append(keyed(number)).await.unwrap().id);
    }
    store.close().await.unwrap();
    // As that version wrote it: every key in the table, with its event.
    let back = "DELETE FROM dedupe;
         INSERT INTO dedupe SELECT source, substr(dedupe, 1, 16), id FROM events
                  UNION ALL SELECT source, substr(dedupe, 17, 16), id FROM events;
         DROP TABLE dedupe_moved; PRAGMA user_version = 2";
    file.connection().execute_batch(back).unwrap();
    for _ in 0..3 {
        let store = file.open_sqlite().await;
        for (number, id) in (0..20).zip(&ids) {
            let again = store.append(NewEvent { dedupe: vec![[number + 100; 16]], ..event() }).await.unwrap();
            assert_eq!((again.id, again.duplicate), (*id, true));
        }
        // And newer ones take turns with them.
        let new = store.append(keyed(u8::try_from(ids.len()).unwrap())).await.unwrap();
        assert!(!new.duplicate);
        ids.push(new.id);
    }
    let rows: i64 = file.connection().query_row("SELECT count(*) FROM dedupe", [], |row| row.get(0)).unwrap();
    assert!((40..46).contains(&rows), "{rows}: no key moves twice");
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
    assert_eq!(file.open_sqlite().await.stats().events, 100);
}

#[tokio::test]
async fn without_the_notes_of_what_was_running_all_that_was_held_is_suspect() {
    let file = one_file();
    for (broken, running) in [(false, 0), (true, 1)] {
        let store = file.open_sqlite().await;
        store.append(NewEvent { targets: vec!["audit".into()], ..event() }).await.unwrap();
        let places = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let leased = store.lease(Lane::Plugin("audit".into()), places).await.unwrap();
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
async fn a_closed_file_is_whole_without_its_log() {
    let file = one_file();
    let store = file.open_sqlite().await;
    let id = store.append(event()).await.unwrap().id;
    store.event(id).await.unwrap();
    store.close().await.unwrap();
    let log = file.options().path.with_extension("db-wal");
    assert!(!log.exists());
}

#[tokio::test]
async fn the_log_stays_short_while_commits_follow_each_other() {
    let file = one_file();
    let store = file.open_sqlite().await;
    let log = file.options().path.with_extension("db-wal");
    let large = || {
        let mut event = event();
        event.attributes.body = vec![b'x'; 256 << 10].into();
        event
    };
    // Some 65 pages each, and so five times as many in all as make the log long.
    for _ in 0..80 {
        store.append(large()).await.unwrap();
        let bytes = std::fs::metadata(&log).unwrap().len();
        assert!(bytes < 1_100 * 4_120, "{bytes}");
    }
    store.close().await.unwrap();
    assert!(!log.exists());
    assert_eq!(file.open_sqlite().await.stats().events, 80);
}

#[tokio::test]
async fn every_commit_is_synced() {
    let file = one_file();
    let store = file.open_sqlite().await;
    let mode: String = file.connection().pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    // 2 is FULL; it belongs to a connection, so it is asked of one that is opened as the writer's is.
    store.close().await.unwrap();
    let writer = super::schema::open_writer(&file.options().path).unwrap();
    let synchronous: i64 = writer.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
    assert_eq!(synchronous, 2);
}
