//! The deliveries or events of an operation, and their stored form.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::deed::MarksText;
use super::{OperationId, OperationMarks};
use crate::config::routes::TypePattern;
use crate::event::{DeliveryId, EventId, Outcome, State};
use crate::store::model::views::{DeliveryFilter, EventFilter, EventState};

/// The words for events that no route has matched, and for those with a delivery that fails.
const UNROUTED: &str = "unrouted";
const FAILING: &str = "failing";

/// The deliveries that an operation is for, or the events that one replays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationScope {
    /// Those that match.
    Filter(DeliveryFilter),
    /// These, at most [`MAX_OPERATION_IDS`](super::MAX_OPERATION_IDS).
    Ids(Vec<DeliveryId>),
    /// Those that another operation has changed.
    Undo(OperationId),
    /// The events that match.
    Events(EventFilter),
    /// These events, at most [`MAX_OPERATION_IDS`](super::MAX_OPERATION_IDS).
    EventIds(Vec<EventId>),
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
    event_ids: Option<Vec<String>>,
    /// Whether the filter is one of events.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    of_events: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    emitted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
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
    #[serde(flatten)]
    marks: MarksText,
    /// Members of a later version, which may narrow it.
    #[serde(flatten)]
    unknown: BTreeMap<String, serde_json::Value>,
}

impl OperationScope {
    /// Its stored form, JSON, with what the operation remembers of its way.
    pub(in crate::store) fn text(&self, marks: OperationMarks) -> String {
        let text = match self {
            Self::Undo(id) => ScopeText { undo: Some(id.0), ..ScopeText::default() },
            Self::Ids(ids) => ScopeText {
                ids: Some(ids.iter().map(ToString::to_string).collect()),
                ..ScopeText::default()
            },
            Self::EventIds(ids) => ScopeText {
                event_ids: Some(ids.iter().map(ToString::to_string).collect()),
                ..ScopeText::default()
            },
            Self::Filter(filter) => of_deliveries(filter.clone()),
            Self::Events(filter) => of_events(filter.clone()),
        };
        serde_json::to_string(&ScopeText { marks: marks.into(), ..text }).unwrap_or_default()
    }

    /// Reads the stored form.
    pub(in crate::store) fn read(text: &str) -> Option<(Self, OperationMarks)> {
        let mut text: ScopeText = serde_json::from_str(text).ok()?;
        let marks = std::mem::take(&mut text.marks).marks();
        Self::of(text).map(|scope| (scope, marks))
    }

    fn of(text: ScopeText) -> Option<Self> {
        if !text.unknown.is_empty() {
            return None;
        }
        if let Some(id) = text.undo {
            return Some(Self::Undo(OperationId(id)));
        }
        if let Some(ids) = text.ids {
            return ids.iter().map(|id| id.parse().ok()).collect::<Option<_>>().map(Self::Ids);
        }
        if let Some(ids) = text.event_ids {
            let ids = ids.iter().map(|id| id.parse().ok());
            return ids.collect::<Option<_>>().map(Self::EventIds);
        }
        if text.of_events {
            return events_of(text).map(Self::Events);
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

fn of_deliveries(filter: DeliveryFilter) -> ScopeText {
    ScopeText {
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
        ..ScopeText::default()
    }
}

fn of_events(filter: EventFilter) -> ScopeText {
    let EventFilter {
        kind,
        pattern,
        source,
        emitted,
        subject,
        state,
        plugin,
        min_attempts,
        after,
        text,
        since_ms,
        until_ms,
    } = filter;
    let state = state.map(|state| match state {
        EventState::Has(state) => state.name(),
        EventState::Unrouted => UNROUTED,
        EventState::Failing => FAILING,
    });
    ScopeText {
        of_events: true,
        state: state.map(str::to_owned),
        plugin,
        kind,
        pattern: pattern.map(|pattern| pattern.text().to_owned()),
        source,
        emitted,
        subject,
        min_attempts,
        after: after.map(|after| after.to_string()),
        text,
        since_ms,
        until_ms,
        ..ScopeText::default()
    }
}

fn events_of(text: ScopeText) -> Option<EventFilter> {
    let state = match text.state.as_deref() {
        Some(UNROUTED) => Some(EventState::Unrouted),
        Some(FAILING) => Some(EventState::Failing),
        Some(name) => Some(EventState::Has(State::from_name(name)?)),
        None => None,
    };
    let pattern = match text.pattern {
        Some(pattern) => Some(TypePattern::parse(&pattern).ok()?),
        None => None,
    };
    let after = match text.after {
        Some(id) => Some(id.parse().ok()?),
        None => None,
    };
    Some(EventFilter {
        kind: text.kind,
        pattern,
        source: text.source,
        emitted: text.emitted,
        subject: text.subject,
        state,
        plugin: text.plugin,
        min_attempts: text.min_attempts,
        after,
        text: text.text,
        since_ms: text.since_ms,
        until_ms: text.until_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::TriedItem;

    #[test]
    fn a_scope_with_a_filter_of_a_later_version_is_not_read_as_a_wider_one() {
        for text in [r#"{"of_events":true,"tenant":"a"}"#, r#"{"state":"dead","tenant":"a"}"#] {
            assert_eq!(OperationScope::read(text), None, "{text}");
        }
    }

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
        let id: DeliveryId = "dlv_0000000000000001_0".parse().unwrap();
        let events = EventFilter {
            pattern: Some(TypePattern::parse("order.*").unwrap()),
            state: Some(EventState::Unrouted),
            after: Some(id.event),
            text: Some("jo".to_owned()),
            ..EventFilter::default()
        };
        let emitted = EventFilter {
            emitted: Some(true),
            state: Some(EventState::Failing),
            ..EventFilter::default()
        };
        let dead = EventState::Has(State::Dead);
        for scope in [
            OperationScope::Filter(filter),
            OperationScope::Filter(DeliveryFilter::default()),
            OperationScope::Ids(vec![id]),
            OperationScope::Undo(OperationId(7)),
            OperationScope::Events(events),
            OperationScope::Events(emitted),
            OperationScope::Events(EventFilter { state: Some(dead), ..EventFilter::default() }),
            OperationScope::Events(EventFilter::default()),
            OperationScope::EventIds(vec![id.event]),
        ] {
            let marks = OperationMarks {
                rested_ms: 7,
                rests_since_ms: Some(9),
                tried: Some(TriedItem { id, number: 3 }),
            };
            for marks in [OperationMarks::default(), marks] {
                assert_eq!(OperationScope::read(&scope.text(marks)), Some((scope.clone(), marks)));
            }
        }
        assert_eq!(OperationScope::read("{\"state\":\"odd\"}"), None);
    }
}
