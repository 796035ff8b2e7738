//! Every start and stop, in order.
//!
//! `build` may fail and binds the addresses; `run` serves until it is told to stop, then drains.
//! There are no new requests and no new leases; running attempts may finish for a while, the other
//! deliveries are given back, and the store is closed last. A store that stops by itself ends the
//! host with an error: nothing can be acknowledged without it.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin, Role};
use crate::clock::Clock;
use crate::config::Config;
use crate::dispatch::{Deps, Dispatcher, MAX_RUNNING};
use crate::ingest::{self, Capacity, Intake, KeyFetcher};
use crate::plugins::{Approvals, LoadContext, Refreshed, Registry, ReloadLog};
use crate::reload::{self, ReloadTiming, Watched};
use crate::sandbox::{Cache, Compiler, Sandbox, SandboxError, SandboxOptions};
use crate::server::ServerTimeouts;
use crate::status::Status;
use crate::store::{OnLoss, OpenError, PostgresOpenError, Store, StoreError};
use crate::{env, fail, tasks};

mod history;
mod hosts;
mod listen;
mod observed;
mod open_store;
mod operations;
mod reconcile;
mod reloaded;
mod schedules;
mod shared_secrets;
mod sweep;
mod time;
mod time_limits;

pub use observed::Observed;
pub use open_store::peek_approvals;
use operations::OperationParts;
use reconcile::Reconciler;
use reloaded::Reloaded;
use shared_secrets::SharedSecrets;
use time_limits::TimeLimits;

/// Instances that are kept for the next event, of all plugins with `instance = "reuse"`.
const MAX_WARM: u32 = 64;

/// Why the host does not start, or does not go on.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} (`{key}`): {source}{}", listen::remedy(source, key, *address))]
    Bind {
        /// The configuration's key.
        key: &'static str,
        /// Its value.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The shared store cannot be opened.
    #[error(transparent)]
    OpenPostgres(#[from] PostgresOpenError),
    /// Secrets of the shared store were sealed with another key.
    #[error(
        "`store.secret_key` is not the key that the secrets in {store} are sealed with: it does not open `{name}`. Give \
         this host the key that the other hosts have; docs/many-hosts.md says how to change it"
    )]
    SecretKey {
        /// The first one that it does not open.
        name: String,
        /// The store.
        store: String,
    },
    /// Secrets that hosts share cannot be kept.
    #[error("the secrets that hosts share cannot be kept in {}: {source}", folder.display())]
    Secrets {
        /// The folder.
        folder: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The sandbox cannot be set up.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Threads cannot be started.
    #[error("cannot start threads: {0}")]
    Threads(std::io::Error),
    /// The approvals of plugins cannot be read.
    #[error("nothing is known of what was approved: {0}")]
    Approvals(String),
    /// A fail point cannot be armed.
    #[error("HOOKBOX_FAIL: {0}")]
    FailPlan(String),
    /// The store has stopped while the host ran.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// A host that is built and bound, and has not begun to serve.
#[derive(Debug)]
pub struct App {
    config: Arc<ArcSwap<Config>>,
    registry: Arc<ArcSwap<Registry>>,
    context: LoadContext,
    reloads: Arc<ReloadLog>,
    status: Arc<Status>,
    store: Arc<dyn Store>,
    clock: Clock,
    public: TcpListener,
    admin: TcpListener,
    attempts: Runtime,
    addresses: Addresses,
    secrets: Option<SharedSecrets>,
}

/// Where the host listens, with the ports the system chose for 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Webhooks.
    pub public: SocketAddr,
    /// API and metrics.
    pub admin: SocketAddr,
}

/// Binds the addresses, opens the store, and loads the plugins that `compiler` need not compile.
pub async fn build(config: Config, compiler: Compiler, on_loss: OnLoss) -> Result<App, AppError> {
    build_by(config, compiler, on_loss, Clock::system()).await
}

