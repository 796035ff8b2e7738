//! Counts, metrics, and the two probes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::params::{NoQuery, Params};
use super::problem::ProblemJson;
use super::state::Admin;
use super::trouble::{self, TroubleJson};
use super::view::StatsJson;
use crate::event;

/// Describes the metrics of the admin API.
pub(super) fn describe_metrics() {
    describe_store_metrics();
    metrics::describe_counter!(
        "hookbox_operator_changes_total",
        "Deliveries that operators have retried, cancelled or discarded"
    );
    metrics::describe_gauge!(
        "hookbox_attempts_running",
        "Attempts that run or wait for memory for their verdict"
    );
    metrics::describe_gauge!(
        "hookbox_verdicts_waiting_bytes",
        "Memory of verdicts that are not durable yet, in bytes"
    );
    metrics::describe_gauge!(
        "hookbox_breaker_open",
        "Whether the circuit breaker of a plugin is open (1) or not (0)"
    );
    metrics::describe_counter!(
        "hookbox_breaker_openings_total",
        "How often the circuit breaker of a plugin opened"
    );
    metrics::describe_counter!(
        "hookbox_ingest_unidentified_total",
        "Events of a source whose type could not be read, stored as hookbox.unidentified"
    );
    metrics::describe_counter!(
        "hookbox_attempts_unrecorded_total",
        "Failed attempts of a plugin that left no record, because there were too many of them"
    );
}

/// Describes the metrics of the store and its clock.
fn describe_store_metrics() {
    metrics::describe_gauge!("hookbox_stored_events", "Events stored");
    metrics::describe_gauge!("hookbox_deliveries", "Deliveries by plugin and state");
    metrics::describe_gauge!(
        "hookbox_store_bytes",
        "Size of the database in bytes, free pages included"
    );
    metrics::describe_gauge!(
        "hookbox_store_free_bytes",
        "Bytes of free pages in the database, used before it grows"
    );
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
}

/// Counts, as cheap with a million rows as with one.
#[utoipa::path(get, path = "/api/v1/stats", tag = "health", responses(
    (status = 200, description = "How much there is of what", body = StatsJson),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn show_stats(
    State(admin): State<Arc<Admin>>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Result<Json<StatsJson>, ProblemJson> {
    Ok(Json(admin.store.stats().await?.into()))
}

/// Metrics in the Prometheus text format.
#[utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = 200, description = "Every metric", body = String, content_type = "text/plain"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
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
    metrics::gauge!("hookbox_clock_jump_seconds")
        .set(admin.clock.jump().map_or(0, |jump| jump.by_ms) as f64 / 1e3);
    metrics::gauge!("hookbox_clock_held_seconds").set(admin.clock.held_ms() as f64 / 1e3);
    let text = (admin.render_metrics)();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// An answer to a probe.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Health)]
pub(super) struct HealthJson {
    /// `live`; or `ready`, `degraded` (it serves, but something wants attention) or `unavailable`.
    pub(super) status: &'static str,
    /// Number of times that configuration or plugins were swapped since the start.
    pub(super) generation: u64,
    /// Its problems.
    pub(super) problems: Vec<TroubleJson>,
}

/// Whether the process answers at all.
#[utoipa::path(get, path = "/livez", tag = "health", responses(
    (status = 200, description = "It does", body = HealthJson),
))]
pub(super) async fn show_liveness(State(admin): State<Arc<Admin>>) -> Json<HealthJson> {
    Json(HealthJson {
        status: "live",
        generation: admin.status.get().generation,
        problems: Vec::new(),
    })
}

/// Whether the host takes webhooks, and what wants attention.
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, description = "It takes webhooks", body = HealthJson),
    (status = 503, description = "It does not", body = HealthJson),
))]
pub(super) async fn show_readiness(
    State(admin): State<Arc<Admin>>,
) -> (StatusCode, Json<HealthJson>) {
    let condition = admin.status.get();
    let generation = condition.generation;
    let stats = admin.store.stats().await.unwrap_or_default();
    let mut problems = trouble::all(&admin, &stats, condition);
    let (code, status) = match admin.store.trouble() {
        Some(error) => {
            problems.insert(0, TroubleJson::of("store", None, error.to_string()));
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
        }
        None if problems.is_empty() => (StatusCode::OK, "ready"),
        None => (StatusCode::OK, "degraded"),
    };
    (code, Json(HealthJson { status, generation, problems }))
}
