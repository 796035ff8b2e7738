//! Questions: what may stand in a query string or a JSON body, checked by name and value.
//!
//! The names that are accepted are those of the documented parameters; there is no second list.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::IntoParams;

use super::problem::ProblemJson;
use super::state::MAX_BODY_BYTES;
use crate::names::hint;

mod attempts;
mod audit;
mod change;
mod erase;
mod failures;
mod filters;
mod history;
mod kv;
mod map;
mod operations;
mod pause;
mod replay;
mod seeing;

pub(super) use audit::{AuditQuery, audit_text};
pub(super) use change::{
    ChangeQuery, CursorQuery, FreshQuery, MoveQuery, RetryQuery, ToQuery, progress_text,
};
pub(super) use erase::{EraseQuery, EraseSubjectQuery, ImportQuery};
pub(super) use failures::{FailureQuery, failure_text};
pub(super) use filters::{ApproveQuery, DeliveryQuery, EventQuery, NoQuery, to_text};
pub(super) use history::{HistoryQuery, StreamQuery, StreamTopics, TimeWindow, WINDOWS};
pub(super) use kv::{ChangeKeyQuery, KeyQuery, KeysQuery, version};
pub(super) use map::MapQuery;
pub(super) use operations::{
    Deed, OperationItemsQuery, OperationQuery, OperationStartQuery, OperationsQuery,
};
pub(super) use pause::PauseQuery;
pub(super) use replay::{
    BESIDE_BYTES, CaseQuery, EventEdit, ReplayAsked, ReplayBody, ReplayQuery, decoded, json_body,
};
pub(super) use seeing::{JoinQuery, TreeQuery, gathering_text};

/// Reads the query string as `T`.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned + IntoParams, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ProblemJson;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ProblemJson> {
        read(pairs(&parts.uri)?).map(Self)
    }
}

/// Reads the query string and, if there is one, the JSON object in the body as `T`.
pub(super) struct ParamsOrBody<T>(pub(super) T);

impl<T: DeserializeOwned + IntoParams, S: Send + Sync> FromRequest<S> for ParamsOrBody<T> {
    type Rejection = ProblemJson;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ProblemJson> {
        let (parts, body) = request.into_parts();
        let mut given = pairs(&parts.uri)?;
        given.extend(members(&parts.headers, body).await?);
        read(given).map(Self)
    }
}

/// Reads the identifier in the path as `T`.
pub(super) struct Id<T>(pub(super) T);

impl<T, S> FromRequestParts<S> for Id<T>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
    S: Send + Sync,
{
    type Rejection = ProblemJson;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ProblemJson> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| ProblemJson::bad_request(error.body_text()))?;
        text.parse().map(Self).map_err(|error: T::Err| ProblemJson::not_found(error.to_string()))
    }
}

fn pairs(uri: &Uri) -> Result<Vec<(String, Value)>, ProblemJson> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|error| ProblemJson::bad_request(error.body_text()))?;
    Ok(pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect())
}

async fn members(headers: &HeaderMap, body: Body) -> Result<Vec<(String, Value)>, ProblemJson> {
    let body: Bytes = axum::body::to_bytes(body, MAX_BODY_BYTES).await.map_err(|_| {
        let detail = format!("the body is not readable or longer than {MAX_BODY_BYTES} bytes");
        ProblemJson::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    })?;
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let media_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !media_type
        .split(';')
        .next()
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    {
        let detail = "a body must be `Content-Type: application/json`";
        return Err(ProblemJson::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let members: Option<Map<String, Value>> = serde_json::from_slice(&body).map_err(|error| {
        ProblemJson::bad_request(format!("the body is not a JSON object: {error}"))
    })?;
    // `null` says the same as leaving it out; a number or a truth is what it would be in a query
    // string.
    let given = members.into_iter().flatten().filter(|(_, value)| !value.is_null());
    let as_text = |value: Value| {
        if value.is_number() || value.is_boolean() { value.to_string().into() } else { value }
    };
    Ok(given.map(|(name, value)| (name, as_text(value))).collect())
}

/// Reads the fields of a page's address or form as `T`.
pub(super) fn read_fields<T: DeserializeOwned + IntoParams>(
    fields: Vec<(String, String)>,
) -> Result<T, ProblemJson> {
    read(fields.into_iter().map(|(name, value)| (name, Value::String(value))).collect())
}

fn read<T: DeserializeOwned + IntoParams>(given: Vec<(String, Value)>) -> Result<T, ProblemJson> {
    let known: Vec<String> =
        T::into_params(|| None).into_iter().map(|parameter| parameter.name).collect();
    let mut values = Map::new();
    for (name, value) in given {
        if !known.contains(&name) {
            return Err(unknown(&name, &known));
        }
        match value.as_str() {
            None => return Err(ProblemJson::bad_request(format!("`{name}` must be a string"))),
            // Not "no filter": an unset variable in a script must not turn "retry these" into
            // "retry all".
            Some("") => {
                return Err(ProblemJson::bad_request(format!(
                    "`{name}` is empty: leave it out, or give it a value"
                )));
            }
            Some(_) => {}
        }
        if values.insert(name.clone(), value).is_some() {
            return Err(ProblemJson::bad_request(format!("`{name}` is given twice")));
        }
    }
    serde_json::from_value(Value::Object(values))
        .map_err(|error| ProblemJson::bad_request(error.to_string()))
}

fn unknown(name: &str, known: &[String]) -> ProblemJson {
    let name: String = name.chars().take(80).collect();
    let hint = hint(&name, known.iter().map(String::as_str));
    let valid = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let valid =
        if valid.is_empty() { "this takes none".to_owned() } else { format!("valid: {valid}") };
    ProblemJson::bad_request(format!("there is no parameter `{name}`{hint} ({valid})"))
}
