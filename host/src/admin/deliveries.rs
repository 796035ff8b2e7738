//! Deliveries: listed, shown, and the dead ones retried.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Admin;
use super::params::{Ask, DeliveryQuery, Id, NoQuery, Order, RetryQuery};
use super::problem::Problem;
use super::view::{Delivery, Listing};
use crate::event::{self, DeliveryId};
use crate::store::RetryWhich;

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

/// What a retry did.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Retried {
    /// Dead deliveries that are ready again.
    retried: u64,
}

/// Retry one dead delivery, attempts counted from 0.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/retry", tag = "deliveries",
    params(("id" = String, Path, description = "A delivery id (`dlv_…`)")), responses(
    (status = 200, description = "It is ready again", body = Retried),
    (status = 409, description = "It is not dead", body = Problem, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn retry_delivery(
    State(admin): State<Arc<Admin>>,
    Ask(NoQuery {}): Ask<NoQuery>,
    Id(id): Id<DeliveryId>,
) -> Result<Json<Retried>, Problem> {
    let retried = admin.store.retry(RetryWhich::One(id)).await?;
    tracing::info!(delivery.id = %id, "an operator retries a delivery");
    Ok(Json(Retried { retried }))
}

/// Retry every dead delivery that matches.
#[utoipa::path(post, path = "/api/v1/deliveries/retry", tag = "deliveries", params(RetryQuery),
    request_body(content = Option<serde_json::Value>, description = "The parameters of the query, as the members of an object"),
    responses(
    (status = 200, description = "They are ready again", body = Retried),
    (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn retry_deliveries(
    State(admin): State<Arc<Admin>>,
    Order(query): Order<RetryQuery>,
) -> Result<Json<Retried>, Problem> {
    let filter = query.filter()?;
    // Not more than there are now: what dies again meanwhile has had its chance.
    let dead = admin.store.stats().deliveries(event::State::Dead);
    let mut retried = 0;
    loop {
        let more = admin.store.retry(RetryWhich::Matching(filter.clone())).await?;
        retried += more;
        if more == 0 || retried >= dead {
            break;
        }
    }
    tracing::info!(retried, "an operator retries dead deliveries");
    Ok(Json(Retried { retried }))
}
