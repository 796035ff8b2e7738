//! Work that one host leaves, and how the others learn of it.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};

use super::hosts::{event, lease};
use super::proxy::{Proxy, Traffic};
use super::*;
use crate::event::{NewEvent, PluginName, Target};
use crate::store::{DispatchHandle, Health, Lease, LeasePermit, MemoryReservation, Queue};

/// So long that nobody waits for it.
pub(super) const NEVER: Duration = Duration::from_secs(3_600);

/// A dispatcher that tells what it was told.
#[derive(Debug)]
pub(super) struct ToldDispatch {
    permits: Arc<Semaphore>,
    delivered: mpsc::UnboundedSender<Lease>,
    /// The plugins that were told of, and how often.
    notified: Mutex<Vec<PluginName>>,
    notes: watch::Sender<usize>,
    /// How often it was told to give back what it has.
    pub(super) given_back: watch::Sender<usize>,
}

impl DispatchHandle for ToldDispatch {
    fn permit(&self, _: &str, _: usize) -> Option<LeasePermit> {
        let budget = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some(LeasePermit { budget, memory: None })
    }

    fn memory(&self, _: &str, _: usize) -> Option<MemoryReservation> {
        let some = || Arc::new(Semaphore::new(1)).try_acquire_owned().expect("it has one");
        Some(MemoryReservation { plugin: some(), total: some() })
    }

    fn deliver(&self, leases: Vec<Lease>) {
        for lease in leases {
            self.delivered.send(lease).expect("the test takes them");
        }
    }

    fn notify(&self, plugin: &PluginName, due_in: Duration) {
        if due_in.is_zero() {
            self.notified.lock().expect("nobody panics").push(plugin.clone());
            self.notes.send_modify(|notes| *notes += 1);
        }
    }

    fn give_back_all(&self) {
        self.given_back.send_modify(|times| *times += 1);
    }
}

impl ToldDispatch {
    /// Attaches one with so many permits. Also returns what is leased on insert.
    pub(super) fn attach(
        store: &Postgres,
        permits: usize,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Lease>) {
        let (delivered, leases) = mpsc::unbounded_channel();
        let dispatch = Arc::new(Self {
            permits: Arc::new(Semaphore::new(permits)),
            delivered,
            notified: Mutex::default(),
            notes: watch::Sender::new(0),
            given_back: watch::Sender::new(0),
        });
        store.attach(dispatch.clone());
        (dispatch, leases)
    }

    /// Returns once a plugin was told of, and forgets it.
    async fn is_told_of(&self, plugin: &str) {
        let mut notes = self.notes.subscribe();
        loop {
            {
                let mut notified = self.notified.lock().expect("nobody panics");
                if notified.iter().any(|name| &**name == plugin) {
                    notified.clear();
                    return;
                }
            }
            notes.changed().await.expect("it is there");
        }
    }
}

/// A host that polls so often, through this address if there is one.
async fn polling(
    case: &OnePostgres,
    poll_every: Duration,
    url: Option<String>,
) -> (Postgres, TempDir) {
    let (folder, own) = (tempfile::tempdir().unwrap(), case.options().await);
    let url = url.map_or(own.url.clone(), Into::into);
    let options = PostgresOptions { folder: folder.path().to_owned(), poll_every, url, ..own };
    (Postgres::open(options).await.unwrap(), folder)
}

#[tokio::test]
async fn work_that_a_host_leaves_wakes_another_that_does_not_poll() {
    let Some(case) = one_postgres() else { return };
    let (first, _folder) = polling(&case, NEVER, None).await;
    let (second, _other) = polling(&case, NEVER, None).await;
    let (told, _leases) = ToldDispatch::attach(&second, 0);
    for _ in 0..3 {
        first.append(event(None)).await.unwrap();
        told.is_told_of("audit").await;
        let leased = lease(&second, 1).await.leases;
        assert_eq!(leased.len(), 1, "it is there when the host is told of it");
    }
    // A host that ends in order leaves what it held.
    first.append(event(None)).await.unwrap();
    told.is_told_of("audit").await;
    let held = lease(&first, 1).await;
    first.close().await.unwrap();
    told.is_told_of("audit").await;
    drop(held);
    assert_eq!(lease(&second, 1).await.leases.len(), 1);
}

#[tokio::test]
async fn a_host_is_not_woken_by_its_own_work() {
    let Some(case) = one_postgres() else { return };
    let (first, _folder) = polling(&case, NEVER, None).await;
    let (second, _other) = polling(&case, NEVER, None).await;
    let (own, _leases) = ToldDispatch::attach(&first, 0);
    let (told, _others) = ToldDispatch::attach(&second, 0);
    first.append(event(None)).await.unwrap();
    // Its writer tells it once, and then the other host is told.
    own.is_told_of("audit").await;
    told.is_told_of("audit").await;
    let other = NewEvent { deliveries: vec![Target::to("other").into()], ..event(None) };
    second.append(other).await.unwrap();
    own.is_told_of("other").await;
    assert!(own.notified.lock().unwrap().is_empty());
    assert_eq!(*own.notes.borrow(), 2);
}

#[tokio::test]
async fn work_that_nobody_tells_of_is_found_by_the_poll() {
    let Some(case) = one_postgres() else { return };
    let (first, _folder) = polling(&case, NEVER, None).await;
    let (second, _other) = polling(&case, Duration::from_millis(300), None).await;
    let (told, _leases) = ToldDispatch::attach(&second, 0);
    first.append(NewEvent { delay_ms: 3_600_000, ..event(None) }).await.unwrap();
    let admin = case.database().await.admin().await;
    admin.execute("UPDATE hookbox.open SET due = 0", &[]).await.unwrap();
    told.is_told_of("audit").await;
    assert_eq!(lease(&second, 1).await.leases.len(), 1);
}

#[tokio::test]
async fn a_host_whose_connection_was_cut_listens_again_and_looks_at_once() {
    let Some(case) = one_postgres() else { return };
    let (first, _folder) = polling(&case, NEVER, None).await;
    let database = case.database().await;
    let proxy = Proxy::before(database.port).await;
    let (second, _other) = polling(&case, NEVER, Some(proxy.url(&database.name))).await;
    let (told, _leases) = ToldDispatch::attach(&second, 0);
    for _ in 0..2 {
        proxy.set(Traffic::Closed);
        // Nobody hears of it.
        first.append(event(None)).await.unwrap();
        proxy.set(Traffic::Passes);
        told.is_told_of("audit").await;
        while lease_if_reachable(&second).await == 0 {
            tokio::task::yield_now().await;
        }
        first.append(event(None)).await.unwrap();
        told.is_told_of("audit").await;
        assert_eq!(lease(&second, 1).await.leases.len(), 1, "it listens again");
    }
}

/// Leases one delivery unless the writer still connects.
async fn lease_if_reachable(store: &Postgres) -> usize {
    let permits = Arc::new(Semaphore::new(1)).try_acquire_many_owned(1).unwrap();
    let queue = crate::store::LeaseQueue::Plugin("audit".into());
    store.lease(queue, permits).await.map_or(0, |leased| leased.leases.len())
}
