//! Plugins that fail: how often, why, and whether they still do.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::span::{TroubleSpan, trend};
use super::{OpenTrouble, TroubleKind};
use crate::admin::answers::FailingGroup;
use crate::admin::recent::RateSpan;
use crate::admin::state::Admin;
use crate::event::{Outcome, PluginName, State};
use crate::series::{OwnerKind, Point, Sampled, SeriesOwner};
use crate::store::{FailureFilter, FailureView, PluginCounts, Stats, Store, StoreError};
use crate::text::grouped;

/// Groups of failures that are looked at.
const MAX_GROUPS: usize = 100;

/// Groups of which an error is read at once; of others it is known without what differs each time.
const MAX_READ: usize = 8;

/// Characters of an error that are shown.
const MAX_ERROR: usize = 160;

/// Whether no attempt has failed lately.
pub(super) fn is_calm(admin: &Admin) -> bool {
    let all = SeriesOwner { kind: OwnerKind::Plugin, name: None };
    RateSpan::of(admin).acts(admin, &all).attempts().1 == 0
}

/// The open groups of failures; the worst of each plugin has its error as its newest delivery has
/// it. Groups that are known already are not read again.
pub(super) async fn groups(
    store: Arc<dyn Store>,
    known: Vec<FailingGroup>,
) -> Result<Vec<FailingGroup>, StoreError> {
    let filter = FailureFilter { open: true, ..FailureFilter::default() };
    let (groups, _) = store.failures(filter, MAX_GROUPS, None).await?;
    let of = |group: FailureView| FailingGroup { error: group.text.clone(), group, is_read: false };
    let mut found: Vec<_> = groups.into_iter().map(of).collect();
    let mut worst = BTreeMap::<PluginName, usize>::new();
    for (at, FailingGroup { group, .. }) in found.iter().enumerate() {
        let of_plugin = worst.entry(group.plugin.clone()).or_insert(at);
        if weight(group) > weight(&found[*of_plugin].group) {
            *of_plugin = at;
        }
    }
    let mut reads = 0;
    for at in worst.into_values() {
        let FailingGroup { group, error, is_read } = &mut found[at];
        let same = |known: &&FailingGroup| {
            let of = |it: &FailureView| (it.id, it.sample, it.last_ms);
            known.is_read && of(&known.group) == of(group)
        };
        if let Some(known) = known.iter().find(same) {
            (*error, *is_read) = (known.error.clone(), true);
        } else if let Some(sample) = group.sample
            && reads < MAX_READ
        {
            reads += 1;
            // It may be gone by now.
            let delivery = store.delivery(sample).await.ok();
            let last = delivery.and_then(|delivery| delivery.attempts.into_iter().next_back());
            if let Some(text) = last.and_then(|attempt| attempt.record.error) {
                (*error, *is_read) = (text, true);
            }
        }
    }
    Ok(found)
}

/// The group with most dead letters is the worst, and of equal ones the last.
fn weight(group: &FailureView) -> (u64, i64) {
    (group.dead, group.last_ms)
}

/// Plugins with dead letters, those of which attempts fail, and those of which deliveries wait
/// between attempts that fail.
pub(super) fn all(admin: &Admin, stats: &Stats, groups: &[FailingGroup]) -> Vec<OpenTrouble> {
    let span = RateSpan::of(admin);
    let mut found = Vec::new();
    for (name, counts) in &stats.plugins {
        let its: Vec<_> = groups.iter().filter(|it| it.group.plugin == *name).collect();
        let lately = span.of_plugin(admin, name).attempts();
        let waits = its.iter().any(|it| it.group.waiting > 0);
        let Some((about, mut says)) = told(counts, lately, waits, &span.words()) else { continue };
        if let Some(most) = its.iter().max_by_key(|it| weight(&it.group)) {
            says.push_str(&format!(": {}", error_of(most, its.len() - 1)));
        }
        let of_plugin = SeriesOwner { kind: OwnerKind::Plugin, name: Some((**name).into()) };
        let (samples, now_ms) = (admin.series.window(&of_plugin), admin.clock.now_ms());
        let first_ms = its.iter().map(|it| it.group.first_ms).min();
        let of_groups = first_ms
            .zip(its.iter().map(|it| it.group.last_ms).max())
            .map(|(from_ms, to_ms)| TroubleSpan { from_ms, is_older: false, to_ms: Some(to_ms) });
        // The time of the last hour, or that of the dead letters.
        let measured = TroubleSpan::of(&samples, |point| failed(point) > 0, now_ms);
        // Of older times it is not known how many succeeded.
        let over_ms = measured.and_then(|span| span.to_ms);
        found.push(OpenTrouble {
            is_grave: about == TroubleKind::DeadLetters,
            about,
            part: "plugin",
            name: name.to_string(),
            says,
            effect: match about {
                TroubleKind::DeadLetters => "they are not handled until somebody decides",
                _ => "events for it are handled late",
            },
            span: measured.or(of_groups),
            later: over_ms.map(|to_ms| succeeded_after(&samples, to_ms)),
            trend: trend(&samples, now_ms, failed),
        });
    }
    found
}

