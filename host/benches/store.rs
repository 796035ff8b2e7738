//! Durable work: batches of events, and batches of settlements, each one commit.
//!
//! The store's writer takes whatever has queued while it was busy, so what is in a commit is a
//! matter of time. Here its dispatcher keeps it waiting until a whole batch has queued, and there
//! is one commit a round.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hookbox::clock::Clock;
use hookbox::event::{
    AttemptRecord, Counted, Digest, GatheringKind, GatheringTerms, GuestUse, Key, LogLine,
    NewEvent, NewMember, Outcome, PluginName,
};
use hookbox::ingest::SourceRuntime;
use hookbox::store::{
    Appended, DispatchHandle, Health, KvTransaction, Lease, LeasePermit, MemoryReservation, Next,
    Pending, Queue, Settled, Settlement, Sqlite, SqliteOptions,
};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

use crate::requests::{NOW_MS, Provider};
use crate::stage::Stage;

/// After so many events the store moves the dedupe keys with one first byte into their table, each
/// first byte in its turn.
const EVENTS_A_TURN: usize = 256;

/// The store's file in its folder.
const FILE: &str = "bench.db";

/// Bytes of each body.
const BODY_BYTES: usize = 230;

/// The deliveries of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A delivery that is leased on insert.
    Plain,
    /// The same, with a key of its own.
    Keyed,
    /// None: it is a member of a join, and each third one completes it.
    Member,
}

/// So many events appended in one commit.
pub(crate) fn append(events: usize, kind: Kind) -> Stage {
    let bench = Rc::new(Bench::open());
    Box::new(move || {
        let (bench, events) = (bench.clone(), bench.events_of(kind, events));
        Box::new(move || bench.append(events))
    })
}

/// A commit that brings a turn, in which so many keys move into the table. In the long run it would
/// be 512, from among those of all first bytes; these are of one event, and begin with the byte
/// whose turn it is.
pub(crate) fn move_keys(keys: u16) -> Stage {
    let bench = Rc::new(Bench::open());
    let turn = Cell::new(0_u8);
    let prepare = move || {
        let begin = turn.replace(turn.get().wrapping_add(1));
        let mut event = bench.events(1).remove(0);
        let own = event.dedupe[0];
        let key = |n: u16| {
            let mut key = own;
            key[0] = begin;
            key[14..].copy_from_slice(&n.to_be_bytes());
            key
        };
        let keyless = NewEvent { dedupe: Vec::new(), ..event.clone() };
        event.dedupe = (0..keys).map(key).collect();
        bench.append(vec![event]);
        let mut others = vec![keyless; EVENTS_A_TURN - 1];
        // For the dispatcher one delivery is enough to keep the writer waiting.
        others[1..].iter_mut().for_each(|event| event.deliveries.clear());
        (bench.clone(), others)
    };
    let (bench, events) = prepare();
    bench.append(events);
    let moved = bench.keys_moved();
    assert!(
        moved >= usize::from(keys),
        "{EVENTS_A_TURN} events are to bring a turn of {keys} keys, and moved {moved}"
    );
    Box::new(move || {
        let (bench, events) = prepare();
        Box::new(move || bench.append(events))
    })
}

/// So many deliveries settled in one commit: one of them is to be tried again, the others are done.
pub(crate) fn settle(deliveries: usize, kind: Kind) -> Stage {
    let bench = Rc::new(Bench::open());
    Box::new(move || {
        bench.append(bench.events_of(kind, deliveries));
        let settlements =
            bench.leased().into_iter().enumerate().map(|(at, lease)| (lease, settlement(at == 0)));
        let (bench, settlements) = (bench.clone(), settlements.collect::<Vec<_>>());
        assert_eq!(settlements.len(), deliveries);
        Box::new(move || bench.settle(settlements))
    })
}

/// The result of the plugin `audit`, or of an attempt that asks for another.
fn settlement(again: bool) -> Settlement {
    let done = Next::Done { emitted: Vec::new(), kv: KvTransaction::default() };
    let message =
        "avatar_video.success subject=order_000000000001 id=evt_0019c1d5a5000001 bytes=230"
            .to_owned();
    let record = AttemptRecord {
        started_at_ms: NOW_MS,
        duration_us: 20,
        used: Some(GuestUse { cpu_us: 15, memory_kib: 1_152 }),
        outcome: if again { Outcome::Retry } else { Outcome::Ok },
        error: again.then(|| "not yet".to_owned()),
        logs: vec![LogLine { level: "info".to_owned(), message }],
        calls: Vec::new(),
        steps: Vec::new(),
        plugin_digest: Some(Digest([7; 32])),
    };
    Settlement {
        next: if again { Next::RetryIn(Duration::from_secs(1)) } else { done },
        record: Some(record),
    }
}

fn key(number: usize) -> Key {
    Key::Text(format!("customer_{number:012}").into())
}

/// A member of a join of three.
fn member(number: usize) -> NewMember {
    let terms = GatheringTerms {
        plugin: "joins/order-videos".into(),
        kind: GatheringKind::Join,
        within: Duration::from_secs(3_600),
        quiet: None,
        need: Some(3),
        types: 0,
    };
    let counted = Counted::Text(format!("video_{number:012}").into());
    let (terms, key) = (Arc::new(terms), key(number / 3));
    NewMember { terms, key, counted, need: None, seen: 0, closes: false }
}

