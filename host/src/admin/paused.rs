//! Pauses as they are shown.

use serde::Serialize;
use utoipa::ToSchema;

use super::state::Admin;
use crate::clock::rfc3339;
use crate::store::{Pausable, Pause};

/// A pause that is in force.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Paused)]
pub(super) struct PausedJson {
    /// Since when, RFC 3339 with milliseconds.
    pub(super) since: String,
    /// The operator who asked for it.
    pub(super) by: String,
    /// Why.
    pub(super) reason: String,
}

impl From<&Pause> for PausedJson {
    fn from(pause: &Pause) -> Self {
        Self { since: rfc3339(pause.since_ms), by: pause.by.clone(), reason: pause.reason.clone() }
    }
}

/// The pause of a thing, if there is one.
pub(super) fn of(admin: &Admin, kind: Pausable, name: &str) -> Option<PausedJson> {
    admin.store.pauses().borrow().of(kind, name).map(PausedJson::from)
}
