//! TOML values as JSON.

use serde_json::{Number, Value};
use toml::de::DeValue;

use super::raw::Item;

/// Refuses a value that JSON cannot carry.
pub(super) fn refuse_number(item: &Item<'_>) {
    item.refuse("holds a number that JSON cannot carry", "write it as a string, in quotes");
}

/// The value as JSON; `None` for infinities, what is not a number, and integers beyond 64 bits. A
/// date is its text.
pub(super) fn json(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => {
            let number = i128::from_str_radix(number.as_str(), number.radix()).ok()?;
            Value::Number(Number::from_i128(number)?)
        }
        DeValue::Float(number) => Value::Number(Number::from_f64(number.as_str().parse().ok()?)?),
        DeValue::Boolean(truth) => Value::from(*truth),
        DeValue::Datetime(date) => Value::from(date.to_string()),
        DeValue::Array(list) => {
            list.iter().map(|item| json(item.get_ref())).collect::<Option<_>>()?
        }
        DeValue::Table(table) => {
            let entries = table
                .iter()
                .map(|(key, value)| Some((key.get_ref().to_string(), json(value.get_ref())?)));
            Value::Object(entries.collect::<Option<_>>()?)
        }
    })
}
