//! The counts and durations of sources and plugins over time: the curves of the charts.
//!
//! The last hour comes from memory, in steps of 30 s. Longer windows come from the five minutes
//! that are stored, and from memory for the time since.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::params::{HistoryQuery, Params, TimeWindow, WINDOWS};
use super::problem::ProblemJson;
use super::state::Admin;
use crate::clock::rfc3339;
use crate::event::Outcome;
use crate::names::hint;
use crate::series::{
    COUNTS, Mark, Meter, OpenCount, OwnerKind, Point, STORED_EACH_MS, Sampled, SeriesOwner, Spread,
};

/// Curves over a window of time that ends now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = History)]
pub(super) struct HistoryJson {
    /// The window, as in the query.
    pub(super) window: &'static str,
    /// The length of a step, in seconds.
    pub(super) step_s: i64,
    /// The beginning of the first step, RFC 3339 with milliseconds.
    pub(super) from: String,
    /// When what is known of the window begins: before it nothing was counted, or not stored. RFC
    /// 3339 with milliseconds; absent if nothing is known, or if a longer window is known whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<String>,
    /// A number for each step, by the name of the series. Counts are those of the step. Times are
    /// in milliseconds, absent for a step in which nothing was timed; in the last hour a step has
    /// the largest of its ten seconds. `ready` and `waiting` are the most deliveries that were so
    /// in a step, absent for a step in which nobody counted.
    pub(super) series: BTreeMap<&'static str, Vec<Option<f64>>>,
    /// Changes of the configuration and of plugins, the oldest first.
    pub(super) marks: Vec<MarkJson>,
}

/// A change, which may be the cause of what happens after it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Mark)]
pub(super) struct MarkJson {
    /// When, RFC 3339 with milliseconds.
    pub(super) at: String,
    /// `config` or `plugin`.
    pub(super) what: &'static str,
    /// The plugin.
    pub(super) name: String,
    /// The result.
    pub(super) result: &'static str,
}

impl From<Mark> for MarkJson {
    fn from(Mark { at_ms, what, name, result }: Mark) -> Self {
        Self { at: rfc3339(at_ms), what, name, result }
    }
}

/// How a series is read from a step.
#[derive(Clone, Copy)]
enum Reading {
    Count(usize),
    /// The most at one time.
    Most(usize),
    Percentile(f64),
}

/// The series of a kind of owner.
fn readings(kind: OwnerKind) -> Vec<(&'static str, Reading)> {
    use Reading::{Count, Most, Percentile};
    match kind {
        OwnerKind::Backlog => {
            vec![("ready", Most(OpenCount::READY)), ("waiting", Most(OpenCount::WAITING))]
        }
        OwnerKind::Source => vec![
            ("accepted", Count(Meter::ACCEPTED)),
            ("duplicate", Count(Meter::DUPLICATE)),
            ("refused", Count(Meter::REFUSED)),
            ("ack_p50_ms", Percentile(0.5)),
            ("ack_p95_ms", Percentile(0.95)),
            ("ack_p99_ms", Percentile(0.99)),
        ],
        OwnerKind::Plugin => {
            let outcome = |outcome: Outcome| (outcome.name(), Count(usize::from(outcome.code())));
            let mut readings: Vec<_> = Outcome::ALL.map(outcome).into();
            readings.extend([
                ("dead", Count(Meter::DEAD)),
                ("handler_p50_ms", Percentile(0.5)),
                ("handler_p95_ms", Percentile(0.95)),
                ("handler_p99_ms", Percentile(0.99)),
            ]);
            readings
        }
    }
}

/// Curves of requests, attempts and the backlog, of all sources and plugins or of one.
#[utoipa::path(get, path = "/api/v1/stats/history", tag = "health", params(HistoryQuery), responses(
    (status = 200, description = "At most 120 steps", body = HistoryJson),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn show_history(
    State(admin): State<Arc<Admin>>,
    Params(query): Params<HistoryQuery>,
) -> Result<Json<HistoryJson>, ProblemJson> {
    Ok(Json(over(&admin, &query, HistoryReach::Stored).await?))
}

