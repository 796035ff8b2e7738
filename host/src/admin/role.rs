//! Roles: what a client of the admin API may do. Each route needs one (see `routes`).

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

/// Lets a request pass if the guard has found that its client has the role that the route needs.
pub(super) async fn admit(State(needed): State<Role>, request: Request, next: Next) -> Response {
    let role = request.extensions().get::<Role>();
    if role.is_some_and(|role| role.may(needed)) {
        return next.run(request).await;
    }
    let detail = format!("this needs the role `{}`", needed.name());
    ProblemJson::new(StatusCode::FORBIDDEN, detail).into_response()
}
