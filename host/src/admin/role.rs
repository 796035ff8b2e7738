//! Roles: what a client of the admin API may do. Each route needs one (see `routes`).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::ProblemJson;

/// The set of routes that a client may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A client that may use every route.
    Operator,
}

impl Role {
    /// Every role, in the order of the names.
    pub const ALL: [Self; 1] = [Self::Operator];

    /// The name people see.
    pub fn name(self) -> &'static str {
        ["operator"][self as usize]
    }

    /// Whether a client of this role may use a route that needs `needed`.
    pub fn may(self, needed: Self) -> bool {
        self == Self::Operator || self == needed
    }
}

/// The client of a request, as the guard has found it.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    /// The name of its token; `local` without one.
    pub(super) name: Arc<str>,
    pub(super) role: Role,
}

impl Identity {
    /// A client without a token.
    pub(super) fn local(role: Role) -> Self {
        Self { name: "local".into(), role }
    }
}

/// Lets a request pass if the guard has found that its client has the role that the route needs.
pub(super) async fn admit(State(needed): State<Role>, request: Request, next: Next) -> Response {
    let client = request.extensions().get::<Identity>();
    if client.is_some_and(|client| client.role.may(needed)) {
        return next.run(request).await;
    }
    let detail = format!("this needs the role `{}`", needed.name());
    ProblemJson::new(StatusCode::FORBIDDEN, detail).into_response()
}
