//! The places of a request in which a source looks, in words.

use crate::config::Source;
use crate::config::source::{Pick, Verify};

/// The headers with a signature, and that with the time of sending.
pub(super) fn headers(source: &Source) -> (Vec<String>, Option<String>) {
    let Verify::Signature(signature) = &source.verify else { return (Vec::new(), None) };
    let names = signature.signatures.iter().map(|field| field.place.to_string()).collect();
    (names, signature.timestamp.as_ref().map(|rule| rule.field.place.to_string()))
}

/// The place of the type.
pub(super) fn type_from(pick: &Pick) -> String {
    match pick {
        Pick::Json(pointer) => format!("the body, at {pointer}"),
        Pick::Request(pointer) => format!("the request, at {pointer}"),
        Pick::Header(name) => format!("the header {name}"),
        Pick::Fixed(kind) => format!("always {kind}"),
        Pick::Form(_) | Pick::Query(_) | Pick::Method | Pick::Beside(_) | Pick::First(_) => {
            pick.to_string()
        }
        Pick::Joined(joined) => {
            let values = joined.values.iter().map(|(_, pick)| type_from(pick));
            values.collect::<Vec<_>>().join(", then ")
        }
    }
}
