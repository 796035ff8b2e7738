//! Find: straight to what an id or a name means, else to a search of events.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::form::see_other;
use super::parts::link::Link;
use super::request::Asked;
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::event::{DeliveryId, EventId, FailureId};
use crate::store::OperationId;

/// Leads to a thing by its id or name.
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    let query = asked.field("q").unwrap_or_default();
    Ok(see_other(&place(&admin, query)))
}

fn place(admin: &Admin, query: &str) -> String {
    if query.is_empty() {
        return "/events".to_owned();
    }
    if query.parse::<EventId>().is_ok() {
        return Link::to("/events").segment(query).into_text();
    }
    if query.parse::<DeliveryId>().is_ok() {
        return Link::to("/deliveries").segment(query).into_text();
    }
    if query.parse::<FailureId>().is_ok() {
        return Link::to("/failures").segment(query).into_text();
    }
    if query.parse::<OperationId>().is_ok() {
        return Link::to("/operations").segment(query).into_text();
    }
    let registry = admin.registry.load();
    let is_digest = |digest: String| query.len() >= 6 && digest.starts_with(query);
    let plugin = registry.entries().find(|(name, entry)| {
        ***name == *query
            || entry.loaded.as_ref().is_some_and(|loaded| is_digest(loaded.digest.to_string()))
            || entry.held().is_some_and(|held| is_digest(held.candidate.digest.to_string()))
    });
    if let Some((name, _)) = plugin {
        return Link::to("/plugins").segment(name).into_text();
    }
    let config = admin.config.load();
    if config.sources.contains_key(query) {
        return Link::to("/sources").segment(query).into_text();
    }
    if config.schedules.contains_key(query) {
        return Link::to("/schedules").segment(query).into_text();
    }
    let gathers = ["", "joins/", "batches/"].map(|kind| format!("{kind}{query}"));
    if let Some(name) = gathers.iter().find(|name| config.routes.gatherings.get(name).is_some()) {
        return Link::to("/joins").with("name", name).into_text();
    }
    if registry.entries().any(|(name, _)| *config.plugin(name).kv.bucket_of(name) == *query) {
        return Link::to("/kv").segment(query).into_text();
    }
    Link::to("/events").with("q", query).into_text()
}
