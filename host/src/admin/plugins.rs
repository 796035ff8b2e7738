//! Plugins: what runs, since when, and what leads to it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Admin;
use super::events::no_plugin;
use super::params::{ApproveQuery, Ask, Id, NoQuery, Order};
use super::problem::Problem;
use super::settings::{Limits, Retry};
use super::view::{Counts, Listing};
use crate::clock::rfc3339;
use crate::config::Config;
use crate::dispatch::BreakerView;
use crate::event::PluginName;
use crate::plugins::{self, Entry, Loaded, NotApproved, Registry, grants, warnings};
use crate::store::Stats;

/// A plugin on the shelf.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Plugin {
    /// The file's name without its ending.
    name: String,
    /// `loaded`; `stale`: an older good file runs because the newest is bad; `held`: the newest asks for more than it may
    /// and waits to be approved, an older one runs if there is one; `compiling`: nothing runs yet, deliveries wait;
    /// `failed`: nothing runs; `missing`: there is no file.
    state: &'static str,
    /// SHA-256 of the file that runs.
    digest: Option<String>,
    /// How the host talks to it, and the version of that interface.
    contract: Option<String>,
    /// `fresh`: every event gets an instance of its own; `reuse`: instances are kept for the next event.
    instance: Option<&'static str>,
    /// Where its log lines go: `store`, into the record of the attempt; `forward`, also into the host's log.
    log: &'static str,
    /// Why the newest file was not taken.
    error: Option<String>,
    /// Since when a newer file is being compiled, or waits for that, RFC 3339 with milliseconds. What runs goes on meanwhile.
    compiling_since: Option<String>,
    /// When the file that runs was loaded, RFC 3339 with milliseconds.
    loaded_at: Option<String>,
    /// Where it was read from.
    path: Option<String>,
    /// Interfaces it imports.
    imports: Vec<String>,
    /// What the configuration allows it beyond the sandbox.
    grants: Vec<String>,
    /// What it has used of that since the host started.
    used: Used,
    /// What the configuration says to it in vain, and what else deserves a look.
    warnings: Vec<String>,
    /// The newest file, if it waits to be approved.
    held: Option<Held>,
    /// Its circuit breaker; absent while nothing of it runs.
    breaker: Option<Breaker>,
    /// Attempts of it that may run at once.
    concurrency: usize,
    /// The limits of one attempt that are in force.
    limits: Limits,
    /// What follows a failed attempt.
    retry: Retry,
    /// Patterns of the routes that lead to it.
    routes: Vec<String>,
    /// Its deliveries by state.
    deliveries: Counts,
}

/// What a plugin has used.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Used {
    /// HTTP requests.
    http: UsedHttp,
    /// Its key-value store.
    kv: UsedKv,
}

/// HTTP requests of a plugin.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UsedHttp {
    /// That were answered, with whatever status.
    answered: u64,
    /// That the host refused, by a rule or a limit.
    refused: u64,
    /// That nobody answered.
    unanswered: u64,
    /// The last one of both.
    last_unanswered: Option<Unanswered>,
}

/// An HTTP request without an answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Unanswered {
    /// Where it was to go; of the query only the names.
    url: String,
    /// Why there was none.
    error: String,
}

/// Keys of a plugin's store.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UsedKv {
    /// That attempts read.
    reads: u64,
    /// That successful attempts wrote or deleted.
    writes: u64,
}

/// A file that waits to be approved.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Held {
    /// SHA-256 of the file.
    digest: String,
    /// Interfaces it imports beyond those of the file that runs.
    imports_added: Vec<String>,
    /// What it asks for beyond what the plugin may do: `http`, `kv`, `config`.
    capabilities_added: Vec<&'static str>,
    /// Since when this host has it wait, RFC 3339 with milliseconds.
    since: String,
}

/// What slows a plugin down that only fails.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Breaker {
    /// `closed`: attempts begin as they come; `open`: one at a time, until one is ok; `off`: it never opens.
    state: &'static str,
    /// Attempts that failed one after the other, up to now. Rejections, and retries that say when, do not count.
    failures_in_a_row: u32,
    /// So many of them open it.
    failures: Option<u32>,
    /// Between two attempts while it is open, in milliseconds.
    pause_ms: Option<u64>,
    /// Since when it is open, RFC 3339 with milliseconds.
    since: Option<String>,
    /// When the next attempt may begin while it is open, RFC 3339 with milliseconds.
    next_attempt_at: Option<String>,
    /// Why the last of the failures failed.
    last_error: Option<String>,
}

