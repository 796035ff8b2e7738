//! The JSON format of CloudEvents 1.0: writes events for programs that do not speak
//! `hookbox:plugin`, and reads the events that they answer with. The specification:
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>
//!
//! Bodies are kept byte for byte: JSON in `data` as received, anything else in `data_base64`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserializer as _, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::event::Event;

mod received;

pub use received::{HttpMode, ReceivedEvent, encode_header};

/// The media type of one event in this format.
pub const MEDIA_TYPE: &str = "application/cloudevents+json";
/// The media type of a list of them.
pub const BATCH_MEDIA_TYPE: &str = "application/cloudevents-batch+json";

/// The supported version.
pub const VERSION: &str = "1.0";
/// The media type of `data` if the document names none.
const JSON: &str = "application/json";

/// The extension attributes that an attempt adds to its event.
#[derive(Debug, Clone, Copy)]
pub struct Extensions<'a> {
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// Attempts before the dead letters.
    pub max_attempts: u32,
    /// A key that is the same in every attempt of a delivery.
    pub idempotency_key: &'a str,
}

/// An event as it is written.
#[derive(Debug, Serialize)]
struct WrittenDocument<'a> {
    specversion: &'static str,
    id: String,
    source: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    datacontenttype: Option<&'a str>,
    attempt: u32,
    maxattempts: u32,
    idempotencykey: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parentid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

/// An event as it is read. Attributes that are not named here are ignored.
#[derive(Debug, PartialEq, Eq)]
pub struct Document {
    /// `id`.
    pub id: Option<String>,
    /// `source`.
    pub source: Option<String>,
    /// `type`.
    pub kind: String,
    /// `subject`.
    pub subject: Option<String>,
    /// `time`, RFC 3339, as written.
    pub time: Option<String>,
    /// `datacontenttype`; JSON if there is `data` and no type.
    pub content_type: Option<String>,
    /// The body.
    pub data: Vec<u8>,
    /// The extension `delayms`: the delay of the event in milliseconds.
    pub delay_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct ReadDocument<'a> {
    specversion: Option<String>,
    id: Option<String>,
    source: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    subject: Option<String>,
    time: Option<String>,
    datacontenttype: Option<String>,
    delayms: Option<u64>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
}

/// Writes `event` as one JSON object. It contains a line end only if its body does.
pub fn write(event: &Event, extensions: Extensions<'_>) -> Vec<u8> {
    let attributes = &event.attributes;
    let json = attributes.content_type.as_deref().is_none_or(is_json);
    let data = if json { serde_json::from_slice(&attributes.body).ok() } else { None };
    let data_base64 =
        (data.is_none() && !attributes.body.is_empty()).then(|| STANDARD.encode(&attributes.body));
    let written = WrittenDocument {
        specversion: VERSION,
        id: event.id.to_string(),
        source: &attributes.source,
        kind: &attributes.kind,
        subject: attributes.subject.as_deref(),
        time: crate::clock::rfc3339(attributes.time_ms),
        datacontenttype: attributes.content_type.as_deref(),
        attempt: extensions.attempt,
        maxattempts: extensions.max_attempts,
        idempotencykey: extensions.idempotency_key,
        parentid: event.parent.map(|parent| parent.to_string()),
        data,
        data_base64,
    };
    serde_json::to_vec(&written).expect("strings and numbers are always JSON")
}

/// Whether a text is meant to be an event: a JSON object with `specversion`, which every event has.
pub fn is_document(text: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Marked {
        #[serde(rename = "specversion")]
        _specversion: serde::de::IgnoredAny,
    }
    text.trim_ascii_start().first() == Some(&b'{') && serde_json::from_slice::<Marked>(text).is_ok()
}

/// Reads one event.
///
/// # Errors
/// The reason for which it is invalid, for people.
pub fn read(text: &[u8]) -> Result<Document, String> {
    serde_json::from_slice(text).map_err(|error| error.to_string()).and_then(document)
}

