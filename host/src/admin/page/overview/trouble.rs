//! What wants attention, each with one way to go on.

use super::began::{NearbyChanges, TroubleSpan};
use crate::admin::health::readiness;
use crate::admin::map::unrouted_types;
use crate::admin::page::parts::html::{Html, coded_lines, shown};
use crate::admin::page::parts::link::Link;
use crate::admin::page::parts::state::OLD_RUNS;
use crate::admin::page::parts::when::lasting;
use crate::admin::page::recent::{RateSpan, RecentActs};
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::admin::trouble::TroubleJson;
use crate::event::{Outcome, State};
use crate::series::{Meter, OwnerKind, Point, SeriesOwner};
use crate::store::{FailureFilter, Stats};
use crate::text::grouped;

/// Ten minutes in samples.
const TEN_MINUTES: usize = 60;

/// Fewer refused requests in ten minutes are no trouble.
const FEW_REFUSED: u64 = 5;

/// Groups of failures that are looked at.
const MAX_GROUPS: usize = 100;

/// Types without a route that are named.
const MAX_NAMED: usize = 4;

/// Something that wants attention.
#[derive(Debug)]
pub(super) struct TroubleRow {
    pub(super) class: &'static str,
    pub(super) shape: &'static str,
    /// The part of the host.
    pub(super) part: &'static str,
    /// Its name, where there are several.
    pub(super) name: String,
    pub(super) detail: Html,
    /// Its time, if that is known.
    pub(super) span: Option<TroubleSpan>,
    /// The same in words, with what was changed shortly before.
    pub(super) since: Option<Html>,
    /// Whether it is about refused requests.
    pub(super) is_refusing: bool,
    /// Where to look.
    pub(super) link: Option<(String, &'static str)>,
}

impl TroubleRow {
    /// Says when it began, and after which change.
    pub(super) fn tell_since(&mut self, changes: &NearbyChanges, now_ms: i64) {
        let Some(span) = self.span else { return };
        let mut html = span.words(now_ms);
        // The beginning of what is held is the change itself.
        if let Some(change) = changes.before(&self.name, span).filter(|_| self.shape != "◆") {
            html.text("; ").raw(change);
        }
        self.since = Some(html);
    }
}

/// Everything that wants attention, the gravest first.
pub(super) async fn rows(
    admin: &Admin,
    stats: &Stats,
    span: RateSpan,
) -> Result<Vec<TroubleRow>, ProblemJson> {
    let (_, health) = readiness(admin).await;
    let mut rows: Vec<_> = health.problems.into_iter().map(of_problem).collect();
    let recent = |name: &str| span.of_plugin(admin, name).attempts();
    let mut failing = failing(stats, &span.words(), recent);
    tell_failed(admin, &mut failing).await?;
    rows.extend(failing);
    rows.extend(held(admin));
    rows.extend(refused(admin));
    Ok(rows)
}

/// Gives the time to plugins that fail: that of the last hour, or that of their dead letters.
async fn tell_failed(admin: &Admin, rows: &mut [TroubleRow]) -> Result<(), ProblemJson> {
    let now_ms = admin.clock.now_ms();
    for row in rows.iter_mut() {
        let name = Some(row.name.as_str().into());
        let samples = admin.series.window(&SeriesOwner { kind: OwnerKind::Plugin, name });
        row.span = TroubleSpan::of(&samples, |point| failed(point) > 0, now_ms);
    }
    if rows.iter().all(|row| row.span.is_some()) {
        return Ok(());
    }
    let filter = FailureFilter { open: true, ..FailureFilter::default() };
    let (groups, _) = admin.store.failures(filter, MAX_GROUPS, None).await?;
    for row in rows.iter_mut().filter(|row| row.span.is_none()) {
        let its = || groups.iter().filter(|group| *group.plugin == *row.name);
        let first_ms = its().map(|group| group.first_ms).min();
        row.span = first_ms
            .zip(its().map(|group| group.last_ms).max())
            .map(|(from_ms, to_ms)| TroubleSpan { from_ms, is_older: false, to_ms: Some(to_ms) });
    }
    Ok(())
}

/// Attempts that failed.
fn failed(point: &Point) -> u32 {
    let of = |outcome: Outcome| point.counts[usize::from(outcome.code())];
    Outcome::ALL.map(of).iter().sum::<u32>() - of(Outcome::Ok) - of(Outcome::Again)
}

fn of_problem(problem: TroubleJson) -> TroubleRow {
    let TroubleJson { part, name, detail, since } = problem;
    let since = since.and_then(|at| at.parse::<jiff::Timestamp>().ok());
    let name = name.unwrap_or_default();
    let link = match part {
        "plugin" if !name.contains('/') => {
            Some((Link::to("/plugins").segment(&name).into_text(), "look at it"))
        }
        "source" => Some((Link::to("/sources").segment(&name).into_text(), "look at it")),
        _ => None,
    };
    let grave = matches!(part, "store" | "config" | "plugins_dir");
    TroubleRow {
        class: if grave { "bad" } else { "warn" },
        shape: if grave { "✕" } else { "▲" },
        part,
        name,
        detail: coded_lines(&detail),
        span: since.map(|at| TroubleSpan::since(at.as_millisecond())),
        since: None,
        is_refusing: false,
        link,
    }
}

/// Plugins with dead letters, and those of which attempts fail; `recent` tells how many attempts of
/// a plugin succeeded and failed in this time.
fn failing(stats: &Stats, span: &str, recent: impl Fn(&str) -> (u64, u64)) -> Vec<TroubleRow> {
    let mut rows = Vec::new();
    for (name, counts) in &stats.plugins {
        let count = |state: State| counts.0[usize::from(state.code())];
        let (dead, waiting) = (count(State::Dead), count(State::Waiting));
        let (good, bad) = recent(name);
        let mut says = Vec::new();
        if dead > 0 {
            let letters = if dead == 1 { "dead letter" } else { "dead letters" };
            says.push(format!("{} {letters}", grouped(dead)));
        }
        if bad > 0 {
            let (bad, all) = (grouped(bad), grouped(good + bad));
            says.push(format!("{bad} of {all} attempts failed in the {span}"));
        }
        if says.is_empty() {
            continue;
        }
        if waiting > 0 {
            says.push(format!("{} waiting", grouped(waiting)));
        }
        let link = match dead {
            0 => (Link::to("/failures").with("plugin", name), "see why"),
            _ => {
                (Link::to("/deliveries").with("state", "dead").with("plugin", name), "look at them")
            }
        };
        rows.push(TroubleRow {
            class: if dead > 0 { "bad" } else { "warn" },
            shape: if dead > 0 { "✕" } else { "▲" },
            part: "plugin",
            name: name.to_string(),
            detail: shown(&says.join(", ")),
            span: None,
            since: None,
            is_refusing: false,
            link: Some((link.0.into_text(), link.1)),
        });
    }
    rows
}

/// Names the types of the last hour that no route takes. That is no trouble by itself: a provider
/// sends more than a host needs.
pub(super) fn unrouted(admin: &Admin) -> Option<(String, &'static str)> {
    let types = unrouted_types(admin);
    let events: u64 = types.values().sum();
    let mut names: Vec<&str> = types.keys().map(String::as_str).take(MAX_NAMED).collect();
    if types.len() > MAX_NAMED {
        names.push("…");
    }
    let has = if events == 1 { "1 event has" } else { &format!("{} events have", grouped(events)) };
    let says = format!("In the last hour {has} a type that no route takes: {}.", names.join(", "));
    (events > 0).then_some((says, "/events?state=unrouted"))
}

/// Files that wait to be approved while an older one runs. Where nothing runs, the host is degraded
/// and says so itself.
fn held(admin: &Admin) -> Vec<TroubleRow> {
    let now_ms = admin.clock.now_ms();
    let registry = admin.registry.load();
    let waiting = registry.entries().filter(|(_, entry)| entry.loaded.is_some());
    let row = |(name, entry): (&crate::event::PluginName, &crate::plugins::Entry)| {
        let held = entry.held()?;
        let mut detail = Html::default();
        detail
            .text(&format!("{OLD_RUNS} "))
            .raw(lasting(held.since_ms, now_ms))
            .text(&format!(": it asks for {}", held.asks_for()));
        Some(TroubleRow {
            class: "warn",
            shape: "◆",
            part: "plugin",
            name: name.to_string(),
            detail,
            span: Some(TroubleSpan::since(held.since_ms)),
            since: None,
            is_refusing: false,
            link: Some((Link::to("/plugins").segment(name).into_text(), "see what it asks for")),
        })
    };
    waiting.filter_map(row).collect()
}

/// Sources of which many more requests are refused than usual.
fn refused(admin: &Admin) -> Vec<TroubleRow> {
    let config = admin.config.load();
    let mut rows = Vec::new();
    for name in config.sources.keys() {
        let owner = SeriesOwner { kind: OwnerKind::Source, name: Some(name.as_str().into()) };
        let now = RecentActs::of(admin, &owner, 0, TEN_MINUTES).count(Meter::REFUSED);
        let before = RecentActs::of(admin, &owner, TEN_MINUTES, TEN_MINUTES).count(Meter::REFUSED);
        if now > FEW_REFUSED && now > 2 * before {
            let (now, before) = (grouped(now), grouped(before));
            let why = reason(admin, name).map(|reason| format!(": {reason}")).unwrap_or_default();
            let detail = format!(
                "{now} requests refused in the last 10 min{why}; {before} in the 10 min before"
            );
            let samples = admin.series.window(&owner);
            let is_bad = |point: &Point| point.counts[Meter::REFUSED] > 0;
            rows.push(TroubleRow {
                class: "warn",
                shape: "▲",
                part: "source",
                name: name.clone(),
                detail: shown(&detail),
                span: TroubleSpan::of(&samples, is_bad, admin.clock.now_ms()),
                since: None,
                is_refusing: true,
                link: Some((Link::to("/sources").segment(name).into_text(), "see why")),
            });
        }
    }
    rows
}

/// The most frequent reason of a source's refusals.
fn reason(admin: &Admin, source: &str) -> Option<&'static str> {
    let reasons = admin.activity.received(source).reasons;
    let most = reasons.into_iter().max_by_key(|(_, summary)| summary.count);
    most.map(|(reason, _)| reason.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::PluginCounts;

    #[test]
    fn dead_letters_are_counted_by_plugin() {
        let mut stats = Stats::default();
        stats.plugins.insert("audit".into(), PluginCounts([0, 0, 12, 5, 41, 0, 0]));
        stats.plugins.insert("fine".into(), PluginCounts([1, 0, 2, 5, 0, 0, 0]));
        let rows = failing(&stats, "last minute", |_| (3, 0));
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].detail.to_string(), "41 dead letters, 12 waiting");
        let (path, _) = rows[0].link.clone().unwrap();
        assert_eq!(path, "/deliveries?state=dead&plugin=audit");
    }

    #[test]
    fn a_plugin_whose_attempts_fail_is_trouble_before_anything_is_dead() {
        let mut stats = Stats::default();
        stats.plugins.insert("audit".into(), PluginCounts([0, 0, 1, 5, 0, 0, 0]));
        let rows = failing(&stats, "last 10 s", |_| (27, 5));
        assert_eq!((rows.len(), rows[0].class), (1, "warn"));
        let says = "5 of 32 attempts failed in the last 10 s, 1 waiting";
        assert_eq!(rows[0].detail.to_string(), says);
        assert_eq!(rows[0].link.clone().unwrap().0, "/failures?plugin=audit");
    }

    #[test]
    fn a_text_of_trouble_is_escaped() {
        let row = of_problem(TroubleJson::of("plugin", Some("a"), "<script>".to_owned()));
        assert_eq!(row.detail.to_string(), "&lt;script&gt;");
        assert_eq!(row.link.unwrap().0, "/plugins/a");
    }
}
