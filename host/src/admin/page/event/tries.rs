//! The attempts of a tree in the order of time: when, how they ended, and why.

use crate::admin::page::parts::html::{Html, shown};
use crate::admin::page::parts::link::Link;
use crate::admin::page::parts::measure::duration;
use crate::admin::page::parts::state::badge;
use crate::admin::tree::{TreeAttemptJson, TreeDeliveryJson, TreeEventJson, TreeJson};
use crate::clock::rfc3339;

/// Attempts that are shown: the last ones.
const MAX_SHOWN: usize = 12;

/// Characters of a reason that are shown.
const MAX_REASON: usize = 200;

/// An attempt in the list.
#[derive(Debug)]
pub(super) struct TryLine {
    /// Where everything is that is known of it.
    pub(super) path: String,
    /// The plugin, and the number of the attempt.
    pub(super) name: String,
    /// The time of the day when it began, UTC.
    pub(super) at: String,
    /// The same with its date.
    pub(super) exact: String,
    pub(super) outcome: Html,
    pub(super) took: String,
    pub(super) reason: Html,
}

/// The last attempts of a tree, the oldest first, and how many there are before them.
pub(super) fn lines(tree: &TreeJson) -> (Vec<TryLine>, usize) {
    let mut found = Vec::new();
    for event in &tree.events {
        for delivery in &event.deliveries {
            found.extend(delivery.attempts.iter().map(|attempt| (event, delivery, attempt)));
        }
    }
    found.sort_by_key(|(.., attempt)| attempt.after_ms);
    let before = found.len().saturating_sub(MAX_SHOWN);
    let started = tree.started_at.parse::<jiff::Timestamp>().unwrap_or_default();
    let line =
        |(event, delivery, attempt): (&TreeEventJson, &TreeDeliveryJson, &TreeAttemptJson)| {
            let TreeAttemptJson { number, after_ms, duration_ms, outcome, error, .. } = attempt;
            let page = Link::to("/events").segment(&event.id).with("tab", "attempts").into_text();
            let exact = rfc3339(started.as_millisecond().saturating_add(*after_ms));
            let reason: String = error.iter().flat_map(|it| it.chars()).take(MAX_REASON).collect();
            TryLine {
                path: format!("{page}#{}-{number}", delivery.id),
                name: format!("{} #{number}", delivery.plugin),
                at: exact
                    .split_once('T')
                    .map_or("", |(_, time)| time.trim_end_matches('Z'))
                    .to_owned(),
                exact,
                outcome: badge(outcome),
                took: duration(*duration_ms),
                reason: shown(&reason),
            }
        };
    (found.into_iter().skip(before).map(line).collect(), before)
}
