//! `--set event_data.callback_id=order_1`: a path into a JSON document, and what is to stand there.

use std::str::FromStr;

use serde_json::{Map, Value};

/// One `--set`.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    path: Vec<String>,
    value: Value,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, value) = text
            .split_once('=')
            .ok_or("write PATH=VALUE, for example event_data.callback_id=order_1")?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        Self::new(path, value)
    }
}

impl Assignment {
    /// Puts `value` at the path `a.b.0`.
    ///
    /// # Errors
    /// The path has an empty name; for people.
    pub fn new(path: &str, value: Value) -> Result<Self, String> {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(
                "the path must be names with dots between them, for example event_data.callback_id"
                    .to_owned(),
            );
        }
        Ok(Self { path, value })
    }

    /// Puts the value in its place, creating objects on the way.
    pub(super) fn apply(&self, body: &mut Value) -> Result<(), String> {
        put(body, &self.path, self.value.clone())
    }
}

/// Puts `value` at `path`. A number leads into an array where there is one; what is missing becomes
/// an object.
pub(super) fn put(mut place: &mut Value, path: &[String], value: Value) -> Result<(), String> {
    for (depth, name) in path.iter().enumerate() {
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        place = match place {
            Value::Object(members) => members.entry(name.clone()).or_insert(Value::Null),
            Value::Array(_) if depth == 0 && name.parse::<usize>().is_err() => {
                return Err(format!(
                    "the body is a JSON array, so it has no `{name}`: an object would"
                ));
            }
            Value::Array(items) => {
                let length = items.len();
                let item = name.parse().ok().and_then(|index: usize| items.get_mut(index));
                item.ok_or_else(|| {
                    format!("`{}` has {length} items, and no `{name}`", path[..depth].join("."))
                })?
            }
            _ if depth == 0 => {
                return Err(format!("the body is no JSON object, so it has no `{name}`"));
            }
            _ => {
                return Err(format!(
                    "`{}` is not an object, so it has no `{name}`",
                    path[..depth].join(".")
                ));
            }
        };
    }
    *place = value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(body: Value, text: &str) -> Result<Value, String> {
        let mut body = body;
        text.parse::<Assignment>()?.apply(&mut body).map(|()| body)
    }

    #[test]
    fn a_value_that_reads_as_json_is_json() {
        assert_eq!(set(json!({}), "a.b=1"), Ok(json!({"a": {"b": 1}})));
        assert_eq!(
            set(json!({"a": {"c": 2}}), "a.b=order_1"),
            Ok(json!({"a": {"b": "order_1", "c": 2}}))
        );
        assert_eq!(set(json!({}), "a=\"1\""), Ok(json!({"a": "1"})));
        assert_eq!(set(json!({}), "a=x=y"), Ok(json!({"a": "x=y"})));
        assert_eq!(set(json!({"a": [1, 2]}), "a.1=null"), Ok(json!({"a": [1, null]})));
    }

    #[test]
    fn a_path_that_leads_nowhere_is_named() {
        assert!(set(json!({"a": "text"}), "a.b=1").unwrap_err().contains("`a` is not an object"));
        assert!(set(json!({"a": [1]}), "a.1=1").unwrap_err().contains("1 items"));
        assert!(set(json!([1]), "a=1").unwrap_err().contains("the body is a JSON array"));
        assert!(set(json!("text"), "a=1").unwrap_err().contains("the body is no JSON object"));
        for text in ["a", "=1", "a..b=1", ".a=1", "a.=1"] {
            assert!(set(json!({}), text).is_err(), "{text}");
        }
    }
}
