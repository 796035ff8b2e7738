//! The expected result of a case, `expected.json`, whose members say what is compared.
//!
//! The actual result is brought into the same form, with the same members, so that comparing,
//! showing and updating are all about two values of one kind.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};

use crate::cli::output::printable;
use crate::cli::runner::answer;
use crate::cli::runner::calls::Calls;
use crate::cli::runner::run_store::{Values, all_shown, bytes_of, shown};
use crate::event::Outcome;
use crate::names::hint;
use crate::sandbox::Emitted;

/// The kind of value under a name.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Outcome,
    Text,
    /// Or null.
    MaybeText,
    Count,
    /// Or null.
    MaybeCount,
    Base64,
    Anything,
    Texts,
    Events,
    Calls,
    Values,
}

/// The members, in the order in which they are written.
const MEMBERS: &[(&str, Shape)] = &[
    ("outcome", Shape::Outcome),
    ("reason", Shape::MaybeText),
    ("retry_after_ms", Shape::MaybeCount),
    ("emitted", Shape::Events),
    ("logs", Shape::Texts),
    ("calls", Shape::Calls),
    ("again_after_ms", Shape::MaybeCount),
    ("steps", Shape::Values),
    ("kv", Shape::Values),
];

/// The most calls of one case.
pub(super) const MAX_CALLS: u32 = 100;

/// The members of an emitted event.
const EVENT_MEMBERS: &[(&str, Shape)] = &[
    ("type", Shape::Text),
    ("subject", Shape::MaybeText),
    ("datacontenttype", Shape::MaybeText),
    ("data", Shape::Anything),
    ("data_base64", Shape::Base64),
    ("delay_ms", Shape::Count),
];

/// An expectation that was read and checked, or the actual result.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Expected(Map<String, Value>);

impl Expected {
    pub(super) fn read(value: Value) -> Result<Self, String> {
        let Value::Object(members) = value else { return Err("it is not an object".to_owned()) };
        check(&members, MEMBERS, "")?;
        if !members.contains_key("outcome") {
            return Err(format!(
                "it has no `outcome`: one of {}",
                outcomes().collect::<Vec<_>>().join(", ")
            ));
        }
        Ok(Self(members))
    }

    /// The expectation that this attempt meets, with every member that is not empty by default.
    pub(super) fn all_of(calls: &Calls) -> Self {
        let emitted = calls.emitted.iter().map(|event| Value::Object(whole(event)));
        let mut members = plain(calls);
        members.retain(|_, value| !value.is_null());
        for (name, values) in [("steps", &calls.steps), ("kv", &calls.values)] {
            if !values.is_empty() {
                members.insert(name.to_owned(), Value::Object(all_shown(values)));
            }
        }
        if calls.count == 1 {
            members.remove("calls");
        }
        members.insert("emitted".to_owned(), emitted.collect());
        Self(members)
    }

    /// The result of an attempt, as far as this names it.
    pub(super) fn same_of(&self, calls: &Calls) -> Self {
        let mut members = plain(calls);
        members.retain(|name, _| self.0.contains_key(name));
        if let Some(Value::Object(expected)) = self.0.get("steps") {
            // Also those that are not expected: an author who names steps means all of them.
            let mut names: BTreeSet<&String> = calls.steps.keys().collect();
            names.extend(expected.keys());
            members.insert("steps".to_owned(), same_values(expected, &calls.steps, names));
        }
        if let Some(Value::Object(expected)) = self.0.get("kv") {
            let names = expected.keys().collect();
            members.insert("kv".to_owned(), same_values(expected, &calls.values, names));
        }
        if let Some(Value::Array(expected)) = self.0.get("emitted") {
            let emitted = calls.emitted.iter().enumerate();
            let same = emitted.map(|(index, event)| match expected.get(index) {
                Some(Value::Object(named)) => Value::Object(same(named, event)),
                _ => Value::Object(whole(event)),
            });
            members.insert("emitted".to_owned(), same.collect());
        }
        Self(members)
    }

