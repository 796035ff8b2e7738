//! Troubles that want attention, the gravest first.
//!
//! It is made of what is in memory and of what the store said last, so that no page waits for a
//! store that is busy: see `answers`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::failing::groups;
pub(in crate::admin) use self::json::TroublesJson;
pub(in crate::admin) use self::late::is_low;
pub(in crate::admin) use self::span::TroubleSpan;
use super::answers::{FailingGroup, LastKnown, PAGE_PATIENCE};
use super::health::readiness;
use super::map::{Unrouted, unrouted};
use super::params::{NoQuery, Params};
use super::problem::ProblemJson;
use super::state::Admin;
use super::trouble::{ProblemKind, TroubleJson};
use crate::event::{PluginName, State as DeliveryState};
use crate::store::{DueTimes, Stats, StoreSpace, StoredSchedule};
use crate::text::grouped;

mod failing;
mod json;
mod late;
mod refused;
mod span;

/// How often the host asks by itself what pages show, and the longest that it waits then.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// The time in which events without a route are counted, in milliseconds.
const HOUR_MS: i64 = 3_600_000;

/// A failure that came first so shortly after the beginning of that time may be older.
const NEAR_END_MS: i64 = 120_000;

/// Types without a route that are named.
const MAX_NAMED: usize = 4;

/// The subject of a trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::admin) enum TroubleKind {
    /// A part of the host.
    Host,
    /// A plugin that is paused.
    Paused,
    /// A file that waits to be approved.
    Approval,
    /// Attempts of a plugin that fail.
    Attempts,
    /// Deliveries that wait between attempts that fail.
    Retries,
    /// Dead letters of a plugin, which stay until somebody decides.
    DeadLetters,
    /// Deliveries that are due and not begun.
    OldReady,
    /// Refused requests of a source.
    Refusals,
    /// A schedule that does not tick in time.
    Schedule,
    /// Events that no plugin gets.
    Unrouted,
}

/// Something that wants attention.
#[derive(Debug)]
pub(in crate::admin) struct OpenTrouble {
    /// Whether it goes before others.
    pub(in crate::admin) is_grave: bool,
    pub(in crate::admin) about: TroubleKind,
    /// The part of the host.
    pub(in crate::admin) part: &'static str,
    /// Its name, where there are several.
    pub(in crate::admin) name: String,
    /// The trouble in words.
    pub(in crate::admin) says: String,
    /// Its effect.
    pub(in crate::admin) effect: &'static str,
    /// Its time, if that is known.
    pub(in crate::admin) span: Option<TroubleSpan>,
    /// Attempts that succeeded since it is over.
    pub(in crate::admin) later: Option<u64>,
    /// How often it happened in each five minutes of the last hour; empty if nothing counts that.
    pub(in crate::admin) trend: Vec<u32>,
}

/// The answers of the store about the host, as far as that is known.
#[derive(Debug)]
pub(in crate::admin) struct HostFacts {
    pub(in crate::admin) stats: LastKnown<Stats>,
    pub(in crate::admin) due: LastKnown<BTreeMap<PluginName, DueTimes>>,
    pub(in crate::admin) space: LastKnown<Option<StoreSpace>>,
    schedules: LastKnown<Vec<StoredSchedule>>,
    failing: LastKnown<Vec<FailingGroup>>,
}

impl HostFacts {
    /// The counts as they are now, and of the rest what was known last.
    pub(in crate::admin) async fn at_once(admin: &Admin) -> Self {
        Self::last(admin, stats(admin, Instant::now() + PAGE_PATIENCE).await)
    }

    fn last(admin: &Admin, stats: LastKnown<Stats>) -> Self {
        let answers = &admin.answers;
        Self {
            stats,
            due: answers.due.last(),
            space: answers.space.last(),
            schedules: answers.schedules.last(),
            failing: answers.failing.last(),
        }
    }

    /// Asks the store, until `until`.
    pub(in crate::admin) async fn ask(admin: &Admin, until: Instant) -> Self {
        let stats = stats(admin, until).await;
        let Some(counts) = stats.value.clone() else { return Self::last(admin, stats) };
        let (due, schedules, space, failing) = tokio::join!(
            due(admin, &counts, until),
            schedules(admin, until),
            space(admin, until),
            failing(admin, &counts, until),
        );
        Self { stats, due, space, schedules, failing }
    }

    /// The answers that are not known now; each with the time of which it is known, Unix ms.
    pub(in crate::admin) fn not_known(&self) -> Vec<(&'static str, Option<i64>)> {
        fn of<T>(what: &'static str, known: &LastKnown<T>) -> Option<(&'static str, Option<i64>)> {
            let is_now = known.value.is_some() && known.as_of_ms.is_none();
            (!is_now).then_some((what, known.as_of_ms))
        }
        let all = [
            of("how many deliveries there are", &self.stats),
            of("when deliveries are due", &self.due),
            of("why attempts fail", &self.failing),
            of("whether schedules tick", &self.schedules),
            of("how much space there is", &self.space),
        ];
        all.into_iter().flatten().collect()
    }
}

