//! Operations: what is done to many deliveries, step by step.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::by::By;
use super::deliveries::noted::filter_parts;
use super::params::{
    Deed, Id, NoQuery, OperationItemsQuery, OperationQuery, OperationStartQuery, OperationsQuery,
    Params, ParamsOrBody,
};
use super::problem::ProblemJson;
use super::sees::Sees;
use super::state::Admin;
use super::view::{DeliveryJson, Listing};
use super::waits::WaitFacts;
use crate::clock::rfc3339;
use crate::store::{
    DeliveryFilter, NewOperation, Operation, OperationId, OperationScope, OperationState, Steer,
};

/// The time for which deliveries are counted before an operation is planned.
const COUNTS_FOR: Duration = Duration::from_secs(2);

/// Deliveries of an operation in one answer.
const MAX_ITEMS: usize = 50;

/// An action on many deliveries.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Operation)]
pub(super) struct OperationJson {
    /// `op_` and a number.
    pub(super) id: String,
    /// `retry`, `discard`, `cancel`, or `undiscard`: one that takes a discard back.
    pub(super) action: &'static str,
    /// `planned`, `running`, `paused`, `stopped`, `done` or `cancelled`.
    pub(super) state: &'static str,
    /// Why it has stopped.
    pub(super) reason: Option<String>,
    /// The filters, by their names; empty for one of ids or of another operation.
    pub(super) filter: BTreeMap<&'static str, String>,
    /// The number of deliveries that were named by their ids.
    pub(super) ids: Option<usize>,
    /// The operation that this one takes back.
    pub(super) undoes: Option<String>,
    /// Deliveries whose last attempt ended later are not touched, RFC 3339.
    pub(super) as_of: String,
    /// When it was planned.
    pub(super) planned_at: String,
    /// When it was started.
    pub(super) started_at: Option<String>,
    /// When it ended.
    pub(super) ended_at: Option<String>,
    /// Whether one delivery is tried before the others.
    pub(super) first: bool,
    /// Deliveries a second, at most.
    pub(super) pace: Option<u32>,
    /// Failures after which it stops.
    pub(super) stop_after: Option<u32>,
    /// Deliveries that it is for.
    pub(super) total: u64,
    /// Whether those are all, or at least so many.
    pub(super) exact: bool,
    /// Deliveries of which the result is known: `ok`, `failed` and `skipped` together.
    pub(super) done: u64,
    /// Deliveries that were acted on, and have no result yet.
    pub(super) open: u64,
    /// Deliveries that succeeded, or were changed by an action that has no further result.
    pub(super) ok: u64,
    /// Deliveries that failed again.
    pub(super) failed: u64,
    /// Deliveries whose state had changed when their turn came.
    pub(super) skipped: u64,
    /// Deliveries a second since it was started.
    pub(super) rate: Option<f64>,
    /// Seconds to its end at that rate.
    pub(super) eta_s: Option<u64>,
    /// The name of the client that planned it.
    pub(super) actor: String,
    /// Whether `undo` brings back what it has discarded.
    pub(super) can_undo: bool,
}

/// An operation that was planned, and some of what it is for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Planned {
    #[serde(flatten)]
    pub(super) operation: OperationJson,
    /// The first few deliveries.
    pub(super) sample: Vec<DeliveryJson>,
}

/// An operation with deliveries of one result.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OperationShown {
    #[serde(flatten)]
    pub(super) operation: OperationJson,
    /// Deliveries with the result that is asked for: those that failed, unless another one is.
    pub(super) items: Vec<DeliveryJson>,
    /// The `cursor` of the next page; absent at the end.
    pub(super) next_cursor: Option<String>,
}

/// The deliveries that an operation would be for.
#[derive(Debug, Default)]
pub(super) struct CountedDeliveries {
    pub(super) total: u64,
    pub(super) exact: bool,
    pub(super) sample: Vec<DeliveryJson>,
}

