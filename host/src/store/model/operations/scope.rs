//! The deliveries of an operation, and their stored form.

use serde::{Deserialize, Serialize};

use super::OperationId;
use crate::event::{DeliveryId, Outcome, State};
use crate::store::model::views::DeliveryFilter;

/// The deliveries that an operation is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationScope {
    /// Those that match.
    Filter(DeliveryFilter),
    /// These, at most [`MAX_OPERATION_IDS`].
    Ids(Vec<DeliveryId>),
    /// Those that another operation has changed.
    Undo(OperationId),
}

/// The stored form of a scope: names as the API has them.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct ScopeText {
    #[serde(skip_serializing_if = "Option::is_none")]
    undo: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until_ms: Option<i64>,
}

impl OperationScope {
    /// Its stored form, JSON.
    pub(in crate::store) fn text(&self) -> String {
        let text = match self {
            Self::Undo(id) => ScopeText { undo: Some(id.0), ..ScopeText::default() },
            Self::Ids(ids) => ScopeText {
                ids: Some(ids.iter().map(ToString::to_string).collect()),
                ..ScopeText::default()
            },
            Self::Filter(filter) => {
                let filter = filter.clone();
                ScopeText {
                    undo: None,
                    ids: None,
                    state: filter.state.map(|state| state.name().to_owned()),
                    plugin: filter.plugin,
                    kind: filter.kind,
                    source: filter.source,
                    subject: filter.subject,
                    failure: filter.failure.map(|failure| failure.to_string()),
                    outcome: filter.outcome.map(|outcome| outcome.name().to_owned()),
                    min_attempts: filter.min_attempts,
                    since_ms: filter.since_ms,
                    until_ms: filter.until_ms,
                }
            }
        };
        serde_json::to_string(&text).unwrap_or_default()
    }

    /// Reads the stored form.
    pub(in crate::store) fn read(text: &str) -> Option<Self> {
        let text: ScopeText = serde_json::from_str(text).ok()?;
        if let Some(id) = text.undo {
            return Some(Self::Undo(OperationId(id)));
        }
        if let Some(ids) = text.ids {
            return ids.iter().map(|id| id.parse().ok()).collect::<Option<_>>().map(Self::Ids);
        }
        let state = match text.state {
            Some(name) => Some(State::ALL.into_iter().find(|state| state.name() == name)?),
            None => None,
        };
        let outcome = match text.outcome {
            Some(name) => Some(Outcome::ALL.into_iter().find(|it| it.name() == name)?),
            None => None,
        };
        let failure = match text.failure {
            Some(id) => Some(id.parse().ok()?),
            None => None,
        };
        Some(Self::Filter(DeliveryFilter {
            state,
            plugin: text.plugin,
            kind: text.kind,
            source: text.source,
            subject: text.subject,
            failure,
            outcome,
            min_attempts: text.min_attempts,
            since_ms: text.since_ms,
            until_ms: text.until_ms,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_read_as_it_was_written() {
        let filter = DeliveryFilter {
            state: Some(State::Dead),
            plugin: Some("jo".to_owned()),
            outcome: Some(Outcome::Trap),
            min_attempts: Some(2),
            since_ms: Some(-5),
            ..DeliveryFilter::default()
        };
        let id = "dlv_0000000000000001_0".parse().unwrap();
        for scope in [
            OperationScope::Filter(filter),
            OperationScope::Filter(DeliveryFilter::default()),
            OperationScope::Ids(vec![id]),
            OperationScope::Undo(OperationId(7)),
        ] {
            assert_eq!(OperationScope::read(&scope.text()), Some(scope));
        }
        assert_eq!(OperationScope::read("{\"state\":\"odd\"}"), None);
    }
}
