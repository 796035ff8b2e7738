//! Stores that are copied from SQLite.

use std::path::PathBuf;
use std::sync::Mutex;

use super::*;
use crate::store::conformance::copied::{answers, fill, goes_on, know_plugins};
use crate::store::copy;
use crate::store::{
    CopiedRows, Count as _, Health as _, Queue as _, Sqlite, SqliteOptions, StoreCopy, copy_store,
};

/// A file of SQLite, and the database that it is copied into.
struct CopyCase {
    postgres: OnePostgres,
    file: PathBuf,
}

fn a_case() -> Option<CopyCase> {
    let postgres = one_postgres()?;
    let file = postgres.folder.path().join("from").join("hookbox.db");
    Some(CopyCase { postgres, file })
}

impl CopyCase {
    /// Opens the file as its host does. Dedupe keys move from memory into their table soon.
    async fn from(&self) -> Arc<dyn Store> {
        let clock = self.postgres.clock.clone();
        let policies: Arc<TestPolicies> = Arc::clone(&self.postgres.policies);
        let options =
            SqliteOptions { policies, tree: BUDGET, ..SqliteOptions::at(self.file.clone(), clock) };
        Arc::new(Sqlite::open_with_flushes(options, 16).expect("it opens"))
    }

    async fn copy(
        &self,
        database: &TestDatabase,
        dry_run: bool,
    ) -> Result<Vec<CopiedRows>, String> {
        copy_store(self.what(database, dry_run), |_| ()).await
    }

    fn what(&self, database: &TestDatabase, dry_run: bool) -> StoreCopy {
        StoreCopy {
            from: self.file.clone(),
            to: database.url().into(),
            ca_file: None,
            dry_run,
            clock: self.postgres.clock.clone(),
        }
    }

    /// A file with so many events, whose host is stopped.
    async fn with_events(&self, count: u32) {
        let store = self.from().await;
        for _ in 0..count {
            store.append(hosts::event(None)).await.unwrap();
        }
        store.close().await.unwrap();
    }
}

/// The rows of a name.
fn rows(copied: &[CopiedRows], name: &str) -> u64 {
    copied.iter().find(|it| it.name == name).map_or(0, |it| it.rows)
}

#[tokio::test]
async fn a_copied_store_gives_the_same_answers_and_its_work_goes_on() {
    let Some(case) = a_case() else { return };
    know_plugins(&case.postgres.policies);
    let store = case.from().await;
    let filled = fill(&store, &case.postgres.clock).await;
    let before = answers(&store).await;
    store.close().await.unwrap();
    let database = case.postgres.database().await;
    let looked = case.copy(database, true).await.unwrap();
    let copied = case.copy(database, false).await.unwrap();
    assert_eq!(looked, copied);
    let empty: Vec<_> = copied.iter().filter(|it| it.rows == 0).map(|it| it.name).collect();
    assert_eq!(empty, [""; 0]);
    let store: Arc<dyn Store> = Arc::new(case.postgres.open_postgres().await);
    let after = answers(&store).await;
    for (was, is) in before.iter().zip(&after) {
        assert_eq!(was, is);
    }
    assert_eq!(before.len(), after.len());
    goes_on(&store, &case.postgres.clock, filled).await;
}

#[tokio::test]
async fn a_database_with_anything_in_it_is_refused_and_says_what_it_has() {
    let Some(case) = a_case() else { return };
    case.with_events(2).await;
    let database = case.postgres.database().await;
    let host = case.postgres.open_postgres().await;
    let refused = case.copy(database, true).await.unwrap_err();
    assert!(refused.contains("hosts run on") && refused.contains(": one"), "{refused}");
    host.append(hosts::event(None)).await.unwrap();
    host.close().await.unwrap();
    for dry_run in [true, false] {
        let refused = case.copy(database, dry_run).await.unwrap_err();
        assert!(refused.contains("(events: 1, open deliveries: 1)"), "{refused}");
        assert!(refused.contains("DROP SCHEMA hookbox CASCADE"), "{refused}");
    }
    assert_eq!(host_again(&case).await.stats().await.unwrap().events, 1);
}

#[tokio::test]
async fn a_database_on_which_a_host_was_only_tried_is_taken() {
    let Some(case) = a_case() else { return };
    case.with_events(2).await;
    let database = case.postgres.database().await;
    let host = case.postgres.open_postgres().await;
    // As the host does for each section at its start.
    let limit = ("joins/orders".into(), std::time::Duration::from_secs(60));
    host.set_time_limits(vec![limit]).await.unwrap();
    host.close().await.unwrap();
    case.copy(database, false).await.unwrap();
    assert_eq!(host_again(&case).await.stats().await.unwrap().events, 2);
}

async fn host_again(case: &CopyCase) -> Postgres {
    case.postgres.open_postgres().await
}

