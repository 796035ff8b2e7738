//! Deliveries: listed and shown; `change` has what an operator does to them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::Admin;
use super::params::{Ask, DeliveryQuery, Id, NoQuery};
use super::problem::Problem;
use super::view::{Delivery, Listing};
use crate::event::DeliveryId;

pub(super) mod change;

/// List deliveries, newest first.
#[utoipa::path(get, path = "/api/v1/deliveries", tag = "deliveries", params(DeliveryQuery), responses(
    (status = 200, description = "A page of deliveries", body = Listing<Delivery>),
    (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list_deliveries(
    State(admin): State<Arc<Admin>>,
    Ask(query): Ask<DeliveryQuery>,
) -> Result<Json<Listing<Delivery>>, Problem> {
    let (rows, next) = admin.store.deliveries(query.filter()?, query.page()?).await?;
    Ok(Json(Listing::of(rows, next)))
}

/// Show one delivery with all its attempts.
#[utoipa::path(get, path = "/api/v1/deliveries/{id}", tag = "deliveries",
    params(("id" = String, Path, description = "A delivery id (`dlv_…`)")), responses(
    (status = 200, description = "The delivery", body = Delivery),
    (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn show_delivery(
    State(admin): State<Arc<Admin>>,
    Ask(NoQuery {}): Ask<NoQuery>,
    Id(id): Id<DeliveryId>,
) -> Result<Json<Delivery>, Problem> {
    let event = admin.store.event(id.event).await?;
    let delivery = event.deliveries.into_iter().find(|delivery| delivery.id == id);
    delivery
        .map(|delivery| Json(delivery.into()))
        .ok_or_else(|| Problem::not_found(format!("there is no delivery {id}")))
}
