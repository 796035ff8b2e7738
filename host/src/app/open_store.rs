//! Opens the store that the configuration names, and reads what is approved in it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::{AppError, time};
use crate::clock::Clock;
use crate::config::{Config, PostgresPlace, RequiredPromise, StorePlace};
use crate::event::{DEAD, KeyPolicy};
use crate::plugins::Approvals;
use crate::store::{
    Health, Hosts, OnLoss, PluginPolicies, Postgres, PostgresOptions, Recovered, Sqlite,
    SqliteOptions, Store, TreeBudget,
};
use crate::{store, tasks};

/// Appends that wait for the database at once, of all sources; one source alone may have half of
/// them.
const MAX_WAITING_APPENDS: usize = 8_192;

/// The time for which a host of a shared store is not seen until the others take over its work.
const HOST_TIMEOUT: Duration = Duration::from_secs(15);

/// How often a host of a shared store looks for work that others leave and did not tell of.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// How often a host of a shared store looks for leases that no part of it has.
const ORPHANS_EVERY: Duration = Duration::from_secs(60);

/// The time for which a snapshot of the server may be held until operators are told.
const SNAPSHOT_BOUND: Duration = Duration::from_secs(300);

/// Reads what plugins may do, as a host of this configuration would find it; creates and changes
/// nothing.
///
/// # Errors
/// It cannot be read, strangers may write it, or its server does not answer; for people.
pub async fn peek_approvals(config: Arc<ArcSwap<Config>>) -> Result<Approvals, String> {
    let its = config.load_full();
    let stored = match &its.store.place {
        StorePlace::Sqlite(path) => {
            let path = path.clone();
            tasks::blocking(move || store::peek_approvals(&path)).await?
        }
        StorePlace::Postgres(place) => {
            Postgres::peek_approvals(&place.url, place.ca_file.as_deref(), place.pooler).await?
        }
    };
    Approvals::peek(stored, &its.store.former_approvals_dir(), Arc::clone(&config))
}

/// The policies of plugins by the running configuration.
#[derive(Debug)]
struct ConfiguredPolicies(Arc<ArcSwap<Config>>);

impl PluginPolicies for ConfiguredPolicies {
    fn key(&self, plugin: &str) -> Option<KeyPolicy> {
        self.0.load().plugins.get(plugin)?.key.clone()
    }

    fn tells_of_deaths(&self, plugin: &str) -> bool {
        let source = format!("plugins/{plugin}");
        self.0.load().routes.takes(&source, DEAD)
    }
}

/// Opens the store, and tells what a killed host left in it.
pub(super) async fn open(
    running: &Arc<ArcSwap<Config>>,
    on_loss: OnLoss,
    clock: &Clock,
) -> Result<Arc<dyn Store>, AppError> {
    let config = running.load();
    match &config.store.place {
        StorePlace::Sqlite(path) => {
            let options = SqliteOptions {
                on_loss,
                max_bytes: config.store.max_bytes,
                tree: tree_budget(&config),
                policies: policies(running),
                ..SqliteOptions::at(path.clone(), clock.clone())
            };
            let store = tasks::blocking(move || Sqlite::open(options)).await?;
            time::tell(store.clock_changes(), config.store.dedupe_window_ms);
            tell_of(store.recovered());
            Ok(Arc::new(store))
        }
        StorePlace::Postgres(place) => {
            let store = Postgres::open(shared_options(running, place, clock)).await?;
            tell_of(store.recovered());
            tell_of_promise(&store, place);
            Ok(Arc::new(store))
        }
    }
}

/// Tells where an event is when it is acknowledged.
fn tell_of_promise(store: &Postgres, place: &PostgresPlace) {
    let acknowledged = store.promise().unwrap_or_default();
    tracing::info!(acknowledged, server = place.shown(), "the store is shared");
    if !store.is_replicated() && place.require == RequiredPromise::Primary {
        tracing::info!(
            "no standby has an event before it is acknowledged: a failover may lose the last ones. \
             `synchronous_standby_names` on the server prevents that, and `store.require = \
             \"replicated\"` insists on it"
        );
    }
    for warning in store.warnings() {
        tracing::warn!("{warning}");
    }
}

/// How this host opens a store that it shares.
fn shared_options(
    running: &Arc<ArcSwap<Config>>,
    place: &PostgresPlace,
    clock: &Clock,
) -> PostgresOptions {
    let config = running.load();
    PostgresOptions {
        url: place.url.clone(),
        ca_file: place.ca_file.clone(),
        pooler: place.pooler,
        folder: config.server.data_dir.clone(),
        host_name: config.server.name.clone(),
        clock: clock.clone(),
        needs_standby: place.require == RequiredPromise::Replicated,
        tail_bytes: usize::try_from(place.tail_bytes).unwrap_or(usize::MAX),
        host_timeout: HOST_TIMEOUT,
        poll_every: POLL_EVERY,
        orphans_every: ORPHANS_EVERY,
        snapshot_bound: SNAPSHOT_BOUND,
        max_waiting_appends: MAX_WAITING_APPENDS,
        tree: tree_budget(&config),
        policies: policies(running),
    }
}

fn tree_budget(config: &Config) -> TreeBudget {
    TreeBudget { events: config.server.tree_events, bytes: config.server.tree_bytes }
}

fn policies(running: &Arc<ArcSwap<Config>>) -> Arc<dyn PluginPolicies> {
    Arc::new(ConfiguredPolicies(Arc::clone(running)))
}

fn tell_of(recovered: Recovered) {
    if recovered.held > 0 {
        tracing::warn!(
            deliveries = recovered.held,
            running = recovered.running,
            "taking up what a killed host left"
        );
    }
}
