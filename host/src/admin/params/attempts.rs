//! Parameters that choose deliveries by their attempts.

use crate::admin::problem::ProblemJson;
use crate::event::{FailureId, Outcome};
use crate::names::hint;

/// An outcome of an attempt that failed.
pub(super) fn failed_outcome(name: Option<&str>) -> Result<Option<Outcome>, ProblemJson> {
    outcome_among(name, &|outcome: &Outcome| outcome.is_failure())
}

/// An outcome of an attempt.
pub(super) fn outcome(name: Option<&str>) -> Result<Option<Outcome>, ProblemJson> {
    outcome_among(name, &|_: &Outcome| true)
}

fn outcome_among(
    name: Option<&str>,
    is_meant: &dyn Fn(&Outcome) -> bool,
) -> Result<Option<Outcome>, ProblemJson> {
    let Some(name) = name else { return Ok(None) };
    let found = Outcome::from_name(name).filter(is_meant);
    found.map(Some).ok_or_else(|| {
        let valid: Vec<_> = Outcome::ALL.into_iter().filter(is_meant).map(Outcome::name).collect();
        let hint = hint(name, valid.iter().copied());
        let name: String = name.chars().take(80).collect();
        ProblemJson::bad_request(format!(
            "`outcome`: there is no outcome `{name}`{hint} (valid: {})",
            valid.join(", ")
        ))
    })
}

/// The id of a group.
pub(super) fn failure_id(text: Option<&str>) -> Result<Option<FailureId>, ProblemJson> {
    let read = |text: &str| {
        text.parse().map_err(|error| ProblemJson::bad_request(format!("`failure`: {error}")))
    };
    text.map(read).transpose()
}

/// A number of attempts.
pub(super) fn attempts(text: Option<&str>) -> Result<Option<u32>, ProblemJson> {
    let read = |text: &str| {
        let number = text.parse().ok().filter(|number: &u32| text.len() < 8 && *number > 0);
        number.ok_or_else(|| {
            ProblemJson::bad_request("`min_attempts` must be a number from 1 to 9999999")
        })
    };
    text.map(read).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_outcome_that_fails_has_failures() {
        let detail = |result: Result<Option<Outcome>, ProblemJson>| {
            let value = serde_json::to_value(result.unwrap_err()).unwrap();
            value["detail"].as_str().unwrap().to_owned()
        };
        assert_eq!(failed_outcome(Some("trap")).ok(), Some(Some(Outcome::Trap)));
        assert_eq!(outcome(Some("ok")).ok(), Some(Some(Outcome::Ok)));
        let message = detail(failed_outcome(Some("trapp")));
        assert!(message.contains("did you mean `trap`?"), "{message}");
        assert!(detail(failed_outcome(Some("ok"))).contains("valid: retry, reject"));
    }
}
