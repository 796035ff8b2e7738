//! The order in which an attempt takes and gives back what is shared.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tempfile::TempDir;
use tokio::runtime::Handle;

use self::gate::Gate;
use super::*;
use crate::clock::Clock;
use crate::config::{Config, MakeSecrets};
use crate::event::{Attributes, Event, EventId, NewEvent, Outcome, State, Target};
use crate::fair::FairPermit;
use crate::plugins::{LoadContext, Registry};
use crate::sandbox::{Compiler, Sandbox, SandboxOptions};
use crate::store::memory::MemoryStore;
use crate::store::{Count, DispatchHandle, Queue};

mod gate;

/// How long a state is waited for before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A dispatcher with one plugin, `worker`, which returns an event with the body it was given.
struct Bench {
    store: Arc<Gate>,
    reads: Arc<MemoryStore>,
    dispatcher: Dispatcher,
    dir: TempDir,
}

fn text(concurrency: usize, lines: &str) -> String {
    let plugin = format!("[plugins.worker]\nconcurrency = {concurrency}\n{lines}\n");
    format!("[server]\nlisten = \"127.0.0.1:0\"\n{plugin}")
}

impl Bench {
    async fn new(concurrency: usize) -> Self {
        Self::with(concurrency, "", Clock::system()).await
    }

    /// The same with more lines in the plugin's section, and this clock.
    async fn with(concurrency: usize, lines: &str, clock: Clock) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        let text = text(concurrency, lines);
        std::fs::write(&path, text).unwrap();
        std::fs::create_dir(dir.path().join("plugins")).unwrap();
        std::fs::write(
            dir.path().join("plugins/worker.wat"),
            include_str!("../../tests/guests/emit.wat"),
        )
        .unwrap();
        let config = Config::load(&path, MakeSecrets::No).unwrap();
        let max_instances = 4;
        let sandbox = Sandbox::new(SandboxOptions { max_instances, ..SandboxOptions::default() });
        let context = LoadContext {
            sandbox: Arc::new(sandbox.unwrap()),
            compiler: Compiler::InProcess,
            dir: dir.path().join("plugins"),
            clock: clock.clone(),
            approvals: Arc::default(),
            files: None,
        };
        let registry = Registry::load_all(&context).await.registry;
        let reads = Arc::new(MemoryStore::new(clock.clone()));
        let store = Arc::new(Gate::new(reads.clone()));
        let deps = Deps {
            store: store.clone(),
            reads: reads.clone(),
            config: Arc::new(ArcSwap::from_pointee(config)),
            registry: Arc::new(ArcSwap::from_pointee(registry)),
            series: Arc::default(),
            tracer: Default::default(),
            clock,
            runtime: Handle::current(),
        };
        Self { store, reads, dispatcher: Dispatcher::start(deps), dir }
    }

    /// Changes the lines in the plugin's section, as a reload does.
    fn configure(&self, lines: &str) {
        let path = self.dir.path().join("config.toml");
        std::fs::write(&path, text(4, lines)).unwrap();
        let config = Config::load(&path, MakeSecrets::No).unwrap();
        self.shared().deps.config.store(Arc::new(config));
        self.dispatcher.refresh();
    }

    fn shared(&self) -> &Shared {
        &self.dispatcher.shared
    }

    /// Takes all the memory there is for verdicts.
    async fn fill(&self) -> FairPermit {
        self.shared().pending_results.acquire(&"other".into(), result_size::MAX_PENDING_KIB).await
    }

    async fn append(&self, body: &'static [u8]) {
        let event = NewEvent {
            deliveries: vec![Target::to("worker").into()],
            ..NewEvent::from(Attributes {
                source: "test".into(),
                kind: "step.one".to_owned(),
                subject: None,
                content_type: None,
                time_ms: 0,
                body: Bytes::from_static(body),
            })
        };
        self.store.append(event).await.unwrap();
    }

    fn count(&self, state: State) -> u64 {
        // The store in memory answers at once.
        match pin!(self.reads.stats()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(stats) => stats.unwrap().deliveries(state),
            Poll::Pending => unreachable!(),
        }
    }
}

