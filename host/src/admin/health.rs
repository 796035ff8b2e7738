//! How the host is: counts, metrics, and the two probes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::Admin;
use super::params::{Ask, NoQuery};
use super::plugins::known_plugins;
use super::problem::Problem;
use super::view::Stats;
use crate::clock::rfc3339;
use crate::dispatch::BreakerView;
use crate::event::{self, PluginName, UNIDENTIFIED};
use crate::ingest::Lately;
use crate::plugins::Entry;
use crate::store::{self, PluginCounts};
use crate::text;

/// Says what this door's metrics mean.
pub(super) fn describe_metrics() {
    metrics::describe_gauge!("hookbox_stored_events", "Events stored");
    metrics::describe_gauge!("hookbox_deliveries", "Deliveries by plugin and state");
    metrics::describe_counter!(
        "hookbox_operator_changes_total",
        "Deliveries that operators have retried, cancelled or discarded"
    );
    metrics::describe_gauge!("hookbox_store_bytes", "Size of the database in bytes, free pages included");
    metrics::describe_gauge!("hookbox_store_free_bytes", "Bytes of free pages in the database, used before it grows");
    metrics::describe_counter!(
        "hookbox_store_damaged_events_total",
        "Deliveries that became dead letters because their stored event does not match its checksum"
    );
    metrics::describe_counter!(
        "hookbox_store_side_file_failures_total",
        "Writes that failed of the small files beside the database"
    );
    metrics::describe_gauge!("hookbox_store_log_bytes", "Size of its write-ahead log in bytes");
    metrics::describe_gauge!("hookbox_store_disk_free_bytes", "Bytes that are free on its disk");
    metrics::describe_counter!(
        "hookbox_tree_budget_exceeded_total",
        "Deliveries that became dead letters because their tree of events had reached its budget"
    );
    metrics::describe_gauge!(
        "hookbox_clock_jump_seconds",
        "By how much the clock jumped, if that is neither over nor accepted; negative if it went back"
    );
    metrics::describe_gauge!(
        "hookbox_clock_held_seconds",
        "For how long the host was off, while nothing is deleted because of it"
    );
    metrics::describe_gauge!("hookbox_attempts_running", "Attempts that run or wait for memory for their verdict");
    metrics::describe_gauge!("hookbox_verdicts_waiting_bytes", "Memory of verdicts that are not durable yet, in bytes");
    metrics::describe_gauge!("hookbox_breaker_open", "Whether the circuit breaker of a plugin is open (1) or not (0)");
    metrics::describe_counter!("hookbox_breaker_openings_total", "How often the circuit breaker of a plugin opened");
    metrics::describe_counter!(
        "hookbox_ingest_unidentified_total",
        "Events of a source whose type could not be read, stored as hookbox.unidentified"
    );
    metrics::describe_counter!(
        "hookbox_attempts_unrecorded_total",
        "Failed attempts of a plugin that left no record, because there were too many of them"
    );
}

/// Counts, as cheap with a million rows as with one.
#[utoipa::path(get, path = "/api/v1/stats", tag = "health", responses(
    (status = 200, description = "How much there is of what", body = Stats),
    (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn show_stats(
    State(admin): State<Arc<Admin>>,
    Ask(NoQuery {}): Ask<NoQuery>,
) -> Result<Json<Stats>, Problem> {
    Ok(Json(admin.store.stats().await?.into()))
}

/// Metrics in the Prometheus text format.
#[utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = 200, description = "Every metric", body = String, content_type = "text/plain"),
    (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn show_metrics(State(admin): State<Arc<Admin>>) -> Response {
    // The counts are the store's; they become metrics when somebody looks.
    let stats = admin.store.stats().await.unwrap_or_default();
    metrics::gauge!("hookbox_stored_events").set(stats.events as f64);
    for (plugin, counts) in &stats.plugins {
        for state in event::State::ALL {
            let count = counts.0[usize::from(state.code())];
            metrics::gauge!("hookbox_deliveries", "plugin" => plugin.to_string(), "state" => state.name())
                .set(count as f64);
        }
    }
    metrics::gauge!("hookbox_clock_jump_seconds").set(admin.clock.jump().map_or(0, |jump| jump.by_ms) as f64 / 1e3);
    metrics::gauge!("hookbox_clock_held_seconds").set(admin.clock.held_ms() as f64 / 1e3);
    let text = (admin.render_metrics)();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// An answer to a probe.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `live`; or `ready`, `degraded` (it serves, but something wants attention) or `unavailable`.
    status: &'static str,
    /// How often configuration or plugins were swapped since the start.
    generation: u64,
    /// What is wrong.
    problems: Vec<Trouble>,
}

/// Something that wants an operator's attention.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Trouble {
    /// `store`, `clock`, `config`, `restart`, `watch`, `plugins_dir`, `source` or `plugin`.
    part: &'static str,
    /// Which one, where there are several.
    name: Option<String>,
    /// What is wrong.
    detail: String,
}

/// Whether the process answers at all.
#[utoipa::path(get, path = "/livez", tag = "health", responses(
    (status = 200, description = "It does", body = Health),
))]
pub(super) async fn show_liveness(State(admin): State<Arc<Admin>>) -> Json<Health> {
    Json(Health { status: "live", generation: admin.status.get().generation, problems: Vec::new() })
}