/// The counts of the store.
async fn stats(admin: &Admin, until: Instant) -> LastKnown<Stats> {
    let store = Arc::clone(&admin.store);
    let question = async move { store.stats().await };
    admin.answers.stats.ask(until, admin.clock.now_ms(), question).await
}

async fn due(
    admin: &Admin,
    stats: &Stats,
    until: Instant,
) -> LastKnown<BTreeMap<PluginName, DueTimes>> {
    let (store, plugins) = (Arc::clone(&admin.store), stats.waiting());
    if plugins.is_empty() {
        return LastKnown::now(BTreeMap::new());
    }
    let question = async move { store.due_times(plugins).await };
    admin.answers.due.ask(until, admin.clock.now_ms(), question).await
}

async fn schedules(admin: &Admin, until: Instant) -> LastKnown<Vec<StoredSchedule>> {
    if admin.config.load().schedules.is_empty() {
        return LastKnown::now(Vec::new());
    }
    let store = Arc::clone(&admin.store);
    let question = async move { store.schedules().await };
    admin.answers.schedules.ask(until, admin.clock.now_ms(), question).await
}

async fn space(admin: &Admin, until: Instant) -> LastKnown<Option<StoreSpace>> {
    let store = Arc::clone(&admin.store);
    let question = async move { store.space().await };
    admin.answers.space.ask(until, admin.clock.now_ms(), question).await
}

/// The groups of failures, unless nothing can be in one.
async fn failing(admin: &Admin, stats: &Stats, until: Instant) -> LastKnown<Vec<FailingGroup>> {
    let fails = [DeliveryState::Dead, DeliveryState::Waiting, DeliveryState::Leased];
    if fails.iter().all(|state| stats.deliveries(*state) == 0) && failing::is_calm(admin) {
        return LastKnown::now(Vec::new());
    }
    let known = admin.answers.failing.last().value.unwrap_or_default();
    let question = groups(Arc::clone(&admin.store), known);
    admin.answers.failing.ask(until, admin.clock.now_ms(), question).await
}

/// Asks regularly what the heads of pages show, until `closing`.
pub(super) async fn keep_asking(admin: Admin, closing: CancellationToken) {
    loop {
        let asked = HostFacts::ask(&admin, Instant::now() + ASK_EVERY);
        tokio::select! {
            () = closing.cancelled() => return,
            () = async { drop(asked.await); sleep(ASK_EVERY).await } => {}
        }
    }
}