#[tokio::test]
async fn a_file_that_cannot_be_copied_whole_is_refused_and_the_database_stays_as_it_is() {
    let Some(case) = a_case() else { return };
    let database = case.postgres.cluster.empty_database().await;
    let refused = async |what: &str| {
        for dry_run in [true, false] {
            let refused = case.copy(&database, dry_run).await.unwrap_err();
            assert!(refused.contains(what), "{refused}");
        }
    };
    refused("there is no store").await;
    let store = case.from().await;
    store.append(hosts::event(None)).await.unwrap();
    refused("is in use by another hookbox").await;
    let permits = Arc::new(tokio::sync::Semaphore::new(1)).try_acquire_many_owned(1).unwrap();
    let queue = crate::store::LeaseQueue::Plugin("audit".into());
    drop(store.lease(queue, permits).await.unwrap());
    drop(store);
    // The lock is free once the writer has ended.
    while case.copy(&database, true).await.unwrap_err().contains("in use") {}
    refused("did not stop in order, and 1 of its deliveries are leased").await;
    case.from().await.close().await.unwrap();
    change_file(&case, "UPDATE events SET body = x'00'");
    let damaged = case.copy(&database, false).await.unwrap_err();
    assert!(damaged.contains("is damaged") && damaged.contains("events erase evt_"), "{damaged}");
    change_file(&case, "UPDATE swept SET legacy_keys_up_to = (SELECT max(id) FROM events)");
    refused("dedupe keys of a hookbox that was older").await;
    change_file(&case, "PRAGMA user_version = 8");
    let older = case.copy(&database, true).await.unwrap_err();
    assert!(older.contains("has schema version 8, and this hookbox reads 9"), "{older}");
    assert!(!has_schema(&database).await);
}

fn change_file(case: &CopyCase, sql: &str) {
    rusqlite::Connection::open(&case.file).unwrap().execute_batch(sql).unwrap();
}

async fn has_schema(database: &TestDatabase) -> bool {
    let sql = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'hookbox')";
    database.admin().await.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_copy_that_is_cut_off_leaves_the_database_as_it_was_and_can_be_made_again() {
    let Some(case) = a_case() else { return };
    case.with_events(600).await;
    let database = case.postgres.cluster.empty_database().await;
    let begun = tokio::sync::Notify::new();
    let names = Mutex::new(Vec::new());
    let copying = copy_store(case.what(&database, false), |progress| {
        names.lock().unwrap().push(progress.name);
        begun.notify_one();
    });
    tokio::select! {
        biased;
        () = begun.notified() => {}
        copied = copying => panic!("it is not cut off: {copied:?}"),
    }
    assert_eq!(names.lock().unwrap().first(), Some(&"events"));
    let admin = database.admin().await;
    let others = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    while admin.query_one(others, &[]).await.unwrap().get::<_, i64>(0) > 0 {}
    assert!(!has_schema(&database).await);
    // The file is free once its reader has ended.
    let copied = loop {
        match case.copy(&database, false).await {
            Err(refused) if refused.contains("in use") => {}
            copied => break copied.unwrap(),
        }
    };
    assert_eq!((rows(&copied, "events"), rows(&copied, "open deliveries")), (600, 600));
}

#[tokio::test]
async fn the_days_of_copied_events_have_partitions_of_their_own() {
    let Some(case) = a_case() else { return };
    let store = case.from().await;
    for _ in 0..3 {
        store.append(hosts::event(None)).await.unwrap();
        case.postgres.clock.set(case.postgres.clock.now_ms() + 5 * 24 * 3_600_000);
    }
    store.close().await.unwrap();
    let database = case.postgres.database().await;
    case.copy(database, false).await.unwrap();
    let sql = "SELECT (SELECT count(*) FROM hookbox.events_rest),
        (SELECT count(DISTINCT tableoid) FROM hookbox.events),
        (SELECT count(*) FROM hookbox.events)";
    let row = database.admin().await.query_one(sql, &[]).await.unwrap();
    assert_eq!((0..3).map(|at| row.get(at)).collect::<Vec<i64>>(), [0, 3, 3]);
}

/// Tables that a copy does not fill, or that its end does.
const OTHERS: [&str; 13] = [
    "audit_swept",
    "chores",
    "commits",
    "count_deltas",
    "counts",
    "dedupe_present",
    "ended_runs",
    "failure_deltas",
    "hosts",
    "meta",
    "secrets",
    "swept",
    "tree_deltas",
];

/// Columns that the database fills.
const OWN_COLUMNS: [(&str, &str); 5] = [
    ("open", "holder"),
    ("repeats", "at"),
    ("failures", "dead"),
    ("failures", "waiting"),
    ("time_limits", "generation"),
];

#[tokio::test]
async fn every_column_of_every_table_is_filled_by_a_copy() {
    let Some(case) = one_postgres() else { return };
    let sql = "SELECT c.relname, a.attname FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'hookbox'::regnamespace AND c.relkind IN ('r', 'p')
            AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped
            AND a.attgenerated = ''";
    let columns = case.database().await.admin().await.query(sql, &[]).await.unwrap();
    assert!(columns.len() > 150, "{}", columns.len());
    for row in columns {
        let (table, column): (&str, &str) = (row.get(0), row.get(1));
        let filled = copy::filled().find(|(into, _)| *into == table);
        let is_filled = filled.is_some_and(|(_, all)| all.split(", ").any(|it| it == column));
        let is_other = OTHERS.contains(&table) || OWN_COLUMNS.contains(&(table, column));
        assert!(is_filled || is_other, "`{column}` of `{table}` is not filled");
    }
}
