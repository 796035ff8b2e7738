//! CloudEvents in their forms over HTTP. Each event becomes what it would be in the binary mode, so
//! that one extractor reads them all.

use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};

use bytes::Bytes;

use super::head::Head;
use super::identify::{BatchFault, MAX_ITEMS, items};
use crate::cloudevents::{HttpMode, ReceivedEvent};

/// The events of a request.
///
/// The media type chooses the form, and no signature covers it. So where the body alone is signed
/// (`guards`), a body that is an event, or a list of them, is no data of a binary event. Anybody
/// who captured it could give it another id and type.
pub(super) fn read(
    head: &Head,
    body: &Bytes,
    guards: bool,
) -> Result<Vec<ReceivedEvent>, BatchFault> {
    let kind = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match HttpMode::of(kind).map_err(BatchFault::Format)? {
        HttpMode::Structured => {
            let event = ReceivedEvent::structured(body);
            Ok(vec![event.map_err(no_event)?])
        }
        HttpMode::Binary if guards && has_event(body) => {
            let why = "its body has the attributes of one, and headers that nobody signs cannot give \
                       it others: send it as application/cloudevents+json, or as a batch";
            Err(no_event(why.to_owned()))
        }
        HttpMode::Binary => {
            let headers = head.headers.iter();
            let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
            Ok(vec![ReceivedEvent::binary(headers, kind, body).map_err(no_event)?])
        }
        HttpMode::Batch => {
            let items = items::list(body, &[], MAX_ITEMS).map_err(|why| {
                BatchFault::Events(format!(
                    "the body is no list of at most {MAX_ITEMS} events: {why}"
                ))
            })?;
            let one = |(at, item): (usize, &str)| {
                ReceivedEvent::structured(item.as_bytes()).map_err(|why| {
                    BatchFault::Events(format!("event {at} of the list, counted from 0: {why}"))
                })
            };
            items.into_iter().enumerate().map(one).collect()
        }
    }
}

/// Whether a body is that of the structured form, or of a batch.
fn has_event(body: &Bytes) -> bool {
    let is_event = |json: &[u8]| ReceivedEvent::structured(json).is_ok();
    let listed = || items::list(body, &[], MAX_ITEMS).ok();
    is_event(body)
        || listed().is_some_and(|items| items.iter().any(|item| is_event(item.as_bytes())))
}

fn no_event(why: String) -> BatchFault {
    BatchFault::Events(format!("it is no CloudEvent: {why}"))
}

/// The head that the event has in the binary mode.
pub(super) fn head(head: &Head, event: &ReceivedEvent) -> Head {
    let mut made = head.clone();
    let given: Vec<HeaderName> = head
        .headers
        .keys()
        .filter(|name| name.as_str().starts_with("ce-") || **name == CONTENT_TYPE)
        .cloned()
        .collect();
    given.iter().for_each(|name| drop(made.headers.remove(name)));
    let attributes = event.attributes.iter().map(|(name, value)| (format!("ce-{name}"), value));
    let kind = event.content_type.iter().map(|kind| (CONTENT_TYPE.to_string(), kind));
    for (name, value) in attributes.chain(kind) {
        // They were checked: names are of a to z and 0 to 9, and no value has control characters.
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
        {
            made.headers.insert(name, value);
        }
    }
    made
}
