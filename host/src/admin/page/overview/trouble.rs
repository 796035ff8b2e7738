//! Troubles that want attention, each with one way to go on.

use super::began::{TroubleKind, TroubleSpan};
use super::failing;
use super::row::TroubleRow;
use crate::admin::health::readiness;
use crate::admin::map::{Unrouted, unrouted};
use crate::admin::page::parts::html::{coded_lines, shown};
use crate::admin::page::parts::link::Link;
use crate::admin::page::recent::{RateSpan, RecentActs};
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::admin::trouble::TroubleJson;
use crate::series::{Meter, OwnerKind, Point, SeriesOwner};
use crate::store::Stats;
use crate::text::grouped;

/// Ten minutes in samples.
const TEN_MINUTES: usize = 60;

/// Fewer refused requests in ten minutes are no trouble.
const FEW_REFUSED: u64 = 5;

/// The time in which events without a route are counted, in milliseconds.
const HOUR_MS: i64 = 3_600_000;

/// A trouble that came first so shortly after the beginning of that time may have come before it
/// too.
const NEAR_END_MS: i64 = 120_000;

/// Types without a route that are named.
const MAX_NAMED: usize = 4;

/// Everything that wants attention, the gravest first.
pub(super) async fn rows(
    admin: &Admin,
    stats: &Stats,
    span: RateSpan,
) -> Result<Vec<TroubleRow>, ProblemJson> {
    let (_, health) = readiness(admin).await;
    let mut rows: Vec<_> = health.problems.into_iter().map(of_problem).collect();
    let recent = |name: &str| span.of_plugin(admin, name).attempts();
    let mut failing = failing::rows(stats, &span.words(), recent);
    failing::tell(admin, &mut failing).await?;
    rows.extend(failing);
    rows.extend(held(admin));
    rows.extend(refused(admin));
    rows.extend(no_plugin(&unrouted(admin), admin.clock.now_ms()));
    rows.sort_by_key(|row| row.class != "bad");
    Ok(rows)
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
        later: None,
        since: None,
        about: TroubleKind::Host,
        link,
        act: None,
    }
}

/// Events of the last hour that no plugin gets. A provider may send more than a host needs, or the
/// line of a route is missing: the host cannot know.
fn no_plugin(unrouted: &Unrouted, now_ms: i64) -> Option<TroubleRow> {
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
    (events > 0).then(|| TroubleRow {
        class: "warn",
        shape: "▲",
        part: "events",
        name: String::new(),
        detail: shown(&format!("{events_shown} {go} to no plugin: no route takes {names}")),
        span,
        later: None,
        since: None,
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
            later: None,
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
                "{now} requests refused in the last 10 min{why} ({before} in the 10 min before)"
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
                later: None,
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
            many.detail.to_string(),
            "15 events of the last hour go to no plugin: no route takes a, b, c, d, …"
        );
        let words = many.span.unwrap().words(TroubleKind::Unrouted, 1_770_000_120_000).to_string();
        assert!(words.starts_with("since 02:40 UTC, the last one "), "{words}");
    }

    #[test]
    fn a_text_of_trouble_is_escaped() {
        let row = of_problem(TroubleJson::of("plugin", Some("a"), "<script>".to_owned()));
        assert_eq!(row.detail.to_string(), "&lt;script&gt;");
        assert_eq!(row.link.unwrap().0, "/plugins/a");
    }
}