/// Reads one event that a client makes: it need not name the version.
///
/// # Errors
/// The reason for which it is invalid, for people.
pub fn read_start(text: &[u8]) -> Result<Document, String> {
    let mut read: ReadDocument<'_> =
        serde_json::from_slice(text).map_err(|error| error.to_string())?;
    read.specversion.get_or_insert_with(|| VERSION.to_owned());
    document(read)
}

/// Reads a list of at most `max` events. Stops at the first one beyond.
///
/// # Errors
/// The reason for which it is invalid, for people.
pub fn read_batch(text: &[u8], max: usize) -> Result<Vec<Document>, String> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let documents =
        reader.deserialize_seq(DocumentList { max }).map_err(|error| error.to_string())?;
    reader.end().map_err(|error| error.to_string())?;
    Ok(documents)
}

struct DocumentList {
    max: usize,
}

impl<'a> Visitor<'a> for DocumentList {
    type Value = Vec<Document>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {} events", self.max)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut documents = Vec::new();
        while let Some(read) = list.next_element::<ReadDocument<'a>>()? {
            if documents.len() == self.max {
                return Err(A::Error::custom(format_args!("it has more than {} events", self.max)));
            }
            documents.push(document(read).map_err(A::Error::custom)?);
        }
        Ok(documents)
    }
}

fn document(read: ReadDocument<'_>) -> Result<Document, String> {
    match read.specversion.as_deref() {
        Some(VERSION) => {}
        Some(other) => {
            return Err(format!("`specversion` is `{other}`; this host reads {VERSION}"));
        }
        None => return Err("missing field `specversion`".to_owned()),
    }
    let content_type = read.datacontenttype.or_else(|| read.data.map(|_| JSON.to_owned()));
    let data = match (read.data, read.data_base64) {
        (Some(_), Some(_)) => {
            return Err("it has `data` and `data_base64`: one of them is the body".to_owned());
        }
        (Some(data), None) => body(data, content_type.as_deref()),
        (None, Some(data)) => {
            STANDARD.decode(data).map_err(|error| format!("`data_base64`: {error}"))?
        }
        (None, None) => Vec::new(),
    };
    let ReadDocument { id, source, kind, subject, time, delayms, .. } = read;
    Ok(Document { id, source, kind, subject, time, content_type, data, delay_ms: delayms })
}

/// The bytes of a JSON value as written, or the text of a string whose media type is not JSON.
fn body(data: &RawValue, content_type: Option<&str>) -> Vec<u8> {
    let text = data.get();
    match serde_json::from_str::<String>(text) {
        Ok(string) if !content_type.is_none_or(is_json) => string.into_bytes(),
        _ => text.as_bytes().to_vec(),
    }
}

