//! The last minute, and now, in numbers.

use std::collections::BTreeMap;

use crate::admin::page::parts::measure::duration;
use crate::admin::page::recent::RateSpan;
use crate::admin::state::Admin;
use crate::event::{PluginName, State};
use crate::series::{Meter, OwnerKind, SeriesOwner};
use crate::store::{DueTimes, Stats};
use crate::text::grouped;

/// Label, value and class of a tile.
pub(super) type OverviewTile = (String, String, &'static str);

/// The rates of the whole host.
#[derive(Debug)]
pub(super) struct LastMinute {
    /// The time that the rates are of.
    pub(super) span: String,
    /// Attempts that succeeded.
    pub(super) succeeded: String,
    pub(super) tiles: Vec<OverviewTile>,
}

impl LastMinute {
    /// `is_refusing` tells whether more requests are refused than usual.
    pub(super) fn of(admin: &Admin, span: RateSpan, is_refusing: bool) -> Self {
        let all = |kind| span.acts(admin, &SeriesOwner { kind, name: None });
        let (came, ran) = (all(OwnerKind::Source), all(OwnerKind::Plugin));
        let (good, bad) = ran.attempts();
        let (accepted, twice) = (came.count(Meter::ACCEPTED), came.count(Meter::DUPLICATE));
        let refused = came.count(Meter::REFUSED);
        let rate = |label: &str, n: u64, is_bad: bool| {
            (format!("{label}/s"), span.per_second(n), alarm(is_bad && n > 0))
        };
        let tiles = vec![
            rate("accepted", accepted, false),
            rate("duplicate", twice, false),
            rate("refused", refused, is_refusing),
            rate("attempts succeeded", good, false),
            rate("attempts failed", bad, true),
        ];
        Self { span: span.words(), succeeded: grouped(good), tiles }
    }
}

fn alarm(is_bad: bool) -> &'static str {
    if is_bad { "bad" } else { "" }
}

/// Deliveries by state, and how long they have been due or will wait.
pub(super) fn now(
    admin: &Admin,
    stats: &Stats,
    due: &BTreeMap<PluginName, DueTimes>,
) -> Vec<OverviewTile> {
    let now_ms = admin.clock.now_ms();
    let first = |of: fn(&DueTimes) -> Option<i64>| due.values().filter_map(of).min();
    let (oldest, next) = (first(|it| it.oldest_ready_ms), first(|it| it.next_due_ms));
    let time = |ms: i64| duration(ms.max(0) as f64);
    let oldest = oldest.map(|at_ms| format!(", the oldest for {}", time(now_ms - at_ms)));
    let next = next.map(|at_ms| format!(", the next for {}", time(at_ms - now_ms)));
    let state = |state: State, more: Option<String>| {
        let n = stats.deliveries(state);
        let label = format!("{}{}", state.name(), more.unwrap_or_default());
        (label, grouped(n), alarm(state == State::Dead && n > 0))
    };
    let open: u64 =
        [State::Ready, State::Leased, State::Waiting].map(|it| stats.deliveries(it)).iter().sum();
    let before = admin.series.open_before(now_ms).map(|before| {
        let change = i128::from(open) - i128::from(before.open);
        format!(", {change:+} in {}", time(now_ms - before.at_ms))
    });
    vec![
        (format!("backlog{}", before.unwrap_or_default()), grouped(open), ""),
        state(State::Ready, oldest),
        state(State::Leased, None),
        state(State::Waiting, next),
        state(State::Dead, None),
        ("events stored".to_owned(), grouped(stats.events), ""),
    ]
}
