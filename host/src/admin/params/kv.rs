//! Parameters of key-value buckets.

use serde::Deserialize;
use utoipa::IntoParams;

use super::filters::rows;
use crate::admin::problem::ProblemJson;

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