/// A file that may run.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Approved {
    /// The plugin.
    name: String,
    /// SHA-256 of the file. It is taken up in a moment, unless another one has taken its place.
    digest: String,
}

/// The plugins of the shelf, and those without a file that have open deliveries: a host that was started after a file was
/// removed knows of it only by what waits.
pub(super) fn known_plugins<'a>(shelf: &'a Registry, stats: &'a Stats) -> BTreeMap<&'a PluginName, &'a Entry> {
    static REMOVED: LazyLock<Entry> = LazyLock::new(Entry::default);
    let waiting = stats.plugins.iter().filter(|(_, counts)| counts.open() > 0).map(|(name, _)| (name, &*REMOVED));
    waiting.chain(shelf.entries()).collect()
}

/// List the plugins, by name.
#[utoipa::path(get, path = "/api/v1/plugins", tag = "plugins", responses(
    (status = 200, description = "Every plugin, on one page", body = Listing<Plugin>),
    (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list_plugins(
    State(admin): State<Arc<Admin>>,
    Ask(NoQuery {}): Ask<NoQuery>,
) -> Result<Json<Listing<Plugin>>, Problem> {
    let stats = admin.store.stats().await?;
    let (shelf, config) = (admin.shelf.load(), admin.config.load());
    let plugin = |(name, slot)| Plugin::of(name, slot, admin.breakers.of(name), &config, &stats);
    let items = known_plugins(&shelf, &stats).into_iter().map(plugin).collect();
    Ok(Json(Listing { items, next_cursor: None }))
}

/// Show one plugin.
#[utoipa::path(get, path = "/api/v1/plugins/{name}", tag = "plugins",
    params(("name" = String, Path, description = "The plugin's name")), responses(
    (status = 200, description = "The plugin", body = Plugin),
    (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn show_plugin(
    State(admin): State<Arc<Admin>>,
    Ask(NoQuery {}): Ask<NoQuery>,
    Id(name): Id<String>,
) -> Result<Json<Plugin>, Problem> {
    let stats = admin.store.stats().await?;
    let (shelf, config) = (admin.shelf.load(), admin.config.load());
    let plugins = known_plugins(&shelf, &stats);
    let found = plugins.iter().find(|(known, _)| known.as_ref() == name);
    let (name, slot) = found.ok_or_else(|| no_plugin(&name, plugins.keys().map(|known| known.as_ref())))?;
    Ok(Json(Plugin::of(name, slot, admin.breakers.of(name), &config, &stats)))
}

fn known<'a>(shelf: &'a Registry, name: &str) -> Result<(&'a PluginName, &'a Entry), Problem> {
    let found = shelf.entries().find(|(known, _)| known.as_ref() == name);
    found.ok_or_else(|| no_plugin(name, shelf.entries().map(|(known, _)| known.as_ref())))
}

/// Let the file in that is held. The approval is for that file alone, and survives a restart.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/approve", tag = "plugins",
    params(("name" = String, Path, description = "The plugin's name"), ApproveQuery),
    request_body(content = Option<serde_json::Value>, description = "The parameters of the query, as the members of an object"),
    responses(
    (status = 200, description = "It may run, or runs already", body = Approved),
    (status = 409, description = "No file is held, or another one", body = Problem, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn approve_plugin(
    State(admin): State<Arc<Admin>>,
    Id(name): Id<String>,
    Order(query): Order<ApproveQuery>,
) -> Result<Json<Approved>, Problem> {
    let digest = query.digest()?;
    let shelf = admin.shelf.load_full();
    let (name, slot) = known(&shelf, &name)?;
    let approved = match admin.approvals.approve(Arc::clone(name), digest).await {
        Ok(digest) => Some(digest),
        // It runs already.
        Err(_) if slot.loaded.as_ref().is_some_and(|loaded| digest == Some(loaded.digest)) => digest,
        Err(NotApproved::NothingHeld) => {
            let state = slot.state();
            return Err(Problem::conflict(format!("no file of plugin `{name}` waits to be approved: it is {state}")));
        }
        Err(NotApproved::OtherHeld(held)) => {
            let detail =
                format!("it is another file of plugin `{name}` that waits, {held}: look at what that asks for");
            return Err(Problem::conflict(detail));
        }
        Err(NotApproved::Failed(why)) => return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why)),
    };
    let short = approved.map(|digest| digest.short());
    tracing::info!(plugin.name = %name, plugin.digest = short, "an operator approves a plugin's file");
    let approved = approved.map(|digest| digest.to_string()).unwrap_or_default();
    Ok(Json(Approved { name: name.to_string(), digest: approved }))
}

impl Plugin {
    fn of(name: &PluginName, slot: &Entry, breaker: Option<BreakerView>, config: &Config, stats: &Stats) -> Self {
        let loaded = slot.loaded.as_deref();
        let settings = config.plugin(name);
        let instance =
            |loaded: &Loaded| if settings.reuse && loaded.plugin.contract().reusable() { "reuse" } else { "fresh" };
        let leads_here = config.routes.iter().filter(|route| route.plugins.contains(name));
        let contract =
            loaded.map(|loaded| format!("{}@{}", loaded.plugin.contract(), loaded.plugin.interface_version()));
        Self {
            name: name.to_string(),
            state: slot.state(),
            digest: loaded.map(|loaded| loaded.digest.to_string()),
            contract,
            instance: loaded.map(instance),
            log: settings.log.name(),
            error: slot.problem().map(str::to_owned),
            compiling_since: slot.compiling_since_ms.map(rfc3339),
            loaded_at: loaded.map(|loaded| rfc3339(loaded.loaded_at_ms)),
            path: loaded.map(|loaded| loaded.path.display().to_string()),
            imports: loaded.map(|loaded| loaded.plugin.imports().to_vec()).unwrap_or_default(),
            grants: grants(&settings),
            used: loaded.map(|loaded| loaded.usage.snapshot()).unwrap_or_default().into(),
            warnings: loaded
                .map(|loaded| warnings(name, &settings, &loaded.plugin))
                .into_iter()
                .flatten()
                .chain(slot.held().and_then(|held| held.trouble.clone()))
                .chain(config.warnings_of_plugin(name).map(|warning| warning.text.clone()))
                .collect(),
            held: slot.held().map(Held::from),
            breaker: breaker.map(Breaker::from),
            concurrency: settings.concurrency,
            limits: settings.limits.into(),
            retry: (&settings.retry).into(),
            routes: leads_here.map(|route| route.pattern.clone()).collect(),
            deliveries: stats.plugins.get(name).copied().map(Counts::from).unwrap_or_default(),
        }
    }
}

impl From<&plugins::PendingApproval> for Held {
    fn from(held: &plugins::PendingApproval) -> Self {
        Self {
            digest: held.candidate.digest.to_string(),
            imports_added: held.imports_added.clone(),
            capabilities_added: held.capabilities_added.iter().map(|capability| capability.name()).collect(),
            since: rfc3339(held.since_ms),
        }
    }
}

impl From<BreakerView> for Breaker {
    fn from(view: BreakerView) -> Self {
        Self {
            state: match (view.open, view.policy) {
                (Some(_), _) => "open",
                (None, Some(_)) => "closed",
                (None, None) => "off",
            },
            failures_in_a_row: view.failures_in_a_row,
            failures: view.policy.map(|policy| policy.failures),
            pause_ms: view.policy.map(|policy| policy.pause_ms),
            since: view.open.map(|open| rfc3339(open.since_ms)),
            next_attempt_at: view.open.map(|open| rfc3339(open.next_attempt_ms)),
            last_error: view.last_error,
        }
    }
}

impl From<plugins::UsageSnapshot> for Used {
    fn from(now: plugins::UsageSnapshot) -> Self {
        let last = now.http_last_unanswered;
        let last_unanswered =
            last.map(|call| Unanswered { url: call.url, error: call.error.unwrap_or_else(|| "no answer".to_owned()) });
        Self {
            http: UsedHttp {
                answered: now.http_answered,
                refused: now.http_refused,
                unanswered: now.http_unanswered,
                last_unanswered,
            },
            kv: UsedKv { reads: now.kv_reads, writes: now.kv_writes },
        }
    }
}
