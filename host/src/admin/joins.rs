//! Open joins and batches: which members have come, and what is still needed.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::needs::{Needs, needs};
use super::params::{JoinQuery, Params, gathering_text};
use super::problem::ProblemJson;
use super::sees::{Sees, is_of_body};
use super::state::Admin;
use super::view::Listing;
use crate::clock::rfc3339;
use crate::config::routes::Gathering;
use crate::store::GatheringState;

/// A join or a batch that has not ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Join)]
pub(super) struct JoinJson {
    /// `joins/NAME` or `batches/NAME`: the section of the configuration.
    pub(super) name: String,
    /// The key that its members have in common.
    pub(super) key: String,
    /// The delivery that ends it.
    pub(super) delivery_id: String,
    /// The first member.
    pub(super) first_event_id: String,
    /// When the first member came, RFC 3339 with milliseconds.
    pub(super) since: String,
    /// When it ends in any case, RFC 3339 with milliseconds.
    pub(super) until: String,
    /// Members that are counted.
    pub(super) count: u32,
    /// How many members complete it, if a number does and is known.
    pub(super) need: Option<u32>,
    /// The types of which an event has come, if types complete it.
    pub(super) seen: Vec<String>,
    /// The types of which none has come yet.
    pub(super) missing: Vec<String>,
    /// The types of which one event completes it, if one does.
    pub(super) closed_by: Vec<String>,
    /// Whether it is complete or its time is over, and it is about to end.
    pub(super) ending: bool,
    /// The missing members, in words.
    pub(super) needs: String,
}

/// List open joins and batches, by name, the one that ends first before the others.
#[utoipa::path(get, path = "/api/v1/joins", tag = "events", params(JoinQuery), responses(
    (status = 200, description = "A page of open joins and batches", body = Listing<JoinJson>),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn list_joins(
    State(admin): State<Arc<Admin>>,
    sees: Sees,
    Params(query): Params<JoinQuery>,
) -> Result<Json<Listing<JoinJson>>, ProblemJson> {
    let (limit, after) = query.page()?;
    let filter = query.filter()?;
    let (config, now_ms) = (admin.config.load_full(), admin.clock.now_ms());
    let gatherings = &config.routes.gatherings;
    if filter.key.is_some() {
        let is_of_body = match &filter.plugin {
            Some(name) => is_of_body(gatherings.get(name.as_str()).map(|section| &section.key)),
            None => true,
        };
        if is_of_body {
            sees.need("`key` may look into payloads")?;
        }
    }
    let (rows, next) = admin.store.gatherings(filter, limit, after).await?;
    let shown = |row: GatheringState| {
        let section = gatherings.get(&row.plugin).map(AsRef::as_ref);
        JoinJson::of(row, section, now_ms, sees)
    };
    Ok(Json(Listing {
        items: rows.into_iter().map(shown).collect(),
        next_cursor: next.as_ref().map(gathering_text),
    }))
}

impl JoinJson {
    fn of(state: GatheringState, section: Option<&Gathering>, now_ms: i64, sees: Sees) -> Self {
        let Needs { text, need, seen, missing } = needs(section, &state);
        let ending = state.frozen || state.why.is_some() || state.until_ms <= now_ms;
        Self {
            name: state.plugin.to_string(),
            delivery_id: state.id.to_string(),
            first_event_id: state.id.event.to_string(),
            since: rfc3339(state.since_ms),
            until: rfc3339(state.until_ms),
            count: state.count,
            need,
            seen,
            missing,
            closed_by: section.map(|section| section.close.clone()).unwrap_or_default(),
            ending,
            needs: text,
            key: sees.key(section.map(|section| &section.key), state.key),
        }
    }
}
