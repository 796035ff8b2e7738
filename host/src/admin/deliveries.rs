//! Deliveries: listed and shown; `change` has what an operator does to them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::params::{DeliveryQuery, Id, NoQuery, Params, to_text};
use super::problem::ProblemJson;
use super::sees::Sees;
use super::state::Admin;
use super::verdict::AgainstJson;
use super::view::{DeliveryJson, Listing};
use super::waits::WaitFacts;
use crate::event::DeliveryId;

pub(super) mod change;
pub(super) mod noted;

/// List deliveries, newest first.
#[utoipa::path(get, path = "/api/v1/deliveries", tag = "deliveries", params(DeliveryQuery), responses(
    (status = 200, description = "A page of deliveries", body = Listing<DeliveryJson>),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn list_deliveries(
    State(admin): State<Arc<Admin>>,
    sees: Sees,
    Params(query): Params<DeliveryQuery>,
) -> Result<Json<Listing<DeliveryJson>>, ProblemJson> {
    let (rows, next) = admin.store.deliveries(query.filter()?, query.page()?).await?;
    let facts = WaitFacts::of(&admin);
    Ok(Json(Listing {
        items: rows.into_iter().map(|row| facts.delivery(row, sees)).collect(),
        next_cursor: next.map(to_text),
    }))
}

/// Show one delivery with all its attempts.
#[utoipa::path(get, path = "/api/v1/deliveries/{id}", tag = "deliveries",
    params(("id" = String, Path, description = "A delivery id (`dlv_…`)")), responses(
    (status = 200, description = "The delivery", body = DeliveryJson),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn show_delivery(
    State(admin): State<Arc<Admin>>,
    sees: Sees,
    Params(NoQuery {}): Params<NoQuery>,
    Id(id): Id<DeliveryId>,
) -> Result<Json<DeliveryJson>, ProblemJson> {
    let found = admin.store.delivery(id).await?;
    // A replay is compared with the delivery before it.
    let others = match found.replay && found.retried_after.is_none() {
        true => admin.store.event(id.event).await?.deliveries,
        false => Vec::new(),
    };
    let against = AgainstJson::of_last(&found, &others);
    let shown = WaitFacts::of(&admin).delivery(found, sees);
    Ok(Json(DeliveryJson { against, ..shown }))
}