/// The words for a plugin with these counts, of which so many attempts have succeeded and failed
/// lately, and of which deliveries may wait because they failed.
fn told(
    counts: &PluginCounts,
    (good, bad): (u64, u64),
    waits: bool,
    span: &str,
) -> Option<(TroubleKind, String)> {
    let count = |state: State| counts.0[usize::from(state.code())];
    let (dead, waiting) = (count(State::Dead), count(State::Waiting));
    let about = match (dead, bad) {
        (1.., _) => TroubleKind::DeadLetters,
        (0, 1..) => TroubleKind::Attempts,
        (0, 0) if waits && waiting > 0 => TroubleKind::Retries,
        (0, 0) => return None,
    };
    let mut says = Vec::new();
    if dead > 0 {
        let wait = if dead == 1 { "dead letter waits" } else { "dead letters wait" };
        says.push(format!("{} {wait} for a decision", grouped(dead)));
    }
    if bad > 0 {
        let (bad, all) = (grouped(bad), grouped(good + bad));
        says.push(format!("{bad} of {all} attempts failed in the {span}"));
    }
    if waiting > 0 {
        let more = if waiting == 1 { "delivery waits" } else { "deliveries wait" };
        says.push(format!("{} {more} for another attempt", grouped(waiting)));
    }
    Some((about, says.join(", ")))
}

/// Attempts that succeeded after a time.
fn succeeded_after(samples: &[Sampled], from_ms: i64) -> u64 {
    let after = samples.iter().filter(|sampled| sampled.at_ms > from_ms);
    after.map(|sampled| u64::from(succeeded(&sampled.point))).sum()
}

/// The error of the worst group, and how many others there are.
fn error_of(most: &FailingGroup, others: usize) -> String {
    let FailingGroup { group, error: text, .. } = most;
    let mut shown: String = text.chars().take(MAX_ERROR).collect();
    if text.chars().count() > MAX_ERROR {
        shown.push('…');
    }
    let mut text = shown;
    // A plugin that asks for a retry, or rejects an event, says why in its own words.
    let own = |outcome: &Outcome| matches!(outcome, Outcome::Retry | Outcome::Reject);
    if let Some(outcome) = group.outcome.filter(|outcome| !own(outcome)) {
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

    /// The second is what is said.
    fn of(counts: [u64; 7], lately: (u64, u64), waits: bool) -> Option<(TroubleKind, String)> {
        told(&PluginCounts(counts), lately, waits, "last 10 s")
    }

    #[test]
    fn dead_letters_are_counted_by_plugin() {
        let says = "41 dead letters wait for a decision, 12 deliveries wait for another attempt";
        let told = of([0, 0, 12, 5, 41, 0, 0], (3, 0), false);
        assert_eq!(told, Some((TroubleKind::DeadLetters, says.to_owned())));
        assert_eq!(of([1, 0, 2, 5, 0, 0, 0], (3, 0), false), None);
    }

    #[test]
    fn a_plugin_whose_attempts_fail_is_trouble_before_anything_is_dead() {
        let says = "5 of 32 attempts failed in the last 10 s, 1 delivery waits for another attempt";
        let told = of([0, 0, 1, 5, 0, 0, 0], (27, 5), false);
        assert_eq!(told, Some((TroubleKind::Attempts, says.to_owned())));
    }

    #[test]
    fn deliveries_that_wait_between_attempts_that_fail_are_trouble_while_none_is_begun() {
        let told = of([0, 0, 500, 5, 0, 0, 0], (0, 0), true);
        let says = "500 deliveries wait for another attempt";
        assert_eq!(told, Some((TroubleKind::Retries, says.to_owned())));
        assert_eq!(of([0, 0, 500, 5, 0, 0, 0], (0, 0), false), None, "they wait for their time");
        assert_eq!(of([0, 0, 0, 5, 0, 0, 0], (0, 0), true), None, "they have ended since");
    }
}
