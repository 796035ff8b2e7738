//! An attempt beside the one before it: of a trial, a replay, or a dead letter that was retried.

use serde::Serialize;
use utoipa::ToSchema;

use crate::event::{AttemptRecord, DeliveryId, failure_text};
use crate::store::{AttemptView, DeliveryView};

/// An attempt beside the one before it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AgainstJson {
    /// The delivery of the attempt before.
    pub(super) delivery_id: String,
    /// The number of that attempt.
    pub(super) attempt: u32,
    /// Its outcome.
    pub(super) outcome: &'static str,
    /// Its error.
    pub(super) error: Option<String>,
    /// `fixed`, `same error`, `other error`, `still well` or `fails now`.
    pub(super) verdict: &'static str,
}

impl AgainstJson {
    /// Compares an attempt with the one before it.
    pub(super) fn of((id, before): (DeliveryId, &AttemptView), now: &AttemptRecord) -> Self {
        Self {
            delivery_id: id.to_string(),
            attempt: before.number,
            outcome: before.record.outcome.name(),
            error: before.record.error.clone(),
            verdict: verdict(&before.record, now),
        }
    }

    /// Compares the last attempt of a delivery with the one before it, which tells whether
    /// somebody's retry or replay has helped. `others` are deliveries of the same event.
    pub(super) fn of_last(view: &DeliveryView, others: &[DeliveryView]) -> Option<Self> {
        let last = view.attempts.last()?;
        let before = match view.retried_after {
            Some(number) if last.number > number => {
                let mut own = view.attempts.iter().rev();
                (view.id, own.find(|attempt| attempt.number <= number)?)
            }
            None if view.replay => last_before(view, others)?,
            _ => return None,
        };
        Some(Self::of(before, &last.record))
    }
}

/// The last attempt of the plugin's delivery before this one.
fn last_before<'v>(
    view: &DeliveryView,
    others: &'v [DeliveryView],
) -> Option<(DeliveryId, &'v AttemptView)> {
    let earlier = |it: &&DeliveryView| it.plugin == view.plugin && it.id.ordinal < view.id.ordinal;
    let mut earlier = others.iter().filter(earlier).rev();
    earlier.find_map(|it| Some((it.id, it.attempts.last()?)))
}

/// `fixed`, `same error`, `other error`, `still well` or `fails now`. Errors that differ in numbers
/// or ids are the same.
pub(super) fn verdict(before: &AttemptRecord, now: &AttemptRecord) -> &'static str {
    let text = |it: &AttemptRecord| failure_text(it.outcome, it.error.as_deref());
    match (before.outcome.is_failure(), now.outcome.is_failure()) {
        (true, false) => "fixed",
        (false, false) => "still well",
        (false, true) => "fails now",
        (true, true) if before.outcome == now.outcome && text(before) == text(now) => "same error",
        (true, true) => "other error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outcome;

    #[test]
    fn a_verdict_tells_an_error_from_the_one_before() {
        let ended = |outcome, error: Option<&str>| {
            AttemptRecord::of_host(0, outcome, error.map(str::to_owned))
        };
        let (well, again) = (ended(Outcome::Ok, None), ended(Outcome::Again, None));
        let failed = ended(Outcome::Retry, Some("order 17 answered 503"));
        for (before, now, expected) in [
            (&failed, well.clone(), "fixed"),
            (&failed, ended(Outcome::Retry, Some("order 18 answered 504")), "same error"),
            (&failed, ended(Outcome::Retry, Some("no such order")), "other error"),
            (&failed, ended(Outcome::Reject, Some("order 17 answered 503")), "other error"),
            (&well, again, "still well"),
            (&well, failed.clone(), "fails now"),
        ] {
            assert_eq!(verdict(before, &now), expected, "{now:?}");
        }
    }
}
