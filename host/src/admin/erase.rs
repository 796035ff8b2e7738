//! Erasing what events hold, because somebody asked for their data to be deleted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::by::By;
use super::params::{EraseQuery, EraseSubjectQuery, Id, ParamsOrBody};
use super::problem::ProblemJson;
use super::state::Admin;
use crate::event::EventId;
use crate::store::{AuditNote, Erased, Erasure};

/// The time that one call works before it answers that there is more.
const WORKS_FOR: Duration = Duration::from_secs(2);

/// The events and the data that were erased.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Erased)]
pub(super) struct ErasedJson {
    /// Events whose data is gone: also dead letters that told of them, and what joins and batches
    /// made of them.
    pub(super) erased: u64,
    /// Deliveries that were cancelled or discarded for it.
    pub(super) ended: u64,
    /// Events that have an attempt that still runs: the same call erases them when it has ended.
    pub(super) running: u64,
    /// Values of key-value buckets that are deleted.
    pub(super) keys: u64,
    /// Whether this call has stopped before the end: ask again.
    pub(super) more: bool,
}

/// Erase an event: its body, headers and subject, and what its deliveries left: logs, errors, paths
/// of requests, recorded steps. Counts and tree stay. Open deliveries are cancelled first.
#[utoipa::path(post, path = "/api/v1/events/{id}/erase", tag = "events",
    params(("id" = String, Path, description = "An event id (`evt_…`)"), EraseQuery),
    request_body(content = Option<serde_json::Value>, description = "The parameters of the query, as the members of an object"),
    responses(
    (status = 200, description = "The counts of it; all 0 if the event was erased before", body = ErasedJson),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn erase_event(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(id): Id<EventId>,
    ParamsOrBody(query): ParamsOrBody<EraseQuery>,
) -> Result<Json<ErasedJson>, ProblemJson> {
    let keys = query.keys()?;
    let note = by.note("events.erase", &id.to_string(), detail(keys));
    erase(&admin, note, Erasure::Event(id), keys).await
}

/// Erase every event with exactly this subject. The audit log has the SHA-256 of the subject.
#[utoipa::path(post, path = "/api/v1/events/erase", tag = "events", params(EraseSubjectQuery),
    request_body(content = Option<serde_json::Value>, description = "The parameters of the query, as the members of an object"),
    responses(
    (status = 200, description = "The counts of it", body = ErasedJson),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn erase_subject(
    State(admin): State<Arc<Admin>>,
    by: By,
    ParamsOrBody(query): ParamsOrBody<EraseSubjectQuery>,
) -> Result<Json<ErasedJson>, ProblemJson> {
    let keys = query.rest.keys()?;
    let subject = query.subject()?;
    let digest = Sha256::digest(subject.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let note = by.note("events.erase", &format!("subject sha256:{hex}"), detail(keys));
    erase(&admin, note, Erasure::Subject(subject.to_owned()), keys).await
}

fn detail(keys: bool) -> &'static str {
    if keys { "with the values they wrote last" } else { "" }
}

async fn erase(
    admin: &Admin,
    note: AuditNote,
    erasure: Erasure,
    keys: bool,
) -> Result<Json<ErasedJson>, ProblemJson> {
    let begun = Instant::now();
    let mut all = Erased::default();
    loop {
        let some = admin.store.erase(Some(note.clone()), erasure.clone(), keys).await?;
        all = all.and(some);
        all.running = some.running;
        if !some.more || begun.elapsed() >= WORKS_FOR {
            break;
        }
    }
    let Erased { events, ended, running, keys, more } = all;
    tracing::info!(events, ended, running, keys, "an operator erases events");
    Ok(Json(ErasedJson { erased: events, ended, running, keys, more }))
}
