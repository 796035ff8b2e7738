//! Rows that were deleted, and that vacuuming keeps because somebody holds an old snapshot.

use tokio_postgres::{Client, SimpleQueryMessage};

use super::super::client::Pooler;
use super::faults::lease_one;
use super::hosts::{event, lease};
use super::*;
use crate::event::{DeliveryId, NewEvent, Target};
use crate::store::{Action, Health, Operate, Queue, Which};

/// The run whose deliveries are worked on, and the number of them at once.
const RUN: i64 = 7;
const AT_ONCE: i64 = 8;

/// Deliveries that were worked on while the snapshot was held.
const DEAD: i64 = 20_000;

/// The pages by which a statement may read more then: of indexes that are deeper.
const MORE: i64 = 8 * AT_ONCE;

/// The calls after which a function keeps a plan.
const UNTIL_PLANNED: usize = 12;

/// Settles deliveries from this one on, as done (0) or to be retried (2).
fn settle(held: i64, next: i64) -> String {
    let each = |value: &str| format!("ARRAY(SELECT {value} FROM generate_series(1, {AT_ONCE}))");
    let none = each("NULL::bigint");
    format!(
        "SELECT result FROM hookbox.settle_v1(NULL, {RUN},
            ARRAY(SELECT {held} - 1 + n FROM generate_series(1, {AT_ONCE}::bigint) AS n),
            {zeros}, {ones}, {next}, {after}, {twos}, {none}, {none}, {none}::smallint[],
            {none}::text[], {none}::text[], {none}::text[]::bytea[], {none}::text[],
            {none}::text[], {none}::integer[], {none}::integer[])",
        zeros = each("0"),
        ones = each("1"),
        next = each(&format!("{next}::smallint")),
        after = each("0::bigint"),
        twos = each("2::smallint"),
    )
}

/// A session as a host has it, with the plans that it has made.
struct Session {
    client: Client,
}

impl Session {
    /// That of the run.
    async fn begin(case: &OnePostgres) -> Self {
        let database = case.database().await;
        let client = rig::connect(database.port, rig::USER, &database.name).await;
        client.batch_execute(&Pooler::default().session().unwrap()).await.unwrap();
        let host = "INSERT INTO hookbox.hosts
            (slot, identity, incarnation, name, version, since, seen)
            VALUES (0, 'one', $1, 'one', '1', 0, 0)";
        client.execute(host, &[&RUN]).await.unwrap();
        Self { client }
    }

    /// The pages that a query reads, which is undone.
    async fn pages(&self, sql: &str) -> i64 {
        let explain = format!("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {sql}");
        self.client.batch_execute("BEGIN").await.unwrap();
        let told = self.client.simple_query(&explain).await.unwrap();
        self.client.batch_execute("ROLLBACK").await.unwrap();
        let mut texts = told.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        let told: serde_json::Value = serde_json::from_str(texts.next().unwrap()).unwrap();
        let plan = &told[0]["Plan"];
        ["Shared Hit Blocks", "Shared Read Blocks"]
            .iter()
            .map(|it| plan[it].as_i64().unwrap())
            .sum()
    }

    /// Puts deliveries there: held by the run, or due and of nobody.
    async fn open(&self, numbers: std::ops::RangeInclusive<i64>, holder: Option<i64>) {
        let sql = "INSERT INTO hookbox.open (event, ordinal, plugin, holder, attempt, waits, due)
            SELECT n, 0, 'p', $3::bigint, 1, false, n
            FROM generate_series($1::bigint, $2::bigint) AS n (n)";
        self.client.execute(sql, &[numbers.start(), numbers.end(), &holder]).await.unwrap();
    }

    /// The pages of each statement of a batch, and of the search for hosts that are dead.
    async fn statements(&self, held: i64, ready: i64) -> Vec<(&'static str, i64)> {
        let lease = format!(
            "SELECT * FROM hookbox.lease_v1(NULL, {RUN}, '{{p}}', false, 8, 4000000, {ready})"
        );
        let record = format!("SELECT hookbox.record_v1(NULL, {RUN}, {held}, 0, 1, 'name', '', '')");
        let poll = format!("SELECT * FROM hookbox.due_v1(NULL, '{{p}}', '{{{ready}}}')");
        let orphans = "SELECT * FROM hookbox.orphans_v1(15000)".to_owned();
        let reap = "SELECT * FROM hookbox.reap_v1(NULL, 0, 5, 'gone', '')".to_owned();
        let mut pages = Vec::new();
        for (name, sql) in [
            ("settle as done", settle(held, 0)),
            ("settle as failed", settle(held, 2)),
            ("record a step", record),
            ("lease", lease),
            ("look for what is due", poll),
            ("look for dead hosts", orphans),
            ("take over from dead hosts", reap),
        ] {
            for _ in 0..UNTIL_PLANNED {
                self.pages(&sql).await;
            }
            pages.push((name, self.pages(&sql).await));
        }
        pages
    }
}

