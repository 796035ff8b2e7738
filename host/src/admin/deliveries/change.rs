//! Changes of deliveries by an operator: of one by its id, or of all that match. One call works for
//! a bounded time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::noted::{audit_detail, audit_name, filter_text};
use crate::admin::by::By;
use crate::admin::events::no_plugin;
use crate::admin::params::{
    ChangeQuery, CursorQuery, FreshQuery, Id, MoveQuery, NoQuery, Params, ParamsOrBody, RetryQuery,
    ToQuery, progress_text,
};
use crate::admin::problem::ProblemJson;
use crate::admin::sees::Sees;
use crate::admin::state::Admin;
use crate::admin::view::DeliveryJson;
use crate::admin::waits::WaitFacts;
use crate::event::{DeliveryId, EventId};
use crate::store::{Action, AuditNote, DeliveryFilter, Progress, Which};

/// The time that one call works before it answers with a cursor: well within the limit of a
/// request.
const WORKS_FOR: Duration = Duration::from_secs(2);

/// The result of a retry.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct Retried {
    /// Deliveries that are due at once.
    pub(in crate::admin) retried: u64,
}

/// The result of a cancellation.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct Cancelled {
    /// Deliveries that are cancelled, or will be once their running attempt has ended.
    pub(in crate::admin) cancelled: u64,
}

/// The result of a discard.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct Discarded {
    /// Dead letters that are discarded.
    pub(in crate::admin) discarded: u64,
}

/// The result of a discard that is taken back.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct Restored {
    /// Dead letters that are there again.
    pub(in crate::admin) restored: u64,
}

/// The result of a move.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Moved)]
pub(in crate::admin) struct MovedJson {
    /// Deliveries that another plugin has now.
    pub(in crate::admin) moved: u64,
}

/// An answer about many deliveries, and whether there are more.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Step)]
pub(in crate::admin) struct StepJson<T: ToSchema> {
    #[serde(flatten)]
    pub(in crate::admin) did: T,
    /// Whether this call has stopped before the end.
    pub(in crate::admin) more: bool,
    /// The `cursor` of the next call, with the same filters; absent at the end.
    pub(in crate::admin) next_cursor: Option<String>,
}

/// The result of a dry run.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct Matched {
    /// Deliveries that would change, among those that this call looked at.
    pub(in crate::admin) matched: u64,
    /// The first few of them, unless a `cursor` was given.
    pub(in crate::admin) first: Vec<DeliveryJson>,
}

/// The result, or with `dry_run` what it would be.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(in crate::admin) enum Bulk<T: ToSchema> {
    Done(StepJson<T>),
    DryRun(StepJson<Matched>),
}

