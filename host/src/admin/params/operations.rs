//! Parameters of operations.

use serde::Deserialize;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};

use super::change::{ChangeQuery, flag};
use crate::admin::problem::ProblemJson;
use crate::event::DeliveryId;
use crate::names::hint;
use crate::store::{
    Action, ItemResult, MAX_OPERATION_IDS, OperationId, OperationOptions, OperationScope,
};

/// The most deliveries a second, and the most failures after which an operation may stop.
const MAX_NUMBER: u32 = 1_000_000;

/// The most operations in an answer.
const MAX_LISTED: usize = 200;

/// The actions that an operation can have.
const ACTIONS: [&str; 3] = ["retry", "discard", "cancel"];

/// The action of an operation, and its deliveries: those of `ids`, or those that match filters.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct DeedQuery {
    /// `retry`, `discard` or `cancel`.
    #[param(required = true)]
    action: Option<String>,
    /// With `retry` and `true`: drop the steps that were recorded.
    #[param(value_type = Option<bool>)]
    fresh: Option<String>,
    /// These deliveries, at most 500, joined by commas. Without filters.
    ids: Option<String>,
    /// Unix ms: leave deliveries alone whose last attempt ended later; now if absent.
    #[param(value_type = Option<i64>)]
    as_of: Option<String>,
}

/// Parameters of `POST /api/v1/operations`.
#[derive(Debug, Default, Deserialize)]
pub(in crate::admin) struct OperationQuery {
    #[serde(flatten)]
    deed: DeedQuery,
    #[serde(flatten)]
    change: ChangeQuery,
}

impl IntoParams for OperationQuery {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut parameters = DeedQuery::into_params(&place);
        parameters.extend(ChangeQuery::into_params(&place));
        parameters
    }
}

/// An operation that is asked for.
#[derive(Debug)]
pub(in crate::admin) struct Deed {
    pub(in crate::admin) action: Action,
    pub(in crate::admin) scope: OperationScope,
    pub(in crate::admin) as_of_ms: Option<i64>,
}

impl OperationQuery {
    /// The operation that is meant.
    pub(in crate::admin) fn deed(self) -> Result<Deed, ProblemJson> {
        let Self { deed, change } = self;
        let fresh = flag("fresh", deed.fresh.as_deref())?;
        let action = match deed.action.as_deref() {
            Some("retry") if fresh => Action::RetryFresh,
            Some("retry") => Action::Retry,
            Some("discard") => Action::Discard,
            Some("cancel") => Action::Cancel,
            None => {
                return Err(ProblemJson::bad_request(format!("`action` is missing: {}", one())));
            }
            Some(other) => {
                let shown: String = other.chars().take(80).collect();
                let hint = hint(&shown, ACTIONS);
                let detail = format!("`action`: there is no `{shown}`{hint}; {}", one());
                return Err(ProblemJson::bad_request(detail));
            }
        };
        let as_of = deed.as_of.map(|text| {
            text.parse().map_err(|_| {
                ProblemJson::bad_request("`as_of` must be a time in Unix milliseconds")
            })
        });
        let scope = match deed.ids {
            None => OperationScope::Filter(change.filter(&action)?),
            Some(_) if !change.is_empty() => {
                let detail = "`ids` names the deliveries: leave the filters out";
                return Err(ProblemJson::bad_request(detail));
            }
            Some(ids) => OperationScope::Ids(read_ids(&ids)?),
        };
        Ok(Deed { action, scope, as_of_ms: as_of.transpose()? })
    }
}

fn one() -> &'static str {
    "one of `retry`, `discard` and `cancel`"
}

fn read_ids(text: &str) -> Result<Vec<DeliveryId>, ProblemJson> {
    let ids: Result<Vec<DeliveryId>, _> = text.split(',').map(|id| id.trim().parse()).collect();
    let ids = ids.map_err(|error| ProblemJson::bad_request(format!("`ids`: {error}")))?;
    if ids.len() > MAX_OPERATION_IDS {
        let detail = format!(
            "`ids` names {} deliveries; {MAX_OPERATION_IDS} are the most, or give filters",
            ids.len()
        );
        return Err(ProblemJson::bad_request(detail));
    }
    Ok(ids)
}

/// Parameters of `POST /api/v1/operations/{id}/start`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct OperationStartQuery {
    /// `true`: try one delivery first, and go on only if that succeeds.
    #[param(value_type = Option<bool>)]
    pub(in crate::admin) first: Option<String>,
    /// At most so many deliveries a second.
    #[param(value_type = Option<u32>, minimum = 1)]
    pub(in crate::admin) pace: Option<String>,
    /// Stop after so many deliveries that failed again.
    #[param(value_type = Option<u32>, minimum = 1)]
    pub(in crate::admin) stop_after: Option<String>,
}

impl OperationStartQuery {
    /// The options.
    pub(in crate::admin) fn options(&self) -> Result<OperationOptions, ProblemJson> {
        Ok(OperationOptions {
            first: flag("first", self.first.as_deref())?,
            pace: number("pace", self.pace.as_deref())?,
            stop_after: number("stop_after", self.stop_after.as_deref())?,
        })
    }
}

fn number(name: &str, text: Option<&str>) -> Result<Option<u32>, ProblemJson> {
    let Some(text) = text else { return Ok(None) };
    let fits = text.trim().parse().ok().filter(|number| (1..=MAX_NUMBER).contains(number));
    fits.map(Some).ok_or_else(|| {
        ProblemJson::bad_request(format!("`{name}` must be a whole number from 1 to {MAX_NUMBER}"))
    })
}

/// Parameters of `GET /api/v1/operations`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct OperationsQuery {
    /// The most operations, 1 to 200; 50 if absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl OperationsQuery {
    /// The number of operations, and the one before which they are.
    pub(in crate::admin) fn page(&self) -> Result<(usize, Option<OperationId>), ProblemJson> {
        let limit = match self.limit.as_deref() {
            None => 50,
            Some(text) => {
                let fits = text.parse().ok().filter(|limit| (1..=MAX_LISTED).contains(limit));
                fits.ok_or_else(|| {
                    let detail = format!("`limit` must be a whole number from 1 to {MAX_LISTED}");
                    ProblemJson::bad_request(detail)
                })?
            }
        };
        Ok((limit, cursor(self.cursor.as_deref())?))
    }
}

/// Parameters of `GET /api/v1/operations/{id}`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct OperationItemsQuery {
    /// The deliveries that are listed: `failed` (the default), `skipped`, `open` or `ok`.
    result: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl OperationItemsQuery {
    /// The result, and the delivery after which the page begins.
    pub(in crate::admin) fn page(&self) -> Result<(ItemResult, Option<DeliveryId>), ProblemJson> {
        let result = match self.result.as_deref() {
            None => ItemResult::Failed,
            Some(name) => {
                let found = ItemResult::ALL.into_iter().find(|result| result.name() == name);
                found.ok_or_else(|| {
                    let detail = "`result` must be `failed`, `skipped`, `open`, `ok` or `found`";
                    ProblemJson::bad_request(detail)
                })?
            }
        };
        Ok((result, cursor(self.cursor.as_deref())?))
    }
}

fn cursor<T: std::str::FromStr>(text: Option<&str>) -> Result<Option<T>, ProblemJson> {
    let refused = |_| {
        ProblemJson::bad_request("`cursor` is not a `next_cursor` that this host gave out here")
    };
    text.map(|text| text.parse().map_err(refused)).transpose()
}
