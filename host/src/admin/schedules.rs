//! Schedules: when each ticks next, and what became of its last tick.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::by::By;
use super::params::{Id, NoQuery, Params, ParamsOrBody};
use super::paused::{self, PausedJson};
use super::problem::ProblemJson;
use super::state::{Admin, end_append};
use super::view::{EventItem, Listing};
use crate::clock::rfc3339;
use crate::config::Schedule;
use crate::config::schedules::{MissedTicks, NO_TICK_MS};
use crate::names::hint;
use crate::store::{EventFilter, Page, Pausable, SkippedTicks, StoredSchedule};

/// How many ticks to come are shown.
const UPCOMING: usize = 5;

/// How many of the last ticks are shown of one schedule.
const TICKS: usize = 20;

/// How many records of skipped ticks are shown.
const SKIPPED: usize = 10;

/// A schedule of the configuration.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Schedule)]
pub(super) struct ScheduleJson {
    /// The name of its section.
    pub(super) name: String,
    /// Its times: a cron expression with its time zone, or `every` and a duration.
    pub(super) spec: String,
    /// The same without the time zone.
    pub(super) when: String,
    /// The times in words; null for a cron expression of an unusual form.
    pub(super) words: Option<String>,
    /// The time zone: that of a cron expression, and UTC of `every`.
    pub(super) zone: String,
    /// Whether it ticks, by the configuration.
    pub(super) enabled: bool,
    /// Its pause, if an operator has paused it.
    pub(super) paused: Option<PausedJson>,
    /// The type of its events.
    pub(super) emit: String,
    /// The subject of its events.
    pub(super) subject: String,
    /// The treatment of missed ticks: `skip`, `once` or `all`.
    pub(super) missed: &'static str,
    /// The treatment of a tick while a delivery of the last one is open: `allow` or `skip`.
    pub(super) overlap: &'static str,
    /// The most by which a tick is late on purpose, in milliseconds.
    pub(super) jitter_ms: u64,
    /// The nominal time of the next tick, RFC 3339; absent if it is disabled or paused.
    pub(super) next: Option<String>,
    /// The nominal times of the next five ticks.
    pub(super) upcoming: Vec<String>,
    /// The last tick; absent if there was none.
    pub(super) last: Option<LastTick>,
    /// The ticks that were skipped lately, the newest first.
    pub(super) skipped: Vec<SkippedJson>,
}

/// The last tick of a schedule.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LastTick {
    /// Its nominal time, RFC 3339.
    pub(super) time: String,
    /// Its event, if it was emitted.
    pub(super) event_id: Option<String>,
    /// The reason for which it was skipped: `missed` or `overlap`.
    pub(super) skipped: Option<&'static str>,
}

/// Ticks in a row that were skipped.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SkippedTicks)]
pub(super) struct SkippedJson {
    /// The nominal time of the first one, RFC 3339.
    pub(super) first: String,
    /// The nominal time of the last one.
    pub(super) last: String,
    /// The number of them; of missed ticks at most 10,000 are counted at once.
    pub(super) ticks: u64,
    /// The reason: `missed` or `overlap`.
    pub(super) reason: &'static str,
}

impl From<&SkippedTicks> for SkippedJson {
    fn from(skipped: &SkippedTicks) -> Self {
        Self {
            first: rfc3339(skipped.first_ms),
            last: rfc3339(skipped.last_ms),
            ticks: skipped.ticks,
            reason: skipped.reason.name(),
        }
    }
}

impl ScheduleJson {
    fn of(
        schedule: &Schedule,
        stored: Option<&StoredSchedule>,
        skipped: &[SkippedTicks],
        paused: Option<PausedJson>,
        now_ms: i64,
    ) -> Self {
        // A host that has just read the schedule has not begun it yet.
        let begun = stored.filter(|row| row.mark.active && row.mark.spec == schedule.spec_hash());
        let next_ms = begun.map_or_else(|| schedule.next_after(now_ms), |row| row.mark.next_ms);
        let ticks = std::iter::successors(Some(next_ms), |ms| Some(schedule.next_after(*ms)));
        let is_on = schedule.enabled && paused.is_none();
        let upcoming = ticks.take_while(|ms| is_on && *ms != NO_TICK_MS).take(UPCOMING);
        let upcoming: Vec<String> = upcoming.map(rfc3339).collect();
        let last = stored.and_then(|row| Some((row, row.last_ms?)));
        Self {
            name: schedule.name.to_string(),
            spec: schedule.spec(),
            when: schedule.when(),
            words: schedule.words(),
            zone: schedule.zone().to_owned(),
            enabled: schedule.enabled,
            paused,
            emit: schedule.emit.clone(),
            subject: schedule.subject.clone(),
            missed: match schedule.missed {
                MissedTicks::Skip => "skip",
                MissedTicks::Once => "once",
                MissedTicks::All => "all",
            },
            overlap: if schedule.skips_overlap { "skip" } else { "allow" },
            jitter_ms: schedule.jitter_ms,
            next: upcoming.first().cloned(),
            upcoming,
            last: last.map(|(row, last_ms)| LastTick {
                time: rfc3339(last_ms),
                event_id: match row.skipped {
                    None => row.emitted.map(|(event, _)| event.to_string()),
                    Some(_) => None,
                },
                skipped: row.skipped.map(|reason| reason.name()),
            }),
            skipped: skipped.iter().take(SKIPPED).map(SkippedJson::from).collect(),
        }
    }
}

