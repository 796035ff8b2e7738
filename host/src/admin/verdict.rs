//! One attempt beside the one before it.

use crate::event::{Outcome, failure_text};

/// The outcome of an attempt, and its error.
pub(super) type AttemptEnd = (Outcome, Option<String>);

/// `fixed`, `same error`, `other error`, `still well` or `fails now`. Errors that differ in numbers
/// or ids are the same.
pub(super) fn verdict(before: &AttemptEnd, now: &AttemptEnd) -> &'static str {
    let text = |(outcome, error): &AttemptEnd| failure_text(*outcome, error.as_deref());
    match (before.0.is_failure(), now.0.is_failure()) {
        (true, false) => "fixed",
        (false, false) => "still well",
        (false, true) => "fails now",
        (true, true) if before.0 == now.0 && text(before) == text(now) => "same error",
        (true, true) => "other error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_told_from_the_one_before() {
        let end = |outcome, error: &str| (outcome, Some(error.to_owned()));
        let (well, wrong) = ((Outcome::Ok, None), end(Outcome::Retry, "answered 503"));
        for (before, now, said) in [
            (&wrong, &well, "fixed"),
            (&well, &well, "still well"),
            (&well, &wrong, "fails now"),
            (&wrong, &end(Outcome::Retry, "answered 504"), "same error"),
            (&wrong, &end(Outcome::Reject, "answered 503"), "other error"),
            (&wrong, &end(Outcome::Retry, "no such order"), "other error"),
        ] {
            assert_eq!(verdict(before, now), said, "{before:?} {now:?}");
        }
    }
}