/// Show what wants attention, the gravest first: problems of the host, plugins that fail or wait,
/// sources that refuse more than usual, schedules that are late.
#[utoipa::path(get, path = "/api/v1/troubles", tag = "health", responses(
    (status = 200, description = "All of it, on one page", body = TroublesJson),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn list_troubles(
    State(admin): State<Arc<Admin>>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Json<TroublesJson> {
    let facts = HostFacts::ask(&admin, Instant::now() + PAGE_PATIENCE).await;
    Json(TroublesJson::of(all(&admin, &facts), &facts))
}

/// Everything that wants attention, the gravest first.
pub(in crate::admin) fn all(admin: &Admin, facts: &HostFacts) -> Vec<OpenTrouble> {
    let unknown = Stats::default();
    let stats = facts.stats.value.as_ref().unwrap_or(&unknown);
    let (code, health) = readiness(admin, stats);
    let is_serving = code.is_success();
    let problem = |(n, problem)| of_problem(admin, problem, is_serving || n > 0);
    let mut found: Vec<_> = health.problems.into_iter().enumerate().map(problem).collect();
    found.extend(failing::all(admin, stats, facts.failing.value.as_deref().unwrap_or_default()));
    if let Some(due) = &facts.due.value {
        found.extend(late::old_ready(admin, stats, due));
    }
    found.extend(held(admin));
    found.extend(refused::all(admin));
    found.extend(late::schedules(admin, facts.schedules.value.as_deref().unwrap_or_default()));
    // A disk that is full is a trouble of the store already.
    if let Some(space) = facts.space.value.flatten()
        && admin.store.trouble().is_none()
    {
        found.extend(late::low_disk(space));
    }
    found.extend(no_plugin(&unrouted(admin), admin.clock.now_ms()));
    found.sort_by_key(|trouble| !trouble.is_grave);
    found
}

fn of_problem(admin: &Admin, problem: TroubleJson, is_serving: bool) -> OpenTrouble {
    let TroubleJson { part, name, detail, since, kind } = problem;
    let since = since.and_then(|at| at.parse::<jiff::Timestamp>().ok());
    let name = name.unwrap_or_default();
    let runs = || admin.registry.load().entry(&name).is_some_and(|entry| entry.loaded.is_some());
    let effect = match (kind, part) {
        (ProblemKind::Paused, _) => "events for it are stored, and none is handled",
        (ProblemKind::Slowed, _) => "events for it are handled late",
        (ProblemKind::File, _) if runs() => "the file before goes on",
        (ProblemKind::File | ProblemKind::Held, _) => "events for it are stored and wait",
        (ProblemKind::General, "store") if !is_serving => "webhooks are answered with 503",
        (ProblemKind::General, "store") => "webhooks are taken",
        (ProblemKind::General, "config") => "the configuration before goes on",
        (ProblemKind::General, "restart") => "the value before applies until then",
        (ProblemKind::General, "watch") => "changes of files are noticed some seconds later",
        (ProblemKind::General, "plugins_dir") => "other files are loaded",
        (ProblemKind::General, "clock") => "times, ticks and retention may be wrong",
        (ProblemKind::General, "source") => {
            "events of it may be refused, be missing or lack a type"
        }
        (ProblemKind::General, _) => "the host serves",
    };
    OpenTrouble {
        is_grave: matches!(part, "store" | "config" | "plugins_dir"),
        about: match kind {
            ProblemKind::Paused => TroubleKind::Paused,
            ProblemKind::Held => TroubleKind::Approval,
            ProblemKind::General | ProblemKind::File | ProblemKind::Slowed => TroubleKind::Host,
        },
        part,
        name,
        says: detail,
        effect,
        span: since.map(|at| TroubleSpan::since(at.as_millisecond())),
        later: None,
        trend: Vec::new(),
    }
}

/// Events of the last hour that no plugin gets. A provider may send more than a host needs, or the
/// line of a route is missing: the host cannot know.
fn no_plugin(unrouted: &Unrouted, now_ms: i64) -> Option<OpenTrouble> {
    let Unrouted { types, first_ms, last_ms } = unrouted;
    let events: u64 = types.values().sum();
    let mut names: Vec<&str> = types.keys().map(String::as_str).take(MAX_NAMED).collect();
    if types.len() > MAX_NAMED {
        names.push("…");
    }
    let go = if events == 1 { "event of the last hour goes" } else { "events of the last hour go" };
    let (events_shown, names) = (grouped(events), names.join(", "));
    let span = first_ms.zip(*last_ms).map(|(from_ms, last_ms)| TroubleSpan {
        from_ms,
        is_older: now_ms - from_ms > HOUR_MS - NEAR_END_MS,
        to_ms: Some(last_ms),
    });
    (events > 0).then(|| OpenTrouble {
        is_grave: false,
        about: TroubleKind::Unrouted,
        part: "events",
        name: String::new(),
        says: format!("{events_shown} {go} to no plugin: no route takes {names}"),
        effect: "they are stored, and nothing handles them",
        span,
        later: None,
        trend: Vec::new(),
    })
}

/// Files that wait to be approved while an older one runs. Where nothing runs, the host is degraded
/// and says so itself.
fn held(admin: &Admin) -> Vec<OpenTrouble> {
    let registry = admin.registry.load();
    let waiting = registry.entries().filter(|(_, entry)| entry.loaded.is_some());
    let row = |(name, entry): (&PluginName, &crate::plugins::Entry)| {
        let held = entry.held()?;
        let asks_for = held.asks_for();
        Some(OpenTrouble {
            is_grave: false,
            about: TroubleKind::Approval,
            part: "plugin",
            name: name.to_string(),
            says: format!(
                "a new file waits for approval: it asks for {asks_for}; the old one runs"
            ),
            effect: "nothing of the new file runs until it is approved",
            span: Some(TroubleSpan::since(held.since_ms)),
            later: None,
            trend: Vec::new(),
        })
    };
    waiting.filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_no_plugin_gets_are_counted_and_their_types_are_named() {
        let of = |names: &[&str]| Unrouted {
            types: names.iter().map(|name| ((*name).to_owned(), 3)).collect(),
            first_ms: Some(1_770_000_000_000),
            last_ms: Some(1_770_000_060_000),
        };
        let row = |names: &[&str]| no_plugin(&of(names), 1_770_000_120_000);
        assert!(row(&[]).is_none());
        let many = row(&["a", "b", "c", "d", "e"]).unwrap();
        assert_eq!(
            many.says,
            "15 events of the last hour go to no plugin: no route takes a, b, c, d, …"
        );
        let span = many.span.unwrap();
        assert_eq!((span.from_ms, span.to_ms), (1_770_000_000_000, Some(1_770_000_060_000)));
    }
}
