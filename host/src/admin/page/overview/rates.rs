//! The last minute, and now, in numbers.

use crate::admin::attention::{HostFacts, is_low};
use crate::admin::page::parts::measure::bytes;
use crate::admin::recent::RateSpan;
use crate::admin::state::Admin;
use crate::event::State;
use crate::series::{Meter, OwnerKind, SeriesOwner};
use crate::store::{DueTimes, Stats};
use crate::text::{duration, grouped};

/// Label, value and class of a tile.
pub(super) type OverviewTile = (String, String, &'static str);

/// The whole host in the last minute.
#[derive(Debug)]
pub(super) struct LastMinute {
    /// The time that the numbers are of.
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
        let count = |label: &str, n: u64, is_bad: bool| {
            (label.to_owned(), span.count(n), alarm(is_bad && n > 0))
        };
        let tiles = vec![
            count("accepted", accepted, false),
            count("duplicate", twice, false),
            count("refused", refused, is_refusing),
            count("attempts succeeded", good, false),
            count("attempts failed", bad, true),
        ];
        Self { span: span.words(), succeeded: grouped(good), tiles }
    }
}

fn alarm(is_bad: bool) -> &'static str {
    if is_bad { "bad" } else { "" }
}

/// Deliveries by state, and how long they have been due or will wait; and the place of the store.
pub(super) fn now(admin: &Admin, stats: &Stats, facts: &HostFacts) -> Vec<OverviewTile> {
    let now_ms = admin.clock.now_ms();
    let first = |of: fn(&DueTimes) -> Option<i64>| {
        facts.due.value.iter().flat_map(|due| due.values()).filter_map(of).min()
    };
    let (oldest, next) = (first(|it| it.oldest_ready_ms), first(|it| it.next_due_ms));
    let time = |ms: i64| duration(ms.max(0) as f64);
    let oldest = oldest.map_or("–".to_owned(), |at_ms| time(now_ms - at_ms));
    let next = next.map(|at_ms| format!(", the next for {}", time(at_ms - now_ms)));
    let count = |n: u64| match facts.stats.value {
        Some(_) => grouped(n),
        None => "not known now".to_owned(),
    };
    let state = |state: State, more: Option<String>| {
        let n = stats.deliveries(state);
        let label = format!("{}{}", state.name(), more.unwrap_or_default());
        (label, count(n), alarm(state == State::Dead && n > 0))
    };
    let open: u64 =
        [State::Ready, State::Leased, State::Waiting].map(|it| stats.deliveries(it)).iter().sum();
    let before = admin.series.open_before(now_ms).map(|before| {
        let change = i128::from(open) - i128::from(before.open);
        format!(", {change:+} in {}", time(now_ms - before.at_ms))
    });
    let mut tiles = vec![
        (format!("backlog{}", before.unwrap_or_default()), count(open), ""),
        state(State::Ready, None),
        ("age of the oldest ready".to_owned(), oldest, ""),
        state(State::Leased, None),
        state(State::Waiting, next),
        state(State::Dead, None),
        ("events stored".to_owned(), count(stats.events), ""),
    ];
    if let Some(space) = facts.space.value.flatten() {
        tiles.push(("size of the store".to_owned(), bytes(space.store_bytes), ""));
        tiles.extend(space.disk.map(|(free, all)| {
            (format!("free of {}", bytes(all)), bytes(free), alarm(is_low((free, all))))
        }));
    }
    tiles
}
