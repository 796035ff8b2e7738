//! The events that a replay is for, by the names of the filters.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::admin::sees::Sees;
use crate::clock::rfc3339;
use crate::store::{EventFilter, EventState};

/// The parameters that are given of a filter. A text that was looked for in payloads is shown to
/// those who read them.
pub(super) fn event_parts(filter: &EventFilter, sees: Sees) -> BTreeMap<&'static str, String> {
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
    let kind = kind.clone().or(pattern.as_ref().map(|pattern| pattern.text().to_owned()));
    let state = state.map(|state| match state {
        EventState::Has(state) => state.name().to_owned(),
        EventState::Unrouted => "unrouted".to_owned(),
        EventState::Failing => "failing".to_owned(),
    });
    let given = [
        ("type", kind),
        ("source", source.clone()),
        ("emitted", emitted.map(|emitted| emitted.to_string())),
        ("subject", subject.clone()),
        ("state", state),
        ("plugin", plugin.clone()),
        ("min_attempts", min_attempts.map(|attempts| attempts.to_string())),
        ("after", after.map(|after| after.to_string())),
        ("q", text.clone().map(|text| sees.text(text))),
        ("since", since_ms.map(rfc3339)),
        ("until", until_ms.map(rfc3339)),
    ];
    given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// A filter as the audit log names it. A text that was looked for in payloads may be somebody's
/// data.
pub(super) fn event_text(filter: &EventFilter) -> String {
    let digest = |text: &String| format!("sha256:{}", &hex::encode(Sha256::digest(text))[..16]);
    let filter = EventFilter { text: filter.text.as_ref().map(digest), ..filter.clone() };
    let parts = event_parts(&filter, Sees::ALL).into_iter();
    let parts = parts.map(|(name, value)| format!("{name}={value}"));
    format!("events {}", parts.collect::<Vec<_>>().join(" "))
}
