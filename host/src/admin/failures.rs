//! Groups of failures that are alike: what fails, and whether the file that runs now has met it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::params::{FailureQuery, Id, NoQuery, Params, failure_text};
use super::problem::ProblemJson;
use super::sees::Sees;
use super::state::Admin;
use super::view::Listing;
use crate::clock::rfc3339;
use crate::event::{Digest, FailureId};
use crate::plugins::Registry;
use crate::store::FailureView;

pub(super) use sample::{FailedAttempt, FailureDetail, ValueCount};

mod sample;

/// Failures of one plugin with the same outcome and, but for numbers, ids, quoted text and the
/// queries of URLs, the same text.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Failure)]
pub(super) struct FailureJson {
    /// `f_` and 12 hex digits: the same for the same plugin, outcome and text.
    pub(super) id: String,
    /// The plugin that failed.
    pub(super) plugin: String,
    /// `retry`, `reject`, `trap`, `timeout`, `memory`, `error` or `crash`; null for the group of
    /// what exceeds 1,000 groups of a plugin.
    pub(super) outcome: Option<&'static str>,
    /// The text of the error, with `‹n›`, `‹id›`, `‹text›`, `‹time›` and `‹query›` for what
    /// differs; of a trap its kind and the innermost function.
    pub(super) text: String,
    /// Dead deliveries whose last attempt failed so.
    pub(super) dead: u64,
    /// Open deliveries whose last recorded attempt failed so.
    pub(super) waiting: u64,
    /// When an attempt failed so first, RFC 3339 with milliseconds.
    pub(super) first_at: String,
    /// When an attempt failed so last, RFC 3339 with milliseconds.
    pub(super) last_at: String,
    /// Failed attempts in each of the last 24 hours by the clock, the present one at the end.
    pub(super) trend: Vec<u32>,
    /// The files it was met on, at most 8, the last one at the end.
    pub(super) files: Vec<FileCount>,
    /// `fails` if the file that runs now has met it, `may_be_fixed` if only others have, `unknown`
    /// if no file is known or none runs.
    pub(super) on_running: &'static str,
    /// The newest delivery whose last attempt failed so.
    pub(super) sample: Option<String>,
}

/// How often attempts have failed so on one file.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FileCount {
    /// SHA-256 of the file, in hex.
    pub(super) digest: String,
    /// Failed attempts.
    pub(super) count: u32,
    /// Whether this file runs now.
    pub(super) running: bool,
}

/// List groups of failures, the one that began last before the others.
#[utoipa::path(get, path = "/api/v1/failures", tag = "deliveries", params(FailureQuery), responses(
    (status = 200, description = "A page of groups of failures", body = Listing<FailureJson>),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn list_failures(
    State(admin): State<Arc<Admin>>,
    Params(query): Params<FailureQuery>,
) -> Result<Json<Listing<FailureJson>>, ProblemJson> {
    let (limit, after) = query.page()?;
    let (rows, next) = admin.store.failures(query.filter()?, limit, after).await?;
    let (registry, now_ms) = (admin.registry.load(), admin.clock.now_ms());
    Ok(Json(Listing {
        items: rows.into_iter().map(|row| FailureJson::of(row, &registry, now_ms)).collect(),
        next_cursor: next.map(failure_text),
    }))
}

/// Show one group of failures: with what its newest deliveries have in common, its first and last
/// attempt, and the changes that may be its cause.
#[utoipa::path(get, path = "/api/v1/failures/{id}", tag = "deliveries",
    params(("id" = String, Path, description = "The id of a group (`f_…`)")), responses(
    (status = 200, description = "The group", body = FailureDetail),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn show_failure(
    State(admin): State<Arc<Admin>>,
    sees: Sees,
    Params(NoQuery {}): Params<NoQuery>,
    Id(id): Id<FailureId>,
) -> Result<Json<FailureDetail>, ProblemJson> {
    let found = admin.store.failure(id).await?;
    let group = FailureJson::of(found, &admin.registry.load(), admin.clock.now_ms());
    Ok(Json(sample::detail(&admin, id, group, sees).await?))
}

impl FailureJson {
    /// As it is now.
    pub(super) fn of(row: FailureView, registry: &Registry, now_ms: i64) -> Self {
        let running = running(registry, &row.plugin);
        let files = row.files.0.iter().map(|(digest, count)| FileCount {
            digest: digest.to_string(),
            count: *count,
            running: running == Some(*digest),
        });
        Self {
            id: row.id.to_string(),
            plugin: row.plugin.to_string(),
            outcome: row.outcome.map(|outcome| outcome.name()),
            dead: row.dead,
            waiting: row.waiting,
            first_at: rfc3339(row.first_ms),
            last_at: rfc3339(row.last_ms),
            trend: row.trend.at(now_ms).to_vec(),
            files: files.collect(),
            on_running: on_running(running, &row.files.0),
            sample: row.sample.map(|sample| sample.to_string()),
            text: row.text,
        }
    }
}

/// The file of a plugin that runs.
fn running(registry: &Registry, plugin: &str) -> Option<Digest> {
    let (_, entry) = registry.entries().find(|(name, _)| name.as_ref() == plugin)?;
    entry.loaded.as_ref().map(|loaded| loaded.digest)
}

/// Whether the file that runs has met a failure.
fn on_running(running: Option<Digest>, files: &[(Digest, u32)]) -> &'static str {
    match running {
        Some(running) if files.iter().any(|(file, _)| *file == running) => "fails",
        Some(_) if !files.is_empty() => "may_be_fixed",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_has_not_met_a_failure_may_have_mended_it() {
        let [old, new] = [1, 2].map(|byte| Digest([byte; 32]));
        assert_eq!(on_running(Some(old), &[(old, 1)]), "fails");
        assert_eq!(on_running(Some(new), &[(old, 1)]), "may_be_fixed");
        assert_eq!(on_running(None, &[(old, 1)]), "unknown");
        assert_eq!(on_running(Some(new), &[]), "unknown");
    }
}
