//! A store, plugins and a dispatcher, with time moved by hand: nothing is due, and no pause is
//! over, by itself.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hookbox::clock::Clock;
use hookbox::config::{Config, MakeSecrets};
use hookbox::dispatch::{Breakers, Deps, Dispatcher};
use hookbox::event::{Digest, State};
use hookbox::plugins::{Loaded, Registry};
use hookbox::sandbox::{CodeSource, Sandbox, SandboxOptions};
use hookbox::store::{DeliveryFilter, DeliveryView, Page, Queue, Read, Sqlite, SqliteOptions};
use tokio::runtime::Handle;

use super::AS_TOLD;
use crate::support::{attributes, new_event, until};

/// When these tests begin.
const START_MS: i64 = 1_770_000_000_000;

/// The pause of the breakers in these tests, in milliseconds.
pub(super) const PAUSE_MS: i64 = 30_000;

/// How `unruly` is told to be, as a breaker allows it: three failures, and then one attempt each
/// pause.
pub(super) const BREAKER: &str = "{ failures = 3, pause = \"30s\" }";

pub(super) struct Dispatching {
    dir: tempfile::TempDir,
    pub(super) store: Arc<Sqlite>,
    clock: Clock,
    config: Arc<ArcSwap<Config>>,
    registry: Arc<ArcSwap<Registry>>,
    sandbox: Sandbox,
    pub(super) dispatcher: Dispatcher,
    pub(super) breakers: Breakers,
}

/// Text for `unruly`, and for its neighbour, which succeeds.
fn config(dir: &Path, does: &str, breaker: &str) -> Config {
    let text = format!(
        "[plugins.unruly]\nconcurrency = 1\nbreaker = {breaker}\nconfig = {{ do = \"{does}\" }}\n\
         retry = {{ max_attempts = 1000, initial = \"1ms\", max = \"1ms\", jitter = \"none\" }}\n\
         [plugins.neighbour]\nconfig = {{ do = \"succeed\" }}\n"
    );
    let path = dir.join("config.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(&path, MakeSecrets::No).unwrap_or_else(|problems| panic!("{problems}"))
}

fn registry(sandbox: &Sandbox, dir: &Path, digest: u8) -> Registry {
    Registry::of(["unruly", "neighbour"].map(|name| Loaded {
        name: name.into(),
        plugin: sandbox.load(AS_TOLD.as_bytes()).unwrap(),
        digest: Digest([digest; 32]),
        path: dir.join(name),
        loaded_at_ms: START_MS,
        usage: Arc::default(),
        size_bytes: 1_234,
        source: CodeSource::Compiled { ms: 12 },
    }))
}

pub(super) fn open_store(dir: &Path, clock: &Clock) -> Option<Sqlite> {
    let path = dir.join("hookbox.db");
    Sqlite::open(SqliteOptions::at(path, clock.clone())).ok()
}

impl Dispatching {
    /// With `unruly` doing this.
    pub(super) async fn new(does: &str) -> Self {
        Self::with(tempfile::tempdir().unwrap(), does).await
    }

    /// The same on a folder that has been used.
    pub(super) async fn with(dir: tempfile::TempDir, does: &str) -> Self {
        let _ = std::fs::create_dir(dir.path().join("plugins"));
        for name in ["unruly", "neighbour"] {
            std::fs::write(dir.path().join(format!("plugins/{name}.wat")), AS_TOLD).unwrap();
        }
        let clock = Clock::manual(START_MS);
        let store = Arc::new(until("the store", async || open_store(dir.path(), &clock)).await);
        let config = Arc::new(ArcSwap::from_pointee(config(dir.path(), does, BREAKER)));
        let sandbox =
            Sandbox::new(SandboxOptions { max_instances: 8, ..SandboxOptions::default() }).unwrap();
        let registry = Arc::new(ArcSwap::from_pointee(registry(&sandbox, dir.path(), 1)));
        let dispatcher = Dispatcher::start(Deps {
            store: store.clone(),
            reads: store.clone(),
            config: config.clone(),
            registry: registry.clone(),
            series: Arc::default(),
            tracer: Default::default(),
            clock: clock.clone(),
            runtime: Handle::current(),
        });
        let breakers = dispatcher.breakers();
        Self { dir, store, clock, config, registry, sandbox, dispatcher, breakers }
    }

    /// Changes the configuration of `unruly`.
    pub(super) fn configure(&self, does: &str, breaker: &str) {
        self.config.store(Arc::new(config(self.dir.path(), does, breaker)));
        self.dispatcher.refresh();
    }

    /// Puts another file of each plugin in the registry.
    pub(super) fn replace_files(&self) {
        self.registry.store(Arc::new(registry(&self.sandbox, self.dir.path(), 2)));
        self.dispatcher.refresh();
    }

    pub(super) fn passes(&self, ms: i64) {
        self.clock.set(self.clock.now_ms() + ms);
    }

    /// Stores events for one plugin.
    pub(super) async fn append(&self, plugin: &str, count: usize) {
        append(&*self.store, plugin, count).await;
    }

    /// Its deliveries, newest first.
    pub(super) async fn deliveries(&self, plugin: &str) -> Vec<DeliveryView> {
        let filter =
            DeliveryFilter { plugin: Some(plugin.to_owned()), ..DeliveryFilter::default() };
        self.store.deliveries(filter, Page { limit: 1_000, after: None }).await.unwrap().0
    }

    pub(super) fn is_open(&self, plugin: &str) -> bool {
        self.breakers.of(plugin).is_some_and(|breaker| breaker.open.is_some())
    }

    /// Waits until `unruly` has spent so many attempts and holds no lease; its deliveries then.
    pub(super) async fn spent(&self, attempts: u32) -> Vec<DeliveryView> {
        until("so many attempts", async || {
            let deliveries = self.deliveries("unruly").await;
            let spent: u32 = deliveries.iter().map(|delivery| delivery.attempt).sum();
            let rests = deliveries.iter().all(|delivery| delivery.state != State::Leased);
            (rests && spent >= attempts).then_some(deliveries)
        })
        .await
    }

    /// Waits until all deliveries of a plugin are in this state.
    pub(super) async fn all(&self, plugin: &str, state: State) {
        until("all deliveries to get there", async || {
            let deliveries = self.deliveries(plugin).await;
            deliveries.iter().all(|delivery| delivery.state == state).then_some(())
        })
        .await;
    }
}

pub(super) async fn append(store: &dyn Queue, plugin: &str, count: usize) {
    for _ in 0..count {
        let event = new_event(attributes("a.b", "order_1", "{}"), &[plugin]);
        store.append(event).await.unwrap();
    }
}

/// How many attempts were spent in all.
pub(super) fn attempts(deliveries: &[DeliveryView]) -> u32 {
    deliveries.iter().map(|delivery| delivery.attempt).sum()
}
