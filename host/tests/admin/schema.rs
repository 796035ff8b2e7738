//! Compares a JSON value with a schema of an OpenAPI document: no member that is not documented,
//! none missing that is said to be there, and types as said. As much of JSON Schema as the document
//! uses.

use serde_json::Value;

/// Everything in which `value` differs from `schema`, with its place.
pub(super) fn differences(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(document, schema, value, "$", &mut found);
    found
}

fn compare(document: &Value, schema: &Value, value: &Value, place: &str, found: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#'));
        return compare(
            document,
            target.expect("a reference leads somewhere"),
            value,
            place,
            found,
        );
    }
    if let Some(parts) = schema["allOf"].as_array() {
        return compare_all(document, parts, value, place, found);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = |choice: &&Value| differences(document, choice, value).is_empty();
        if !choices.iter().any(|choice| fits(&choice)) {
            let best = choices
                .iter()
                .map(|choice| differences(document, choice, value))
                .min_by_key(Vec::len);
            found.extend(
                best.into_iter().flatten().map(|difference| format!("{place}: {difference}")),
            );
        }
        return;
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => return,
    };
    if !types.iter().any(|name| is(name, value)) {
        return found.push(format!("{place}: {value} is not {types:?}"));
    }
    if let (Some(items), Some(item)) = (value.as_array(), schema.get("items")) {
        for (index, value) in items.iter().enumerate() {
            compare(document, item, value, &format!("{place}[{index}]"), found);
        }
    }
    if value.is_object() {
        compare_all(document, std::slice::from_ref(schema), value, place, found);
    }
}

/// An object against the parts of its schema, taken together.
fn compare_all(
    document: &Value,
    parts: &[Value],
    value: &Value,
    place: &str,
    found: &mut Vec<String>,
) {
    let parts: Vec<&Value> = parts.iter().map(|part| resolved(document, part)).collect();
    let free = parts.iter().find_map(|part| part.get("additionalProperties"));
    let Some(members) = value.as_object() else {
        return found.push(format!("{place}: {value} is not an object"));
    };
    for (name, value) in members {
        let place = format!("{place}.{name}");
        match (parts.iter().find_map(|part| part["properties"].get(name)), free) {
            (Some(schema), _) => compare(document, schema, value, &place, found),
            (None, Some(schema)) => compare(document, schema, value, &place, found),
            (None, None) => found.push(format!("{place} is not documented")),
        }
    }
    for name in parts
        .iter()
        .filter_map(|part| part["required"].as_array())
        .flatten()
        .filter_map(Value::as_str)
    {
        if !members.contains_key(name) {
            found.push(format!("{place}.{name} is missing"));
        }
    }
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => document
            .pointer(reference.trim_start_matches('#'))
            .expect("a reference leads somewhere"),
        None => schema,
    }
}

fn is(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

#[test]
fn a_difference_is_found() {
    let document = serde_json::json!({ "components": { "a": {
        "type": "object", "required": ["x"], "properties": { "x": { "type": "integer" }, "y": { "type": ["string", "null"] } } } } });
    let schema = serde_json::json!({ "$ref": "#/components/a" });
    let count = |value: Value| differences(&document, &schema, &value).len();
    assert_eq!(count(serde_json::json!({ "x": 1, "y": null })), 0);
    assert_eq!(count(serde_json::json!({ "x": "1" })), 1);
    assert_eq!(count(serde_json::json!({ "z": 1 })), 2);
}
