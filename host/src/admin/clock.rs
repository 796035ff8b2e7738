//! The clock: what the host believes of it, and an operator's word that it is right.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::by::By;
use super::params::{NoQuery, Params};
use super::problem::ProblemJson;
use super::state::Admin;
use crate::clock::{self, rfc3339, span};

/// The command that accepts the clock as right.
pub(super) const COMMAND: &str = "hookbox clock accept";

/// The clock of the host.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Clock)]
pub(super) struct ClockJson {
    /// `right`; `jumped`: it went forward or back by more than an hour, which is neither over nor
    /// accepted. `held`: the host was off for more than an hour, or its clock was set meanwhile,
    /// and nothing is deleted because of it yet.
    state: &'static str,
    /// Now by the wall clock, RFC 3339 with milliseconds.
    time: String,
    /// Now by the host's own time, which due times and ids go by, RFC 3339 with milliseconds. It
    /// does not follow a jump.
    host_time: String,
    /// The size of the jump in milliseconds; negative if the clock went back.
    jump_ms: Option<i64>,
    /// The time of the jump, by the clock as it is now, RFC 3339 with milliseconds.
    since: Option<String>,
    /// The time that the host was off, in milliseconds, while nothing is deleted because of it.
    held_ms: i64,
    /// A sentence about the state, and what ends it.
    detail: Option<String>,
}

impl ClockJson {
    fn of(clock: &clock::Clock) -> Self {
        let (jump, held_ms) = (clock.jump(), clock.held_ms());
        Self {
            state: match (jump, held_ms) {
                (Some(_), _) => "jumped",
                (None, 0) => "right",
                (None, _) => "held",
            },
            time: rfc3339(clock.now_ms()),
            host_time: rfc3339(clock.host_ms()),
            jump_ms: jump.map(|jump| jump.by_ms),
            since: jump.map(|jump| rfc3339(jump.since_ms.saturating_sub(clock.ahead_ms()))),
            held_ms,
            detail: jumped(clock).or_else(|| (held_ms > 0).then(|| held(held_ms))),
        }
    }
}

fn jumped(clock: &clock::Clock) -> Option<String> {
    let jump = clock.jump()?;
    let since = rfc3339(jump.since_ms.saturating_sub(clock.ahead_ms()));
    Some(format!(
        "the clock went {jump} at {since} (as it tells the time now): nothing is deleted because of it until it has stood for \
         a day; set it right, or, if it is right, say `{COMMAND}`"
    ))
}

fn held(held_ms: i64) -> String {
    format!(
        "the host was off for {}, or its clock was set meanwhile: nothing is deleted because of it for a day; if the clock \
         is right, `{COMMAND}` lets retention go on at once",
        span(held_ms.unsigned_abs())
    )
}

/// The trouble with the clock: a jump, or a stop after which everything that is kept for
/// `shortest_ms` would be deleted.
pub(super) fn trouble(clock: &clock::Clock, shortest_ms: u64) -> Option<String> {
    let held_ms = clock.held_ms();
    jumped(clock).or_else(|| (held_ms.unsigned_abs() >= shortest_ms).then(|| held(held_ms)))
}

/// Show the clock of the host.
#[utoipa::path(get, path = "/api/v1/clock", tag = "health", responses(
    (status = 200, description = "The clock that the host goes by", body = ClockJson),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn show_clock(
    State(admin): State<Arc<Admin>>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Json<ClockJson> {
    Json(ClockJson::of(&admin.clock))
}

/// The result of accepting the clock.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Accepted {
    /// The jump that is accepted, in milliseconds.
    jump_ms: Option<i64>,
    /// The stop that is accepted, in milliseconds.
    held_ms: i64,
    /// The clock now.
    clock: ClockJson,
}

/// Takes the clock as right: from now on retention, dedupe windows and due times go by it.
#[utoipa::path(post, path = "/api/v1/clock/accept", tag = "health", responses(
    (status = 200, description = "Accepted; nothing changes if there was nothing to accept", body = Accepted),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn accept_clock(
    State(admin): State<Arc<Admin>>,
    by: By,
    Params(NoQuery {}): Params<NoQuery>,
) -> Result<Json<Accepted>, ProblemJson> {
    let detail = ClockJson::of(&admin.clock).detail.unwrap_or_default();
    // Accepting is not undone: without its entry it does not happen.
    admin.store.note(by.note("clock.accept", "clock", &detail)).await?;
    let (jump, held_ms) = admin.clock.accept();
    // Without the note the next start would ask again.
    admin.store.note_time().await?;
    if jump.is_some() || held_ms > 0 {
        let jump_ms = jump.map_or(0, |jump| jump.by_ms);
        tracing::info!(
            clock.jump_ms = jump_ms,
            clock.off_ms = held_ms,
            "an operator has accepted the clock"
        );
    }
    Ok(Json(Accepted {
        jump_ms: jump.map(|jump| jump.by_ms),
        held_ms,
        clock: ClockJson::of(&admin.clock),
    }))
}