/// Retry one delivery: a dead, cancelled or discarded one begins anew, its attempts counted from 0;
/// a waiting one is due at once. Its recorded steps stay, unless it is to begin fresh.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/retry", tag = "deliveries",
    params(("id" = String, Path, description = "A delivery id (`dlv_…`)"), FreshQuery),
    request_body(content = Option<serde_json::Value>, description = "The parameters of the query, as the members of an object"),
    responses(
    (status = 200, description = "It is due", body = Retried),
    (status = 409, description = "Its state does not allow it", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(in crate::admin) async fn retry_delivery(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(id): Id<DeliveryId>,
    ParamsOrBody(query): ParamsOrBody<FreshQuery>,
) -> Result<Json<Retried>, ProblemJson> {
    Ok(Json(Retried { retried: one(&admin, &by, query.action()?, id).await? }))
}

/// Cancel one open delivery. Of an attempt that is running only its record is stored.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/cancel", tag = "deliveries",
    params(("id" = String, Path, description = "A delivery id (`dlv_…`)")), responses(
    (status = 200, description = "It is cancelled, or will be as soon as its attempt has ended", body = Cancelled),
    (status = 409, description = "It is settled", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(in crate::admin) async fn cancel_delivery(
    State(admin): State<Arc<Admin>>,
    by: By,
    Params(NoQuery {}): Params<NoQuery>,
    Id(id): Id<DeliveryId>,
) -> Result<Json<Cancelled>, ProblemJson> {
    Ok(Json(Cancelled { cancelled: one(&admin, &by, Action::Cancel, id).await? }))
}

/// Discard one dead letter.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/discard", tag = "deliveries",
    params(("id" = String, Path, description = "A delivery id (`dlv_…`)")), responses(
    (status = 200, description = "It is put away", body = Discarded),
    (status = 409, description = "It is not dead", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(in crate::admin) async fn discard_delivery(
    State(admin): State<Arc<Admin>>,
    by: By,
    Params(NoQuery {}): Params<NoQuery>,
    Id(id): Id<DeliveryId>,
) -> Result<Json<Discarded>, ProblemJson> {
    Ok(Json(Discarded { discarded: one(&admin, &by, Action::Discard, id).await? }))
}

/// Make a dead letter again of one that was discarded.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/undiscard", tag = "deliveries",
    params(("id" = String, Path, description = "A delivery id (`dlv_…`)")), responses(
    (status = 200, description = "It is dead again", body = Restored),
    (status = 409, description = "It is not discarded", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(in crate::admin) async fn undiscard_delivery(
    State(admin): State<Arc<Admin>>,
    by: By,
    Params(NoQuery {}): Params<NoQuery>,
    Id(id): Id<DeliveryId>,
) -> Result<Json<Restored>, ProblemJson> {
    Ok(Json(Restored { restored: one(&admin, &by, Action::Undiscard, id).await? }))
}

/// Retry every dead delivery that matches; with `state`, the waiting, cancelled or discarded ones.
#[utoipa::path(post, path = "/api/v1/deliveries/retry", tag = "deliveries", params(RetryQuery),
    request_body(content = Option<serde_json::Value>, description = "The parameters of the query, as the members of an object"),
    responses(
    (status = 200, description = "How many are due, or would be", body = Bulk<Retried>),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(in crate::admin) async fn retry_deliveries(
    State(admin): State<Arc<Admin>>,
    by: By,
    ParamsOrBody(query): ParamsOrBody<RetryQuery>,
) -> Result<Json<Bulk<Retried>>, ProblemJson> {
    let action = query.fresh.action()?;
    all(&admin, &by, action, query.change, |retried| Retried { retried }).await
}

/// Cancel every open delivery that matches.
#[utoipa::path(post, path = "/api/v1/deliveries/cancel", tag = "deliveries", params(ChangeQuery),
    request_body(content = Option<serde_json::Value>, description = "The parameters of the query, as the members of an object"),
    responses(
    (status = 200, description = "How many are cancelled, or would be", body = Bulk<Cancelled>),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(in crate::admin) async fn cancel_deliveries(
    State(admin): State<Arc<Admin>>,
    by: By,
    ParamsOrBody(query): ParamsOrBody<ChangeQuery>,
) -> Result<Json<Bulk<Cancelled>>, ProblemJson> {
    all(&admin, &by, Action::Cancel, query, |cancelled| Cancelled { cancelled }).await
}

/// Discard every dead letter that matches.
#[utoipa::path(post, path = "/api/v1/deliveries/discard", tag = "deliveries", params(ChangeQuery),
    request_body(content = Option<serde_json::Value>, description = "The parameters of the query, as the members of an object"),
    responses(
    (status = 200, description = "How many are put away, or would be", body = Bulk<Discarded>),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(in crate::admin) async fn discard_deliveries(
    State(admin): State<Arc<Admin>>,
    by: By,
    ParamsOrBody(query): ParamsOrBody<ChangeQuery>,
) -> Result<Json<Bulk<Discarded>>, ProblemJson> {
    all(&admin, &by, Action::Discard, query, |discarded| Discarded { discarded }).await
}

/// Move one delivery that is ready or waits to another plugin: at the same time, its attempts
/// counted from 0.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/move", tag = "deliveries",
    params(("id" = String, Path, description = "A delivery id (`dlv_…`)"), ToQuery),
    request_body(content = Option<serde_json::Value>, description = "The parameters of the query, as the members of an object"),
    responses(
    (status = 200, description = "The plugin has it", body = MovedJson),
    (status = 409, description = "Its state does not allow it, or the plugin has the event already", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(in crate::admin) async fn move_delivery(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(id): Id<DeliveryId>,
    ParamsOrBody(query): ParamsOrBody<ToQuery>,
) -> Result<Json<MovedJson>, ProblemJson> {
    Ok(Json(MovedJson { moved: one(&admin, &by, moves_to(&admin, &query)?, id).await? }))
}

/// Move every delivery that matches, of those that are ready or wait, to another plugin, unless
/// that one has the event already.
#[utoipa::path(post, path = "/api/v1/deliveries/move", tag = "deliveries", params(MoveQuery),
    request_body(content = Option<serde_json::Value>, description = "The parameters of the query, as the members of an object"),
    responses(
    (status = 200, description = "How many were moved, or would be", body = Bulk<MovedJson>),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(in crate::admin) async fn move_deliveries(
    State(admin): State<Arc<Admin>>,
    by: By,
    ParamsOrBody(query): ParamsOrBody<MoveQuery>,
) -> Result<Json<Bulk<MovedJson>>, ProblemJson> {
    let action = moves_to(&admin, &query.to)?;
    all(&admin, &by, action, query.change, |moved| MovedJson { moved }).await
}

/// Cancel every open delivery of the tree that an event belongs to. Of an attempt that is running
/// only its record is stored.
#[utoipa::path(post, path = "/api/v1/events/{id}/cancel", tag = "events",
    params(("id" = String, Path, description = "An event id (`evt_…`) of the tree"), CursorQuery),
    request_body(content = Option<serde_json::Value>, description = "The parameters of the query, as the members of an object"),
    responses(
    (status = 200, description = "How many are cancelled, or will be as soon as their attempts have ended", body = StepJson<Cancelled>),
    (status = 409, description = "Nothing of the tree is open", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(in crate::admin) async fn cancel_event(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(event): Id<EventId>,
    ParamsOrBody(query): ParamsOrBody<CursorQuery>,
) -> Result<Json<StepJson<Cancelled>>, ProblemJson> {
    let from = query.from()?;
    let is_first = from.is_none();
    let which = |from| Which::Tree { event, from };
    let detail = audit_detail(&Action::Cancel, from.as_ref());
    let note = by.note("events.cancel", &event.to_string(), &detail);
    let (cancelled, next) = change(&admin, note, Action::Cancel, which, from).await?;
    if is_first && cancelled == 0 && next.is_none() {
        return Err(ProblemJson::conflict(format!(
            "nothing of the tree of event `{event}` is open: every delivery is settled, or is cancelled and ends with \
             its attempt"
        )));
    }
    Ok(Json(StepJson::of(Cancelled { cancelled }, next)))
}

/// Only a plugin with a file may get deliveries.
fn moves_to(admin: &Admin, query: &ToQuery) -> Result<Action, ProblemJson> {
    let (registry, name) = (admin.registry.load(), query.plugin()?);
    let there = || {
        registry.entries().filter(|(_, entry)| entry.state() != "missing").map(|(known, _)| known)
    };
    let found = there().find(|known| known.as_ref() == name);
    let found = found.ok_or_else(|| no_plugin(name, there().map(AsRef::as_ref)))?;
    Ok(Action::Move(Arc::clone(found)))
}

async fn one(admin: &Admin, by: &By, action: Action, id: DeliveryId) -> Result<u64, ProblemJson> {
    let verb = action.name();
    let note = by.note(audit_name(&action), &id.to_string(), &audit_detail(&action, None));
    let changed = admin.store.change(Some(note), action, Which::One(id)).await?.deliveries;
    tracing::info!(delivery.id = %id, action = verb, "an operator changes a delivery");
    count(verb, changed);
    Ok(changed)
}

async fn all<T: ToSchema>(
    admin: &Admin,
    by: &By,
    action: Action,
    query: ChangeQuery,
    did: impl FnOnce(u64) -> T,
) -> Result<Json<Bulk<T>>, ProblemJson> {
    let (dry_run, from) = (query.dry_run()?, query.from()?);
    let filter = query.filter(&action)?;
    Ok(Json(if dry_run {
        Bulk::DryRun(preview(admin, action, filter, from).await?)
    } else {
        let which = |from| Which::Matching { filter: filter.clone(), from };
        let note = by.note(
            audit_name(&action),
            &filter_text(&filter),
            &audit_detail(&action, from.as_ref()),
        );
        let (changed, next) = change(admin, note, action, which, from).await?;
        Bulk::Done(StepJson::of(did(changed), next))
    }))
}

/// Works for a bounded time; says how many deliveries it has changed, and where to go on.
async fn change(
    admin: &Admin,
    note: AuditNote,
    action: Action,
    which: impl Fn(Option<Progress>) -> Which,
    mut from: Option<Progress>,
) -> Result<(u64, Option<Progress>), ProblemJson> {
    // Two requests with one key are one: the second waits, and gets the answer of the first.
    let _turn = if note.key.is_some() { Some(admin.keyed_changes.lock().await) } else { None };
    if let Some(answer) = admin.store.answer(note.clone()).await? {
        return serde_json::from_str(&answer).map_err(|error| {
            ProblemJson::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        });
    }
    let begun = Instant::now();
    let mut log = ChangeLog { verb: action.name(), deliveries: 0 };
    loop {
        let changed = admin.store.change(Some(note.clone()), action.clone(), which(from)).await?;
        log.deliveries += changed.deliveries;
        from = changed.next;
        if from.is_none() || begun.elapsed() >= WORKS_FOR {
            break;
        }
    }
    let done = (log.deliveries, from);
    if note.key.is_some() {
        let answer = serde_json::to_string(&done).unwrap_or_default();
        admin.store.keep_answer(note, answer).await?;
    }
    Ok(done)
}

async fn preview(
    admin: &Admin,
    action: Action,
    filter: DeliveryFilter,
    mut from: Option<Progress>,
) -> Result<StepJson<Matched>, ProblemJson> {
    let begun = Instant::now();
    let (mut matched, mut first) = (0, Vec::new());
    let facts = WaitFacts::of(admin);
    loop {
        let preview = admin.store.preview(action.clone(), filter.clone(), from).await?;
        matched += preview.deliveries;
        first.extend(preview.first.into_iter().map(|row| facts.delivery(row, Sees::ALL)));
        from = preview.next;
        if from.is_none() || begun.elapsed() >= WORKS_FOR {
            return Ok(StepJson::of(Matched { matched, first }, from));
        }
    }
}

impl<T: ToSchema> StepJson<T> {
    fn of(did: T, next: Option<Progress>) -> Self {
        Self { did, more: next.is_some(), next_cursor: next.as_ref().map(progress_text) }
    }
}

/// Logs the work done so far however the request ends, also if its caller goes away.
struct ChangeLog {
    verb: &'static str,
    deliveries: u64,
}

impl Drop for ChangeLog {
    fn drop(&mut self) {
        tracing::info!(
            deliveries = self.deliveries,
            action = self.verb,
            "an operator changes deliveries"
        );
        count(self.verb, self.deliveries);
    }
}

fn count(verb: &'static str, deliveries: u64) {
    metrics::counter!("hookbox_operator_changes_total", "action" => verb).increment(deliveries);
}
