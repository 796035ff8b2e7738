//! Troubles, as the API gives it.

use serde::Serialize;
use utoipa::ToSchema;

use super::{HostFacts, OpenTrouble};
use crate::clock::rfc3339;

/// Everything that wants attention.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Troubles)]
pub(in crate::admin) struct TroublesJson {
    /// The gravest is first.
    pub(in crate::admin) items: Vec<OpenTroubleJson>,
    /// The answers that the store did not give in time; the list has the ones before.
    pub(in crate::admin) not_known: Vec<NotKnownJson>,
}

/// Something that wants attention.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenTrouble)]
pub(in crate::admin) struct OpenTroubleJson {
    /// The part of the host: `plugin`, `source`, `schedule`, `events`, `disk`, or a part that
    /// `/readyz` names.
    pub(in crate::admin) part: &'static str,
    /// Its name, where there are several.
    pub(in crate::admin) name: Option<String>,
    /// Whether it goes before others.
    pub(in crate::admin) grave: bool,
    /// The trouble in words.
    pub(in crate::admin) detail: String,
    /// Its effect.
    pub(in crate::admin) effect: &'static str,
    /// When it began, RFC 3339 with milliseconds; null if that is not known or the text says it.
    pub(in crate::admin) since: Option<String>,
    /// When it was seen last, RFC 3339 with milliseconds; null if it goes on.
    pub(in crate::admin) until: Option<String>,
    /// How often it happened in each five minutes of the last hour; empty if nothing counts that.
    pub(in crate::admin) trend: Vec<u32>,
}

/// Something that is not known now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NotKnown)]
pub(in crate::admin) struct NotKnownJson {
    /// The answer.
    pub(in crate::admin) what: &'static str,
    /// When it was known last, RFC 3339 with milliseconds; null if it was not.
    pub(in crate::admin) as_of: Option<String>,
}

impl TroublesJson {
    pub(super) fn of(troubles: Vec<OpenTrouble>, facts: &HostFacts) -> Self {
        let not_known = facts.not_known().into_iter();
        let not_known =
            not_known.map(|(what, as_of_ms)| NotKnownJson { what, as_of: as_of_ms.map(rfc3339) });
        Self {
            items: troubles.into_iter().map(OpenTroubleJson::from).collect(),
            not_known: not_known.collect(),
        }
    }
}

impl From<OpenTrouble> for OpenTroubleJson {
    fn from(trouble: OpenTrouble) -> Self {
        let OpenTrouble { is_grave, part, name, says, effect, span, trend, .. } = trouble;
        Self {
            part,
            name: Some(name).filter(|name| !name.is_empty()),
            grave: is_grave,
            detail: says,
            effect,
            since: span.map(|span| rfc3339(span.from_ms)),
            until: span.and_then(|span| span.to_ms).map(rfc3339),
            trend,
        }
    }
}