    /// How often the handler is called, as long as it asks for it.
    pub(super) fn calls(&self) -> u32 {
        let calls = self.0.get("calls").and_then(Value::as_u64);
        calls.and_then(|calls| u32::try_from(calls).ok()).unwrap_or(1)
    }

    pub(super) fn value(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// JSON for people, the members in their usual order.
    pub(super) fn text(&self) -> String {
        // Texts, numbers and maps with text keys: nothing that JSON cannot carry.
        serde_json::to_string_pretty(&Ordered(&self.0, MEMBERS)).unwrap_or_default()
    }

    /// The places where the other one differs, for example `emitted[0].data.url`.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, _) in MEMBERS {
            differences(name, self.0.get(*name), other.0.get(*name), &mut found);
        }
        found
    }
}

/// All members but the events.
fn plain(calls: &Calls) -> Map<String, Value> {
    let (outcome, reason, retry_after_ms) = answer::outcome(&calls.last);
    let logs: Value = calls.logs.iter().map(|line| line.message.as_str()).collect();
    Map::from_iter([
        ("outcome".to_owned(), json!(outcome.name())),
        ("reason".to_owned(), json!(reason)),
        ("retry_after_ms".to_owned(), json!(retry_after_ms)),
        ("logs".to_owned(), logs),
        ("calls".to_owned(), json!(calls.count)),
        ("again_after_ms".to_owned(), json!(answer::again_after_ms(&calls.last))),
    ])
}

/// Values under these names, each as it is expected if it is the same: JSON may be written in more
/// than one way. Null stands for no value.
fn same_values(expected: &Map<String, Value>, found: &Values, names: BTreeSet<&String>) -> Value {
    let same = names.into_iter().filter_map(|name| {
        let found = found.get(name).map(Vec::as_slice);
        let value = match (expected.get(name), found) {
            (Some(Value::Null), None) => Value::Null,
            (Some(value), Some(found)) if is_same(value, found) => value.clone(),
            (_, Some(found)) => shown(found),
            (_, None) => return None,
        };
        Some((name.clone(), value))
    });
    Value::Object(same.collect())
}

/// Whether a value is the expected one, also as JSON.
fn is_same(expected: &Value, found: &[u8]) -> bool {
    bytes_of(expected).is_ok_and(|bytes| bytes == found)
        || !expected.is_string()
            && serde_json::from_slice::<Value>(found).is_ok_and(|found| found == *expected)
}

/// An event with every member that says something.
fn whole(event: &Emitted) -> Map<String, Value> {
    let mut members = answer::event_to_json(event);
    members.retain(|name, value| {
        name == "data" || !(value.is_null() || name == "delay_ms" && *value == 0)
    });
    members
}

/// An event with the members that are named. Bytes can be compared also if they happen to be JSON;
/// if JSON is expected and there is none, the bytes are shown.
fn same(named: &Map<String, Value>, event: &Emitted) -> Map<String, Value> {
    let mut members = answer::event_to_json(event);
    let not_json = !members.contains_key("data");
    if named.contains_key("data_base64") {
        members.insert("data_base64".to_owned(), json!(STANDARD.encode(&event.data)));
    }
    members.retain(|name, _| {
        named.contains_key(name) || name == "data_base64" && not_json && named.contains_key("data")
    });
    members
}

fn outcomes() -> impl Iterator<Item = &'static str> {
    Outcome::ALL.into_iter().filter(|outcome| *outcome != Outcome::Crash).map(Outcome::name)
}

/// Checks the members of an object; `at` is the text before their names.
fn check(members: &Map<String, Value>, known: &[(&str, Shape)], at: &str) -> Result<(), String> {
    let names = || known.iter().map(|(name, _)| *name);
    for (name, value) in members {
        let Some((_, shape)) = known.iter().find(|(known, _)| known == name) else {
            let hint = hint(name, names());
            let may = names().collect::<Vec<_>>().join(", ");
            return Err(format!(
                "`{at}{}` is not known{hint} (there may be: {may})",
                printable(name)
            ));
        };
        shape.check(value, &format!("{at}{name}"))?;
    }
    Ok(())
}

