//! Parameters of operations.

use std::collections::BTreeSet;

use serde::Deserialize;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};

use super::change::{ChangeQuery, flag};
use crate::admin::problem::ProblemJson;
use crate::admin::sees::Sees;
use crate::event::DeliveryId;
use crate::names::{PluginName, hint};
use crate::store::{
    Action, EventFilter, ItemResult, MAX_OPERATION_IDS, OperationDeed, OperationId,
    OperationOptions, OperationScope,
};

/// The most deliveries a second, and the most failures after which an operation may stop.
const MAX_NUMBER: u32 = 1_000_000;

/// The most operations in an answer.
const MAX_LISTED: usize = 200;

/// The actions that an operation can have.
const ACTIONS: [&str; 4] = ["retry", "discard", "cancel", "replay"];

/// The action of an operation, and its deliveries or events: those of `ids`, or those that match
/// filters.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct DeedQuery {
    /// `retry`, `discard` or `cancel`; or `replay`, for which the filters are those of
    /// `GET /api/v1/events`.
    #[param(required = true)]
    action: Option<String>,
    /// With `retry` and `true`: drop the steps that were recorded.
    #[param(value_type = Option<bool>)]
    fresh: Option<String>,
    /// These deliveries, or events to replay, at most 500, joined by commas. Without filters.
    ids: Option<String>,
    /// With `replay`: these plugins get the events, joined by commas; what is routed when an
    /// event's turn comes if absent.
    to: Option<String>,
    /// With `replay`: events that were stored after the one with this id.
    after: Option<String>,
    /// With `replay`: this text occurs in the id, type, subject, provider id or body.
    q: Option<String>,
    /// With `replay` and `true`: events that a plugin emitted; with `false`: the others.
    #[param(value_type = Option<bool>)]
    emitted: Option<String>,
    /// Unix ms: leave deliveries alone whose last attempt ended later, and events that came later;
    /// now if absent.
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
    pub(in crate::admin) action: OperationDeed,
    pub(in crate::admin) scope: OperationScope,
    pub(in crate::admin) as_of_ms: Option<i64>,
}

impl OperationQuery {
    /// The operation that is meant. A search of payloads is for those who read them.
    pub(in crate::admin) fn deed(self, sees: Sees) -> Result<Deed, ProblemJson> {
        let Self { deed, change } = self;
        let as_of = deed.as_of.as_ref().map(|text| {
            text.parse().map_err(|_| {
                ProblemJson::bad_request("`as_of` must be a time in Unix milliseconds")
            })
        });
        let as_of_ms = as_of.transpose()?;
        if deed.action.as_deref() == Some("replay") {
            let (action, scope) = replay(deed, change, sees)?;
            return Ok(Deed { action, scope, as_of_ms });
        }
        let others =
            [("to", &deed.to), ("after", &deed.after), ("q", &deed.q), ("emitted", &deed.emitted)];
        if let Some((name, _)) = others.into_iter().find(|(_, value)| value.is_some()) {
            let detail = format!("`{name}` is for `action=replay`: this is for deliveries");
            return Err(ProblemJson::bad_request(detail));
        }
        let action = action(&deed)?;
        let scope = match deed.ids {
            None => OperationScope::Filter(change.filter(&action)?),
            Some(_) if !change.is_empty() => return Err(ids_and_filters("deliveries")),
            Some(ids) => OperationScope::Ids(read_ids::<DeliveryId>(&ids, "deliveries")?),
        };
        Ok(Deed { action: action.into(), scope, as_of_ms })
    }
}

/// The action on deliveries that is meant.
fn action(deed: &DeedQuery) -> Result<Action, ProblemJson> {
    let fresh = flag("fresh", deed.fresh.as_deref())?;
    match deed.action.as_deref() {
        Some("retry") if fresh => Ok(Action::RetryFresh),
        Some("retry") => Ok(Action::Retry),
        Some("discard") => Ok(Action::Discard),
        Some("cancel") => Ok(Action::Cancel),
        None => Err(ProblemJson::bad_request(format!("`action` is missing: {}", one()))),
        Some(other) => {
            let shown: String = other.chars().take(80).collect();
            let hint = hint(&shown, ACTIONS);
            let detail = format!("`action`: there is no `{shown}`{hint}; {}", one());
            Err(ProblemJson::bad_request(detail))
        }
    }
}

/// The replay that is meant. One of every event has to say so.
fn replay(
    deed: DeedQuery,
    change: ChangeQuery,
    sees: Sees,
) -> Result<(OperationDeed, OperationScope), ProblemJson> {
    let to = deed.to.as_deref().into_iter().flat_map(|names| names.split(','));
    let action = OperationDeed::Replay(to.map(|name| PluginName::from(name.trim())).collect());
    if let Some(ids) = deed.ids {
        let others = [&deed.after, &deed.q, &deed.emitted];
        if !change.is_empty() || others.into_iter().any(Option::is_some) {
            return Err(ids_and_filters("events"));
        }
        return Ok((action, OperationScope::EventIds(read_ids(&ids, "events")?)));
    }
    let filter = change.of_events(deed.after, deed.q, deed.emitted)?.filter(sees)?;
    if filter == EventFilter::default() {
        let detail = "no filter given: say `type=**` to replay every event";
        return Err(ProblemJson::bad_request(detail));
    }
    Ok((action, OperationScope::Events(filter)))
}

fn ids_and_filters(of: &str) -> ProblemJson {
    ProblemJson::bad_request(format!("`ids` names the {of}: leave the filters out"))
}

fn one() -> &'static str {
    "one of `retry`, `discard`, `cancel` and `replay`"
}

/// Reads ids, each once.
fn read_ids<T>(text: &str, of: &str) -> Result<Vec<T>, ProblemJson>
where
    T: std::str::FromStr<Err: std::fmt::Display> + Ord,
{
    let number = text.split(',').count();
    let ids: Result<BTreeSet<T>, _> = text.split(',').map(|id| id.trim().parse()).collect();
    let ids = ids.map_err(|error| ProblemJson::bad_request(format!("`ids`: {error}")))?;
    if number > MAX_OPERATION_IDS {
        let detail =
            format!("`ids` names {number} {of}; {MAX_OPERATION_IDS} are the most, or give filters");
        return Err(ProblemJson::bad_request(detail));
    }
    Ok(ids.into_iter().collect())
}

/// Parameters of `POST /api/v1/operations/{id}/start`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct OperationStartQuery {
    /// `true`: try one first, and go on only if that succeeds.
    #[param(value_type = Option<bool>)]
    pub(in crate::admin) first: Option<String>,
    /// At most so many a second.
    #[param(value_type = Option<u32>, minimum = 1)]
    pub(in crate::admin) pace: Option<String>,
    /// Stop after so many that failed again.
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
