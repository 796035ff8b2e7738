//! Hosts behind a pooler that lends connections for one transaction at a time.

use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::hosts::{another, event, lease};
use super::proxy::{Cut, Proxy};
use super::*;
use crate::event::State;
use crate::store::conformance::record;
use crate::store::{
    Count as _, Health as _, KvTransaction, Next, Queue as _, ReadOne as _, Settled, Settlement,
    StoreError,
};
use crate::tasks;

postgres_laws! { one_pooled:
    append {
        what_was_appended_is_there_after_a_crash
        a_repeated_dedupe_key_creates_nothing_and_names_the_first_event
        of_a_thousand_concurrent_appends_of_one_key_one_creates_an_event
        a_delayed_event_waits_it_is_due
        ids_grow_when_the_clock_steps_back
    }
    append_all {
        each_event_of_a_request_is_a_duplicate_for_itself
        a_request_whose_caller_has_gone_is_kept_whole
    }
    on_insert {
        a_delivery_with_a_free_permit_is_leased_on_insert
        what_was_leased_on_insert_is_taken_up_after_a_crash
    }
    lease {
        a_delivery_is_leased_to_one_worker_at_a_time
        never_are_more_leased_than_there_are_permits
        what_is_due_first_is_leased_first
    }
    settle {
        a_lease_is_settled_at_most_once
        what_a_settlement_emits_is_there_once_after_a_crash
        outcome_emitted_events_and_writes_commit_together
        every_attempt_is_recorded_under_its_number
    }
    recover {
        a_settlement_from_before_the_crash_is_lost
        a_zombie_cannot_settle_the_lease_that_replaced_its_own
        a_delivery_that_was_running_in_two_crashes_is_quarantined
    }
    kv {
        a_key_that_changed_meanwhile_is_a_conflict
        a_counter_incremented_by_n_events_reads_n_after_kill_9_with_and_without_add
        keys_are_listed_in_the_order_of_their_bytes
    }
    steps {
        a_recorded_step_is_never_run_again_for_its_delivery_whatever_crashes
    }
    gatherings {
        the_members_of_a_join_complete_it_in_any_order
        each_event_of_a_batch_is_in_exactly_one
    }
    key_order {
        the_order_of_a_key_outlives_a_crash
        a_held_key_goes_on_when_its_dead_letter_is_discarded
        any_text_is_a_key
    }
    cancel {
        an_event_cancels_what_waits_of_its_subject_and_nothing_else
    }
    tree {
        a_tree_over_its_budget_is_a_dead_letter_that_names_key_and_root
    }
    schedules {
        of_many_hosts_that_make_one_tick_one_stores_its_event
    }
    audit {
        a_request_that_is_repeated_with_its_key_does_nothing_again
        entries_are_found_by_what_is_asked_and_in_pages
    }
    operator {
        a_replay_creates_new_deliveries_of_an_old_event
        of_a_leased_delivery_that_is_cancelled_only_the_attempt_is_stored
    }
    bulk {
        a_bulk_retry_takes_the_dead_that_match
        what_comes_back_behind_the_walk_is_cancelled_as_well
    }
    sweep {
        retention_deletes_only_what_is_settled
        a_key_is_known_until_its_window_is_swept
    }
    erase {
        nothing_of_an_erased_event_is_left_but_its_place
    }
}

fn done() -> Settlement {
    let next = Next::Done { emitted: Vec::new(), kv: KvTransaction::default() };
    Settlement { next, record: Some(record(crate::event::Outcome::Ok)) }
}

/// A client of the pooler that is no host.
async fn client(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tasks::spawn(async move {
        // The test sees it by its next query.
        let _ = connection.await;
    });
    client
}

/// The columns of the only row.
async fn row(client: &tokio_postgres::Client, sql: &str) -> Vec<String> {
    let rows = client.simple_query(sql).await.unwrap();
    let found = rows.iter().find_map(|row| match row {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|at| row.get(at).unwrap_or_default().to_owned()).collect())
        }
        _ => None,
    });
    found.expect("a row")
}

/// Appends as senders do: what was not acknowledged is sent again.
async fn send(store: &Postgres, key: u8) -> crate::event::EventId {
    loop {
        match store.append(event(Some(key))).await {
            Err(StoreError::Unreachable(_)) => tokio::task::yield_now().await,
            appended => return appended.unwrap().id,
        }
    }
}

#[tokio::test]
async fn a_pooler_is_found_and_its_connections_are_left_as_they_were() {
    let Some(case) = one_postgres() else { return };
    let Some(pooler) = PgBouncer::start(case.cluster.port, 1) else { return };
    let case = OnePostgres { pooler: Some(pooler), ..case };
    let store = case.open_postgres().await;
    send(&store, 1).await;
    for lease in lease(&store, 1).await.leases {
        assert_eq!(store.settle(lease, done()).await.unwrap(), Settled::Kept);
    }
    let url = case.pooler.as_ref().unwrap().url(&case.database().await.name);
    // There is one connection, which the host has used.
    let client = client(&url).await;
    let left = row(
        &client,
        "SELECT (SELECT count(*) FROM pg_prepared_statements), current_setting('lock_timeout'),
             current_setting('idle_in_transaction_session_timeout')",
    );
    assert_eq!(left.await, ["0", "0", "0"]);
    assert_eq!(store.stats().await.unwrap().deliveries(State::Done), 1);
    store.close().await.unwrap();
}

/// Ends the server's side of every connection, also of those that a pooler keeps.
const ENDED: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()";