/// Plan an operation: what it is for is counted for at most two seconds, and nothing is changed. It
/// can be started within an hour.
#[utoipa::path(post, path = "/api/v1/operations", tag = "deliveries", params(OperationQuery),
    request_body(content = Option<serde_json::Value>, description = "The parameters of the query, as the members of an object"),
    responses(
    (status = 201, description = "It is planned", body = Planned),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn plan_operation(
    State(admin): State<Arc<Admin>>,
    by: By,
    ParamsOrBody(query): ParamsOrBody<OperationQuery>,
) -> Result<(StatusCode, Json<Planned>), ProblemJson> {
    let deed = query.deed()?;
    let mut counted = count(&admin, &deed).await?;
    let sample = std::mem::take(&mut counted.sample);
    let id = plan(&admin, &by, deed, counted).await?;
    let operation = shown(&admin, id).await?;
    Ok((StatusCode::CREATED, Json(Planned { operation, sample })))
}

/// Counts what an operation would be for.
pub(super) async fn count(admin: &Admin, deed: &Deed) -> Result<CountedDeliveries, ProblemJson> {
    let facts = WaitFacts::of(admin);
    let filter = match &deed.scope {
        OperationScope::Filter(filter) => {
            let until = |ms: i64| filter.until_ms.unwrap_or(i64::MAX).min(ms.saturating_add(1));
            let until_ms = deed.as_of_ms.map(until).or(filter.until_ms);
            DeliveryFilter { until_ms, ..filter.clone() }
        }
        OperationScope::Undo(_) => return Ok(CountedDeliveries::default()),
        OperationScope::Ids(ids) => {
            let mut sample = Vec::new();
            for id in ids.iter().take(5) {
                sample.push(facts.delivery(admin.store.delivery(*id).await?, Sees::ALL));
            }
            return Ok(CountedDeliveries { total: ids.len() as u64, exact: true, sample });
        }
    };
    let (begun, mut counted, mut from) = (Instant::now(), CountedDeliveries::default(), None);
    loop {
        let preview = admin.store.preview(deed.action.clone(), filter.clone(), from).await?;
        counted.total += preview.deliveries;
        counted.sample.extend(preview.first.into_iter().map(|row| facts.delivery(row, Sees::ALL)));
        from = preview.next;
        counted.exact = from.is_none();
        if counted.exact || begun.elapsed() >= COUNTS_FOR {
            return Ok(counted);
        }
    }
}

/// Plans what was counted.
pub(super) async fn plan(
    admin: &Admin,
    by: &By,
    deed: Deed,
    counted: CountedDeliveries,
) -> Result<OperationId, ProblemJson> {
    let Deed { action, scope, as_of_ms } = deed;
    let target = match &scope {
        OperationScope::Filter(filter) => super::deliveries::noted::filter_text(filter),
        OperationScope::Ids(ids) => {
            ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
        OperationScope::Undo(of) => of.to_string(),
    };
    let note = by.note("operations.plan", &target, action.name());
    let CountedDeliveries { total, exact, .. } = counted;
    let actor = note.actor.clone();
    let new = NewOperation { action, scope, total, exact, as_of_ms, actor };
    Ok(admin.store.plan(note, new).await?)
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
    (status = 200, description = "It rests", body = OperationJson),
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
    (status = 409, description = "It does not rest", body = ProblemJson, content_type = "application/problem+json"),
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
    admin.operations.tell();
    shown(&admin, undo).await.map(Json)
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
    admin.operations.tell();
    shown(admin, id).await.map(Json)
}

/// List operations, newest first.
#[utoipa::path(get, path = "/api/v1/operations", tag = "deliveries", params(OperationsQuery), responses(
    (status = 200, description = "A page of operations", body = Listing<OperationJson>),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn list_operations(
    State(admin): State<Arc<Admin>>,
    Params(query): Params<OperationsQuery>,
) -> Result<Json<Listing<OperationJson>>, ProblemJson> {
    let (limit, before) = query.page()?;
    let mut found = admin.store.operations(before, limit + 1).await?;
    let next = found.len() > limit;
    found.truncate(limit);
    let next_cursor = found.last().filter(|_| next).map(|last| last.id.to_string());
    let now_ms = admin.clock.now_ms();
    let items = found.iter().map(|operation| OperationJson::of(operation, now_ms)).collect();
    Ok(Json(Listing { items, next_cursor }))
}

/// Show an operation, and its deliveries of one result.
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
    let operation = shown(&admin, id).await?;
    let mut found = admin.store.operation_items(id, result, after, MAX_ITEMS + 1).await?;
    let next = found.len() > MAX_ITEMS;
    found.truncate(MAX_ITEMS);
    let next_cursor = found.last().filter(|_| next).map(|last| last.id.to_string());
    let facts = WaitFacts::of(&admin);
    let items = found.into_iter().map(|row| facts.delivery(row, sees)).collect();
    Ok(Json(OperationShown { operation, items, next_cursor }))
}

/// An operation that is there.
pub(super) async fn shown(admin: &Admin, id: OperationId) -> Result<OperationJson, ProblemJson> {
    let found = admin.store.operation(id).await?;
    let found = found.ok_or_else(|| {
        ProblemJson::not_found(format!(
            "no such operation: `{id}` was never planned here, was not started within an hour, or \
             ended more than 30 days ago"
        ))
    })?;
    Ok(OperationJson::of(&found, admin.clock.now_ms()))
}

impl OperationJson {
    fn of(operation: &Operation, now_ms: i64) -> Self {
        let at = |ms: Option<i64>| ms.map(rfc3339);
        let (filter, ids, undoes) = match &operation.scope {
            OperationScope::Filter(filter) => (filter_parts(filter), None, None),
            OperationScope::Ids(ids) => (BTreeMap::new(), Some(ids.len()), None),
            OperationScope::Undo(of) => (BTreeMap::new(), None, Some(of.to_string())),
        };
        let (done, total) = (operation.done(), operation.total.max(operation.found));
        let until_ms = operation.ended_ms.unwrap_or(now_ms);
        let passed_s = operation.started_ms.map(|started| (until_ms - started) as f64 / 1000.0);
        let rate = passed_s.filter(|passed| *passed > 0.0).map(|passed| done as f64 / passed);
        let left = total.saturating_sub(done);
        let eta_s = rate
            .filter(|rate| *rate > 0.0 && operation.state == OperationState::Running)
            .map(|rate| (left as f64 / rate).ceil() as u64);
        Self {
            id: operation.id.to_string(),
            action: operation.action.name(),
            state: operation.state.name(),
            reason: operation.reason.clone(),
            filter,
            ids,
            undoes,
            as_of: rfc3339(operation.as_of_ms),
            planned_at: rfc3339(operation.planned_ms),
            started_at: at(operation.started_ms),
            ended_at: at(operation.ended_ms),
            first: operation.options.first,
            pace: operation.options.pace,
            stop_after: operation.options.stop_after,
            total,
            exact: operation.exact,
            done,
            open: operation.open,
            ok: operation.ok,
            failed: operation.failed,
            skipped: operation.skipped,
            rate: rate.map(|rate| (rate * 10.0).round() / 10.0),
            eta_s,
            actor: operation.actor.clone(),
            can_undo: operation.can_be_undone(),
        }
    }
}