/// Where the curves come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HistoryReach {
    /// From memory and, for longer windows, from the store.
    Stored,
    /// From memory alone: the last hour, and nothing before it.
    Memory,
}

/// The curves that a query asks for.
pub(super) async fn over(
    admin: &Admin,
    query: &HistoryQuery,
    reach: HistoryReach,
) -> Result<HistoryJson, ProblemJson> {
    let window = query.window()?;
    let owners = owners(admin, query)?;
    let known: Vec<_> =
        owners.iter().flat_map(|owner| readings(owner.kind)).map(|(name, _)| name).collect();
    let wanted = query.wanted(&known)?;
    let now_ms = admin.clock.now_ms();
    let from_ms = now_ms - window.step_ms * window.steps as i64;
    let mut series = BTreeMap::new();
    let (mut since, is_hour) = (None, window == WINDOWS[0]);
    for owner in owners {
        let readings = readings(owner.kind);
        if !readings.iter().any(|(name, _)| wanted.contains(name)) {
            continue;
        }
        let (steps, first_ms) = steps(admin, &owner, window, from_ms, reach).await?;
        since = since.into_iter().chain(first_ms).min();
        for (name, reading) in readings.into_iter().filter(|(name, _)| wanted.contains(name)) {
            series.insert(name, steps.iter().map(|step| step.read(reading)).collect());
        }
    }
    let marks = admin.series.marks(from_ms).into_iter().map(MarkJson::from);
    Ok(HistoryJson {
        window: window.name,
        step_s: window.step_ms / 1000,
        from: rfc3339(from_ms),
        since: since.filter(|at_ms| is_hour || *at_ms > from_ms + window.step_ms).map(rfc3339),
        series,
        marks: marks.collect(),
    })
}

/// The owners that the query asks for.
fn owners(admin: &Admin, query: &HistoryQuery) -> Result<Vec<SeriesOwner>, ProblemJson> {
    let config = admin.config.load();
    let (kind, name, is_known, known) = match (&query.source, &query.plugin) {
        (None, None) => {
            return Ok(OwnerKind::ALL.map(|kind| SeriesOwner { kind, name: None }).into());
        }
        (Some(_), Some(_)) => {
            return Err(ProblemJson::bad_request(
                "`source` and `plugin`: a curve is of one of them",
            ));
        }
        (Some(source), None) => {
            let known: Vec<String> = config.sources.keys().cloned().collect();
            (OwnerKind::Source, source, known.contains(source), known)
        }
        (None, Some(plugin)) => {
            let registry = admin.registry.load();
            let known: Vec<String> = registry.entries().map(|(name, _)| name.to_string()).collect();
            (OwnerKind::Plugin, plugin, known.contains(plugin), known)
        }
    };
    let owner = SeriesOwner { kind, name: Some(name.as_str().into()) };
    if is_known || admin.series.has(&owner) {
        return Ok(vec![owner]);
    }
    let name: String = name.chars().take(80).collect();
    let hint = hint(&name, known.iter().map(String::as_str));
    Err(ProblemJson::not_found(format!("nothing is known of `{name}`{hint}")))
}

