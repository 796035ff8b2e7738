//! How the audit log names changes of deliveries.

use std::collections::BTreeMap;

use crate::admin::params::progress_text;
use crate::clock::rfc3339;
use crate::store::{Action, DeliveryFilter, Progress};

/// The name of an action in the audit log.
pub(super) fn audit_name(action: &Action) -> &'static str {
    match action {
        Action::Retry | Action::RetryFresh => "deliveries.retry",
        Action::Cancel => "deliveries.cancel",
        Action::Discard => "deliveries.discard",
        Action::Undiscard => "deliveries.undiscard",
        Action::Move(_) => "deliveries.move",
    }
}

/// Whatever else the audit log says of an action that goes on at `from`.
pub(super) fn audit_detail(action: &Action, from: Option<&Progress>) -> String {
    let how = match action {
        Action::RetryFresh => Some("from the first step".to_owned()),
        Action::Move(to) => Some(format!("to {to}")),
        Action::Retry | Action::Cancel | Action::Discard | Action::Undiscard => None,
    };
    let from = from.map(|from| format!("from cursor {}", progress_text(from)));
    how.into_iter().chain(from).collect::<Vec<_>>().join(", ")
}

/// A filter as the audit log names it.
pub(in crate::admin) fn filter_text(filter: &DeliveryFilter) -> String {
    let given = named(filter).into_iter();
    let given = given.filter_map(|(name, value)| Some(format!("{name}={}", value?)));
    given.collect::<Vec<_>>().join(" ")
}

/// The parameters that are given of a filter.
pub(in crate::admin) fn filter_parts(filter: &DeliveryFilter) -> BTreeMap<&'static str, String> {
    named(filter).into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn named(filter: &DeliveryFilter) -> [(&'static str, Option<String>); 10] {
    let DeliveryFilter {
        state,
        plugin,
        kind,
        source,
        subject,
        failure,
        outcome,
        min_attempts,
        since_ms,
        until_ms,
    } = filter;
    [
        ("state", state.map(|state| state.name().to_owned())),
        ("plugin", plugin.clone()),
        ("type", kind.clone()),
        ("source", source.clone()),
        ("subject", subject.clone()),
        ("failure", failure.map(|failure| failure.to_string())),
        ("outcome", outcome.map(|outcome| outcome.name().to_owned())),
        ("min_attempts", min_attempts.map(|attempts| attempts.to_string())),
        ("since", since_ms.map(rfc3339)),
        ("until", until_ms.map(rfc3339)),
    ]
}
