//! Refusals: `application/problem+json`, RFC 9457.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::store::StoreError;

/// Seconds after which a client may ask a saturated host again.
const RETRY_AFTER_S: u16 = 1;

/// The reason for a refusal (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemJson {
    /// `about:blank`: the status names the kind of problem.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status code.
    #[schema(value_type = u16)]
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    /// The mistake, and its remedy.
    detail: String,
}

/// A refusal, as it goes along with the response for those who show it in another form.
#[derive(Debug, Clone)]
pub(super) struct ShownProblem {
    pub(super) status: StatusCode,
    pub(super) title: &'static str,
    pub(super) detail: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn as_number<S: serde::Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u16(status.as_u16())
}

impl ProblemJson {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { kind: "about:blank", title, status, detail: detail.into() }
    }

    /// The status and the text.
    pub(super) fn parts(&self) -> (StatusCode, &str) {
        (self.status, &self.detail)
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }
}

impl IntoResponse for ProblemJson {
    fn into_response(self) -> Response {
        let Self { status, title, detail, .. } = &self;
        let (status, title) = (*status, *title);
        let shown = ShownProblem { status, title, detail: detail.clone() };
        let mut response = (status, Json(self)).into_response();
        response.extensions_mut().insert(shown);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        response
    }
}

impl From<StoreError> for ProblemJson {
    fn from(error: StoreError) -> Self {
        let status = match &error {
            StoreError::Saturated { .. }
            | StoreError::Unavailable(_)
            | StoreError::Unreachable(_)
            | StoreError::NotReplicated(_)
            | StoreError::Full(_)
            | StoreError::Lost(_)
            | StoreError::Stopped(_) => StatusCode::SERVICE_UNAVAILABLE,
            StoreError::Query(_) => StatusCode::INTERNAL_SERVER_ERROR,
            StoreError::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
            StoreError::NotFound(_) => StatusCode::NOT_FOUND,
            StoreError::Conflict(_) => StatusCode::CONFLICT,
        };
        Self::new(status, error.to_string())
    }
}
