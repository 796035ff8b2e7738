//! The last touches to the OpenAPI document: what its generator does not say.

use serde_json::{Value, json};
use utoipa::openapi::OpenApi;

/// The document as it is served.
pub(super) fn text(document: &OpenApi) -> String {
    let document = serde_json::to_value(document);
    let mut document = document.expect("the document is made of strings and numbers only");
    tuples(&mut document);
    let paths = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for operation in paths.filter_map(Value::as_object_mut).flat_map(|path| path.values_mut()) {
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten().filter(|it| it["in"] == "query") {
            not_empty(&mut parameter["schema"]);
        }
        if let Some(content) = operation.pointer_mut("/requestBody/content/application~1json") {
            object(&mut content["schema"]);
        }
    }
    format!("{document:#}")
}

/// A parameter that is given has a value: see `params`.
fn not_empty(schema: &mut Value) {
    let kind = &schema["type"];
    let is_text = |kind: &Value| kind == "string";
    let takes_text =
        is_text(kind) || kind.as_array().is_some_and(|kinds| kinds.iter().any(is_text));
    if takes_text && schema["minLength"].is_null() {
        schema["minLength"] = json!(1);
    }
}

/// A body without a schema of its own is an object of parameters, or nothing.
fn object(schema: &mut Value) {
    if schema.get("$ref").is_none() && schema.get("oneOf").is_none() {
        *schema = json!({ "type": ["object", "null"] });
    }
}

/// Tuples are written as in JSON Schema before 2020-12, which OpenAPI 3.1 goes by.
fn tuples(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(tuples),
        Value::Object(members) => {
            members.values_mut().for_each(tuples);
            if members.get("items").is_some_and(Value::is_array)
                && let Some(items) = members.insert("items".to_owned(), Value::Bool(false))
            {
                members.insert("prefixItems".to_owned(), items);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tuple_has_its_items_in_front() {
        let mut schema = json!({ "type": "array", "items": [{ "type": "string" }] });
        tuples(&mut schema);
        let expected =
            json!({ "type": "array", "items": false, "prefixItems": [{ "type": "string" }] });
        assert_eq!(schema, expected);
    }

    #[test]
    fn a_text_that_is_given_is_not_empty() {
        for (mut schema, bound) in [
            (json!({ "type": "string" }), json!(1)),
            (json!({ "type": ["string", "null"] }), json!(1)),
            (json!({ "type": "string", "minLength": 3 }), json!(3)),
            (json!({ "type": "integer" }), Value::Null),
        ] {
            not_empty(&mut schema);
            assert_eq!(schema["minLength"], bound);
        }
    }
}