/// The same by a clock that may be moved by hand.
pub async fn build_by(
    config: Config,
    compiler: Compiler,
    on_loss: OnLoss,
    clock: Clock,
) -> Result<App, AppError> {
    if let Some((plan, until)) = env::fail_plan() {
        fail::arm(&plan, until).map_err(AppError::FailPlan)?;
    }
    raise_file_limit();
    // Before the store is opened, so that a second host at these addresses leaves it alone.
    let (public, public_address) = listen::bind("server.listen", config.server.listen).await?;
    let (admin, admin_address) = listen::bind("server.admin", config.server.admin).await?;
    let addresses = Addresses { public: public_address, admin: admin_address };
    let config = Arc::new(ArcSwap::from_pointee(config));
    let store = open_store::open(&config, on_loss, &clock).await?;
    let begun = SharedSecrets::begin(&config, store.clone()).await;
    if begun.is_err() {
        // The first error is told, not that of closing.
        let _ = store.close().await;
    }
    let secrets = begun?;
    let its = config.load_full();
    // Secrets that other hosts have may have come.
    its.log_warnings();
    let options = SandboxOptions {
        max_instances: MAX_RUNNING,
        max_warm: MAX_WARM,
        cores: tasks::cores(),
        stack_bytes: its.server.plugin_stack_bytes,
    };
    let sandbox = Arc::new(Sandbox::new(options)?);
    let dir = its.server.plugins_dir.clone();
    let (former, files) = (its.store.former_approvals_dir(), Cache::at(its.server.compiled_dir()));
    files.take_over(&its.store.former_compiled_dir());
    let approvals = Approvals::open(store.clone(), &former, files.clone(), config.clone()).await;
    let approvals = Arc::new(approvals.map_err(AppError::Approvals)?);
    let context =
        LoadContext { sandbox, compiler, dir, clock: clock.clone(), approvals, files: Some(files) };
    let Refreshed { registry, changes, .. } = Registry::begin(&context).await;
    let registry = registry.with_routed(&config.load().routes);
    reload::report(&changes, &registry, &config.load());
    let reloads = Arc::new(ReloadLog::default());
    reloads.note(&changes, &Registry::default(), &registry, clock.now_ms());
    Ok(App {
        config,
        registry: Arc::new(ArcSwap::from_pointee(registry)),
        context,
        reloads,
        status: Arc::new(Status::read_at(clock.now_ms())),
        store,
        clock,
        public,
        admin,
        attempts: tasks::runtime("hookbox-attempt", 2 * tasks::cores())
            .map_err(AppError::Threads)?,
        addresses,
        secrets,
    })
}

/// Every connection takes a file descriptor, and the usual limit is lower than what the machine
/// allows.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(error = %error, limit = ?limit.current, "the limit of open files stays as it is");
    }
}

impl App {
    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The running configuration.
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// The running plugins.
    pub fn registry(&self) -> Arc<Registry> {
        self.registry.load_full()
    }

    fn dispatch(&self, observed: &Observed) -> Dispatcher {
        Dispatcher::start(Deps {
            store: self.store.clone(),
            reads: self.store.clone(),
            config: self.config.clone(),
            registry: self.registry.clone(),
            series: observed.series.clone(),
            tracer: observed.tracer.clone(),
            clock: self.clock.clone(),
            runtime: self.attempts.handle().clone(),
        })
    }

    fn intake(&self, observed: &Observed) -> Intake {
        Intake {
            config: self.config.clone(),
            store: self.store.clone(),
            reads: self.store.clone(),
            clock: self.clock.clone(),
            timeouts: ServerTimeouts::default(),
            capacity: Capacity::default(),
            unidentified: Arc::default(),
            activity: Arc::default(),
            series: observed.series.clone(),
            tracer: observed.tracer.clone(),
            keys: KeyFetcher::system(),
        }
    }