impl Shape {
    fn check(self, value: &Value, at: &str) -> Result<(), String> {
        let is_base64 =
            |value: &Value| value.as_str().is_some_and(|text| STANDARD.decode(text).is_ok());
        let (fits, what) = match self {
            Self::Outcome => return outcome(value, at),
            Self::Events => return events(value, at),
            Self::Values => return values(value, at),
            Self::Calls => {
                let fits = value.as_u64().is_some_and(|n| (1..=u64::from(MAX_CALLS)).contains(&n));
                (fits, "a number from 1 to 100")
            }
            Self::Text => (value.is_string(), "a string"),
            Self::MaybeText => (value.is_string() || value.is_null(), "a string or null"),
            Self::Count => (value.is_u64(), "a whole number, not negative"),
            Self::MaybeCount => {
                (value.is_u64() || value.is_null(), "a whole number, not negative, or null")
            }
            Self::Base64 => (is_base64(value), "a string in base64"),
            Self::Anything => (true, "anything"),
            Self::Texts => (
                value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
                "a list of strings",
            ),
        };
        if fits { Ok(()) } else { Err(format!("`{at}` has to be {what}")) }
    }
}

fn outcome(value: &Value, at: &str) -> Result<(), String> {
    let given = value.as_str().unwrap_or_default();
    if outcomes().any(|outcome| outcome == given) {
        return Ok(());
    }
    let hint = hint(given, outcomes());
    Err(format!("`{at}` has to be one of {}{hint}", outcomes().collect::<Vec<_>>().join(", ")))
}

fn events(value: &Value, at: &str) -> Result<(), String> {
    let wrong = |at: &str| format!("`{at}` has to be a list of objects, one for each event");
    for (index, event) in value.as_array().ok_or_else(|| wrong(at))?.iter().enumerate() {
        let members = event.as_object().ok_or_else(|| wrong(at))?;
        check(members, EVENT_MEMBERS, &format!("{at}[{index}]."))?;
    }
    Ok(())
}

fn values(value: &Value, at: &str) -> Result<(), String> {
    let members =
        value.as_object().ok_or_else(|| format!("`{at}` has to be an object of values by name"))?;
    for (name, value) in members {
        bytes_of(value).map_err(|why| format!("`{at}.{}`: {why}", printable(name)))?;
    }
    Ok(())
}

/// Members in the order of a list.
struct Ordered<'a>(&'a Map<String, Value>, &'a [(&'a str, Shape)]);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        for (name, value) in self.1.iter().filter_map(|(name, _)| Some((name, self.0.get(*name)?)))
        {
            match value {
                Value::Array(events) if *name == "emitted" => {
                    let events = events.iter().filter_map(Value::as_object);
                    out.serialize_entry(
                        name,
                        &events.map(|event| Ordered(event, EVENT_MEMBERS)).collect::<Vec<_>>(),
                    )?;
                }
                _ => out.serialize_entry(name, value)?,
            }
        }
        out.end()
    }
}

fn differences(
    at: &str,
    expected: Option<&Value>,
    actual: Option<&Value>,
    found: &mut Vec<String>,
) {
    match (expected, actual) {
        (Some(Value::Object(expected)), Some(Value::Object(actual))) => {
            let only_actual = actual.keys().filter(|name| !expected.contains_key(*name));
            for name in expected.keys().chain(only_actual) {
                differences(
                    &format!("{at}.{}", printable(name)),
                    expected.get(name),
                    actual.get(name),
                    found,
                );
            }
        }
        (Some(Value::Array(expected)), Some(Value::Array(actual))) => {
            for index in 0..expected.len().max(actual.len()) {
                differences(
                    &format!("{at}[{index}]"),
                    expected.get(index),
                    actual.get(index),
                    found,
                );
            }
        }
        (expected, actual) if expected != actual => found.push(at.to_owned()),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
