//! The data that a plugin keeps between the calls of one run: keys and values, and recorded steps.
//! All of it is in memory and gone afterwards.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::sandbox::{
    Invocation, KvKeys, KvRead, KvReader, StepAnswer, StepRecorded, StepStore, StepsAnswer, Verdict,
};
use crate::text::needs_escape;

/// Values by key.
pub(in crate::cli) type Values = BTreeMap<String, Vec<u8>>;

/// The keys and steps of one run.
#[derive(Debug, Default)]
pub(in crate::cli) struct RunStore {
    values: Mutex<Values>,
    steps: Mutex<Values>,
}

impl RunStore {
    /// A store with these values, in which no step is recorded.
    pub(in crate::cli) fn new(values: Values) -> Arc<Self> {
        Arc::new(Self { values: Mutex::new(values), steps: Mutex::default() })
    }

    /// All values.
    pub(in crate::cli) fn values(&self) -> Values {
        lock(&self.values).clone()
    }

    /// All recorded results by the names of their steps.
    pub(in crate::cli) fn steps(&self) -> Values {
        lock(&self.steps).clone()
    }

    /// Stores what a successful attempt wrote, as a settlement does. An addition to what is no
    /// number makes it an error.
    pub(in crate::cli) fn settle(&self, invocation: &mut Invocation) {
        if !matches!(invocation.verdict, Verdict::Ok(_)) {
            return;
        }
        let mut values = lock(&self.values);
        let mut sums = Vec::new();
        for (key, delta) in &invocation.kv_adds {
            // A value that it has set itself is no number, or the sum would be in its place.
            let is_set = invocation.kv_writes.iter().any(|(written, _)| written == key);
            let stored = values.get(key).map(Vec::as_slice);
            let before = if is_set { None } else { number(stored) };
            let Some(before) = before else {
                let why =
                    format!("it adds to the key `{key}`, whose value is no number of 8 bytes");
                invocation.verdict = Verdict::Error(why);
                return;
            };
            sums.push((key.clone(), before.saturating_add(*delta).to_le_bytes().to_vec()));
        }
        for (key, value) in &invocation.kv_writes {
            match value {
                Some(value) => values.insert(key.clone(), value.clone()),
                None => values.remove(key),
            };
        }
        values.extend(sums);
    }
}

/// Nothing here is left half done by a panic.
fn lock(values: &Mutex<Values>) -> MutexGuard<'_, Values> {
    values.lock().unwrap_or_else(PoisonError::into_inner)
}

fn number(value: Option<&[u8]>) -> Option<i64> {
    value.map_or(Some(0), |value| value.try_into().ok().map(i64::from_le_bytes))
}

impl KvReader for RunStore {
    fn get<'a>(&'a self, key: &'a str) -> KvRead<'a> {
        // Nobody else writes, so that the version is of no matter.
        let found = lock(&self.values).get(key).map(|value| (value.clone(), 1));
        Box::pin(std::future::ready(Ok(found)))
    }

    fn keys<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> KvKeys<'a> {
        let values = lock(&self.values);
        let meant = values.keys().filter(|key| {
            key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after)
        });
        let keys = meant.take(limit).cloned().collect();
        Box::pin(std::future::ready(Ok(keys)))
    }
}

impl StepStore for RunStore {
    fn all(&self) -> StepsAnswer<'_> {
        Box::pin(std::future::ready(Ok(self.steps())))
    }

    fn record<'a>(&'a self, name: &'a str, value: Vec<u8>) -> StepAnswer<'a> {
        lock(&self.steps).entry(name.to_owned()).or_insert(value);
        Box::pin(std::future::ready(Ok(StepRecorded::Kept)))
    }
}

/// The members that stand for what JSON cannot say of bytes.
const NUMBER: &str = "number";
const BASE64: &str = "base64";

/// Reads values: a string is its text, `{"number": 5}` a number that plugins add to,
/// `{"base64": "…"}` bytes, and any other value its JSON.
///
/// # Errors
/// What cannot be read, for people.
pub(in crate::cli) fn read_values(value: Value) -> Result<Values, String> {
    let Value::Object(members) = value else {
        return Err("it is not an object: write {\"order_1\": \"open\"}".to_owned());
    };
    let read = |(key, value): (String, Value)| {
        let bytes = bytes_of(&value).map_err(|why| format!("`{key}`: {why}"))?;
        Ok((key, bytes))
    };
    members.into_iter().map(read).collect()
}

/// The bytes that a value stands for.
pub(in crate::cli) fn bytes_of(value: &Value) -> Result<Vec<u8>, String> {
    let only = |name: &str| match value {
        Value::Object(members) if members.len() == 1 => members.get(name),
        _ => None,
    };
    if let Some(number) = only(NUMBER) {
        let number = number.as_i64().ok_or("`number` has to be a whole number of 64 bits")?;
        return Ok(number.to_le_bytes().to_vec());
    }
    if let Some(text) = only(BASE64) {
        let decoded = text.as_str().and_then(|text| STANDARD.decode(text).ok());
        return decoded.ok_or_else(|| "`base64` is not base64 (RFC 4648 §4)".to_owned());
    }
    Ok(match value {
        Value::String(text) => text.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    })
}

/// A value for people, in a form that [`bytes_of`] reads.
pub(in crate::cli) fn shown(value: &[u8]) -> Value {
    let text = std::str::from_utf8(value).ok().filter(|text| !text.chars().any(needs_escape));
    match (text, number(Some(value))) {
        (Some(text), _) => json!(text),
        (None, Some(number)) => json!({ NUMBER: number }),
        (None, None) => json!({ BASE64: STANDARD.encode(value) }),
    }
}

/// The same, of all values.
pub(in crate::cli) fn all_shown(values: &Values) -> Map<String, Value> {
    values.iter().map(|(key, value)| (key.clone(), shown(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_shown() {
        for (value, bytes) in [
            (json!("open"), b"open".to_vec()),
            (json!({ "number": -2 }), (-2_i64).to_le_bytes().to_vec()),
            (json!({ "base64": "/w==" }), vec![0xff]),
            (json!(""), Vec::new()),
        ] {
            assert_eq!(bytes_of(&value).unwrap(), bytes);
            assert_eq!(shown(&bytes), value);
        }
        assert_eq!(bytes_of(&json!({ "n": 1 })).unwrap(), b"{\"n\":1}");
        assert_eq!(bytes_of(&json!(5)).unwrap(), b"5");
        for (value, why) in [
            (json!([]), "not an object"),
            (json!({ "a": { "number": "1" } }), "`a`: `number` has to be"),
            (json!({ "a": { "base64": "!" } }), "`a`: `base64` is not"),
        ] {
            let told = read_values(value).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