/// A store whose commits this thread begins.
struct Bench {
    store: Sqlite,
    runtime: Runtime,
    provider: Provider,
    source_runtime: SourceRuntime,
    /// The number of the next request.
    next: Cell<usize>,
    leased: Receiver<Vec<Lease>>,
    go: Option<Sender<()>>,
    folder: TempDir,
}

impl Bench {
    fn open() -> Self {
        // Beside what is built, since a folder for temporary files may be in memory, where nothing
        // is synced.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let clock = Clock::manual(NOW_MS);
        // One commit is counted, however slowly.
        let longest_work = Duration::from_secs(3_600);
        let options =
            SqliteOptions { longest_work, ..SqliteOptions::at(folder.path().join(FILE), clock) };
        let store = Sqlite::open(options).expect("a store");
        let ((leases, leased), (go, wait)) = (channel(), channel());
        let budget = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        store.attach(Arc::new(HoldingDispatch { budget, leases, wait: Mutex::new(wait) }));
        let (provider, next) = (Provider::new(), Cell::new(0));
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let source_runtime = provider.source_runtime();
        let bench =
            Self { store, runtime, provider, source_runtime, next, leased, go: Some(go), folder };
        // The writer does not wait for anybody before its first commit.
        let first = bench.events(1).into_iter().map(|event| bench.store.append(event)).collect();
        bench.wait_for(first);
        assert_eq!(bench.leased().len(), 1);
        bench
    }

    /// So many that have not been before.
    fn events(&self, count: usize) -> Vec<NewEvent> {
        let first = self.next.replace(self.next.get() + count);
        (first..first + count)
            .map(|number| self.provider.event(&self.source_runtime, number, BODY_BYTES))
            .collect()
    }

    fn events_of(&self, kind: Kind, count: usize) -> Vec<NewEvent> {
        let first = self.next.get();
        let mut events = self.events(count);
        for (number, event) in (first..).zip(&mut events) {
            match kind {
                Kind::Plain => {}
                Kind::Keyed => event.deliveries[0].key = Some(key(number)),
                Kind::Member => {
                    event.deliveries.clear();
                    event.members = vec![member(number)];
                }
            }
        }
        events
    }

    /// How many dedupe keys are in their table.
    fn keys_moved(&self) -> usize {
        let file =
            rusqlite::Connection::open(self.folder.path().join(FILE)).expect("the store's file");
        file.query_row("SELECT count(*) FROM dedupe", [], |row| row.get(0))
            .expect("the table of keys")
    }

    /// The leases of the last commit of appends.
    fn leased(&self) -> Vec<Lease> {
        self.leased.recv().expect("the store is open")
    }

    fn append(&self, events: Vec<NewEvent>) {
        let waiting = events.into_iter().map(|event| self.store.append(event)).collect();
        self.commit(waiting, |appended: Appended| assert!(!appended.duplicate));
    }

    fn settle(&self, settlements: Vec<(Lease, Settlement)>) {
        let waiting = settlements
            .into_iter()
            .map(|(lease, settlement)| self.store.settle(lease, settlement))
            .collect();
        self.commit(waiting, |settled| assert_eq!(settled, Settled::Kept));
    }

    /// Lets the writer take what has queued, and waits until it is durable.
    fn commit<T>(&self, waiting: Vec<Pending<'_, T>>, check: impl Fn(T)) {
        self.go.as_ref().expect("it is taken at the end").send(()).expect("the dispatcher waits");
        self.wait_for(waiting).into_iter().for_each(check);
    }

    fn wait_for<T>(&self, waiting: Vec<Pending<'_, T>>) -> Vec<T> {
        let durable = async {
            let mut answers = Vec::with_capacity(waiting.len());
            // The last one first: when that is answered all are, and this thread is woken once.
            for answer in waiting.into_iter().rev() {
                answers.push(answer.await.expect("the store takes it"));
            }
            answers
        };
        self.runtime.block_on(durable)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // The dispatcher keeps nobody waiting any more.
        self.go = None;
        let _ = self.runtime.block_on(self.store.close());
    }
}

/// Takes every delivery, and keeps the writer waiting after each commit. The dispatcher of a host
/// must not do that.
#[derive(Debug)]
struct HoldingDispatch {
    budget: Arc<Semaphore>,
    leases: Sender<Vec<Lease>>,
    wait: Mutex<Receiver<()>>,
}

impl HoldingDispatch {
    fn hold(&self) {
        // An error means that it is the end.
        let _ = self.wait.lock().unwrap_or_else(PoisonError::into_inner).recv();
    }
}

impl DispatchHandle for HoldingDispatch {
    fn permit(&self, _plugin: &str, _body_bytes: usize) -> Option<LeasePermit> {
        Some(LeasePermit { budget: self.budget.clone().try_acquire_owned().ok()?, memory: None })
    }

    fn memory(&self, _plugin: &str, _body_bytes: usize) -> Option<MemoryReservation> {
        let some = || self.budget.clone().try_acquire_owned().ok();
        Some(MemoryReservation { plugin: some()?, total: some()? })
    }

    fn deliver(&self, leases: Vec<Lease>) {
        // Nobody listens any more at the end.
        let _ = self.leases.send(leases);
        self.hold();
    }

    fn notify(&self, plugin: &PluginName, _due_in: Duration) {
        // Of a commit with joins some are complete, and keep the writer waiting.
        if !plugin.starts_with("joins/") {
            self.hold();
        }
    }
}
