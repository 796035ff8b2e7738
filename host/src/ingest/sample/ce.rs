//! Samples as CloudEvents, in each of their forms over HTTP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{Made, items};
use crate::cloudevents::{BATCH_MEDIA_TYPE, HttpMode, MEDIA_TYPE, encode_header};

/// The `source` of samples.
const SOURCE: &str = "/hookbox/send";

/// The events of a batch.
const IN_A_BATCH: usize = 2;

/// The media type of a request in this form, unless it is that of the data.
pub(super) fn content_type(mode: HttpMode) -> Option<&'static str> {
    match mode {
        HttpMode::Structured => Some(MEDIA_TYPE),
        HttpMode::Batch => Some(BATCH_MEDIA_TYPE),
        HttpMode::Binary => None,
    }
}

/// Writes an event in this form; `media_type` is that of its data. Its type and its subject stand
/// in headers, as in the binary form.
pub(super) fn write(mode: HttpMode, made: Made, media_type: &str) -> Made {
    let Made { body, id, headers } = made;
    if mode == HttpMode::Binary {
        let own = [("ce-specversion", "1.0"), ("ce-source", SOURCE)];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let given = headers.into_iter().map(|(name, value)| (name, encode_header(&value)));
        return Made { body, id, headers: own.into_iter().chain(given).collect() };
    }
    let one = |id: String| document(&headers, &body, id, media_type);
    let text = match mode {
        HttpMode::Batch => {
            let all: Vec<_> = (0..IN_A_BATCH).map(|at| one(items::id(&id, at))).collect();
            format!("[{}]", all.join(","))
        }
        _ => one(id.clone()),
    };
    let others = headers.into_iter().filter(|(name, _)| !name.starts_with("ce-"));
    Made { body: text.into_bytes(), id, headers: others.collect() }
}

/// An event as a JSON object, with its data byte for byte.
fn document(headers: &[(String, String)], body: &[u8], id: String, media_type: &str) -> String {
    let mut attributes = Map::new();
    let fixed = [("specversion", "1.0"), ("source", SOURCE), ("datacontenttype", media_type)];
    for (name, value) in fixed {
        attributes.insert(name.to_owned(), json!(value));
    }
    attributes.insert("id".to_owned(), Value::String(id));
    for (name, value) in headers {
        if let Some(name) = name.strip_prefix("ce-") {
            attributes.insert(name.to_owned(), json!(value));
        }
    }
    let data = serde_json::from_slice::<&RawValue>(body).ok();
    if data.is_none() {
        attributes.insert("data_base64".to_owned(), json!(STANDARD.encode(body)));
    }
    let text = Value::Object(attributes).to_string();
    match (data, text.strip_suffix('}')) {
        (Some(data), Some(open)) => format!("{open},\"data\":{}}}", data.get()),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudevents::ReceivedEvent;

    fn made(body: &[u8]) -> Made {
        let headers = [("ce-type", "a.b"), ("ce-subject", "50% off"), ("x-other", "1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Made { body: body.to_vec(), id: "7".to_owned(), headers: headers.into() }
    }

    #[test]
    fn a_sample_is_the_same_event_in_each_form() {
        for (body, media_type) in
            [(&br#"{"a" : 1.0}"#[..], "application/json"), (b"\xff", "application/octet-stream")]
        {
            let binary = write(HttpMode::Binary, made(body), media_type);
            let mut headers = binary.headers.clone();
            // The signature adds it.
            headers.push(("ce-id".to_owned(), binary.id.clone()));
            let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
            let mut first = ReceivedEvent::binary(pairs, Some(media_type), &binary.body).unwrap();
            let structured = write(HttpMode::Structured, made(body), media_type);
            assert_eq!(structured.headers, [("x-other".to_owned(), "1".to_owned())]);
            let mut second = ReceivedEvent::structured(&structured.body).unwrap();
            first.attributes.sort();
            second.attributes.sort();
            assert_eq!(first, second);
            assert_eq!(second.attribute("subject"), Some("50% off"));
            assert_eq!(second.data, body);
        }
        let batch = write(HttpMode::Batch, made(b"{}"), "application/json");
        let documents: Vec<Value> = serde_json::from_slice(&batch.body).unwrap();
        let ids: Vec<_> = documents.iter().map(|document| document["id"].clone()).collect();
        assert_eq!(ids, ["7", "7_1"]);
    }
}
