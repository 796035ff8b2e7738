//! The body of an event, byte for byte.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::admin::params::{Id, NoQuery, Params};
use crate::admin::problem::ProblemJson;
use crate::admin::sees::Sees;
use crate::admin::state::Admin;
use crate::event::EventId;

/// The body of an event, for a client that reads it.
pub(in crate::admin) async fn body(
    admin: &Admin,
    sees: Sees,
    id: EventId,
) -> Result<Bytes, ProblemJson> {
    sees.need("this is a payload")?;
    Ok(admin.store.event(id).await?.event.attributes.body)
}

/// Download the body of an event, byte for byte.
///
/// It is sent as an attachment of unknown kind: it is a stranger's, and nothing for a browser to
/// show.
#[utoipa::path(get, path = "/api/v1/events/{id}/body", tag = "events",
    params(("id" = String, Path, description = "An event id (`evt_…`)")), responses(
    (status = 200, description = "The bytes", body = serde_json::Value, content_type = "application/octet-stream"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(in crate::admin) async fn show_body(
    State(admin): State<Arc<Admin>>,
    sees: Sees,
    Params(NoQuery {}): Params<NoQuery>,
    Id(id): Id<EventId>,
) -> Result<Response, ProblemJson> {
    let bytes = body(&admin, sees, id).await?;
    let name = format!("attachment; filename=\"{id}\"");
    let name = HeaderValue::from_str(&name)
        .map_err(|error| ProblemJson::bad_request(error.to_string()))?;
    let kind = HeaderValue::from_static("application/octet-stream");
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)], bytes).into_response())
}
