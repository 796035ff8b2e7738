//! Hosts that restart, stand still, or are cut off, and come back.

use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use super::hosts::{another, event, lease};
use super::listening::ToldDispatch;
use super::proxy::{Cut, Proxy, Traffic};
use super::*;
use crate::event::State;
use crate::store::{
    Count, Health, Hosts, KvTransaction, Lease, LeaseQueue, Next, Queue, ReadOne, Settled,
    Settlement, StoreError,
};
use crate::tasks;

fn done() -> Settlement {
    let next = Next::Done { emitted: Vec::new(), kv: KvTransaction::default() };
    Settlement { next, record: None }
}

async fn quarantined(store: &Postgres, most: u32) -> Vec<Lease> {
    let permits = Arc::new(tokio::sync::Semaphore::new(8)).try_acquire_many_owned(most).unwrap();
    let queue = LeaseQueue::Quarantine(vec!["audit".into()]);
    store.lease(queue, permits).await.unwrap().leases
}

/// A host whose threads can stand still, as those of a stopped process do: its connections stay.
struct StillHost {
    runtime: Option<Runtime>,
    store: Arc<Postgres>,
    leases: UnboundedReceiver<Lease>,
    dispatch: Arc<ToldDispatch>,
}

impl StillHost {
    async fn open(options: PostgresOptions) -> Self {
        let runtime = tasks::runtime("still", 1).unwrap();
        let opened = tasks::spawn_on(runtime.handle(), Postgres::open(options)).await.unwrap();
        let store = Arc::new(opened.unwrap());
        let (dispatch, leases) = ToldDispatch::attach(&store, 100);
        Self { runtime: Some(runtime), store, leases, dispatch }
    }

    /// Stands still until what is returned is dropped.
    async fn stand_still(&self) -> std::sync::mpsc::Sender<()> {
        let (go, goes) = std::sync::mpsc::channel::<()>();
        let (stands, standing) = oneshot::channel();
        let runtime = self.runtime.as_ref().expect("it runs").handle();
        tasks::spawn_on(runtime, async move {
            stands.send(()).expect("the test waits");
            // The only thread of its runtime.
            let _ = goes.recv();
        });
        standing.await.unwrap();
        go
    }
}

impl Drop for StillHost {
    fn drop(&mut self) {
        self.runtime.take().expect("it runs").shutdown_background();
    }
}

