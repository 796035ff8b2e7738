//! Batches whose statements have run and whose COMMIT is still to come, and others meanwhile.

use std::pin::Pin;
use std::time::Duration;

use hookbox_tools::cluster::Cluster;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::failover::{SETTINGS, both, wait_for_standbys};
use super::faults::{behind_proxy, done, lease_one, numbered, send};
use super::hosts::{another, event, lease};
use super::proxy::Proxy;
use super::*;
use crate::event::{Key, NewEvent, State};
use crate::store::{Count, Health, Keep, Operate, Queue, Settled};
use crate::tasks;

/// The lock of a stripe of keys, as the list of locks shows it.
const STRIPE: &str = "classid = 7450002";

/// The lock of the rotation of dedupe keys.
const ROTATION: &str = "classid = 7450001 AND objid = 1";

/// Two hosts. Of one of them a COMMIT can be held back.
pub(super) struct TwoHosts {
    pub(super) held: Arc<Postgres>,
    pub(super) proxy: Proxy,
    pub(super) other: Arc<Postgres>,
    pub(super) admin: Client,
    _folder: TempDir,
}

impl TwoHosts {
    pub(super) async fn open(case: &OnePostgres) -> Self {
        let (held, proxy) = behind_proxy(case).await;
        let (other, folder) = another(case).await;
        let admin = case.database().await.admin().await;
        Self { held: Arc::new(held), proxy, other: Arc::new(other), admin, _folder: folder }
    }

    /// Begins a call of the first host. When this returns, its transaction has run all but the
    /// COMMIT. The last statement before that calls this function.
    pub(super) async fn up_to_commit<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
        last: &str,
    ) -> JoinHandle<T> {
        self.proxy.hold_commit();
        let call = tasks::spawn(call);
        let stands = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                 AND state = 'idle in transaction' AND query LIKE '%hookbox.{last}(%'"
        );
        while self.count(&stands).await == 0 {}
        call
    }

    /// Begins a call that the first host is in the way of, or not: it has ended or it is the n-th
    /// to wait for this lock when this returns.
    async fn up_to_lock<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
        lock: &str,
        nth: i64,
    ) -> JoinHandle<T> {
        let call = tasks::spawn(call);
        let waiting = format!(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND {lock}
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        );
        while !call.is_finished() && self.count(&waiting).await < nth {}
        call
    }

    pub(super) async fn count(&self, sql: &str) -> i64 {
        self.admin.query_one(sql, &[]).await.unwrap().get(0)
    }
}

fn keyed() -> NewEvent {
    let mut new = event(None);
    for delivery in &mut new.deliveries {
        delivery.key = Some(Key::Text("k".into()));
    }
    new
}

#[tokio::test]
async fn a_delivery_that_enters_its_key_while_another_host_ends_the_one_before_is_opened() {
    let Some(case) = one_postgres() else { return };
    let hosts = TwoHosts::open(&case).await;
    for enters_first in [true, false] {
        let (enters, ends) = match enters_first {
            true => (Arc::clone(&hosts.held), Arc::clone(&hosts.other)),
            false => (Arc::clone(&hosts.other), Arc::clone(&hosts.held)),
        };
        enters.append(keyed()).await.unwrap();
        let before = lease_one(&ends).await;
        let enter = async move {
            enters.append(keyed()).await.unwrap();
        };
        let end = async move {
            assert_eq!(ends.settle(before, done()).await.unwrap(), Settled::Kept);
        };
        let (enter, end): (Pin<Box<dyn Future<Output = ()> + Send>>, _) =
            (Box::pin(enter), Box::pin(end) as Pin<Box<dyn Future<Output = ()> + Send>>);
        let (first, then, last) = match enters_first {
            true => (enter, end, "terms_v1"),
            false => (end, enter, "settled_keys_v1"),
        };
        let first = hosts.up_to_commit(first, last).await;
        let then = hosts.up_to_lock(then, STRIPE, 1).await;
        hosts.proxy.let_commit().await;
        first.await.unwrap();
        then.await.unwrap();
        let mut next = lease(&hosts.other, 1).await.leases;
        assert_eq!(next.len(), 1, "it waits for nobody (it enters first: {enters_first})");
        let next = hosts.other.settle(next.remove(0), done()).await;
        assert_eq!(next.unwrap(), Settled::Kept);
    }
    assert_eq!(hosts.other.stats().await.unwrap().deliveries(State::Done), 4);
}

#[tokio::test]
async fn a_dedupe_key_is_known_although_keys_were_rotated_before_its_batch_was_committed() {
    let Some(case) = one_postgres() else { return };
    let hosts = TwoHosts::open(&case).await;
    let keep = Keep {
        events: Duration::MAX,
        payloads: Duration::MAX,
        dedupe_keys: Duration::ZERO,
        audit: Duration::MAX,
    };
    let [held, other, sweeper] = [&hosts.held, &hosts.other, &hosts.other].map(Arc::clone);
    let first = async move { held.append(numbered(1)).await.unwrap() };
    let first = hosts.up_to_commit(first, "append_v1").await;
    let swept = async move { sweeper.sweep(keep).await.unwrap() };
    let swept = hosts.up_to_lock(swept, ROTATION, 1).await;
    let again = async move { other.append(numbered(1)).await.unwrap() };
    let again = hosts.up_to_lock(again, ROTATION, 2).await;
    hosts.proxy.let_commit().await;
    let (first, again) = (first.await.unwrap(), again.await.unwrap());
    swept.await.unwrap();
    let present = "SELECT slot::bigint FROM hookbox.dedupe_present";
    assert_eq!(hosts.count(present).await, 1, "keys were rotated");
    assert_eq!((first.duplicate, again.duplicate, again.id), (false, true, first.id));
    assert_eq!(hosts.other.stats().await.unwrap().events, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_does_not_wait_for_a_notification_that_another_session_commits() {
    let Some(case) = one_postgres() else { return };
    let primary = Cluster::start(&SETTINGS).expect("it is there");
    let standby = primary.standby(&SETTINGS);
    wait_for_standbys(&primary).await;
    let options = both(&case, &primary, &standby).await;
    let store = Arc::new(Postgres::open(options).await.unwrap());
    let notifier = rig::connect(primary.port, "postgres", "postgres").await;
    standby.stop("fast");
    // One transaction, which has the lock of NOTIFY as long as its commit waits for the standby.
    let told = "CREATE TABLE public.told (); NOTIFY told";
    let notified = tasks::spawn(async move { notifier.batch_execute(told).await });
    let reason = |query: &str| {
        let sql = format!(
            "SELECT wait_event FROM pg_stat_activity
             WHERE query = '{query}' AND wait_event IN ('SyncRep', 'object') LIMIT 1"
        );
        loop {
            match primary.sql(&sql) {
                none if none.is_empty() => {}
                reason => return reason,
            }
        }
    };
    assert_eq!(reason(told), "SyncRep");
    let sender = Arc::clone(&store);
    let append = tasks::spawn(async move { send(&sender, 1).await });
    assert_eq!(reason("COMMIT"), "SyncRep", "its commit waits for the standby alone");
    standby.start_again(&SETTINGS);
    append.await.unwrap();
    notified.await.unwrap().unwrap();
    store.close().await.unwrap();
}
