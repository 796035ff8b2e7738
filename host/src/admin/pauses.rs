//! Pauses: an operator stops a plugin or a schedule for a while, and lets it go on.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::by::By;
use super::events::no_plugin;
use super::params::{Id, NoQuery, ParamsOrBody, PauseQuery};
use super::paused::{PausedJson, of};
use super::plugins::known_plugins;
use super::problem::ProblemJson;
use super::schedules::known_schedule;
use super::state::Admin;
use crate::store::{Pausable, PauseChange};

/// Whether something is paused.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PauseAnswer {
    /// The plugin or the schedule.
    pub(super) name: String,
    /// Its pause; absent if it goes on.
    pub(super) paused: Option<PausedJson>,
}

/// Pause a plugin. Events for it are taken in, its deliveries stay ready and are not leased, and
/// attempts that run go on to their end. A pause survives a restart.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/pause", tag = "plugins",
    params(("name" = String, Path, description = "The plugin's name"), PauseQuery),
    request_body(content = Option<serde_json::Value>, description = "The parameters of the query, as the members of an object"),
    responses(
    (status = 200, description = "It is paused", body = PauseAnswer),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn pause_plugin(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(name): Id<String>,
    ParamsOrBody(query): ParamsOrBody<PauseQuery>,
) -> Result<Json<PauseAnswer>, ProblemJson> {
    let (name, reason) = (plugin(&admin, &name).await?, query.reason()?);
    pause(&admin, &by, Pausable::Plugin, name, reason).await
}

/// Let a paused plugin go on.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/resume", tag = "plugins",
    params(("name" = String, Path, description = "The plugin's name")),
    responses(
    (status = 200, description = "It goes on", body = PauseAnswer),
    (status = 409, description = "It is not paused", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn resume_plugin(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(name): Id<String>,
    ParamsOrBody(NoQuery {}): ParamsOrBody<NoQuery>,
) -> Result<Json<PauseAnswer>, ProblemJson> {
    let name = match of(&admin, Pausable::Plugin, &name) {
        // A plugin that is gone altogether may have left its pause.
        Some(_) => name.into(),
        None => plugin(&admin, &name).await?,
    };
    resume(&admin, &by, Pausable::Plugin, name).await
}

/// Pause a schedule: it does not tick. Its `missed` says what becomes of the ticks that fall into
/// the pause. A pause survives a restart.
#[utoipa::path(post, path = "/api/v1/schedules/{name}/pause", tag = "events",
    params(("name" = String, Path, description = "The schedule's name"), PauseQuery),
    request_body(content = Option<serde_json::Value>, description = "The parameters of the query, as the members of an object"),
    responses(
    (status = 200, description = "It is paused", body = PauseAnswer),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn pause_schedule(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(name): Id<String>,
    ParamsOrBody(query): ParamsOrBody<PauseQuery>,
) -> Result<Json<PauseAnswer>, ProblemJson> {
    let (schedule, reason) = (known_schedule(&admin, &name)?, query.reason()?);
    pause(&admin, &by, Pausable::Schedule, Arc::clone(&schedule.name), reason).await
}

/// Let a paused schedule go on.
#[utoipa::path(post, path = "/api/v1/schedules/{name}/resume", tag = "events",
    params(("name" = String, Path, description = "The schedule's name")),
    responses(
    (status = 200, description = "It goes on", body = PauseAnswer),
    (status = 409, description = "It is not paused", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn resume_schedule(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(name): Id<String>,
    ParamsOrBody(NoQuery {}): ParamsOrBody<NoQuery>,
) -> Result<Json<PauseAnswer>, ProblemJson> {
    let name = match of(&admin, Pausable::Schedule, &name) {
        Some(_) => name.into(),
        None => Arc::clone(&known_schedule(&admin, &name)?.name),
    };
    resume(&admin, &by, Pausable::Schedule, name).await
}

/// The name of a plugin that there is.
async fn plugin(admin: &Admin, name: &str) -> Result<Arc<str>, ProblemJson> {
    let stats = admin.store.stats().await?;
    let registry = admin.registry.load();
    let plugins = known_plugins(&registry, &stats);
    match plugins.keys().find(|known| &****known == name) {
        Some(known) => Ok(Arc::clone(known)),
        None => Err(no_plugin(name, plugins.keys().map(|known| known.as_ref()))),
    }
}

async fn pause(
    admin: &Admin,
    by: &By,
    kind: Pausable,
    name: Arc<str>,
    reason: String,
) -> Result<Json<PauseAnswer>, ProblemJson> {
    let action = match kind {
        Pausable::Plugin => "plugins.pause",
        Pausable::Schedule => "schedules.pause",
    };
    let note = by.note(action, &name, &reason);
    let (name_of, by) = (Arc::clone(&name), note.actor.name.to_string());
    let change = PauseChange::Pause { kind, name: name_of, by, reason };
    admin.store.pause(Some(note), change).await?;
    tracing::info!(name = &*name, action, "an operator pauses");
    Ok(Json(PauseAnswer { paused: of(admin, kind, &name), name: name.to_string() }))
}

async fn resume(
    admin: &Admin,
    by: &By,
    kind: Pausable,
    name: Arc<str>,
) -> Result<Json<PauseAnswer>, ProblemJson> {
    let (action, what) = match kind {
        Pausable::Plugin => ("plugins.resume", "plugin"),
        Pausable::Schedule => ("schedules.resume", "schedule"),
    };
    let note = by.note(action, &name, "");
    let change = PauseChange::Resume { kind, name: Arc::clone(&name) };
    if !admin.store.pause(Some(note), change).await? {
        return Err(ProblemJson::conflict(format!("{what} `{name}` is not paused")));
    }
    tracing::info!(name = &*name, action, "an operator lets it go on");
    Ok(Json(PauseAnswer { paused: of(admin, kind, &name), name: name.to_string() }))
}