    fn admin_state(
        &self,
        dispatcher: &Dispatcher,
        intake: &Intake,
        observed: &Observed,
        closing: &CancellationToken,
    ) -> Admin {
        Admin {
            store: self.store.clone(),
            registry: self.registry.clone(),
            approvals: self.context.approvals.clone(),
            reloads: self.reloads.clone(),
            breakers: dispatcher.breakers(),
            trials: dispatcher.trials(),
            queues: dispatcher.queues(),
            config: self.config.clone(),
            status: self.status.clone(),
            unidentified: intake.unidentified.clone(),
            activity: intake.activity.clone(),
            public_address: self.addresses.public,
            render_metrics: observed.render_metrics.clone(),
            series: observed.series.clone(),
            tracer: observed.tracer.clone(),
            closing: closing.clone(),
            streams: Arc::default(),
            clock: self.clock.clone(),
            started_ms: self.clock.now_ms(),
            own_address: self.addresses.admin.ip(),
            operations: Arc::default(),
            answers: Arc::default(),
            keyed_changes: Arc::default(),
            access: Arc::default(),
            // A reload may take the last token away, but the address stays.
            role_without_token: self.addresses.admin.ip().is_loopback().then_some(Role::Operator),
        }
    }

    fn operations(&self, admin: &Admin) -> OperationParts {
        OperationParts {
            store: self.store.clone(),
            reads: self.store.clone(),
            config: self.config.clone(),
            signal: admin.operations.clone(),
        }
    }

    /// Serves until `shutdown` or until the store stops, then drains.
    pub async fn run(
        self,
        shutdown: CancellationToken,
        observed: Observed,
    ) -> Result<(), AppError> {
        let (store, registry) = (self.store.clone(), self.registry.clone());
        let limits = TimeLimits::begin(store.clone(), &self.config, &shutdown).await;
        let dispatcher = Arc::new(self.dispatch(&observed));
        let closing = CancellationToken::new();
        let intake = self.intake(&observed);
        let admin = self.admin_state(&dispatcher, &intake, &observed, &closing);
        let operations = self.operations(&admin);
        let (reconciler, activity) = (Reconciler::of(&self, &intake), intake.activity.clone());
        let watched = Watched {
            config: self.config.clone(),
            registry: self.registry.clone(),
            context: self.context,
            status: self.status,
            series: observed.series.clone(),
            reloads: self.reloads,
        };
        let reloaded = Reloaded::default();
        let refresh = reloaded.teller(&dispatcher);
        let ticker =
            schedules::Ticker::new(self.store.clone(), self.clock.clone(), self.store.pauses())
                .counting_in(observed.series.clone())
                .traced_by(observed.tracer.clone());
        let (config, clock) = (|| self.config.clone(), || self.clock.clone());
        let closed = || closing.clone();
        let serving = [
            tasks::spawn(ingest::serve(self.public, intake, closed())),
            tasks::spawn(admin::serve(self.admin, admin, closed())),
            tasks::spawn(reload::run(watched, ReloadTiming::default(), refresh, closed())),
            tasks::spawn(time::run(store.clone(), config(), clock(), closed())),
            tasks::spawn(history::run(store.clone(), observed.series, activity, clock(), closed())),
            tasks::spawn(operations::run(operations, closed())),
            tasks::spawn(schedules::run(ticker, config(), reloaded.schedules, closed())),
            tasks::spawn(reconciler.run(reloaded.logs, closed())),
            tasks::spawn(sweep::run(store.clone(), config(), clock(), closed())),
            tasks::spawn(hosts::run(store.clone(), registry, reloaded.hosts, closed())),
            tasks::spawn(limits.run(reloaded.limits, closed())),
            tasks::spawn(shared_secrets::run(self.secrets, reloaded.secrets, closed())),
        ];
        tokio::select! {
            () = shutdown.cancelled() => tracing::info!("stopping: requests and running attempts may finish"),
            _ = store.stopped() => {}
        }
        closing.cancel();
        for served in serving {
            // A panic in one part must not keep the others from draining; it has been printed.
            let _ = served.await;
        }
        // Only now, because requests until here may have brought deliveries.
        dispatcher.drain().await;
        self.attempts.shutdown_background();
        match store.trouble() {
            Some(error @ StoreError::Stopped(_)) => Err(error.into()),
            _ => Ok(store.close().await?),
        }
    }
}
