//! Plugins: listed, shown, approved.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::by::By;
use super::events::no_plugin;
use super::failures::FailureJson;
use super::params::{ApproveQuery, Id, NoQuery, Params, ParamsOrBody};
use super::paused::{self, PausedJson};
use super::problem::ProblemJson;
use super::settings::{AgainJson, KeyOrderJson, KvSettingsJson, LimitsJson, RetryJson};
use super::state::Admin;
use super::view::{CountsJson, Listing};
use crate::clock::rfc3339;
use crate::config::Config;
use crate::event::PluginName;
use crate::names::is_built_in;
use crate::plugins::{Entry, Loaded, NotApproved, Registry, grants, warnings};
use crate::sandbox::CodeSource;
use crate::store::{Pausable, Stats};

use self::parts::{BreakerJson, PeakJson, UsedJson, capabilities};
pub(super) use self::parts::{EmitsJson, GrantLineJson, HeldJson};
pub(super) use self::recent::RecentAttemptsJson;

mod parts;
mod recent;
pub(super) mod reloads;

/// A plugin of this host.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Plugin)]
pub(super) struct PluginJson {
    /// The file's name without its ending.
    pub(super) name: String,
    /// `loaded`; `stale`: an older good file runs because the newest is bad. `held`: the newest
    /// asks for more than it may and waits to be approved, an older one runs if there is one.
    /// `compiling`: nothing runs yet, deliveries wait; `failed`: nothing runs; `missing`: there is
    /// no file.
    pub(super) state: &'static str,
    /// SHA-256 of the file that runs.
    pub(super) digest: Option<String>,
    /// The contract between host and plugin, and the version of its interface.
    pub(super) contract: Option<String>,
    /// `fresh`: every event gets an instance of its own; `reuse`: instances are kept for the next
    /// event.
    pub(super) instance: Option<&'static str>,
    /// The place of its log lines: `store`, the record of the attempt; `forward`, the host's log as
    /// well.
    pub(super) log: &'static str,
    /// Its pause, if an operator has paused it: its deliveries stay ready and are not begun.
    pub(super) paused: Option<PausedJson>,
    /// The reason, if the newest file was not taken.
    pub(super) error: Option<String>,
    /// Since when a newer file is being compiled, or waits for that, RFC 3339 with milliseconds.
    /// The loaded file runs meanwhile.
    pub(super) compiling_since: Option<String>,
    /// When the file that runs was loaded, RFC 3339 with milliseconds.
    pub(super) loaded_at: Option<String>,
    /// The path of the file that runs.
    pub(super) path: Option<String>,
    /// Size of the file that runs, in bytes.
    pub(super) size: Option<u64>,
    /// Where the machine code of the file that runs came from: `now`, it was compiled when it was
    /// loaded; `before`, it had been.
    pub(super) compiled: Option<&'static str>,
    /// How long it took to compile, in milliseconds, if it was compiled when it was loaded.
    pub(super) compile_ms: Option<u64>,
    /// Interfaces it imports.
    pub(super) imports: Vec<String>,
    /// Capabilities that it uses by these imports: `http`, `kv`, `config`.
    pub(super) capabilities: Vec<&'static str>,
    /// Capabilities that the configuration grants beyond the sandbox.
    pub(super) grants: Vec<String>,
    /// Its use of them since the host started.
    pub(super) used: UsedJson,
    /// Settings that have no effect, and other matters that deserve attention.
    pub(super) warnings: Vec<String>,
    /// The newest file, if it waits for approval.
    pub(super) held: Option<HeldJson>,
    /// Its circuit breaker; absent while nothing of it runs.
    pub(super) breaker: Option<BreakerJson>,
    /// The order of its deliveries by a key; absent if they are in no order.
    pub(super) key: Option<KeyOrderJson>,
    /// The most attempts of it that start in a time, on this host, such as `10/s`; absent without a
    /// limit.
    pub(super) rate: Option<String>,
    /// Attempts of it that may run at once, on this host.
    pub(super) concurrency: usize,
    /// The limits of one attempt that are in force.
    pub(super) limits: LimitsJson,
    /// The most that one attempt used of them.
    pub(super) peak: PeakJson,
    /// Its attempts of the last minute.
    pub(super) recent: RecentAttemptsJson,
    /// Its key-value store.
    pub(super) kv: KvSettingsJson,
    /// How often its handler may ask to be called again.
    pub(super) again: AgainJson,
    /// The retry policy.
    pub(super) retry: RetryJson,
    /// Patterns of the routes that lead to it.
    pub(super) routes: Vec<String>,
    /// Its deliveries by state.
    pub(super) deliveries: CountsJson,
    /// Types that it emitted lately, at most 20; absent in a listing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) emits: Option<Vec<EmitsJson>>,
    /// Groups of its failures that have dead or open deliveries, at most 20; absent in a listing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failures: Option<Vec<FailureJson>>,
}

