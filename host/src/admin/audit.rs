//! The audit log: who changed what.

use std::io;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::ndjson::{self, LineSender};
use super::params::{AuditQuery, Params, audit_text};
use super::problem::ProblemJson;
use super::role::Identity;
use super::sees::Sees;
use super::state::Admin;
use super::view::Listing;
use crate::clock::rfc3339;
use crate::store::{AuditEntry, AuditFilter, StoreError};

/// Entries of an export that are read at once.
const PAGE: usize = 500;

/// A change that a client has made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub(super) struct AuditEntryJson {
    /// Grows from entry to entry.
    pub(super) id: i64,
    /// When, RFC 3339 with milliseconds.
    pub(super) at: String,
    /// The name of the client's token; `local` without one.
    pub(super) actor: String,
    /// The client's role.
    pub(super) role: String,
    /// `api`, `command` or `page`.
    pub(super) via: String,
    /// The action, such as `deliveries.retry`.
    pub(super) action: String,
    /// The object of the action: an id, a name, or a filter.
    pub(super) target: String,
    /// How it was asked for.
    pub(super) detail: String,
    /// The result: a number of deliveries, their ids, or null.
    #[schema(value_type = serde_json::Value)]
    pub(super) result: Box<RawValue>,
}

/// List changes that clients have made, newest first.
///
/// A page can be empty and still have a next one: it looks at a bounded number of entries.
#[utoipa::path(get, path = "/api/v1/audit", tag = "health", params(AuditQuery), responses(
    (status = 200, description = "A page of entries", body = Listing<AuditEntryJson>),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn list_audit(
    State(admin): State<Arc<Admin>>,
    sees: Sees,
    Params(query): Params<AuditQuery>,
) -> Result<Json<Listing<AuditEntryJson>>, ProblemJson> {
    let (limit, before) = query.page()?;
    let (items, next) = found(&admin, sees, query.filter()?, (limit, before)).await?;
    Ok(Json(Listing { items, next_cursor: next.map(audit_text) }))
}

/// A page of entries, and where the next one begins.
async fn found(
    admin: &Admin,
    sees: Sees,
    filter: AuditFilter,
    (limit, before): (usize, Option<i64>),
) -> Result<(Vec<AuditEntryJson>, Option<i64>), StoreError> {
    let text = if sees.payloads() { None } else { filter.target.clone() };
    let (entries, next) = admin.store.audit(filter, limit, before).await?;
    let shown = |entry| AuditEntryJson::of(entry, sees);
    // An entry that is found by what is hidden would tell it.
    let is_found = |entry: &AuditEntryJson| {
        text.as_deref()
            .is_none_or(|text| entry.target.contains(text) || entry.detail.contains(text))
    };
    Ok((entries.into_iter().map(shown).filter(is_found).collect(), next))
}

/// Export every entry of the audit log that matches, newest first: one JSON object a line.
///
/// `limit` bounds the entries of the whole answer; without it there are all. An answer that breaks
/// off is not complete. It breaks off when its client could no longer begin it.
#[utoipa::path(get, path = "/api/v1/audit/export", tag = "health", params(AuditQuery), responses(
    (status = 200, description = "Entries, until there are no more", body = AuditEntryJson, content_type = "application/x-ndjson"),
    (status = 503, description = "4 exports are under way", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn export_audit(
    State(admin): State<Arc<Admin>>,
    client: Identity,
    Params(query): Params<AuditQuery>,
    headers: HeaderMap,
) -> Result<Response, ProblemJson> {
    let sees = client.sees;
    let (filter, (limit, before)) = (query.filter()?, query.page()?);
    let most = if query.is_limited() { limit } else { usize::MAX };
    let write = move |admin, sender| send_all(admin, sees, (filter, before, most), sender);
    ndjson::answer(admin, (client, headers), write)
}

/// Sends every entry that matches, until the client has gone.
async fn send_all(
    admin: Arc<Admin>,
    sees: Sees,
    (filter, mut before, mut left): (AuditFilter, Option<i64>, usize),
    sender: LineSender,
) -> Result<(), io::Error> {
    loop {
        let page = (left.min(PAGE), before);
        let entries = found(&admin, sees, filter.clone(), page).await;
        let (entries, next) = entries.map_err(io::Error::other)?;
        left -= entries.len();
        for entry in entries {
            if !sender.send(&entry).await? {
                return Ok(());
            }
        }
        if next.is_none() || left == 0 {
            return Ok(());
        }
        before = next;
    }
}

impl AuditEntryJson {
    fn of(entry: AuditEntry, sees: Sees) -> Self {
        let AuditEntry { id, at_ms, actor, role, via, action, target, detail, result } = entry;
        let (target, detail) = (sees.detail(target), sees.detail(detail));
        let result = RawValue::from_string(result).unwrap_or_default();
        Self { id, at: rfc3339(at_ms), actor, role, via, action, target, detail, result }
    }
}