/// List the schedules of the configuration, by name.
#[utoipa::path(get, path = "/api/v1/schedules", tag = "events", responses(
    (status = 200, description = "Every schedule", body = Listing<ScheduleJson>),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn list_schedules(
    State(admin): State<Arc<Admin>>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Result<Json<Listing<ScheduleJson>>, ProblemJson> {
    let config = admin.config.load_full();
    let stored = admin.store.schedules().await?;
    let stored: HashMap<_, _> = stored.iter().map(|row| (&*row.name, row)).collect();
    let now_ms = admin.clock.now_ms();
    let mut items = Vec::with_capacity(config.schedules.len());
    for schedule in config.schedules.values() {
        let row = stored.get(&*schedule.name).copied();
        let skipped = match row {
            Some(row) => admin.store.skipped_ticks(Arc::clone(&row.name)).await?,
            None => Vec::new(),
        };
        let paused = paused::of(&admin, Pausable::Schedule, &schedule.name);
        items.push(ScheduleJson::of(schedule, row, &skipped, paused, now_ms));
    }
    Ok(Json(Listing { items, next_cursor: None }))
}

/// A schedule with its last ticks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ScheduleDetail {
    /// The row of the listing.
    #[serde(flatten)]
    pub(super) schedule: ScheduleJson,
    /// The events of its last ticks, those by hand too: the newest first, at most 20.
    pub(super) ticks: Vec<EventItem>,
    /// Whether older events were not looked at: a bounded number is.
    pub(super) has_older: bool,
}

/// Show one schedule: when it ticks, and the events of its last ticks.
#[utoipa::path(get, path = "/api/v1/schedules/{name}", tag = "events",
    params(("name" = String, Path, description = "The schedule's name")), responses(
    (status = 200, description = "The schedule", body = ScheduleDetail),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn show_schedule(
    State(admin): State<Arc<Admin>>,
    Params(NoQuery {}): Params<NoQuery>,
    Id(name): Id<String>,
) -> Result<Json<ScheduleDetail>, ProblemJson> {
    let schedule = known_schedule(&admin, &name)?;
    let stored = admin.store.schedules().await?;
    let row = stored.iter().find(|row| *row.name == *schedule.name);
    let skipped = match row {
        Some(row) => admin.store.skipped_ticks(Arc::clone(&row.name)).await?,
        None => Vec::new(),
    };
    let filter = EventFilter { source: Some(schedule.source()), ..EventFilter::default() };
    let page = Page { limit: TICKS, after: None };
    let (events, next) = admin.store.events(filter, page).await?;
    let paused = paused::of(&admin, Pausable::Schedule, &schedule.name);
    let now_ms = admin.clock.now_ms();
    Ok(Json(ScheduleDetail {
        schedule: ScheduleJson::of(&schedule, row, &skipped, paused, now_ms),
        has_older: next.is_some(),
        ticks: events.into_iter().map(EventItem::from).collect(),
    }))
}

/// The schedule of this name.
pub(super) fn known_schedule(admin: &Admin, name: &str) -> Result<Arc<Schedule>, ProblemJson> {
    let config = admin.config.load();
    if let Some(found) = config.schedules.get(name) {
        return Ok(Arc::clone(found));
    }
    let hint = hint(name, config.schedules.keys().map(AsRef::as_ref));
    let name: String = name.chars().take(80).collect();
    Err(ProblemJson::not_found(format!(
        "there is no schedule `{name}`{hint}: schedules are sections of the configuration"
    )))
}

/// A tick by hand.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RanSchedule {
    /// The schedule.
    pub(super) name: String,
    /// The event that was stored.
    pub(super) event_id: String,
}

/// Have a schedule tick now, by hand. Its own ticks stay as they are, and it may be paused or
/// disabled. A request with an `Idempotency-Key` makes one event, however often it is sent.
#[utoipa::path(post, path = "/api/v1/schedules/{name}/run", tag = "events",
    params(("name" = String, Path, description = "The schedule's name"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters")),
    responses(
    (status = 202, description = "The event is stored", body = RanSchedule),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn run_schedule(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(name): Id<String>,
    ParamsOrBody(NoQuery {}): ParamsOrBody<NoQuery>,
) -> Result<(StatusCode, Json<RanSchedule>), ProblemJson> {
    let schedule = known_schedule(&admin, &name)?;
    let note = by.note("schedules.run", &name, "");
    let mut event = schedule.event(admin.clock.now_ms());
    event.note = Some(format!("manual: {} has run the schedule by hand", note.actor.name));
    admin.config.load().routes.route(&mut event);
    let span = admin.append_span(&mut event, None);
    let made = admin.store.make(Some(note), event).await?;
    end_append(span, made);
    if !made.duplicate {
        let labels = [("schedule", name.clone()), ("result", "manual".to_owned())];
        metrics::counter!("hookbox_schedule_ticks_total", &labels).increment(1);
        tracing::info!(schedule.name = name, event.id = %made.id, "an operator runs a schedule");
    }
    Ok((StatusCode::ACCEPTED, Json(RanSchedule { name, event_id: made.id.to_string() })))
}
