//! The parameters of a replay: its plugins, and the other attributes and body.

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

use super::{pairs, read};
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;

/// Bytes of a request beside the body of the event.
pub(in crate::admin) const BESIDE_BYTES: usize = 64 << 10;

/// The most plugins that one replay names.
const MAX_PLUGINS: usize = 100;

/// The parameter of `POST /api/v1/events/{id}/replay` in the query.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct ReplayQuery {
    /// Only this plugin, which need not be routed.
    plugin: Option<String>,
}

/// The members of its body.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Replay)]
pub(in crate::admin) struct ReplayBody {
    /// Only this plugin, which need not be routed.
    plugin: Option<String>,
    /// Only these plugins.
    plugins: Option<Vec<String>>,
    /// Another body, JSON, taken as it is written here.
    #[schema(value_type = Option<serde_json::Value>)]
    data: Option<Box<RawValue>>,
    /// Another body in base64 (RFC 4648 §4).
    data_base64: Option<String>,
    /// Another type.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Another subject; an empty one takes it away.
    subject: Option<String>,
}

/// A replay as it is asked for.
#[derive(Debug, Default)]
pub(in crate::admin) struct ReplayAsked {
    /// To these plugins; to what is routed, if there is none.
    pub(in crate::admin) plugins: Vec<String>,
    /// The changes to the event.
    pub(in crate::admin) edit: EventEdit,
}

/// The changes that an operator makes to an event.
#[derive(Debug, Default)]
pub(in crate::admin) struct EventEdit {
    /// The body.
    pub(in crate::admin) data: Option<Bytes>,
    /// The type.
    pub(in crate::admin) kind: Option<String>,
    /// The subject; an empty one takes it away.
    pub(in crate::admin) subject: Option<String>,
}

impl EventEdit {
    /// Whether nothing is to be another.
    pub(in crate::admin) fn is_empty(&self) -> bool {
        self.data.is_none() && self.kind.is_none() && self.subject.is_none()
    }
}

impl ReplayBody {
    fn asked(self) -> Result<ReplayAsked, ProblemJson> {
        let data = match (self.data, self.data_base64) {
            (Some(_), Some(_)) => {
                let detail = "`data` and `data_base64` are both given: one of them is the body";
                return Err(ProblemJson::bad_request(detail));
            }
            (Some(data), None) => Some(Bytes::from(data.get().to_owned())),
            (None, Some(text)) => Some(decoded(&text)?),
            (None, None) => None,
        };
        let mut plugins = self.plugins.unwrap_or_default();
        plugins.extend(self.plugin);
        if plugins.len() > MAX_PLUGINS {
            let detail = format!("`plugins` names {}: {MAX_PLUGINS} are the most", plugins.len());
            return Err(ProblemJson::bad_request(detail));
        }
        let edit = EventEdit { data, kind: self.kind, subject: self.subject };
        Ok(ReplayAsked { plugins, edit })
    }
}

/// Reads the JSON of a request's body; nothing is what is usual.
pub(in crate::admin) fn json_body<T: Default + DeserializeOwned>(
    headers: &HeaderMap,
    body: &[u8],
) -> Result<T, ProblemJson> {
    if body.is_empty() {
        return Ok(T::default());
    }
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = given.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let detail = "a body must be `Content-Type: application/json`";
        return Err(ProblemJson::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    serde_json::from_slice(body).map_err(|error| {
        ProblemJson::bad_request(format!("the body is not as it is documented: {error}"))
    })
}

/// Reads base64.
pub(in crate::admin) fn decoded(text: &str) -> Result<Bytes, ProblemJson> {
    let decoded = STANDARD.decode(text.trim()).map(Bytes::from);
    decoded.map_err(|error| {
        ProblemJson::bad_request(format!("`data_base64` is not base64 (RFC 4648 §4): {error}"))
    })
}

impl FromRequest<Arc<Admin>> for ReplayAsked {
    type Rejection = ProblemJson;

    async fn from_request(request: Request, admin: &Arc<Admin>) -> Result<Self, ProblemJson> {
        let (parts, body) = request.into_parts();
        let ReplayQuery { plugin } = read(pairs(&parts.uri)?)?;
        let most = admin.config.load().largest_body_bytes();
        // Base64 is longer by a third.
        let most = most / 3 * 4 + BESIDE_BYTES;
        let body = to_bytes(body, most).await.map_err(|_| {
            let detail = format!("the body is not readable or longer than {most} bytes");
            ProblemJson::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        })?;
        let mut asked = json_body::<ReplayBody>(&parts.headers, &body)?.asked()?;
        asked.plugins.extend(plugin);
        Ok(asked)
    }
}

/// Parameters of `GET /api/v1/events/{id}/case`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct CaseQuery {
    /// The plugin; need not be named if the event went to one alone.
    pub(in crate::admin) plugin: Option<String>,
}
