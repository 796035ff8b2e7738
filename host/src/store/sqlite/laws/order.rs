//! The order of commands in a batch, and the waits between them, seen with a writer that pauses
//! when it is told to.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::store::{
    DispatchHandle, EventFilter, Lease, LeasePermit, MemoryReservation, Page, Pending,
};

/// Stands still with the first delivery that it is told of, until the test has seen enough.
#[derive(Debug)]
struct StandsStill {
    still: Mutex<Receiver<()>>,
    told: UnboundedSender<()>,
}

impl DispatchHandle for StandsStill {
    fn permit(&self, _: &str, _: usize) -> Option<LeasePermit> {
        None
    }

    fn memory(&self, _: &str, _: usize) -> Option<MemoryReservation> {
        let some = || Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        Some(MemoryReservation { plugin: some(), total: some() })
    }

    fn deliver(&self, _: Vec<Lease>) {}

    fn notify(&self, plugin: &PluginName, _: Duration) {
        if &**plugin == "still" {
            self.told.send(()).unwrap();
            let _ = self.still.lock().unwrap().recv();
        }
    }
}

/// A store whose writer stands still after each commit that has an event for `still`, until a
/// message comes. A commit ends by its size alone, and not by the time it took on a busy machine.
fn standing_still(file: &OneFile) -> (Sqlite, Sender<()>, UnboundedReceiver<()>) {
    let longest_work = Duration::from_secs(3_600);
    let store = Sqlite::open(SqliteOptions { longest_work, ..file.options() }).unwrap();
    let (go, still) = channel();
    let (told, stands) = unbounded_channel();
    store.attach(Arc::new(StandsStill { still: Mutex::new(still), told }));
    (store, go, stands)
}

fn for_plugin(plugin: &str) -> NewEvent {
    NewEvent { deliveries: vec![Target::to(plugin).into()], ..event() }
}

/// How many of these have their answer.
fn answered<T>(pending: &mut [Pending<'_, T>]) -> usize {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    pending
        .iter_mut()
        .map(|pending| pending.as_mut().poll(&mut cx))
        .filter(std::task::Poll::is_ready)
        .count()
}

#[tokio::test]
async fn a_look_at_one_event_does_not_wait_for_listings() {
    let file = one_file();
    let store = file.open_sqlite().await;
    let id = store.append(event()).await.unwrap().id;
    let busy = store.listings.occupy().await;
    let page = Page { limit: 1, after: None };
    let mut listed = store.events(EventFilter::default(), page);
    assert!(listed.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(store.event(id).await.unwrap().event.id, id);
    store.kv_get("audit".into(), "n".to_owned()).await.unwrap();
    drop(busy);
    assert_eq!(listed.await.unwrap().0.len(), 1);
}

#[tokio::test]
async fn an_append_goes_before_the_settlements_that_wait_and_a_batch_takes_a_bounded_number_of_them()
 {
    let file = one_file();
    let (store, go, mut stands) = standing_still(&file);
    for _ in 0..100 {
        store.append(for_plugin("storm")).await.unwrap();
    }
    let permits = Arc::new(Semaphore::new(100)).try_acquire_many_owned(100).unwrap();
    let leases = store.lease(LeaseQueue::Plugin("storm".into()), permits).await.unwrap().leases;
    assert_eq!(leases.len(), 100);
    let first = store.append(for_plugin("still"));
    stands.recv().await.unwrap();
    // The writer stands. A hundred settlements of a hundred events each come, and then an append.
    let settlement = || {
        let next = Next::Done { emitted: vec![event(); 100], kv: KvTransaction::default() };
        Settlement { next, record: Some(record(Outcome::Ok)) }
    };
    let mut settled: Vec<_> =
        leases.into_iter().map(|lease| store.settle(lease, settlement())).collect();
    let append = store.append(for_plugin("still"));
    go.send(()).unwrap();
    first.await.unwrap();
    stands.recv().await.unwrap();
    // It stands again, after the batch that had the append.
    append.await.unwrap();
    let beside = answered(&mut settled);
    assert!((1..=20).contains(&beside), "{beside} settlements were in the batch of the append");
    drop(go);
    assert_eq!(store.append(event()).await.map(|appended| appended.duplicate).ok(), Some(false));
}

#[tokio::test]
async fn a_source_that_floods_lets_another_ones_event_into_the_next_batch() {
    let file = one_file();
    let (store, go, mut stands) = standing_still(&file);
    let first = store.append(for_plugin("still"));
    stands.recv().await.unwrap();
    let large = || {
        let mut event = event();
        event.attributes.body = vec![b'x'; 1 << 20].into();
        event
    };
    let mut flood: Vec<_> = (0..40).map(|_| store.append(large())).collect();
    let mut quiet = for_plugin("still");
    quiet.attributes.source = "quiet".into();
    let quiet = store.append(quiet);
    go.send(()).unwrap();
    first.await.unwrap();
    stands.recv().await.unwrap();
    quiet.await.unwrap();
    let beside = answered(&mut flood);
    assert!(beside < 10, "{beside} of the flood were in the batch of the quiet one");
    drop(go);
    for append in flood {
        drop(append);
    }
}

#[tokio::test]
async fn one_source_cannot_take_all_the_room_for_appends_that_wait() {
    let file = one_file();
    let options = SqliteOptions { max_waiting_appends: 64, ..file.options() };
    let store = Sqlite::open(options).unwrap();
    let (go, still) = channel();
    let (told, mut stands) = unbounded_channel();
    store.attach(Arc::new(StandsStill { still: Mutex::new(still), told }));
    let first = store.append(for_plugin("still"));
    stands.recv().await.unwrap();
    let mut flood: Vec<_> = (0..100).map(|_| store.append(event())).collect();
    let refused = answered(&mut flood);
    assert!((30..70).contains(&(100 - refused)), "{refused} of 100 were refused");
    let mut quiet = event();
    quiet.attributes.source = "quiet".into();
    let quiet = store.append(quiet);
    drop(go);
    first.await.unwrap();
    assert!(!quiet.await.unwrap().duplicate);
}

#[tokio::test]
async fn a_large_settlement_waits_for_the_append_and_has_the_next_batch() {
    let file = one_file();
    let (store, go, mut stands) = standing_still(&file);
    store.append(for_plugin("storm")).await.unwrap();
    let permits = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let lease =
        store.lease(LeaseQueue::Plugin("storm".into()), permits).await.unwrap().leases.remove(0);
    let first = store.append(for_plugin("still"));
    stands.recv().await.unwrap();
    let mut large = event();
    large.attributes.body = vec![b'x'; 4 << 20].into();
    let next = Next::Done { emitted: vec![large], kv: KvTransaction::default() };
    let mut settled = [store.settle(lease, Settlement { next, record: None })];
    let appends = [store.append(for_plugin("still")), store.append(for_plugin("still"))];
    go.send(()).unwrap();
    first.await.unwrap();
    // It stands twice for the two that came together.
    stands.recv().await.unwrap();
    go.send(()).unwrap();
    stands.recv().await.unwrap();
    for append in appends {
        append.await.unwrap();
    }
    assert_eq!(answered(&mut settled), 0, "it was not in the batch of the appends");
    // Appends in every batch do not put it off any longer.
    let third = store.append(for_plugin("still"));
    go.send(()).unwrap();
    stands.recv().await.unwrap();
    third.await.unwrap();
    assert_eq!(answered(&mut settled), 1);
    drop(go);
}
