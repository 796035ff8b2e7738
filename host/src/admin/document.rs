//! The last touches to the OpenAPI document: what its generator does not say.

use serde_json::{Value, json};
use utoipa::openapi::OpenApi;

/// The document as it is served.
pub(super) fn text(document: &OpenApi) -> String {
    let document = serde_json::to_value(document);
    let mut document = document.expect("the document is made of strings and numbers only");
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_body_without_a_schema_is_an_object_or_nothing() {
        let mut schema = json!({});
        object(&mut schema);
        assert_eq!(schema, json!({ "type": ["object", "null"] }));
        let mut named = json!({ "$ref": "#/components/schemas/X" });
        object(&mut named);
        assert_eq!(named, json!({ "$ref": "#/components/schemas/X" }));
    }
}
