//! The last minute in numbers.

use crate::admin::page::parts::measure::percent;
use crate::admin::page::recent::RateSpan;
use crate::admin::state::Admin;
use crate::event::State;
use crate::series::{Meter, OwnerKind, SeriesOwner};
use crate::store::Stats;
use crate::text::grouped;

/// The numbers of the whole host.
#[derive(Debug)]
pub(super) struct LastMinute {
    /// The time that the rates are of.
    pub(super) span: String,
    /// Attempts that succeeded.
    pub(super) handled: String,
    /// Label, value and class of each tile.
    pub(super) tiles: Vec<(&'static str, String, &'static str)>,
}

impl LastMinute {
    /// `is_refusing` tells whether more requests are refused than usual.
    pub(super) fn of(admin: &Admin, stats: &Stats, span: RateSpan, is_refusing: bool) -> Self {
        let all = |kind| span.acts(admin, &SeriesOwner { kind, name: None });
        let (came, ran) = (all(OwnerKind::Source), all(OwnerKind::Plugin));
        let (good, bad) = ran.attempts();
        let (accepted, twice) = (came.count(Meter::ACCEPTED), came.count(Meter::DUPLICATE));
        let refused = came.count(Meter::REFUSED);
        let state = |state| grouped(stats.deliveries(state));
        let alarm = |is_bad: bool| if is_bad { "bad" } else { "" };
        let dead = stats.deliveries(State::Dead);
        let tiles = vec![
            ("accepted/s", span.per_second(accepted), ""),
            ("handled/s", span.per_second(good), ""),
            ("failed/s", span.per_second(bad), alarm(bad > 0)),
            ("duplicates", percent(twice, accepted + twice), ""),
            ("refused/s", span.per_second(refused), alarm(is_refusing && refused > 0)),
            ("ready", state(State::Ready), ""),
            ("running", state(State::Leased), ""),
            ("waiting", state(State::Waiting), ""),
            ("dead", state(State::Dead), alarm(dead > 0)),
            ("events stored", grouped(stats.events), ""),
        ];
        Self { span: span.words(), handled: grouped(good), tiles }
    }
}