#[tokio::test]
async fn a_pooler_that_was_not_found_is_known_by_a_connection_without_its_statements() {
    let Some(case) = one_postgres() else { return };
    let Some(pooler) = PgBouncer::start(case.cluster.port, 1) else { return };
    let case = OnePostgres { pooler: Some(pooler), ..case };
    let options = PostgresOptions { pooler: Some(false), ..case.options().await };
    // All of its statements are in the one connection that there is.
    let store = Postgres::open(options).await.unwrap();
    send(&store, 1).await;
    let database = case.database().await;
    let admin = database.admin().await;
    let url = case.pooler.as_ref().unwrap().url(&database.name);
    let mut sent = 1;
    loop {
        admin.simple_query(ENDED).await.unwrap();
        sent += 1;
        send(&store, sent).await;
        // A host that was just making a connection prepares its statements there once more.
        let left = "SELECT count(*) FROM pg_prepared_statements";
        if row(&client(&url).await, left).await == ["0"] {
            break;
        }
    }
    while !store.stats().await.is_ok_and(|stats| stats.events == u64::from(sent)) {
        tokio::task::yield_now().await;
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn hosts_share_the_few_connections_of_a_pooler_and_nothing_is_done_twice() {
    let Some(case) = one_pooled() else { return };
    let first = Arc::new(case.open_postgres().await);
    let (second, _folder) = another(&case).await;
    let second = Arc::new(second);
    let sending = [&first, &second].map(|store| {
        let store = Arc::clone(store);
        tasks::spawn(async move {
            for key in 0..100 {
                send(&store, key).await;
            }
        })
    });
    for sent in sending {
        sent.await.unwrap();
    }
    assert_eq!(first.stats().await.unwrap().events, 100, "each key once");
    let mut settled = 0;
    while settled < 100 {
        for store in [&first, &second] {
            for lease in lease(store, 20).await.leases {
                assert_eq!(store.settle(lease, done()).await.unwrap(), Settled::Kept);
                settled += 1;
            }
        }
    }
    assert_eq!(second.stats().await.unwrap().deliveries(State::Done), 100);
    first.close().await.unwrap();
    second.close().await.unwrap();
}

#[tokio::test]
async fn behind_a_pooler_the_marker_says_what_came_of_a_batch_whose_answer_is_cut_off() {
    let Some(case) = one_pooled() else { return };
    let proxy = Proxy::before(case.pooler.as_ref().unwrap().port()).await;
    let url = proxy.url(&case.database().await.name).into();
    let store = Postgres::open(PostgresOptions { url, ..case.options().await }).await.unwrap();
    for round in 0..12 {
        let cut = if round % 2 == 0 { Cut::AfterCommit } else { Cut::BeforeCommit };
        proxy.cut_next(cut);
        let id = send(&store, round).await;
        proxy.cut_next(cut);
        let held = loop {
            if let Some(held) = lease(&store, 1).await.leases.pop() {
                break held;
            }
        };
        assert_eq!((held.delivery.event, held.attempt), (id, 1), "no attempt was spent");
        proxy.cut_next(cut);
        assert_eq!(store.settle(held, done()).await.unwrap(), Settled::Kept);
    }
    assert_eq!((proxy.cuts(), proxy.cancels()), (36, 0));
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.events, stats.deliveries(State::Done)), (12, 12));
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_pooler_that_is_started_again_heals_and_loses_nothing() {
    let Some(case) = one_pooled() else { return };
    let store = case.open_postgres().await;
    let pooler = case.pooler.as_ref().unwrap();
    let mut sent = Vec::new();
    for round in 0..3 {
        sent.push(send(&store, 2 * round).await);
        pooler.end();
        let waits = store.append(event(Some(2 * round + 1))).await;
        assert!(matches!(waits, Err(StoreError::Unreachable(_))), "{waits:?}");
        pooler.run();
        sent.push(send(&store, 2 * round + 1).await);
    }
    for id in sent {
        while store.event(id).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(store.stats().await.unwrap().events, 6);
    store.close().await.unwrap();
}

#[tokio::test]
async fn while_a_pooler_has_no_connection_to_lend_nothing_is_acknowledged() {
    let Some(case) = one_postgres() else { return };
    let Some(pooler) = PgBouncer::start(case.cluster.port, 1) else { return };
    let case = OnePostgres { pooler: Some(pooler), ..case };
    let store = Arc::new(case.open_postgres().await);
    send(&store, 1).await;
    let database = case.database().await;
    let url = case.pooler.as_ref().unwrap().url(&database.name);
    let client = client(&url).await;
    client.batch_execute("BEGIN").await.unwrap();
    let appending = Arc::clone(&store);
    let waiting = tasks::spawn(async move { appending.append(event(Some(2))).await });
    let admin = database.admin().await;
    let waits = "SELECT count(*) FROM hookbox.events";
    for _ in 0..20 {
        assert_eq!(row(&admin, waits).await, ["1"]);
        assert!(!waiting.is_finished());
    }
    client.batch_execute("COMMIT").await.unwrap();
    assert!(!waiting.await.unwrap().unwrap().duplicate);
    assert_eq!(row(&admin, waits).await, ["2"]);
    // The server takes nobody in any more.
    let limit = |most: i32| format!("ALTER DATABASE {} CONNECTION LIMIT {most}", database.name);
    admin.batch_execute(&limit(0)).await.unwrap();
    admin.simple_query(ENDED).await.unwrap();
    let refused = store.append(event(Some(3))).await;
    assert!(matches!(refused, Err(StoreError::Unreachable(_))), "{refused:?}");
    admin.batch_execute(&limit(-1)).await.unwrap();
    send(&store, 3).await;
    assert_eq!(row(&admin, waits).await, ["3"]);
}