/// The acts of an owner in each step of a window; and their beginning, if that is later.
async fn steps(
    admin: &Admin,
    owner: &SeriesOwner,
    window: TimeWindow,
    from_ms: i64,
    reach: HistoryReach,
) -> Result<(Vec<HistoryStep>, Option<i64>), ProblemJson> {
    let mut steps = HistorySteps { from_ms, window, steps: Vec::new() };
    steps.steps.resize(window.steps, HistoryStep::default());
    let in_memory = admin.series.window(owner);
    if window == WINDOWS[0] {
        steps.add_points(&in_memory);
        return Ok((steps.steps, in_memory.first().map(|first| first.at_ms)));
    }
    let limit = window.step_ms * window.steps as i64 / STORED_EACH_MS + 1;
    let stored = match reach {
        HistoryReach::Stored => admin.store.samples(owner.clone(), limit as u32).await?,
        HistoryReach::Memory => Vec::new(),
    };
    for sample in &stored {
        if let Some(step) = steps.at(sample.at_ms) {
            step.add(&sample.counts);
            step.durations.add(&sample.durations);
        }
    }
    let last_ms = stored.last().map_or(i64::MIN, |last| last.at_ms);
    let since = in_memory.partition_point(|sampled| sampled.at_ms <= last_ms);
    steps.add_points(&in_memory[since..]);
    let first_stored = stored.first().map(|first| first.at_ms);
    let first_here = in_memory.first().map(|first| first.at_ms);
    let first_ms = first_stored.into_iter().chain(first_here).min();
    Ok((steps.steps, first_ms))
}

/// The steps of a window.
struct HistorySteps {
    from_ms: i64,
    window: TimeWindow,
    steps: Vec<HistoryStep>,
}

impl HistorySteps {
    /// The step of a sample: the one in which its time ends.
    fn at(&mut self, at_ms: i64) -> Option<&mut HistoryStep> {
        let at = (at_ms - 1 - self.from_ms).div_euclid(self.window.step_ms);
        self.steps.get_mut(usize::try_from(at).ok()?)
    }

    fn add_points(&mut self, sampled: &[Sampled]) {
        for Sampled { at_ms, point } in sampled {
            if let Some(step) = self.at(*at_ms) {
                step.add_point(point);
            }
        }
    }
}

/// The acts of an owner in a step.
#[derive(Debug, Clone, Default)]
struct HistoryStep {
    counts: [u64; COUNTS],
    /// The largest of its counts, if it has any.
    most: Option<[u32; COUNTS]>,
    durations: Spread,
    /// The largest percentiles of its parts that have no durations any more, in microseconds.
    parts: Option<[u32; 3]>,
}

impl HistoryStep {
    fn add(&mut self, counts: &[u32; COUNTS]) {
        for (sum, n) in self.counts.iter_mut().zip(counts) {
            *sum += u64::from(*n);
        }
        for (most, n) in self.most.get_or_insert_default().iter_mut().zip(counts) {
            *most = (*n).max(*most);
        }
    }

    fn add_point(&mut self, point: &Point) {
        self.add(&point.counts);
        if point.timed > 0 {
            let parts = self.parts.get_or_insert_default();
            for (most, us) in parts.iter_mut().zip([point.p50_us, point.p95_us, point.p99_us]) {
                *most = us.max(*most);
            }
        }
    }

    fn read(&self, reading: Reading) -> Option<f64> {
        match reading {
            Reading::Count(count) => Some(self.counts[count] as f64),
            Reading::Most(count) => self.most.map(|most| f64::from(most[count])),
            Reading::Percentile(part) => {
                let of_part = self.parts.map(|[p50, p95, p99]| match part {
                    ..=0.5 => p50,
                    ..=0.95 => p95,
                    _ => p99,
                });
                let stored =
                    (!self.durations.is_empty()).then(|| self.durations.percentile_us(part));
                stored.max(of_part.map(u64::from)).map(|us| us as f64 / 1e3)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_without_times_has_none() {
        let mut step = HistoryStep::default();
        assert_eq!(step.read(Reading::Percentile(0.5)), None);
        assert_eq!(step.read(Reading::Count(0)), Some(0.0));
        let durations = Spread::from_pairs(vec![(7, 10)]).unwrap();
        step.add_point(&Point::of([1; COUNTS], &durations));
        assert_eq!(step.read(Reading::Percentile(0.99)), Some(0.007));
        assert_eq!(step.read(Reading::Count(0)), Some(1.0));
    }

    #[test]
    fn every_series_has_one_name() {
        let mut names: Vec<_> =
            OwnerKind::ALL.iter().flat_map(|kind| readings(*kind)).map(|(name, _)| name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
