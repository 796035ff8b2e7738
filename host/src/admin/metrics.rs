//! The metrics of the host: what is known only now is measured when somebody asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use metrics::{counter, gauge};

use super::problem::ProblemJson;
use super::state::Admin;
use crate::event::{PluginName, State as DeliveryState};
use crate::names::is_built_in;
use crate::plugins::{Entry, PLUGIN_STATES, Registry};
use crate::store::{DueTimes, Pausable, Pauses, Stats};

/// The route of requests that no route takes.
const NO_ROUTE: &str = "none";

/// The figures that come from elsewhere than memory at hand.
#[derive(Default)]
struct Known {
    stats: Stats,
    due: BTreeMap<PluginName, DueTimes>,
    bucket_bytes: BTreeMap<PluginName, u64>,
}

/// Metrics in the Prometheus text format.
#[utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = 200, description = "Every metric", body = String, content_type = "text/plain"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn show_metrics(State(admin): State<Arc<Admin>>) -> Response {
    let stats = admin.store.stats().await.unwrap_or_default();
    let due = admin.store.due_times(stats.waiting()).await.unwrap_or_default();
    let bucket_bytes = admin.store.kv_buckets().await.unwrap_or_default();
    let known = Known { stats, due, bucket_bytes };
    let registry = admin.registry.load();
    let is_there = |label: &str, name: &str| match label {
        "plugin" => is_plugin(&admin, &registry, &known, name),
        // Requests that name no source are counted as one.
        "source" => name == "unknown" || admin.config.load().sources.contains_key(name),
        _ => admin.config.load().schedules.contains_key(name),
    };
    let text = (admin.render_metrics)(&|| measure(&admin, &registry, &known), &is_there);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// Whether there is anything of a plugin: a file, a route, settings, unfinished deliveries or keys.
/// The empty name stands for the plugins folder itself.
fn is_plugin(admin: &Admin, registry: &Registry, known: &Known, name: &str) -> bool {
    name.is_empty()
        || is_built_in(name)
        || registry.entry(name).is_some_and(Entry::is_there)
        || admin.config.load().plugins.contains_key(name)
        || known.stats.plugins.get(name).is_some_and(|counts| counts.unfinished() > 0)
        || known.bucket_bytes.contains_key(name)
}

/// Sets the gauges of this moment.
fn measure(admin: &Admin, registry: &Registry, known: &Known) {
    gauge!("hookbox_store_events").set(known.stats.events as f64);
    gauge!("hookbox_admin_streams").set(admin.streams.open() as f64);
    gauge!("hookbox_clock_jump_seconds")
        .set(admin.clock.jump().map_or(0, |jump| jump.by_ms) as f64 / 1e3);
    gauge!("hookbox_clock_held_seconds").set(admin.clock.held_ms() as f64 / 1e3);
    let pauses = Arc::clone(&admin.store.pauses().borrow());
    for (plugin, entry) in registry.entries() {
        measure_plugin(admin, &pauses, plugin, entry);
    }
    measure_deliveries(known);
    for (bucket, bytes) in &known.bucket_bytes {
        gauge!("hookbox_kv_bytes", "plugin" => bucket.to_string()).set(*bytes as f64);
    }
}

/// Sets the gauges of a plugin of the registry.
fn measure_plugin(admin: &Admin, pauses: &Pauses, plugin: &PluginName, entry: &Entry) {
    let name = || plugin.to_string();
    let one_if = |is_so: bool| f64::from(u8::from(is_so));
    gauge!("hookbox_plugin_paused", "plugin" => name())
        .set(one_if(pauses.of(Pausable::Plugin, plugin).is_some()));
    for state in PLUGIN_STATES {
        gauge!("hookbox_plugin_state", "plugin" => name(), "state" => state)
            .set(one_if(entry.state() == state));
    }
    let Some(loaded) = &entry.loaded else { return };
    let contract = format!("{}@{}", loaded.plugin.contract(), loaded.plugin.interface_version());
    let digest = loaded.digest.to_string();
    gauge!("hookbox_plugin_info", "plugin" => name(), "contract" => contract, "digest" => digest)
        .set(1.0);
    gauge!("hookbox_plugin_concurrency", "plugin" => name())
        .set(admin.config.load().plugin(plugin).concurrency as f64);
    gauge!("hookbox_attempts_running", "plugin" => name())
        .set(f64::from(admin.queues.attempts_running(plugin)));
    gauge!("hookbox_attempt_cpu_seconds_total", "plugin" => name())
        .set(loaded.usage.cpu().as_secs_f64());
}

/// Sets the gauges of what is stored.
fn measure_deliveries(known: &Known) {
    for (plugin, counts) in &known.stats.plugins {
        for state in DeliveryState::ALL {
            let count = counts.0[usize::from(state.code())];
            gauge!("hookbox_deliveries", "plugin" => plugin.to_string(), "state" => state.name())
                .set(count as f64);
        }
    }
    for (plugin, due) in &known.due {
        if let Some(since_ms) = due.oldest_ready_ms {
            gauge!("hookbox_oldest_ready_timestamp_seconds", "plugin" => plugin.to_string())
                .set(since_ms as f64 / 1e3);
        }
    }
}

/// Counts a request by its route, never by its path.
pub(super) async fn count_request(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.map_or_else(|| NO_ROUTE.to_owned(), |route| route.as_str().to_owned());
    let code = response.status().as_u16().to_string();
    counter!("hookbox_admin_requests_total", "route" => route, "code" => code).increment(1);
    response
}