#[tokio::test]
async fn a_host_that_restarts_in_time_takes_up_what_it_held_and_only_what_ran_is_quarantined() {
    let Some(case) = one_postgres() else { return };
    let first = case.open_postgres().await;
    let (other, _folder) = another(&case).await;
    for _ in 0..4 {
        first.append(event(None)).await.unwrap();
    }
    let held = lease(&first, 4).await.leases;
    let ran = first.begin(&held[0]).await.unwrap();
    // As a kill leaves it: the attempt is noted as running.
    std::mem::forget(ran);
    let delivery = held[0].delivery;
    drop(first);
    let again = case.open_postgres().await;
    assert_eq!((again.recovered().held, again.recovered().running), (4, 1));
    assert_eq!(lease(&again, 4).await.leases.len(), 3, "they did not run");
    let quarantined = quarantined(&again, 4).await;
    assert_eq!(quarantined.iter().map(|it| it.delivery).collect::<Vec<_>>(), [delivery]);
    assert_eq!(
        again.settle(held.into_iter().next().unwrap(), done()).await.unwrap(),
        Settled::Lost
    );
    assert_eq!(other.hosts().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_host_that_stood_still_for_too_long_has_lost_what_it_held_and_registers_anew() {
    let Some(case) = one_postgres() else { return };
    let folder = tempfile::tempdir().unwrap();
    let own = case.options().await;
    let options = PostgresOptions { folder: folder.path().to_owned(), ..case.options().await };
    let mut first = StillHost::open(options).await;
    let second = Postgres::open(PostgresOptions { host_timeout: Duration::from_secs(5), ..own });
    let second = second.await.unwrap();
    let store = Arc::clone(&first.store);
    let mut held = Vec::new();
    for _ in 0..3 {
        store.append(event(None)).await.unwrap();
        held.push(first.leases.recv().await.unwrap());
    }
    let old = store.shared.run().incarnation;
    let running = store.begin(&held[0]).await.unwrap();
    let go = first.stand_still().await;
    while second.hosts().await.unwrap().len() == 2 {
        tokio::task::yield_now().await;
    }
    let mut taken = Vec::new();
    while taken.len() < 3 {
        taken.extend(quarantined(&second, 3).await);
    }
    for lease in taken {
        assert_eq!(second.settle(lease, done()).await.unwrap(), Settled::Kept);
    }
    drop(go);
    // It does not know of it yet, or it does.
    for lease in held.drain(1..) {
        assert_eq!(store.settle(lease, done()).await.unwrap(), Settled::Lost);
    }
    first.dispatch.given_back.subscribe().wait_for(|times| *times > 0).await.unwrap();
    let late = held.pop().unwrap();
    while !matches!(store.begin(&late).await, Err(StoreError::Unreachable(_))) {
        tokio::task::yield_now().await;
    }
    drop(running);
    assert_eq!(store.settle(late, done()).await.unwrap(), Settled::Lost);
    while second.hosts().await.unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(store.shared.run().incarnation > old);
    // And it goes on.
    let id = store.append(event(None)).await.unwrap().id;
    let next = first.leases.recv().await.unwrap();
    assert_eq!(next.delivery.event, id);
    drop(store.begin(&next).await.unwrap());
    assert_eq!(store.settle(next, done()).await.unwrap(), Settled::Kept);
    let stats = second.stats().await.unwrap();
    assert_eq!((stats.deliveries(State::Done), stats.deliveries(State::Leased)), (4, 0));
    assert!(store.trouble().is_none(), "{:?}", store.trouble());
}

#[tokio::test]
async fn a_run_that_is_over_leases_and_stores_nothing_and_its_batches_go_into_the_next_run() {
    let Some(case) = one_postgres() else { return };
    let database = case.database().await;
    let proxy = Proxy::before(database.port).await;
    let options = PostgresOptions { url: proxy.url(&database.name).into(), ..case.options().await };
    let store = Postgres::open(options).await.unwrap();
    let admin = database.admin().await;
    let names = [("audit".into(), crate::event::Digest([7; 32]))];
    store.note_plugins(names.into()).await.unwrap();
    let mut runs = vec![store.shared.run().incarnation];
    for round in 0..8 {
        match round % 4 {
            2 => proxy.cut_next(Cut::AfterCommit),
            3 => proxy.cut_next(Cut::BeforeCommit),
            _ => {}
        }
        admin.batch_execute("DELETE FROM hookbox.hosts").await.unwrap();
        let id = loop {
            // A sender sends again what was not acknowledged.
            match store.append(event(Some(round))).await {
                Err(StoreError::Unreachable(_)) => tokio::task::yield_now().await,
                appended => break appended.unwrap().id,
            }
        };
        let lease = loop {
            // One of a lost answer is due again.
            if let Some(lease) = lease(&store, 1).await.leases.pop() {
                break lease;
            }
        };
        assert_eq!(lease.delivery.event, id);
        let holder = "SELECT holder FROM hookbox.open";
        let run: i64 = admin.query_one(holder, &[]).await.unwrap().get(0);
        assert!(!runs.contains(&run), "{run} of {runs:?}");
        runs.push(run);
        assert_eq!(store.settle(lease, done()).await.unwrap(), Settled::Kept);
    }
    proxy.cuts();
    assert_eq!(store.stats().await.unwrap().events, 8);
    let listed = store.hosts().await.unwrap();
    assert_eq!((listed.len(), listed[0].is_this), (1, true));
    assert_eq!(listed[0].plugins.len(), 1, "the others still see what runs here");
    store.close().await.unwrap();
    assert_eq!(admin.query("SELECT FROM hookbox.hosts", &[]).await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_host_that_is_cut_off_gives_back_what_it_runs_and_goes_on_when_it_is_not() {
    let Some(case) = one_postgres() else { return };
    let database = case.database().await;
    let proxy = Proxy::before(database.port).await;
    let options = PostgresOptions { url: proxy.url(&database.name).into(), ..case.options().await };
    let store = Postgres::open(options).await.unwrap();
    let (dispatch, mut leases) = ToldDispatch::attach(&store, 10);
    store.append(event(None)).await.unwrap();
    let held = leases.recv().await.unwrap();
    drop(store.begin(&held).await.unwrap());
    let mut given_back = dispatch.given_back.subscribe();
    proxy.set(Traffic::Held);
    given_back.wait_for(|times| *times == 1).await.unwrap();
    assert!(store.begin(&held).await.is_err(), "it begins nothing either");
    proxy.set(Traffic::Passes);
    while store.begin(&held).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.settle(held, done()).await.unwrap(), Settled::Kept, "nobody took it over");
    assert_eq!(*given_back.borrow(), 1, "it is told once");
}

#[tokio::test]
async fn a_lease_that_nobody_has_is_given_back_and_one_that_somebody_has_is_not() {
    let Some(case) = one_postgres() else { return };
    let orphans_every = Duration::from_millis(100);
    let options = PostgresOptions { orphans_every, ..case.options().await };
    let store = Postgres::open(options).await.unwrap();
    for _ in 0..2 {
        store.append(event(None)).await.unwrap();
    }
    let mut held = lease(&store, 2).await.leases;
    let (gone, kept) = (held.remove(0), held.remove(0));
    let delivery = gone.delivery;
    drop(gone);
    let found = loop {
        if let Some(found) = lease(&store, 2).await.leases.pop() {
            break found;
        }
    };
    assert_eq!((found.delivery, found.attempt, found.uncounted), (delivery, 2, 1));
    assert_eq!(store.settle(kept, done()).await.unwrap(), Settled::Kept);
    assert_eq!(store.settle(found, done()).await.unwrap(), Settled::Kept);
    let view = store.delivery(delivery).await.unwrap();
    assert_eq!(view.state, State::Done);
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.deliveries(State::Ready), stats.deliveries(State::Leased)), (0, 0));
}
