//! Clients and their roles. Each route needs a role, or is open to anyone (see `routes`).

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::ProblemJson;
use super::sees::Sees;
use crate::config::AdminToken;
pub use crate::config::Role;

/// Needs no token: probes, and what a browser needs to log in.
pub(super) const ANYONE: Option<Role> = None;
/// Looks.
pub(super) const VIEWER: Option<Role> = Some(Role::Viewer);
/// Makes events.
pub(super) const SEND: Option<Role> = Some(Role::Send);
/// Changes something.
pub(super) const OPERATOR: Option<Role> = Some(Role::Operator);

/// The client of a request, as the guard has found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// The name of its token; `local` without one.
    pub(super) name: Arc<str>,
    pub(super) role: Role,
    pub(super) sees: Sees,
    /// Whether it has logged in, and can log out.
    pub(super) has_session: bool,
}

impl Identity {
    /// A client without a token.
    pub(super) fn local(role: Role) -> Self {
        Self { name: "local".into(), role, sees: Sees::ALL, has_session: false }
    }

    /// The client that shows a token.
    pub(super) fn of(token: &AdminToken) -> Self {
        Self {
            name: token.name.as_str().into(),
            role: token.role,
            sees: if token.payloads { Sees::ALL } else { Sees::NO_PAYLOADS },
            has_session: false,
        }
    }

    /// Whether it may use a route that needs this, where `None` is open to anyone.
    pub(super) fn may(&self, needed: Option<Role>) -> bool {
        needed.is_none_or(|needed| self.role.may(needed))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Identity {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Response> {
        // The check of roles has let the request pass, so there is one where a role is needed.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| unknown(&parts.headers))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Sees {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        Identity::from_request_parts(parts, state).await.map(|identity| identity.sees)
    }
}

/// Lets a request pass if the guard has found that its client has the role that the route needs.
pub(super) async fn admit(
    State(needed): State<Option<Role>>,
    request: Request,
    next: Next,
) -> Response {
    let client = request.extensions().get::<Identity>();
    let (needed, client) = match (needed, client) {
        (None, _) => return next.run(request).await,
        (Some(_), None) => return unknown(request.headers()),
        (Some(needed), Some(client)) => (needed, client),
    };
    if client.role.may(needed) {
        return next.run(request).await;
    }
    let also = if needed == Role::Operator { "" } else { " or `operator`" };
    let detail = format!(
        "this needs the role `{}`{also}; `{}` is {}",
        needed.name(),
        client.name,
        client.role.name()
    );
    ProblemJson::new(StatusCode::FORBIDDEN, detail).into_response()
}

/// The refusal of a client that nobody knows. It does not tell a wrong token from none that exists.
fn unknown(headers: &HeaderMap) -> Response {
    let shows = headers.contains_key(header::AUTHORIZATION);
    let (detail, challenge) = match shows {
        true => (
            "the token in `Authorization` is none of `server.admin_tokens`",
            "Bearer realm=\"hookbox\", error=\"invalid_token\"",
        ),
        false => (
            "this needs a token: send `Authorization: Bearer TOKEN`; commands take `--token-file FILE` or \
             HOOKBOX_ADMIN_TOKEN_FILE, browsers log in at `/login`",
            "Bearer realm=\"hookbox\"",
        ),
    };
    let mut response = ProblemJson::new(StatusCode::UNAUTHORIZED, detail).into_response();
    let challenge = HeaderValue::from_static(challenge);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}
