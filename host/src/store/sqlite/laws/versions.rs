//! Files of other versions of the schema.

use std::time::Duration;

use super::*;

/// Makes of a file what version 6 would have written.
pub(super) const BACK_TO_VERSION_6: &str = "
    ALTER TABLE attempts DROP COLUMN cpu_us;
    ALTER TABLE attempts DROP COLUMN memory_kib;
    DROP TABLE audit;
    DROP TABLE audit_swept;
    DROP TABLE answers;
    DROP TABLE erased;
    DROP TABLE emptied;
    DROP TABLE operation_items;
    DROP TABLE operations;
    DROP TABLE failures;
    DROP TABLE pauses;
    DROP TABLE edits;
    DROP TABLE time_limits;
    ALTER TABLE events DROP COLUMN trace;
    ALTER TABLE events DROP COLUMN signed_by;
    DROP TABLE log_positions;
    DROP INDEX deliveries_failure;
    ALTER TABLE deliveries DROP COLUMN failure;
    ALTER TABLE kv DROP COLUMN event;
    ALTER TABLE kv DROP COLUMN ordinal;
    ALTER TABLE kv DROP COLUMN attempt;
    DROP TABLE samples;
    DROP INDEX deliveries_keyed;
    DROP TABLE held_keys;
    DROP TABLE cancellable;
    DROP TABLE dead_notices;
    DROP TABLE steps;
    DROP INDEX kv_expires;
    ALTER TABLE kv DROP COLUMN expires_ms;
    ALTER TABLE attempts DROP COLUMN steps;
    ALTER TABLE deliveries DROP COLUMN steps;
    ALTER TABLE deliveries DROP COLUMN again;
    ALTER TABLE deliveries DROP COLUMN again_since_ms;
    DROP TABLE gatherings;
    DROP TABLE gathered;
    DROP TABLE schedules;
    DROP TABLE skipped_ticks;
    ALTER TABLE deliveries DROP COLUMN key;
    ALTER TABLE deliveries DROP COLUMN entered;
    ALTER TABLE deliveries DROP COLUMN cancel_tag;
    ALTER TABLE deliveries DROP COLUMN deaths;
    PRAGMA user_version = 6;";

/// Makes of a file of version 6 what version 3 would have written.
const BACK_TO_VERSION_3: &str = "
    DROP TABLE approvals;
    DROP TABLE duplicates;
    ALTER TABLE events DROP COLUMN sum;
    DROP TABLE eras;
    DROP TABLE host_time;
    ALTER TABLE swept DROP COLUMN legacy_keys_up_to;
    DROP TABLE trees;
    DROP INDEX events_root;
    ALTER TABLE events DROP COLUMN root;
    ALTER TABLE deliveries DROP COLUMN cancelled;
    ALTER TABLE deliveries DROP COLUMN unrecorded;
    UPDATE counts SET what = 5 WHERE what = 100;
    PRAGMA user_version = 3";

fn back_to_3() -> String {
    [BACK_TO_VERSION_6, BACK_TO_VERSION_3].concat()
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
    file.connection().execute_batch(&back_to_3()).unwrap();
    let back =
        "DROP TABLE dedupe_moved; ALTER TABLE attempts DROP COLUMN calls; PRAGMA user_version = 1";
    file.connection().execute_batch(back).unwrap();
    let store = file.open_sqlite().await;
    assert_eq!(store.stats().await.unwrap().events, 1);
    let calls = file
        .connection()
        .query_row("SELECT count(calls) FROM attempts", [], |row| row.get::<_, i64>(0));
    assert_eq!(calls, Ok(0), "the column is there");
}

