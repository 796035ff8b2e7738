//! Operations: what is done to many deliveries or events, step by step.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::by::By;
use super::params::{
    Id, NoQuery, OperationItemsQuery, OperationQuery, OperationStartQuery, OperationsQuery, Params,
    ParamsOrBody,
};
use super::problem::ProblemJson;
use super::sees::Sees;
use super::state::Admin;
use super::view::Listing;
use super::waits::WaitFacts;
use crate::store::{FoundOperation, OperationId, Steer};

mod first;
mod plan;
mod scope;
mod shown;
mod unreadable;

pub(super) use first::FirstTriedJson;
pub(super) use plan::{CountedDeliveries, count, plan};
pub(super) use shown::{OperationJson, OperationShown, Planned};
pub(super) use unreadable::UNREADABLE;

/// Items of an operation in one answer.
const MAX_ITEMS: usize = 50;

/// Plan an operation on deliveries, or a replay of events: those it is for are counted for at most
/// two seconds, and nothing is changed. It can be started within an hour.
#[utoipa::path(post, path = "/api/v1/operations", tag = "deliveries", params(OperationQuery),
    request_body(content = Option<serde_json::Value>, description = "The parameters of the query, as the members of an object"),
    responses(
    (status = 201, description = "It is planned", body = Planned),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn plan_operation(
    State(admin): State<Arc<Admin>>,
    by: By,
    sees: Sees,
    ParamsOrBody(query): ParamsOrBody<OperationQuery>,
) -> Result<(StatusCode, Json<Planned>), ProblemJson> {
    let deed = query.deed(sees)?;
    let mut counted = count(&admin, &deed).await?;
    let sample = std::mem::take(&mut counted.sample);
    let events = std::mem::take(&mut counted.events);
    let id = plan(&admin, &by, deed, counted).await?;
    let operation = shown(&admin, sees, id).await?;
    Ok((StatusCode::CREATED, Json(Planned { operation, sample, events })))
}

/// Start an operation that was planned. A running operation is left as it is.
#[utoipa::path(post, path = "/api/v1/operations/{id}/start", tag = "deliveries",
    params(("id" = String, Path, description = "An operation's id (`op_…`)"), OperationStartQuery),
    request_body(content = Option<serde_json::Value>, description = "The parameters of the query, as the members of an object"),
    responses(
    (status = 200, description = "It runs", body = OperationJson),
    (status = 409, description = "It is over, or was planned more than an hour ago", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn start_operation(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(id): Id<OperationId>,
    ParamsOrBody(query): ParamsOrBody<OperationStartQuery>,
) -> Result<Json<OperationJson>, ProblemJson> {
    steer(&admin, &by, id, Steer::Start(query.options()?)).await
}

/// Pause an operation that runs. Deliveries that are due by it are tried all the same.
#[utoipa::path(post, path = "/api/v1/operations/{id}/pause", tag = "deliveries",
    params(("id" = String, Path, description = "An operation's id (`op_…`)")), responses(
    (status = 200, description = "It is paused", body = OperationJson),
    (status = 409, description = "It does not run", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn pause_operation(
    State(admin): State<Arc<Admin>>,
    by: By,
    Params(NoQuery {}): Params<NoQuery>,
    Id(id): Id<OperationId>,
) -> Result<Json<OperationJson>, ProblemJson> {
    steer(&admin, &by, id, Steer::Pause).await
}

/// Let an operation go on that was paused or has stopped. An operation that has stopped by itself
/// heeds no further failure.
#[utoipa::path(post, path = "/api/v1/operations/{id}/resume", tag = "deliveries",
    params(("id" = String, Path, description = "An operation's id (`op_…`)")), responses(
    (status = 200, description = "It runs", body = OperationJson),
    (status = 409, description = "It is neither paused nor stopped", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn resume_operation(
    State(admin): State<Arc<Admin>>,
    by: By,
    Params(NoQuery {}): Params<NoQuery>,
    Id(id): Id<OperationId>,
) -> Result<Json<OperationJson>, ProblemJson> {
    steer(&admin, &by, id, Steer::Resume).await
}

/// End an operation where it is. The deliveries that it has changed stay changed.
#[utoipa::path(post, path = "/api/v1/operations/{id}/cancel", tag = "deliveries",
    params(("id" = String, Path, description = "An operation's id (`op_…`)")), responses(
    (status = 200, description = "It is over", body = OperationJson),
    (status = 409, description = "It has ended", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn cancel_operation(
    State(admin): State<Arc<Admin>>,
    by: By,
    Params(NoQuery {}): Params<NoQuery>,
    Id(id): Id<OperationId>,
) -> Result<Json<OperationJson>, ProblemJson> {
    steer(&admin, &by, id, Steer::Cancel).await
}

/// Bring back what an operation has discarded, as far as nobody has retried it since. It is another
/// operation, which runs at once.
#[utoipa::path(post, path = "/api/v1/operations/{id}/undo", tag = "deliveries",
    params(("id" = String, Path, description = "An operation's id (`op_…`)")), responses(
    (status = 200, description = "The operation that takes it back", body = OperationJson),
    (status = 409, description = "It is no discard, has changed nothing, or runs", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn undo_operation(
    State(admin): State<Arc<Admin>>,
    by: By,
    Params(NoQuery {}): Params<NoQuery>,
    Id(id): Id<OperationId>,
) -> Result<Json<OperationJson>, ProblemJson> {
    let note = by.note("operations.undo", &id.to_string(), "");
    let undo = admin.store.undo(note, id).await?;
    admin.operations.tell(undo);
    shown(&admin, Sees::ALL, undo).await.map(Json)
}

async fn steer(
    admin: &Admin,
    by: &By,
    id: OperationId,
    steer: Steer,
) -> Result<Json<OperationJson>, ProblemJson> {
    let action = match steer {
        Steer::Start(_) => "operations.start",
        Steer::Pause => "operations.pause",
        Steer::Resume => "operations.resume",
        Steer::Cancel => "operations.cancel",
    };
    let detail = match steer {
        Steer::Start(options) => format!("{options:?}"),
        _ => String::new(),
    };
    let note = by.note(action, &id.to_string(), &detail);
    let id = admin.store.steer(note, id, steer).await?;
    admin.operations.tell(id);
    shown(admin, Sees::ALL, id).await.map(Json)
}

/// List operations, newest first.
#[utoipa::path(get, path = "/api/v1/operations", tag = "deliveries", params(OperationsQuery), responses(
    (status = 200, description = "A page of operations", body = Listing<OperationJson>),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn list_operations(
    State(admin): State<Arc<Admin>>,
    sees: Sees,
    Params(query): Params<OperationsQuery>,
) -> Result<Json<Listing<OperationJson>>, ProblemJson> {
    let (limit, before) = query.page()?;
    let mut found = admin.store.operations(before, limit + 1).await?;
    let next = found.len() > limit;
    found.truncate(limit);
    let next_cursor = if next { found.last().map(|last| last.id().to_string()) } else { None };
    let items = found.iter().map(|it| OperationJson::of_found(it, &admin, sees)).collect();
    Ok(Json(Listing { items, next_cursor }))
}

/// Show an operation, and its deliveries of one result; of a replay the events as well.
#[utoipa::path(get, path = "/api/v1/operations/{id}", tag = "deliveries",
    params(("id" = String, Path, description = "An operation's id (`op_…`)"), OperationItemsQuery), responses(
    (status = 200, description = "The operation", body = OperationShown),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn show_operation(
    State(admin): State<Arc<Admin>>,
    sees: Sees,
    Params(query): Params<OperationItemsQuery>,
    Id(id): Id<OperationId>,
) -> Result<Json<OperationShown>, ProblemJson> {
    let (result, after) = query.page()?;
    let mut operation = shown(&admin, sees, id).await?;
    let found = admin.store.found_operation(id).await?.and_then(FoundOperation::whole);
    if let Some(tried) = found.as_ref().and_then(|found| found.marks.tried) {
        let is_replay = found.is_some_and(|found| found.action.is_replay());
        operation.first_tried = first::tried(&admin, tried, is_replay).await?;
    }
    let mut ids = admin.store.item_ids(id, result, after, MAX_ITEMS + 1).await?;
    let next = ids.len() > MAX_ITEMS;
    ids.truncate(MAX_ITEMS);
    let next_cursor = if next { ids.last().map(ToString::to_string) } else { None };
    let found = admin.store.operation_items(id, result, after, MAX_ITEMS).await?;
    let facts = WaitFacts::of(&admin);
    let items = found.into_iter().map(|row| facts.delivery(row, sees)).collect();
    let mut events = Vec::new();
    if operation.action == "replay" {
        events.extend(ids.into_iter().map(|id| id.event.to_string()));
    }
    Ok(Json(OperationShown { operation, items, events, next_cursor }))
}

/// An operation that is there.
pub(super) async fn shown(
    admin: &Admin,
    sees: Sees,
    id: OperationId,
) -> Result<OperationJson, ProblemJson> {
    let found = admin.store.found_operation(id).await?;
    let found = found.ok_or_else(|| {
        ProblemJson::not_found(format!(
            "no such operation: `{id}` was never planned here, was not started within an hour, or \
             ended more than 30 days ago"
        ))
    })?;
    Ok(OperationJson::of_found(&found, admin, sees))
}