/// Whether the host takes webhooks, and what wants attention.
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, description = "It takes webhooks", body = Health),
    (status = 503, description = "It does not", body = Health),
))]
pub(super) async fn show_readiness(State(admin): State<Arc<Admin>>) -> (StatusCode, Json<Health>) {
    let stats = admin.store.stats().await.unwrap_or_default();
    let (generation, mut problems) = attention(&admin, &stats);
    let (code, status) = match admin.store.trouble() {
        Some(error) => {
            problems.insert(0, Trouble { part: "store", name: None, detail: error.to_string() });
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
        }
        None if problems.is_empty() => (StatusCode::OK, "ready"),
        None => (StatusCode::OK, "degraded"),
    };
    (code, Json(Health { status, generation, problems }))
}

/// What is wrong although the host serves: the last good configuration and plugins stay in use.
fn attention(admin: &Admin, stats: &store::Stats) -> (u64, Vec<Trouble>) {
    let condition = admin.status.get();
    let trouble = |part, name: Option<&str>, detail: String| Trouble { part, name: name.map(str::to_owned), detail };
    let clock = super::clock::trouble(&admin.clock, admin.config.load().store.dedupe_window_ms);
    let clock = clock.map(|detail| trouble("clock", None, detail));
    let config = condition.config.map(|config| trouble("config", None, config.text));
    let restart = condition
        .restart_needed
        .iter()
        .map(|key| trouble("restart", Some(key), format!("a change of `{key}` waits for a restart")));
    let watch = condition.watch.map(|watch| trouble("watch", None, watch.text));
    let store = admin.store.warnings().into_iter().map(|detail| trouble("store", None, detail));
    let shelf = admin.shelf.load();
    let folder = shelf.problems().iter().map(|problem| trouble("plugins_dir", None, problem.clone()));
    // One that is being compiled wants patience, not attention; one that is held is not broken while an older one runs.
    let config_now = admin.config.load();
    let routes = &config_now.routes;
    let open = |name: &PluginName| stats.plugins.get(name).map_or(0, PluginCounts::open);
    let fine = |name: &PluginName, slot: &Entry| match slot.state() {
        "held" => slot.loaded.is_some(),
        // Of one that was removed for good nothing is wanted any more.
        "missing" => open(name) == 0 && !routes.iter().any(|route| route.plugins.contains(name)),
        state => matches!(state, "loaded" | "compiling"),
    };
    let known = known_plugins(&shelf, stats);
    let plugins = known.into_iter().filter(|(name, slot)| !fine(name, slot)).map(|(name, slot)| {
        let held = slot.held().map(|held| {
            format!("its file asks for {} and nothing runs: let it in with `{}`", held.asks_for(), held.command())
        });
        let mut detail = slot.problem().map(str::to_owned).or(held).unwrap_or_else(|| format!("it is {}", slot.state()));
        if slot.state() == "missing" && open(name) > 0 {
            let waiting = format!(
                "; {} wait: put its file back, hand them on with `hookbox deliveries move --plugin {name} --to PLUGIN`, or \
                 end them with `hookbox deliveries cancel --plugin {name}`",
                open(name)
            );
            detail.push_str(&waiting);
        }
        trouble("plugin", Some(name), detail)
    });
    let slowed = shelf.entries().filter_map(|(name, _)| {
        let detail = slowed_down(name, &admin.breakers.of(name)?)?;
        Some(trouble("plugin", Some(name), detail))
    });
    let unset = config_now.warnings.iter().filter(|warning| warning.degrades).filter_map(|warning| {
        let part = warning.about.as_ref()?;
        Some(trouble(part.kind(), Some(part.name()), warning.text.clone()))
    });
    let lately = admin.unidentified.lately();
    let untyped = lately.iter().map(|(source, lately)| trouble("source", Some(source), without_type(source, lately)));
    let host = store.chain(clock).chain(config).chain(restart).chain(watch).chain(folder);
    let problems = host.chain(unset).chain(plugins).chain(slowed).chain(untyped);
    (condition.generation, problems.collect())
}

/// Describes the events of a source that have no type.
fn without_type(source: &str, lately: &Lately) -> String {
    let Lately { events, since_ms, last_ms, reason } = lately;
    let (events, since, last) = (text::grouped(*events), rfc3339(*since_ms), rfc3339(*last_ms));
    format!(
        "the type of {events} of its events since {since} cannot be read, so they are stored as `{UNIDENTIFIED}`; the \
         last one came at {last}: {reason}. See `type` under [sources.{source}]; a route \"{source}:{UNIDENTIFIED}\" \
         says that this is expected. Shown for an hour after the last one"
    )
}

/// The state of an open circuit breaker.
fn slowed_down(name: &str, view: &BreakerView) -> Option<String> {
    let (open, policy) = (view.open?, view.policy?);
    let (since, failures, pause) = (rfc3339(open.since_ms), view.failures_in_a_row, policy.pause());
    let last = view.last_error.as_ref().map(|error| format!(", the last one with \"{error}\"")).unwrap_or_default();
    Some(format!(
        "it only fails, so its circuit breaker is open since {since}: {failures} attempts in a row failed{last}; one \
         attempt is begun every {pause} until one is ok, and its deliveries wait; mend what it needs, or put a new \
         file of it in place, which is tried at once (`breaker` under [plugins.{name}] sets the limits)"
    ))
}
