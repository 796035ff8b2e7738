//! The reloads of a plugin's files, and what it emits: the parts that only one plugin shows.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::known;
use super::parts::EmitsJson;
use crate::admin::failures::FailureJson;
use crate::admin::params::{Id, NoQuery, Params};
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::admin::view::Listing;
use crate::clock::rfc3339;
use crate::plugins::Reload;
use crate::series::{PairKind, PairWindow};
use crate::store::FailureFilter;

/// How many types that a plugin emits are shown, and how many of its groups of failures.
const MAX_SHOWN: usize = 20;

/// The result of loading a plugin's file, or of its removal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Reload)]
pub(in crate::admin) struct ReloadJson {
    /// When, RFC 3339 with milliseconds.
    pub(in crate::admin) at: String,
    /// SHA-256 of the file that ran before.
    pub(in crate::admin) from: Option<String>,
    /// SHA-256 of the new file; null if it could not be loaded, or there is none any more.
    pub(in crate::admin) to: Option<String>,
    /// `loaded`: it runs; `held`: it waits to be approved; `kept`: it was not taken, and the file
    /// of before goes on; `removed`: nothing runs.
    pub(in crate::admin) result: &'static str,
    /// The time it took, the rights it asks for, or the reason of a failure.
    pub(in crate::admin) detail: String,
    /// The share of failed attempts, from 0 to 1, of the file that ran until then; null if it had
    /// none.
    pub(in crate::admin) failed_before: Option<f64>,
    /// The same of the new file, until now or until another one ran.
    pub(in crate::admin) failed_after: Option<f64>,
}

impl From<Reload> for ReloadJson {
    fn from(reload: Reload) -> Self {
        Self {
            at: rfc3339(reload.at_ms),
            from: reload.from.map(|digest| digest.to_string()),
            to: reload.to.map(|digest| digest.to_string()),
            result: reload.result,
            detail: reload.detail,
            failed_before: reload.failed_before,
            failed_after: reload.failed_after,
        }
    }
}

/// List what became of a plugin's files since the host started, newest first: the last 50.
#[utoipa::path(get, path = "/api/v1/plugins/{name}/reloads", tag = "plugins",
    params(("name" = String, Path, description = "The plugin's name")), responses(
    (status = 200, description = "Its reloads, on one page", body = Listing<ReloadJson>),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(in crate::admin) async fn list_reloads(
    State(admin): State<Arc<Admin>>,
    Params(NoQuery {}): Params<NoQuery>,
    Id(name): Id<String>,
) -> Result<Json<Listing<ReloadJson>>, ProblemJson> {
    let registry = admin.registry.load_full();
    let (name, entry) = known(&registry, &name)?;
    let now = entry.loaded.as_ref().map(|loaded| loaded.usage.attempts()).unwrap_or_default();
    let items = admin.reloads.of(name, now).into_iter().map(ReloadJson::from).collect();
    Ok(Json(Listing { items, next_cursor: None }))
}

/// The types that a plugin emitted lately, the most frequent ones first.
pub(super) fn emits(admin: &Admin, plugin: &str) -> Vec<EmitsJson> {
    let config = admin.config.load();
    let all = admin.series.pairs().totals(PairWindow::Day, admin.clock.now_ms()).into_iter();
    let mut found: Vec<_> = all
        .filter(|total| total.kind == PairKind::Emitted && *total.from == *plugin)
        .map(|total| EmitsJson {
            routed: config.routes.takes(&format!("plugins/{plugin}"), &total.to),
            kind: total.to.to_string(),
            day: total.count,
            last_at: total.last_ms.map(rfc3339),
        })
        .collect();
    found.sort_by(|one, other| other.day.cmp(&one.day).then_with(|| one.kind.cmp(&other.kind)));
    found.truncate(MAX_SHOWN);
    found
}

/// The groups of a plugin's failures that have dead or open deliveries.
pub(super) async fn failures(admin: &Admin, plugin: &str) -> Result<Vec<FailureJson>, ProblemJson> {
    let filter =
        FailureFilter { open: true, plugin: Some(plugin.to_owned()), ..FailureFilter::default() };
    let (rows, _) = admin.store.failures(filter, MAX_SHOWN, None).await?;
    let (registry, now_ms) = (admin.registry.load(), admin.clock.now_ms());
    Ok(rows.into_iter().map(|row| FailureJson::of(row, &registry, now_ms)).collect())
}
