//! Bodies as JSON.

use serde_json::value::RawValue;

use crate::event::{Attributes, form};

/// The body as it is, if it is JSON that a client can be expected to read: not nested beyond
/// serde_json's limit of 128.
pub(super) fn json(body: &[u8]) -> Option<Box<RawValue>> {
    // Parsed once for the depth, taken once for the bytes: numbers and key order stay as signed.
    serde_json::from_slice::<serde_json::Value>(body).ok()?;
    serde_json::from_slice(body).ok()
}

/// The JSON in a field of the body, if the body is a form.
pub(super) fn wrapped(attributes: &Attributes, field: &str) -> Option<Box<RawValue>> {
    let found = form::wrapped(attributes.content_type.as_deref()?, &attributes.body, field)?;
    json(&found.ok()??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_body_is_shown_as_it_came() {
        let body = br#"{"b":1.000000000000000000001,"a":12345678901234567890123}"#;
        assert_eq!(json(body).unwrap().get().as_bytes(), body);
        assert!(json(b"not json").is_none() && json(b"").is_none());
        assert!(json("[".repeat(100_000).as_bytes()).is_none());
        let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
        assert!(json(deep.as_bytes()).is_none(), "a client could not read it");
    }
}