#[tokio::test]
async fn the_trees_of_a_file_of_version_3_are_found_and_counted() {
    let file = one_file();
    let store = file.open_sqlite().await;
    let child = |parent, body: &'static [u8]| {
        let mut child = NewEvent { parent: Some(parent), ..event() };
        child.attributes.body = body.into();
        child
    };
    let append = async |event| store.append(event).await.unwrap().id;
    let root = append(event()).await;
    let first = append(child(root, b"12")).await;
    let second = append(child(first, b"345")).await;
    let gone = EventId::first_at(1);
    let orphan = append(child(gone, b"6")).await;
    store.close().await.unwrap();
    file.connection().execute_batch(&back_to_3()).unwrap();
    let store = file.open_sqlite().await;
    for (id, expected) in
        [(root, None), (first, Some(root)), (second, Some(root)), (orphan, Some(gone))]
    {
        assert_eq!(store.event(id).await.unwrap().event.root, expected, "{id}");
    }
    let sql = "SELECT root, events, bytes FROM trees ORDER BY root";
    let connection = file.connection();
    let mut statement = connection.prepare(sql).unwrap();
    let trees = statement.query_map([], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
    });
    let trees: Vec<_> = trees.unwrap().map(Result::unwrap).collect();
    assert_eq!(trees, [(gone.row(), 1, 1), (root.row(), 2, 5)]);
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
    file.connection().execute_batch(&back_to_3()).unwrap();
    // As that version wrote it: every key in the table, with its event.
    let back = "DELETE FROM dedupe;
         INSERT INTO dedupe SELECT source, substr(dedupe, 1, 16), id FROM events
                  UNION ALL SELECT source, substr(dedupe, 17, 16), id FROM events;
         DROP TABLE dedupe_moved; PRAGMA user_version = 2";
    file.connection().execute_batch(back).unwrap();
    for _ in 0..3 {
        let store = file.open_sqlite().await;
        for (number, id) in (0..20).zip(&ids) {
            let again = store
                .append(NewEvent { dedupe: vec![[number + 100; 16]], ..event() })
                .await
                .unwrap();
            assert_eq!((again.id, again.duplicate), (*id, true));
        }
        // And newer ones are flushed beside them.
        let new = store.append(keyed(u8::try_from(ids.len()).unwrap())).await.unwrap();
        assert!(!new.duplicate);
        ids.push(new.id);
    }
    let rows: i64 =
        file.connection().query_row("SELECT count(*) FROM dedupe", [], |row| row.get(0)).unwrap();
    assert!((40..46).contains(&rows), "{rows}: no key moves twice");
}

#[tokio::test]
async fn attempts_of_a_file_of_version_8_have_used_nothing_that_is_known() {
    let file = one_file();
    let store = file.open_sqlite().await;
    let id = store.append(NewEvent { deliveries: vec![Target::to("audit").into()], ..event() });
    let id = id.await.unwrap().id;
    let settled = async |store: &Sqlite| {
        let permit = Arc::new(Semaphore::new(1)).try_acquire_many_owned(1).unwrap();
        let queue = LeaseQueue::Plugin("audit".into());
        let lease = store.lease(queue, permit).await.unwrap().leases.remove(0);
        let record = Some(record(Outcome::Retry));
        store.settle(lease, Settlement { next: Next::RetryIn(Duration::ZERO), record }).await
    };
    assert_eq!(settled(&store).await.unwrap(), Settled::Kept);
    store.close().await.unwrap();
    let back =
        "ALTER TABLE attempts DROP COLUMN cpu_us; ALTER TABLE attempts DROP COLUMN memory_kib;
        PRAGMA user_version = 8";
    file.connection().execute_batch(back).unwrap();
    let store = file.open_sqlite().await;
    assert_eq!(settled(&store).await.unwrap(), Settled::Kept);
    let attempts = store.event(id).await.unwrap().deliveries.remove(0).attempts;
    let used: Vec<_> = attempts.iter().map(|attempt| attempt.record.used).collect();
    assert_eq!(used, [None, record(Outcome::Retry).used]);
    assert_eq!(attempts[0].record.calls, attempts[1].record.calls, "all else is there");
}