#[tokio::test]
async fn a_batch_reads_no_more_however_many_rows_are_dead() {
    let Some(case) = one_postgres() else { return };
    let database = case.database().await;
    let session = Session::begin(&case).await;
    session.open(1..=AT_ONCE, Some(RUN)).await;
    session.open(101..=100 + AT_ONCE, None).await;
    let before = session.statements(1, 101).await;

    let holder = database.admin().await;
    holder.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await.unwrap();
    session.open(1_001..=1_000 + DEAD, Some(RUN)).await;
    session.open(100_001..=100_000 + DEAD, None).await;
    session.client.batch_execute("DELETE FROM hookbox.open").await.unwrap();
    session.open(200_001..=200_000 + AT_ONCE, Some(RUN)).await;
    session.open(300_001..=300_000 + AT_ONCE, None).await;
    let after = session.statements(200_001, 300_001).await;
    for ((name, before), (_, after)) in before.iter().zip(&after) {
        assert!(*after <= before + MORE, "{name}: {before} pages before, {after} after");
    }

    let whole = "SELECT * FROM hookbox.lease_v1(NULL, 7, '{p}', false, 8, 4000000, 0)";
    let (read, (_, lease)) = (session.pages(whole).await, after[3]);
    assert!(read > lease + MORE, "from the oldest on {read} pages are read, and else {lease}");
    holder.batch_execute("COMMIT").await.unwrap();
}

#[tokio::test]
async fn a_settlement_that_waits_for_a_cancel_is_told_of_it() {
    let Some(case) = one_postgres() else { return };
    let session = Session::begin(&case).await;
    let (operator, watcher) =
        (case.database().await.admin().await, case.database().await.admin().await);
    session.open(1..=AT_ONCE, Some(RUN)).await;
    let cancel = "BEGIN; UPDATE hookbox.open SET cancelled = true WHERE event = 3";
    operator.batch_execute(cancel).await.unwrap();
    let commits = async {
        let waits = "SELECT count(*) FROM pg_stat_activity
            WHERE wait_event_type = 'Lock' AND datname = current_database()";
        while watcher.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            tokio::task::yield_now().await;
        }
        operator.batch_execute("COMMIT").await.unwrap();
    };
    let settlement = settle(1, 0);
    let (settled, ()) = tokio::join!(session.client.query(&settlement, &[]), commits);
    let results: Vec<i16> = settled.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(results, [0, 0, 2, 0, 0, 0, 0, 0]);
    let states = "SELECT array_agg(state ORDER BY event) FROM hookbox.settled";
    let states: Vec<i16> = watcher.query_one(states, &[]).await.unwrap().get(0);
    assert_eq!(states, [3, 3, 5, 3, 3, 3, 3, 3]);
}

/// Appends an event to a plugin a second later than the one before.
async fn append_to(case: &OnePostgres, store: &Postgres, plugin: &str) -> DeliveryId {
    case.clock.set(case.clock.now_ms() + 1_000);
    let deliveries = vec![Target::to(plugin).into()];
    let id = store.append(NewEvent { deliveries, ..event(None) }).await.unwrap().id;
    DeliveryId { event: id, ordinal: 0 }
}

#[tokio::test]
async fn what_an_operator_moves_to_a_plugin_is_leased_at_once_although_it_is_older() {
    let Some(case) = one_postgres() else { return };
    let store = case.open_postgres().await;
    let old = append_to(&case, &store, "mail").await;
    for _ in 0..4 {
        // The first scans begin at the oldest entry.
        let new = append_to(&case, &store, "audit").await;
        assert_eq!(lease_one(&store).await.delivery, new);
    }
    let to = Action::Move("audit".into());
    assert_eq!(store.change(None, to, Which::One(old)).await.unwrap().deliveries, 1);
    let leased = lease(&store, 1).await.leases;
    assert_eq!(leased.first().map(|lease| lease.delivery), Some(old));
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_another_one_had_locked_is_leased_by_the_next_scan() {
    let Some(case) = one_postgres() else { return };
    let store = case.open_postgres().await;
    let old = append_to(&case, &store, "audit").await;
    let other = case.database().await.admin().await;
    let lock = "BEGIN; SELECT FROM hookbox.open FOR UPDATE";
    other.batch_execute(lock).await.unwrap();
    for _ in 0..4 {
        let new = append_to(&case, &store, "audit").await;
        assert_eq!(lease_one(&store).await.delivery, new);
    }
    other.batch_execute("COMMIT").await.unwrap();
    assert_eq!(lease(&store, 1).await.leases.first().map(|lease| lease.delivery), Some(old));
    store.close().await.unwrap();
}
