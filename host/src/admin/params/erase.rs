//! Parameters of erasing, and of an import.

use serde::Deserialize;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};

use super::change::flag;
use crate::admin::problem::ProblemJson;

/// Parameters of `POST /api/v1/events/{id}/erase`, in the query or as members of a JSON object.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct EraseQuery {
    /// `true` also deletes the values of key-value buckets that a delivery of the event wrote last.
    #[param(value_type = Option<bool>)]
    keys: Option<String>,
}

/// Parameters of `POST /api/v1/events/erase`, in the query or as members of a JSON object.
#[derive(Debug, Default, Deserialize)]
pub(in crate::admin) struct EraseSubjectQuery {
    #[serde(flatten)]
    of: SubjectQuery,
    #[serde(flatten)]
    pub(in crate::admin) rest: EraseQuery,
}

/// The events that are meant.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SubjectQuery {
    /// Exactly this subject.
    #[param(required = true)]
    subject: Option<String>,
}

impl IntoParams for EraseSubjectQuery {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut parameters = SubjectQuery::into_params(&place);
        parameters.extend(EraseQuery::into_params(&place));
        parameters
    }
}

/// The parameter of `POST /api/v1/events/import`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct ImportQuery {
    /// `true` delivers them as the routes are now; otherwise they go nowhere.
    #[param(value_type = Option<bool>)]
    route: Option<String>,
}

impl ImportQuery {
    pub(in crate::admin) fn route(&self) -> Result<bool, ProblemJson> {
        flag("route", self.route.as_deref())
    }
}

impl EraseQuery {
    pub(in crate::admin) fn keys(&self) -> Result<bool, ProblemJson> {
        flag("keys", self.keys.as_deref())
    }
}

impl EraseSubjectQuery {
    pub(in crate::admin) fn subject(&self) -> Result<&str, ProblemJson> {
        self.of.subject.as_deref().ok_or_else(|| {
            ProblemJson::bad_request("`subject` is missing: which events are to be erased?")
        })
    }
}
