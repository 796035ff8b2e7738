//! Counts, and the two probes.

use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::params::{NoQuery, Params};
use super::problem::ProblemJson;
use super::role::{Identity, VIEWER};
use super::state::Admin;
use super::trouble::{self, TroubleJson};
use super::view::StatsJson;
use crate::store::Stats;

/// Counts, as cheap with a million rows as with one.
#[utoipa::path(get, path = "/api/v1/stats", tag = "health", responses(
    (status = 200, description = "How much there is of what", body = StatsJson),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn show_stats(
    State(admin): State<Arc<Admin>>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Result<Json<StatsJson>, ProblemJson> {
    let stats = admin.store.stats().await?;
    let due = admin.store.due_times(stats.waiting()).await?;
    Ok(Json(StatsJson::of(&admin, &stats, &due)))
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

/// Whether the host takes webhooks, and what wants attention; a client without a token is not told
/// what.
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, description = "It takes webhooks", body = HealthJson),
    (status = 503, description = "It does not", body = HealthJson),
))]
pub(super) async fn show_readiness(
    State(admin): State<Arc<Admin>>,
    client: Option<Extension<Identity>>,
) -> (StatusCode, Json<HealthJson>) {
    let stats = admin.store.stats().await.unwrap_or_default();
    let (code, mut health) = readiness(&admin, &stats);
    if !client.is_some_and(|Extension(client)| client.may(VIEWER)) {
        health.problems.clear();
    }
    (code, Json(health))
}

/// Whether the host takes webhooks, and what wants attention.
pub(super) fn readiness(admin: &Admin, stats: &Stats) -> (StatusCode, HealthJson) {
    let condition = admin.status.get();
    let generation = condition.generation;
    let mut problems = trouble::all(admin, stats, condition);
    let (code, status) = match admin.store.trouble() {
        Some(error) => {
            problems.insert(0, TroubleJson::of("store", None, error.to_string()));
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
        }
        None if problems.is_empty() => (StatusCode::OK, "ready"),
        None => (StatusCode::OK, "degraded"),
    };
    (code, HealthJson { status, generation, problems })
}