/// A file that is approved.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Approved {
    /// The plugin.
    pub(super) name: String,
    /// SHA-256 of the file. The host loads it in a moment, unless another file has replaced it.
    pub(super) digest: String,
}

/// The plugins of the registry, and those without a file that have open deliveries: a host that was
/// started after a file was removed knows of it only by what waits.
pub(super) fn known_plugins<'a>(
    registry: &'a Registry,
    stats: &'a Stats,
) -> BTreeMap<&'a PluginName, &'a Entry> {
    static REMOVED: LazyLock<Entry> = LazyLock::new(Entry::default);
    let waiting = stats
        .plugins
        .iter()
        .filter(|(name, counts)| counts.open() > 0 && !is_built_in(name))
        .map(|(name, _)| (name, &*REMOVED));
    waiting.chain(registry.entries()).collect()
}

/// List the plugins, by name.
#[utoipa::path(get, path = "/api/v1/plugins", tag = "plugins", responses(
    (status = 200, description = "Every plugin, on one page", body = Listing<PluginJson>),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn list_plugins(
    State(admin): State<Arc<Admin>>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Result<Json<Listing<PluginJson>>, ProblemJson> {
    let stats = admin.store.stats().await?;
    let (registry, config) = (admin.registry.load(), admin.config.load());
    let plugin = |(name, entry)| PluginJson::of(name, entry, &admin, &config, &stats);
    let items = known_plugins(&registry, &stats).into_iter().map(plugin).collect();
    Ok(Json(Listing { items, next_cursor: None }))
}

/// Show one plugin.
#[utoipa::path(get, path = "/api/v1/plugins/{name}", tag = "plugins",
    params(("name" = String, Path, description = "The plugin's name")), responses(
    (status = 200, description = "The plugin", body = PluginJson),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn show_plugin(
    State(admin): State<Arc<Admin>>,
    Params(NoQuery {}): Params<NoQuery>,
    Id(name): Id<String>,
) -> Result<Json<PluginJson>, ProblemJson> {
    let stats = admin.store.stats().await?;
    let (registry, config) = (admin.registry.load(), admin.config.load());
    let plugins = known_plugins(&registry, &stats);
    let found = plugins.iter().find(|(known, _)| known.as_ref() == name);
    let (name, entry) =
        found.ok_or_else(|| no_plugin(&name, plugins.keys().map(|known| known.as_ref())))?;
    let mut shown = PluginJson::of(name, entry, &admin, &config, &stats);
    shown.emits = Some(reloads::emits(&admin, name));
    shown.failures = Some(reloads::failures(&admin, name).await?);
    Ok(Json(shown))
}

/// The plugin of this name in the registry.
pub(super) fn known<'a>(
    registry: &'a Registry,
    name: &str,
) -> Result<(&'a PluginName, &'a Entry), ProblemJson> {
    let found = registry.entries().find(|(known, _)| known.as_ref() == name);
    found.ok_or_else(|| no_plugin(name, registry.entries().map(|(known, _)| known.as_ref())))
}

/// Approve the file that waits. The approval is for that file alone, and survives a restart.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/approve", tag = "plugins",
    params(("name" = String, Path, description = "The plugin's name"), ApproveQuery),
    request_body(content = Option<serde_json::Value>, description = "The parameters of the query, as the members of an object"),
    responses(
    (status = 200, description = "It may run, or runs already", body = Approved),
    (status = 409, description = "No file is held, or another one", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn approve_plugin(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(name): Id<String>,
    ParamsOrBody(query): ParamsOrBody<ApproveQuery>,
) -> Result<Json<Approved>, ProblemJson> {
    let digest = query.digest()?;
    let registry = admin.registry.load_full();
    let (name, entry) = known(&registry, &name)?;
    let note =
        by.note("plugins.approve", name, &digest.map_or_else(String::new, |it| it.to_string()));
    let approved = match admin.approvals.approve(Some(note), Arc::clone(name), digest).await {
        Ok(digest) => Some(digest),
        // The file runs already.
        Err(_) if entry.loaded.as_ref().is_some_and(|loaded| digest == Some(loaded.digest)) => {
            digest
        }
        Err(NotApproved::NothingHeld) => {
            let state = entry.state();
            return Err(ProblemJson::conflict(format!(
                "no file of plugin `{name}` waits to be approved: it is {state}"
            )));
        }
        Err(NotApproved::OtherHeld(held)) => {
            let detail = format!(
                "it is another file of plugin `{name}` that waits, {held}: look at what that asks for"
            );
            return Err(ProblemJson::conflict(detail));
        }
        Err(NotApproved::Failed(why)) => {
            return Err(ProblemJson::new(StatusCode::SERVICE_UNAVAILABLE, why));
        }
    };
    let short = approved.map(|digest| digest.short());
    tracing::info!(plugin.name = %name, plugin.digest = short, "an operator approves a plugin's file");
    let approved = approved.map(|digest| digest.to_string()).unwrap_or_default();
    Ok(Json(Approved { name: name.to_string(), digest: approved }))
}

/// A plugin whose file is read again.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LoadAsked {
    /// The plugin.
    pub(super) name: String,
    /// Its state until then.
    pub(super) state: &'static str,
}

/// Load the file again, as if it had been touched: it may have failed for a reason that is over.
/// A file that runs already goes on.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/load", tag = "plugins",
    params(("name" = String, Path, description = "The plugin's name")), responses(
    (status = 202, description = "This host reads the file in a moment", body = LoadAsked),
    (status = 409, description = "There is no file", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn load_plugin(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(name): Id<String>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Result<(StatusCode, Json<LoadAsked>), ProblemJson> {
    let registry = admin.registry.load_full();
    let (name, entry) = known(&registry, &name)?;
    let state = entry.state();
    if state == "missing" {
        let detail = format!("plugin `{name}` has no file: put one into the plugins folder");
        return Err(ProblemJson::conflict(detail));
    }
    admin.store.note(by.note("plugins.load", name, "")).await?;
    admin.reloads.ask(name.clone());
    admin.approvals.wake().notify_one();
    tracing::info!(plugin.name = %name, "an operator has a plugin's file loaded again");
    Ok((StatusCode::ACCEPTED, Json(LoadAsked { name: name.to_string(), state })))
}

impl PluginJson {
    fn of(name: &PluginName, entry: &Entry, admin: &Admin, config: &Config, stats: &Stats) -> Self {
        let loaded = entry.loaded.as_deref();
        let settings = config.plugin(name);
        let instance = |loaded: &Loaded| {
            if settings.reuse && loaded.plugin.contract().reusable() { "reuse" } else { "fresh" }
        };
        let leads_here = config.routes.iter().filter(|route| route.leads_to(name));
        let contract = loaded.map(|loaded| {
            format!("{}@{}", loaded.plugin.contract(), loaded.plugin.interface_version())
        });
        Self {
            name: name.to_string(),
            state: entry.state(),
            digest: loaded.map(|loaded| loaded.digest.to_string()),
            contract,
            instance: loaded.map(instance),
            log: settings.log.name(),
            paused: paused::of(admin, Pausable::Plugin, name),
            error: entry.problem().map(str::to_owned),
            compiling_since: entry.compiling_since_ms.map(rfc3339),
            loaded_at: loaded.map(|loaded| rfc3339(loaded.loaded_at_ms)),
            path: loaded.map(|loaded| loaded.path.display().to_string()),
            size: loaded.map(|loaded| loaded.size_bytes),
            compiled: loaded.map(|loaded| match loaded.source {
                CodeSource::Cache => "before",
                CodeSource::Compiled { .. } => "now",
            }),
            compile_ms: loaded.and_then(|loaded| match loaded.source {
                CodeSource::Cache => None,
                CodeSource::Compiled { ms } => Some(ms),
            }),
            imports: loaded.map(|loaded| loaded.plugin.imports().to_vec()).unwrap_or_default(),
            capabilities: loaded.map(|it| capabilities(&it.plugin)).unwrap_or_default(),
            grants: grants(&settings),
            used: loaded.map(|loaded| loaded.usage.snapshot()).unwrap_or_default().into(),
            warnings: loaded
                .map(|loaded| warnings(name, &settings, &loaded.plugin))
                .into_iter()
                .flatten()
                .chain(entry.held().and_then(|held| held.trouble.clone()))
                .chain(config.warnings_of_plugin(name).map(|warning| warning.text.clone()))
                .collect(),
            held: entry.held().map(|held| HeldJson::of(held, name)),
            breaker: admin.breakers.of(name).map(BreakerJson::from),
            key: settings.key.as_ref().map(KeyOrderJson::from),
            rate: settings.rate.map(|rate| rate.to_string()),
            concurrency: settings.concurrency,
            limits: settings.limits.into(),
            peak: loaded.map(|loaded| loaded.usage.peaks()).unwrap_or_default().into(),
            recent: RecentAttemptsJson::of(admin, name),
            kv: KvSettingsJson::of(&settings.kv, name),
            again: settings.again.into(),
            retry: (&settings.retry).into(),
            routes: leads_here.map(|route| route.pattern.clone()).collect(),
            deliveries: stats.plugins.get(name).copied().map(CountsJson::from).unwrap_or_default(),
            emits: None,
            failures: None,
        }
    }
}