/// Whether a media type is JSON, by its name or its suffix (RFC 6839).
pub fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let Some((_, subtype)) = essence.split_once('/') else { return false };
    subtype.eq_ignore_ascii_case("json")
        || subtype.len() > 5 && subtype[subtype.len() - 5..].eq_ignore_ascii_case("+json")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::{Attributes, EventId};

    fn event(content_type: Option<&str>, body: &[u8]) -> Event {
        let attributes = Attributes {
            source: "heygen".into(),
            kind: "avatar_video.success".to_owned(),
            subject: Some("order \"1\"".to_owned()),
            content_type: content_type.map(str::to_owned),
            time_ms: 1_770_000_000_120,
            body: Bytes::copy_from_slice(body),
        };
        Event {
            id: EventId::first_at(1_770_000_000_120),
            attributes,
            parent: None,
            root: None,
            hops: 0,
            trace: None,
        }
    }

    fn written(content_type: Option<&str>, body: &[u8]) -> String {
        let extensions = Extensions { attempt: 2, max_attempts: 8, idempotency_key: "dlv_1_0" };
        String::from_utf8(write(&event(content_type, body), extensions)).unwrap()
    }

    #[test]
    fn a_json_body_stands_in_the_document_byte_for_byte() {
        assert_eq!(
            written(Some("application/json"), br#"{"b": 1.0, "a":[1e400]}"#),
            "{\"specversion\":\"1.0\",\"id\":\"evt_0019c1ca3bb78000\",\"source\":\"heygen\",\
             \"type\":\"avatar_video.success\",\"subject\":\"order \\\"1\\\"\",\"time\":\"2026-02-02T02:40:00.120Z\",\
             \"datacontenttype\":\"application/json\",\"attempt\":2,\"maxattempts\":8,\"idempotencykey\":\"dlv_1_0\",\
             \"data\":{\"b\": 1.0, \"a\":[1e400]}}"
                .replace("evt_0019c1ca3bb78000", &EventId::first_at(1_770_000_000_120).to_string())
        );
    }

    #[test]
    fn a_body_that_is_not_json_stands_there_in_base64() {
        let deep = vec![b'['; 100_000];
        for (content_type, body) in [
            (Some("text/plain"), &b"{}"[..]),
            (None, b"\xff\0"),
            (Some("application/json"), b"{"),
            (None, &deep),
        ] {
            let document = read(written(content_type, body).as_bytes()).unwrap();
            assert_eq!(document.data, body);
            assert_eq!(document.content_type.as_deref(), content_type);
        }
        assert!(!written(None, b"").contains("data"), "an empty body is none");
    }

    #[test]
    fn what_is_written_can_be_read() {
        let document = read(written(None, b"{\"n\":1}").as_bytes()).unwrap();
        assert_eq!(
            (document.kind.as_str(), document.subject.as_deref(), document.source.as_deref()),
            ("avatar_video.success", Some("order \"1\""), Some("heygen"))
        );
        assert_eq!(
            (document.data.as_slice(), document.content_type.as_deref()),
            (&b"{\"n\":1}"[..], Some(JSON))
        );
    }

    #[test]
    fn text_is_a_string_unless_it_is_meant_to_be_json() {
        let with = |media_type: &str| {
            let text = format!(
                r#"{{"specversion":"1.0","type":"t","datacontenttype":"{media_type}","data":"a\nb","delayms":5}}"#
            );
            let document = read(text.as_bytes()).unwrap();
            assert_eq!(document.delay_ms, Some(5));
            document.data
        };
        assert_eq!(with("text/plain"), b"a\nb");
        assert_eq!(with("application/json"), br#""a\nb""#);
        assert_eq!(with("application/problem+JSON; charset=utf-8"), br#""a\nb""#);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, expected) in [
            (r#"{"specversion":"1.0"}"#, "missing field `type`"),
            (r#"{"specversion":"0.3","type":"t"}"#, "`specversion` is `0.3`"),
            (r#"{"specversion":"1.0","type":"t","data":1,"data_base64":""}"#, "one of them"),
            (r#"{"specversion":"1.0","type":"t","data_base64":"!"}"#, "`data_base64`"),
            (r#"{"specversion":"1.0","type":"t","delayms":-1}"#, "invalid value"),
        ] {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let batch = br#"[{"specversion":"1.0","type":"a"},{"specversion":"1.0","type":"b"}]"#;
        assert_eq!(read_batch(batch, 2).unwrap().len(), 2);
        assert!(read_batch(batch, 1).unwrap_err().contains("more than 1 events"));
        assert!(read_batch(br#"{"specversion":"1.0","type":"a"}"#, 2).is_err());
    }

    #[test]
    fn only_an_object_that_says_so_is_an_event() {
        assert!(is_document(br#" {"type":1,"specversion":"9"}"#));
        for text in [&b"{}"[..], b"[]", b"specversion", br#"{"specversion":"1.0""#, b""] {
            assert!(!is_document(text), "{text:?}");
        }
    }
}
