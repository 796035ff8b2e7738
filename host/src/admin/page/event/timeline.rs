//! The attempts of a tree in the order of time: when, how they ended, and why.

use super::bars::short_words;
use crate::admin::page::parts::html::{Html, shown};
use crate::admin::page::parts::link::Link;
use crate::admin::page::parts::state::{ended, ending};
use crate::admin::tree::{TreeAttemptJson, TreeDeliveryJson, TreeEventJson};
use crate::admin::view::attempt::CallJson;
use crate::clock::rfc3339;
use crate::text::duration;

/// Attempts that are shown: the last ones.
const MAX_SHOWN: usize = 12;

/// Characters of a reason that are shown.
const MAX_REASON: usize = 200;

/// An attempt of a tree, as it is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun<'t> {
    pub(super) event: &'t TreeEventJson,
    pub(super) delivery: &'t TreeDeliveryJson,
    /// Its place among the attempts of the delivery.
    pub(super) at: usize,
    /// When it began, in milliseconds after the root.
    pub(super) from_ms: f64,
}

/// An attempt in the list.
#[derive(Debug)]
pub(super) struct TryLine {
    /// Where everything is that is known of it.
    pub(super) path: String,
    /// The plugin, and the number of the attempt.
    pub(super) name: String,
    /// The type of its event, if that is not the one whose page it is on.
    pub(super) of: Option<Html>,
    /// The time of the day when it began, UTC.
    pub(super) at: String,
    /// The same with its date.
    pub(super) exact: String,
    pub(super) outcome: Html,
    pub(super) took: String,
    /// Its HTTP requests: the first one, and how many more there are.
    pub(super) requests: Html,
    pub(super) reason: Html,
}

/// The last attempts of a tree that began at `started_ms`, the oldest first, and how many there are
/// before them; `this` is the event whose page it is.
pub(super) fn lines(
    mut begun: Vec<Begun<'_>>,
    started_ms: i64,
    this: &str,
) -> (Vec<TryLine>, usize) {
    begun.sort_by(|a, b| a.from_ms.total_cmp(&b.from_ms));
    let before = begun.len().saturating_sub(MAX_SHOWN);
    let lines = begun.into_iter().skip(before).filter_map(|it| it.line(started_ms, this));
    (lines.collect(), before)
}

impl Begun<'_> {
    fn line(self, started_ms: i64, this: &str) -> Option<TryLine> {
        let Self { event, delivery, at, from_ms } = self;
        let attempt = delivery.attempts.get(at)?;
        let TreeAttemptJson { number, duration_ms, outcome, error, calls, more_calls, .. } =
            attempt;
        let page = Link::to("/events").segment(&event.id).with("tab", "attempts").into_text();
        let exact = rfc3339(started_ms.saturating_add(from_ms as i64));
        let reason: String = error.iter().flat_map(|it| it.chars()).take(MAX_REASON).collect();
        let words = match then(delivery, at) {
            // The plugin asked for it, as the reason says.
            Some(then) if *outcome == "retry" => format!("failed, {then}"),
            Some(then) => format!("{}, {then}", ended(outcome)),
            None => ended(outcome),
        };
        let time = exact.split_once('T').map_or("", |(_, time)| time.trim_end_matches('Z'));
        Some(TryLine {
            path: format!("{page}#{}-{number}", delivery.id),
            name: format!("{} #{number}", delivery.plugin),
            of: (event.id != this).then(|| shown(&event.kind)),
            at: time.to_owned(),
            outcome: ending(outcome, &words),
            took: duration(*duration_ms),
            requests: requests(calls, *more_calls),
            reason: shown(&reason),
            exact,
        })
    }
}

/// The first of some requests with its answer, and how many more there are; `are_cut` if there are
/// more than these.
pub(super) fn requests(calls: &[CallJson], are_cut: bool) -> Html {
    let Some((first, rest)) = calls.split_first() else { return Html::default() };
    let first = short_words(first);
    match (rest.len(), are_cut) {
        (0, false) => shown(&first),
        (more, false) => shown(&format!("{first}, and {more} more")),
        (more, true) => shown(&format!("{first}, and more than {more} more")),
    }
}

/// The step after an attempt that failed: the next attempt, or the state of its delivery.
fn then(delivery: &TreeDeliveryJson, at: usize) -> Option<String> {
    let attempt = delivery.attempts.get(at)?;
    if ["ok", "again"].contains(&attempt.outcome) {
        return None;
    }
    if let Some(next) = delivery.attempts.get(at + 1) {
        let ended_ms = attempt.after_ms as f64 + attempt.duration_ms;
        return Some(format!("retried in {}", duration(next.after_ms as f64 - ended_ms)));
    }
    Some(match delivery.state {
        "dead" => "a dead letter".to_owned(),
        "ready" | "leased" | "waiting" => "to be retried".to_owned(),
        state => state.to_owned(),
    })
}
