//! Counts of events and deliveries, and what happened lately.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::admin::state::Admin;
use crate::clock::rfc3339;
use crate::event::{Outcome, PluginName, State};
use crate::sandbox::ENGINE;
use crate::series::{Meter, OwnerKind, Point, SeriesOwner};
use crate::store::{DueTimes, Pausable, PluginCounts, Stats};

/// The length of a sample of the series, in seconds.
const SAMPLE_SECONDS: f64 = 10.0;

/// Deliveries by state.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = Counts)]
pub(in crate::admin) struct CountsJson {
    /// Due, and not leased.
    pub(in crate::admin) ready: u64,
    /// Running.
    pub(in crate::admin) leased: u64,
    /// Due later.
    pub(in crate::admin) waiting: u64,
    /// Settled with success.
    pub(in crate::admin) done: u64,
    /// Dead letters.
    pub(in crate::admin) dead: u64,
    /// Ended by an operator before they were settled.
    pub(in crate::admin) cancelled: u64,
    /// Dead letters that an operator has discarded.
    pub(in crate::admin) discarded: u64,
}

/// Counts of events and deliveries.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Stats)]
pub(in crate::admin) struct StatsJson {
    /// When this is so, by the host's clock, RFC 3339 with milliseconds.
    pub(in crate::admin) at: String,
    /// The version of the host.
    pub(in crate::admin) version: &'static str,
    /// The engine that runs plugins, and its version.
    pub(in crate::admin) engine: &'static str,
    /// When the host started, RFC 3339 with milliseconds.
    pub(in crate::admin) started_at: String,
    /// Events stored.
    pub(in crate::admin) events: u64,
    /// Requests recognised as duplicates since the start of the host.
    pub(in crate::admin) duplicates: u64,
    /// Deliveries of all plugins.
    pub(in crate::admin) deliveries: CountsJson,
    /// When the delivery was due that has been due for longest, RFC 3339 with milliseconds; null if
    /// none is due.
    pub(in crate::admin) oldest_ready_at: Option<String>,
    /// When the next delivery will be due, RFC 3339 with milliseconds; null if none will.
    pub(in crate::admin) next_due_at: Option<String>,
    /// Rates of the last ten seconds that are over.
    pub(in crate::admin) lately: LatelyJson,
    /// Deliveries of each plugin.
    pub(in crate::admin) plugins: BTreeMap<String, PluginStatsJson>,
}

/// Counts of one plugin.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = PluginStats)]
pub(in crate::admin) struct PluginStatsJson {
    #[serde(flatten)]
    pub(in crate::admin) deliveries: CountsJson,
    /// Attempts that run; of the deliveries that are leased, others wait for their turn.
    pub(in crate::admin) running: u32,
    /// Whether an operator has paused it.
    pub(in crate::admin) paused: bool,
    /// When the delivery was due that has been due for longest, RFC 3339 with milliseconds.
    pub(in crate::admin) oldest_ready_at: Option<String>,
}

/// The rates of ten seconds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Lately)]
pub(in crate::admin) struct LatelyJson {
    /// Webhooks stored as new events, a second.
    pub(in crate::admin) accepted_per_s: f64,
    /// Webhooks refused, a second.
    pub(in crate::admin) refused_per_s: f64,
    /// Attempts that succeeded, a second.
    pub(in crate::admin) succeeded_per_s: f64,
    /// Attempts that failed, a second.
    pub(in crate::admin) failed_per_s: f64,
    /// The time within which 99 of 100 webhooks were acknowledged, in milliseconds; null if none
    /// was.
    pub(in crate::admin) ack_p99_ms: Option<f64>,
}

impl From<PluginCounts> for CountsJson {
    fn from(
        PluginCounts([ready, leased, waiting, done, dead, cancelled, discarded]): PluginCounts,
    ) -> Self {
        Self { ready, leased, waiting, done, dead, cancelled, discarded }
    }
}

impl LatelyJson {
    fn of(admin: &Admin) -> Self {
        let last = |kind| {
            let sampled = admin.series.window(&SeriesOwner { kind, name: None });
            sampled.last().map_or_else(Point::default, |sampled| sampled.point)
        };
        let (came, ran) = (last(OwnerKind::Source), last(OwnerKind::Plugin));
        let per_s = |n: u32| f64::from(n) / SAMPLE_SECONDS;
        let ended = |outcome: Outcome| ran.counts[usize::from(outcome.code())];
        let good = ended(Outcome::Ok) + ended(Outcome::Again);
        let all: u32 = Outcome::ALL.map(ended).iter().sum();
        Self {
            accepted_per_s: per_s(came.counts[Meter::ACCEPTED]),
            refused_per_s: per_s(came.counts[Meter::REFUSED]),
            succeeded_per_s: per_s(good),
            failed_per_s: per_s(all - good),
            ack_p99_ms: (came.timed > 0).then(|| f64::from(came.p99_us) / 1e3),
        }
    }
}

impl StatsJson {
    /// The counts of the store, and what is known beside them.
    pub(in crate::admin) fn of(
        admin: &Admin,
        stats: &Stats,
        due: &BTreeMap<PluginName, DueTimes>,
    ) -> Self {
        let total = PluginCounts(State::ALL.map(|state| stats.deliveries(state)));
        let mut plugins: BTreeMap<_, _> = stats
            .plugins
            .iter()
            .map(|(name, counts)| {
                let oldest_ready_ms = due.get(name).and_then(|due| due.oldest_ready_ms);
                let of_plugin = PluginStatsJson {
                    deliveries: (*counts).into(),
                    running: admin.queues.attempts_running(name),
                    paused: false,
                    oldest_ready_at: oldest_ready_ms.map(rfc3339),
                };
                (name.to_string(), of_plugin)
            })
            .collect();
        for (name, _) in admin.store.pauses().borrow().all(Pausable::Plugin) {
            plugins.entry(name.to_string()).or_default().paused = true;
        }
        let first = |of: fn(&DueTimes) -> Option<i64>| due.values().filter_map(of).min();
        Self {
            at: rfc3339(admin.clock.now_ms()),
            version: env!("CARGO_PKG_VERSION"),
            engine: ENGINE,
            started_at: rfc3339(admin.started_ms),
            events: stats.events,
            duplicates: stats.duplicates,
            deliveries: total.into(),
            oldest_ready_at: first(|due| due.oldest_ready_ms).map(rfc3339),
            next_due_at: first(|due| due.next_due_ms).map(rfc3339),
            lately: LatelyJson::of(admin),
            plugins,
        }
    }
}