/// Waits for a state, looking often.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    poll_fn(|cx| {
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        cx.waker().wake_by_ref();
        if holds() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_keeps_its_permits_until_there_is_memory_for_its_verdict() {
    let bench = Bench::new(1).await;
    let full = bench.fill().await;
    bench.append(b"1").await;
    until("its verdict to wait", || bench.shared().pending_results.waiting() == [1]).await;
    bench.append(b"2").await;
    until("a second lease", || bench.count(State::Leased) == 2).await;
    let permits = bench.shared().queues.load()["worker"].regular.free_run_permits();
    assert_eq!(
        (permits, bench.shared().running.held()),
        (0, 1),
        "both permits are kept, so the second one does not begin"
    );
    drop(full);
    until("both to be done", || bench.count(State::Done) == 2).await;
    until("everything to be given back", || {
        bench.shared().pending_results.held() + bench.shared().running.held() == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_attempt_begins_while_a_verdict_of_its_plugin_waits_for_memory() {
    let bench = Bench::new(2).await;
    let full = bench.fill().await;
    bench.append(b"1").await;
    until("its verdict to wait", || bench.shared().pending_results.waiting() == [1]).await;
    bench.append(b"2").await;
    until("the second one to wait as well", || bench.shared().pending_results.waiting() == [1, 0])
        .await;
    drop(full);
    until("both to be done", || bench.count(State::Done) == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_for_a_verdict_is_given_back_when_it_is_durable_and_not_before() {
    const LARGE: &[u8] = &[b'x'; 100 << 10];
    let bench = Bench::new(2).await;
    bench.store.close();
    bench.append(LARGE).await;
    until("the settlement", || bench.store.waiting() == 1).await;
    let held = bench.shared().pending_results.held();
    assert!((100..110).contains(&held), "the body and what is around it, {held} KiB");
    assert_eq!(bench.shared().running.held(), 0, "it does not run any more");
    bench.append(b"small").await;
    until("the other settlement", || bench.store.waiting() == 2).await;
    assert_eq!(bench.shared().pending_results.held(), held + 1);
    bench.store.open();
    until("both to be given back", || bench.shared().pending_results.held() == 0).await;
    assert_eq!(bench.count(State::Done), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_memory_is_given_back_when_the_host_stops() {
    let bench = Bench::new(2).await;
    let _full = bench.fill().await;
    bench.append(b"1").await;
    until("its verdict to wait", || bench.shared().pending_results.waiting() == [1]).await;
    bench.append(b"2").await;
    until("the second one to wait as well", || bench.shared().pending_results.waiting() == [1, 0])
        .await;
    bench.shared().stopping.cancel();
    bench.shared().aborting.cancel();
    bench.shared().tasks.close();
    tokio::time::timeout(PATIENCE, bench.shared().tasks.wait()).await.expect("nothing is held up");
    assert_eq!((bench.count(State::Ready), bench.count(State::Leased)), (2, 0));
    assert!(bench.shared().pending_results.waiting().is_empty());
    assert_eq!(bench.shared().running.held(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_when_others_may_have_it_is_given_back_and_what_comes_later_runs() {
    let bench = Bench::new(2).await;
    let full = bench.fill().await;
    bench.append(b"1").await;
    until("its verdict to wait", || bench.shared().pending_results.waiting() == [1]).await;
    bench.store.close();
    WeakHandle(Arc::downgrade(&bench.dispatcher.shared)).give_back_all();
    // Nothing else can be settled while memory is full.
    until("it to be given back", || bench.store.waiting() == 1).await;
    bench.store.open();
    until("it to run again", || bench.shared().pending_results.waiting() == [1]).await;
    assert_eq!(bench.store.waiting(), 0, "what runs now is not given back");
    drop(full);
    until("it to be done", || bench.count(State::Done) == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_is_kept_for_every_loaded_plugin() {
    let bench = Bench::new(2).await;
    let greedy = "greedy".into();
    let mut held = Vec::new();
    while bench.shared().running.held() < MAX_RUNNING - 1 {
        held.push(bench.shared().running.acquire(&greedy, 1).await);
    }
    let taking = bench.shared().running.acquire(&greedy, 1);
    tokio::pin!(taking);
    assert!(
        poll_fn(|cx| Poll::Ready(taking.as_mut().poll(cx).is_pending())).await,
        "the last one is the worker's"
    );
    bench.append(b"1").await;
    until("the worker's event", || bench.count(State::Done) == 1).await;
    // Without the plugin nothing is kept for it.
    bench.shared().deps.registry.store(Arc::default());
    bench.dispatcher.refresh();
    taking.await;
}

/// An event that is tried.
fn tried() -> Arc<Event> {
    let id = EventId::first_at(0);
    let attributes = Attributes {
        source: "test".into(),
        kind: "step.one".to_owned(),
        subject: None,
        content_type: None,
        time_ms: 0,
        body: Bytes::from_static(b"1"),
    };
    Arc::new(Event { id, attributes, parent: None, root: None, hops: 0, trace: None })
}

#[tokio::test]
async fn a_trial_without_a_place_is_not_run_and_does_not_wait_for_ever() {
    let bench = Bench::new(1).await;
    let trials = bench.dispatcher.trials();
    let worker = "worker".into();
    let run = || trials.run(&worker, tried(), None);
    let others = bench.shared().running.acquire(&"other".into(), MAX_RUNNING - 1).await;
    // The last place is the worker's own.
    let own = bench.shared().running.acquire(&worker, 1).await;
    assert_eq!(run().await.err(), Some(NotTried::NoCapacity));
    assert_eq!(bench.shared().running.held(), MAX_RUNNING, "nothing was taken from them");
    drop((others, own));
    let trial = run().await.expect("there is a place");
    assert_eq!((trial.record.outcome, trial.emitted.len()), (Outcome::Ok, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_spreads_the_starts_of_a_plugin_and_leases_one_seconds_worth_ahead() {
    let clock = Clock::manual(1_000_000);
    let bench = Bench::with(4, "rate = \"2/s\"", clock.clone()).await;
    for _ in 0..6 {
        bench.append(b"1").await;
    }
    let counts = || [State::Done, State::Leased, State::Ready].map(|state| bench.count(state));
    let become_ = |expected: [u64; 3]| until("the counts", move || counts() == expected);
    become_([1, 2, 3]).await;
    clock.set(1_000_489);
    become_([1, 2, 3]).await;
    clock.set(1_000_490);
    become_([2, 2, 2]).await;
    // A reload with another rate counts at once.
    bench.configure("rate = \"1/h\"");
    clock.set(1_100_000);
    become_([2, 2, 2]).await;
    bench.configure("");
    become_([6, 0, 0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_rate_is_given_back_without_an_attempt_when_the_host_stops() {
    let bench = Bench::with(4, "rate = \"1/h\"", Clock::manual(1_000_000)).await;
    bench.append(b"1").await;
    until("the first one", || bench.count(State::Done) == 1).await;
    bench.append(b"2").await;
    until("a lease", || bench.count(State::Leased) == 1).await;
    bench.shared().stopping.cancel();
    bench.shared().tasks.close();
    tokio::time::timeout(PATIENCE, bench.shared().tasks.wait()).await.expect("nothing is held up");
    assert_eq!((bench.count(State::Ready), bench.count(State::Leased)), (1, 0));
    let permits = Arc::new(tokio::sync::Semaphore::new(1)).try_acquire_owned().unwrap();
    let queue = crate::store::LeaseQueue::Plugin("worker".into());
    let leased = bench.store.lease(queue, permits).await.unwrap().leases;
    assert_eq!(leased[0].counted_attempt(), 1, "no attempt is spent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_rate_is_given_back_when_the_plugin_goes() {
    let bench = Bench::with(4, "rate = \"1/h\"", Clock::manual(1_000_000)).await;
    bench.append(b"1").await;
    until("the first one", || bench.count(State::Done) == 1).await;
    bench.append(b"2").await;
    until("a lease", || bench.count(State::Leased) == 1).await;
    bench.shared().deps.registry.store(Arc::default());
    bench.dispatcher.refresh();
    until("it to be given back", || bench.count(State::Ready) == 1).await;
}
