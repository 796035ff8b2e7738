//! The parameter of a pause.

use serde::Deserialize;
use utoipa::IntoParams;

use crate::admin::problem::ProblemJson;

/// The most characters of a reason.
const MAX_REASON: usize = 500;

/// The parameter of `POST …/pause`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct PauseQuery {
    /// Why: shown wherever the pause is, at most 500 characters.
    #[param(required = true)]
    pub(in crate::admin) reason: Option<String>,
}

impl PauseQuery {
    /// The reason.
    pub(in crate::admin) fn reason(self) -> Result<String, ProblemJson> {
        let reason = self.reason.unwrap_or_default().trim().to_owned();
        match reason.chars().count() {
            0 => Err(ProblemJson::bad_request(
                "`reason` is missing: say why, for those who find it paused",
            )),
            1..=MAX_REASON => Ok(reason),
            length => Err(ProblemJson::bad_request(format!(
                "`reason` has {length} characters: {MAX_REASON} are the most"
            ))),
        }
    }
}
