//! Parameters of key-value buckets.

use serde::Deserialize;
use utoipa::IntoParams;

use super::filters::rows;
use crate::admin::problem::ProblemJson;
use crate::store::KeyExpected;

/// Parameters of `GET /api/v1/kv/{bucket}`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct KeysQuery {
    /// They begin with this.
    pub(in crate::admin) prefix: Option<String>,
    /// They come after this one, in the order of their bytes: `next_after` of the page before.
    pub(in crate::admin) after: Option<String>,
    /// Rows of a page, 1 to 500; 50 if absent.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    limit: Option<String>,
}

/// The parameter of `GET /api/v1/kv/{bucket}/value`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct KeyQuery {
    /// The key.
    #[param(required = true)]
    key: Option<String>,
}

impl KeysQuery {
    pub(in crate::admin) fn rows(&self) -> Result<usize, ProblemJson> {
        rows(self.limit.as_deref())
    }
}

impl KeyQuery {
    pub(in crate::admin) fn key(&self) -> Result<&str, ProblemJson> {
        let missing = || ProblemJson::bad_request("`key` is missing: it names the value to show");
        self.key.as_deref().ok_or_else(missing)
    }
}

/// Parameters of `PUT` and `DELETE /api/v1/kv/{bucket}/value`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct ChangeKeyQuery {
    /// The key.
    #[param(required = true)]
    key: Option<String>,
    /// The version that the value has.
    if_version: Option<String>,
    /// `true`: there is no value.
    #[param(value_type = Option<bool>)]
    if_absent: Option<String>,
    /// `true`: whatever is there.
    #[param(value_type = Option<bool>)]
    force: Option<String>,
}

impl ChangeKeyQuery {
    pub(in crate::admin) fn key(&self) -> Result<&str, ProblemJson> {
        let missing = || ProblemJson::bad_request("`key` is missing: it names the value to change");
        self.key.as_deref().ok_or_else(missing)
    }

    /// The value that the client expects there; `sets` if a value is to be set.
    pub(in crate::admin) fn expected(&self, sets: bool) -> Result<KeyExpected, ProblemJson> {
        let flag = |name: &str, value: &Option<String>| match value.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(ProblemJson::bad_request(format!("`{name}` must be `true` or `false`"))),
        };
        let absent = flag("if_absent", &self.if_absent)?;
        let force = flag("force", &self.force)?;
        match (self.if_version.as_deref(), absent, force) {
            (Some(text), false, false) => version(text).map(KeyExpected::Version),
            (None, true, false) if sets => Ok(KeyExpected::Absent),
            (None, false, true) => Ok(KeyExpected::Anything),
            _ => {
                let absent = if sets { ", `if_absent=true`" } else { "" };
                Err(ProblemJson::bad_request(format!(
                    "say what is there, in exactly one way: `if_version` as `GET` shows it{absent}, \
                     or `force=true` for whatever it is"
                )))
            }
        }
    }
}

/// Reads the version of a value.
pub(in crate::admin) fn version(text: &str) -> Result<i64, ProblemJson> {
    let wrong = |_| {
        ProblemJson::bad_request(
            "`if_version` is no version: it is a whole number, as `GET` shows it",
        )
    };
    text.parse().map_err(wrong)
}
