//! Plugins that fail: how often, why, and whether they still do.

use super::began::{TroubleKind, TroubleSpan};
use super::row::TroubleRow;
use crate::admin::page::parts::html::shown;
use crate::admin::page::parts::link::Link;
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::event::{Outcome, State};
use crate::series::{OwnerKind, Point, Sampled, SeriesOwner};
use crate::store::{FailureFilter, FailureView, Stats};
use crate::text::grouped;

/// Groups of failures that are looked at.
const MAX_GROUPS: usize = 100;

/// Characters of an error that are shown.
const MAX_ERROR: usize = 160;

/// Plugins with dead letters, and those of which attempts fail; `recent` tells how many attempts of
/// a plugin succeeded and failed in this time.
pub(super) fn rows(
    stats: &Stats,
    span: &str,
    recent: impl Fn(&str) -> (u64, u64),
) -> Vec<TroubleRow> {
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
            later: None,
            since: None,
            about: if dead > 0 { TroubleKind::DeadLetters } else { TroubleKind::Attempts },
            link: Some(link),
            act: (dead > 0).then(retry),
        });
    }
    rows
}

/// Gives plugins that fail their error, and the time: that of the last hour, or that of their dead
/// letters.
pub(super) async fn tell(admin: &Admin, rows: &mut [TroubleRow]) -> Result<(), ProblemJson> {
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
        if let Some(most) = most_dead(&its) {
            let text = error_text(admin, most).await;
            row.detail.text(": ").text(&error_of(most, &text, its.len() - 1));
        }
        let first_ms = its.iter().map(|group| group.first_ms).min();
        let of_groups = first_ms
            .zip(its.iter().map(|group| group.last_ms).max())
            .map(|(from_ms, to_ms)| TroubleSpan { from_ms, is_older: false, to_ms: Some(to_ms) });
        let measured = TroubleSpan::of(&samples, |point| failed(point) > 0, now_ms);
        row.span = measured.or(of_groups);
        // Of older times it is not known how many succeeded.
        let over_ms = measured.and_then(|span| span.to_ms);
        row.later = over_ms.map(|to_ms| succeeded_after(&samples, to_ms));
    }
    Ok(())
}

/// Attempts that succeeded after a time.
fn succeeded_after(samples: &[Sampled], from_ms: i64) -> u64 {
    let after = samples.iter().filter(|sampled| sampled.at_ms > from_ms);
    after.map(|sampled| u64::from(succeeded(&sampled.point))).sum()
}

/// The group with most dead letters.
fn most_dead<'a>(groups: &[&'a FailureView]) -> Option<&'a FailureView> {
    groups.iter().copied().max_by_key(|group| (group.dead, group.last_ms))
}

/// The error of a group as its newest delivery has it, or without what differs each time.
async fn error_text(admin: &Admin, group: &FailureView) -> String {
    let Some(sample) = group.sample else { return group.text.clone() };
    // It may be gone by now.
    let delivery = admin.store.delivery(sample).await.ok();
    let last = delivery.and_then(|delivery| delivery.attempts.into_iter().next_back());
    last.and_then(|attempt| attempt.record.error).unwrap_or_else(|| group.text.clone())
}

/// The error of most dead letters in these words, and how many others there are.
fn error_of(most: &FailureView, text: &str, others: usize) -> String {
    let mut shown: String = text.chars().take(MAX_ERROR).collect();
    if text.chars().count() > MAX_ERROR {
        shown.push('…');
    }
    let mut text = shown;
    // A plugin that asks for a retry, or rejects an event, says why in its own words.
    let own = |outcome: &Outcome| matches!(outcome, Outcome::Retry | Outcome::Reject);
    if let Some(outcome) = most.outcome.filter(|outcome| !own(outcome)) {
        text = format!("{} {text}", outcome.name());
    }
    match others {
        0 => {}
        1 => text.push_str(", and 1 other error"),
        n => text.push_str(&format!(", and {n} other errors")),
    }
    text.trim().to_owned()
}

/// Attempts that succeeded.
fn succeeded(point: &Point) -> u32 {
    [Outcome::Ok, Outcome::Again]
        .map(|outcome| point.counts[usize::from(outcome.code())])
        .iter()
        .sum()
}

/// Attempts that failed.
fn failed(point: &Point) -> u32 {
    let of = |outcome: Outcome| point.counts[usize::from(outcome.code())];
    Outcome::ALL.map(of).iter().sum::<u32>() - succeeded(point)
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
        let rows = super::rows(&stats, "last minute", |_| (3, 0));
        assert_eq!(rows.len(), 1);
        let says = "41 dead letters wait for a decision, 12 deliveries wait for another attempt";
        assert_eq!(rows[0].detail.to_string(), says);
        let (path, _) = rows[0].link.clone().unwrap();
        assert_eq!(path, "/deliveries?state=dead&plugin=audit");
        let (path, _) = rows[0].act.clone().unwrap();
        assert_eq!(path, "/operations/new?action=retry&state=dead&plugin=audit");
    }

    #[test]
    fn a_plugin_whose_attempts_fail_is_trouble_before_anything_is_dead() {
        let mut stats = Stats::default();
        stats.plugins.insert("audit".into(), PluginCounts([0, 0, 1, 5, 0, 0, 0]));
        let rows = super::rows(&stats, "last 10 s", |_| (27, 5));
        assert_eq!((rows.len(), rows[0].class), (1, "warn"));
        let says = "5 of 32 attempts failed in the last 10 s, 1 delivery waits for another attempt";
        assert_eq!(rows[0].detail.to_string(), says);
        assert_eq!(rows[0].link.clone().unwrap().0, "/failures?plugin=audit");
    }
}
