//! What wants attention, each with one way to go on.

use super::began::{NearbyChanges, TroubleKind, TroubleSpan};
use crate::admin::health::readiness;
use crate::admin::map::{Unrouted, unrouted};
use crate::admin::page::parts::html::{Html, coded_lines, shown};
use crate::admin::page::parts::link::Link;
use crate::admin::page::parts::when::when;
use crate::admin::page::recent::{RateSpan, RecentActs};
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::admin::trouble::TroubleJson;
use crate::event::{Outcome, State};
use crate::series::{Meter, OwnerKind, Point, SeriesOwner};
use crate::store::{FailureFilter, FailureView, Stats};
use crate::text::grouped;

/// Ten minutes in samples.
const TEN_MINUTES: usize = 60;

/// Fewer refused requests in ten minutes are no trouble.
const FEW_REFUSED: u64 = 5;

/// Groups of failures that are looked at.
const MAX_GROUPS: usize = 100;

/// Types without a route that are named.
const MAX_NAMED: usize = 4;

/// Characters of an error that are shown.
const MAX_ERROR: usize = 160;

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
    pub(super) about: TroubleKind,
    /// Where to look.
    pub(super) link: Option<(String, &'static str)>,
    /// Where to act.
    pub(super) act: Option<(String, &'static str)>,
}

impl TroubleRow {
    /// Says when it began, and after which change.
    pub(super) fn tell_since(&mut self, changes: &NearbyChanges, now_ms: i64) {
        let Some(span) = self.span else { return };
        let mut html = span.words(self.about, now_ms);
        let has_cause = matches!(
            self.about,
            TroubleKind::Attempts | TroubleKind::DeadLetters | TroubleKind::Refusals
        );
        // The beginning of what waits for approval is the change itself.
        let change = changes.before(&self.name, span);
        if let Some(change) = change.filter(|_| self.about != TroubleKind::Approval) {
            html.text("; ").raw(change);
        } else if has_cause && changes.none_before(&self.name, span) {
            html.text("; no change in the 10 min before");
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
    rows.extend(no_plugin(&unrouted(admin), admin.clock.now_ms()));
    rows.sort_by_key(|row| row.class != "bad");
    Ok(rows)
}

/// Gives plugins that fail their error, and the time: that of the last hour, or that of their dead
/// letters.
async fn tell_failed(admin: &Admin, rows: &mut [TroubleRow]) -> Result<(), ProblemJson> {
    if rows.is_empty() {
        return Ok(());
    }
    let now_ms = admin.clock.now_ms();
    let filter = FailureFilter { open: true, ..FailureFilter::default() };
    let (groups, _) = admin.store.failures(filter, MAX_GROUPS, None).await?;
    for row in rows {
        let name = Some(row.name.as_str().into());
        let samples = admin.series.window(&SeriesOwner { kind: OwnerKind::Plugin, name });
        let its: Vec<_> = groups.iter().filter(|group| *group.plugin == *row.name).collect();
        if let Some(error) = error_of(&its) {
            row.detail.text(": ").text(&error);
        }
        let first_ms = its.iter().map(|group| group.first_ms).min();
        let of_groups = first_ms
            .zip(its.iter().map(|group| group.last_ms).max())
            .map(|(from_ms, to_ms)| TroubleSpan { from_ms, is_older: false, to_ms: Some(to_ms) });
        row.span = TroubleSpan::of(&samples, |point| failed(point) > 0, now_ms).or(of_groups);
    }
    Ok(())
}

/// The error of most dead letters, and how many others there are.
fn error_of(groups: &[&FailureView]) -> Option<String> {
    let most = groups.iter().max_by_key(|group| (group.dead, group.last_ms))?;
    let mut text: String = most.text.chars().take(MAX_ERROR).collect();
    if most.text.chars().count() > MAX_ERROR {
        text.push('…');
    }
    // A plugin that asks for a retry, or rejects an event, says why in its own words.
    let own = |outcome: &Outcome| matches!(outcome, Outcome::Retry | Outcome::Reject);
    if let Some(outcome) = most.outcome.filter(|outcome| !own(outcome)) {
        text = format!("{} {text}", outcome.name());
    }
    match groups.len() {
        1 => {}
        2 => text.push_str(", and 1 other error"),
        n => text.push_str(&format!(", and {} other errors", n - 1)),
    }
    Some(text.trim().to_owned())
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
        about: TroubleKind::Host,
        link,
        act: None,
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
            let wait = if dead == 1 { "dead letter waits" } else { "dead letters wait" };
            says.push(format!("{} {wait} for a decision", grouped(dead)));
        }
        if bad > 0 {
            let (bad, all) = (grouped(bad), grouped(good + bad));
            says.push(format!("{bad} of {all} attempts failed in the {span}"));
        }
        if says.is_empty() {
            continue;
        }
        if waiting > 0 {
            let more = if waiting == 1 { "delivery waits" } else { "deliveries wait" };
            says.push(format!("{} {more} for another attempt", grouped(waiting)));
        }
        let its =
            |path: &str| Link::to(path).with("state", "dead").with("plugin", name).into_text();
        let retry = || {
            let link = Link::to("/operations/new").with("action", "retry").with("state", "dead");
            (link.with("plugin", name).into_text(), "retry …")
        };
        let link = match dead {
            0 => (Link::to("/failures").with("plugin", name).into_text(), "see why"),
            _ => (its("/deliveries"), "look at them"),
        };
        rows.push(TroubleRow {
            class: if dead > 0 { "bad" } else { "warn" },
            shape: if dead > 0 { "✕" } else { "▲" },
            part: "plugin",
            name: name.to_string(),
            detail: shown(&says.join(", ")),
            span: None,
            since: None,
            about: if dead > 0 { TroubleKind::DeadLetters } else { TroubleKind::Attempts },
            link: Some(link),
            act: (dead > 0).then(retry),
        });
    }
    rows
}

/// Events of the last hour that no plugin gets. A provider may send more than a host needs, or the
/// line of a route is missing: the host cannot know.
fn no_plugin(unrouted: &Unrouted, now_ms: i64) -> Option<TroubleRow> {
    let Unrouted { types, last_ms } = unrouted;
    let events: u64 = types.values().sum();
    let mut names: Vec<&str> = types.keys().map(String::as_str).take(MAX_NAMED).collect();
    if types.len() > MAX_NAMED {
        names.push("…");
    }
    let go = if events == 1 { "event of the last hour goes" } else { "events of the last hour go" };
    let (events_shown, names) = (grouped(events), names.join(", "));
    let since = last_ms.map(|last_ms| {
        let mut html = shown("the last one ");
        html.raw(when(last_ms, now_ms));
        html
    });
    (events > 0).then(|| TroubleRow {
        class: "warn",
        shape: "▲",
        part: "events",
        name: String::new(),
        detail: shown(&format!("{events_shown} {go} to no plugin: no route takes {names}")),
        span: None,
        since,
        about: TroubleKind::Unrouted,
        link: Some(("/events?state=unrouted".to_owned(), "see them")),
        act: None,
    })
}

/// Files that wait to be approved while an older one runs. Where nothing runs, the host is degraded
/// and says so itself.
fn held(admin: &Admin) -> Vec<TroubleRow> {
    let registry = admin.registry.load();
    let waiting = registry.entries().filter(|(_, entry)| entry.loaded.is_some());
    let row = |(name, entry): (&crate::event::PluginName, &crate::plugins::Entry)| {
        let held = entry.held()?;
        let asks_for = held.asks_for();
        let detail =
            format!("a new file waits for approval: it asks for {asks_for}; the old one runs");
        Some(TroubleRow {
            class: "warn",
            shape: "◆",
            part: "plugin",
            name: name.to_string(),
            detail: shown(&detail),
            span: Some(TroubleSpan::since(held.since_ms)),
            since: None,
            about: TroubleKind::Approval,
            link: Some((Link::to("/plugins").segment(name).into_text(), "see what it asks for")),
            act: None,
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
                about: TroubleKind::Refusals,
                link: Some((Link::to("/sources").segment(name).into_text(), "see why")),
                act: None,
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
        let says = "41 dead letters wait for a decision, 12 deliveries wait for another attempt";
        assert_eq!(rows[0].detail.to_string(), says);
        let (path, _) = rows[0].link.clone().unwrap();
        assert_eq!(path, "/deliveries?state=dead&plugin=audit");
        let (path, _) = rows[0].act.clone().unwrap();
        assert_eq!(path, "/operations/new?action=retry&state=dead&plugin=audit");
    }

    #[test]
    fn events_that_no_plugin_gets_are_counted_and_their_types_are_named() {
        let of = |names: &[&str]| Unrouted {
            types: names.iter().map(|name| ((*name).to_owned(), 3)).collect(),
            last_ms: Some(1_770_000_000_000),
        };
        let says =
            |names| no_plugin(&of(names), 1_770_000_060_000).map(|row| row.detail.to_string());
        assert_eq!(says(&[]), None);
        let many = says(&["a", "b", "c", "d", "e"]).unwrap();
        assert_eq!(
            many,
            "15 events of the last hour go to no plugin: no route takes a, b, c, d, …"
        );
    }

    #[test]
    fn a_plugin_whose_attempts_fail_is_trouble_before_anything_is_dead() {
        let mut stats = Stats::default();
        stats.plugins.insert("audit".into(), PluginCounts([0, 0, 1, 5, 0, 0, 0]));
        let rows = failing(&stats, "last 10 s", |_| (27, 5));
        assert_eq!((rows.len(), rows[0].class), (1, "warn"));
        let says = "5 of 32 attempts failed in the last 10 s, 1 delivery waits for another attempt";
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
