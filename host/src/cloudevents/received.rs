//! CloudEvents as they come over HTTP: in the structured mode, in the binary mode, and in batches.
//! The specification:
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{BATCH_MEDIA_TYPE, JSON, MEDIA_TYPE, VERSION, body};
use crate::clock::parse_rfc3339;

/// The most attributes of an event beside those that the specification names.
const MAX_EXTENSIONS: usize = 64;

/// The longest value of an attribute, in bytes.
const MAX_VALUE_BYTES: usize = 4 << 10;

/// The characters that are percent-encoded in a header's value (§3.1.3.2).
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// The attributes that the specification names.
const NAMED: [&str; 8] =
    ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"];

/// How events are written in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpMode {
    /// One event as a JSON object.
    Structured,
    /// A list of them.
    Batch,
    /// The attributes in headers, the data as the body.
    Binary,
}

impl HttpMode {
    /// The mode that the media type of a request tells.
    ///
    /// # Errors
    /// It is that of another event format; for people.
    pub fn of(content_type: Option<&str>) -> Result<Self, String> {
        let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
        let essence = essence.trim().to_ascii_lowercase();
        match essence.as_str() {
            MEDIA_TYPE => Ok(Self::Structured),
            BATCH_MEDIA_TYPE => Ok(Self::Batch),
            other if other.starts_with("application/cloudevents") => Err(format!(
                "the event format `{other:.60}` is not read: send {MEDIA_TYPE}, \
                 {BATCH_MEDIA_TYPE}, or the attributes in `ce-` headers"
            )),
            _ => Ok(Self::Binary),
        }
    }
}

/// An event as it was received. All that the specification requires is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedEvent {
    /// All attributes but `specversion` and `datacontenttype`, by their names.
    pub attributes: Vec<(String, String)>,
    /// `datacontenttype`; JSON if there is `data` in a JSON document and no type.
    pub content_type: Option<String>,
    /// The body: JSON as it is written, and everything else decoded.
    pub data: Vec<u8>,
}

impl ReceivedEvent {
    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let mut named = self.attributes.iter().filter(|(known, _)| known == name);
        named.next().map(|(_, value)| value.as_str())
    }

    /// Reads an event of the structured mode.
    ///
    /// # Errors
    /// The attribute that is missing or wrong, for people.
    pub fn structured(text: &[u8]) -> Result<Self, String> {
        let Members(members) = serde_json::from_slice(text)
            .map_err(|error| format!("it cannot be read as a JSON object: {error}"))?;
        let (mut data, mut coded) = (None, None);
        let mut attributes = Vec::new();
        for (name, value) in members {
            match &*name {
                "data" => data = Some(value),
                // Null stands for the absence of a value (JSON format, §2.2).
                "data_base64" => coded = Some(value).filter(|value| value.get() != "null"),
                _ => {
                    if let Some(value) = scalar(&name, value)? {
                        attributes.push((name.into_owned(), value));
                    }
                }
            }
        }
        let (attributes, mut content_type) = checked(attributes)?;
        let data = match (data, coded) {
            (Some(_), Some(_)) => {
                return Err("it has `data` and `data_base64`: one of them is the body".to_owned());
            }
            (Some(data), None) => {
                content_type.get_or_insert_with(|| JSON.to_owned());
                body(data, content_type.as_deref())
            }
            (None, Some(coded)) => decoded(coded)?,
            (None, None) => Vec::new(),
        };
        Ok(Self { attributes, content_type, data })
    }

    /// Reads an event of the binary mode: its `ce-` headers, the media type of the request and the
    /// body.
    ///
    /// # Errors
    /// The attribute that is missing or wrong, for people.
    pub fn binary<'h>(
        headers: impl Iterator<Item = (&'h str, &'h [u8])>,
        content_type: Option<&str>,
        data: &[u8],
    ) -> Result<Self, String> {
        let mut attributes: Vec<(String, String)> = Vec::new();
        for (name, value) in headers {
            let Some(name) = name.strip_prefix("ce-") else { continue };
            if attributes.iter().any(|(known, _)| known == name) {
                return Err(format!("the header `ce-{name:.40}` occurs several times"));
            }
            attributes.push((name.to_owned(), header_text(name, value)?));
        }
        let (attributes, _) = checked(attributes)?;
        Ok(Self { attributes, content_type: content_type.map(str::to_owned), data: data.to_vec() })
    }
}

/// A value of an attribute as it is written in a header.
pub fn encode_header(value: &str) -> String {
    utf8_percent_encode(value, ENCODED).to_string()
}

/// A header's value, without quotes and percent-encoding (§3.1.3.2).
fn header_text(name: &str, value: &[u8]) -> Result<String, String> {
    let value = value.trim_ascii();
    let quoted = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let plain = match quoted {
        Some(inner) => Cow::Owned(unquoted(inner)),
        None => Cow::Borrowed(value),
    };
    String::from_utf8(percent_decode(&plain).collect())
        .map_err(|_| format!("`{name:.40}` is not UTF-8 when it is percent-decoded"))
}

/// The text of a quoted string (RFC 9110 §5.6.4).
fn unquoted(inner: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        text.push(if *byte == b'\\' { *bytes.next().unwrap_or(byte) } else { *byte });
    }
    text
}

/// The text of an attribute in JSON; `None` for null.
fn scalar(name: &str, value: &RawValue) -> Result<Option<String>, String> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str(text)
            .map(Some)
            .map_err(|_| format!("`{name:.40}` is a string with an unpaired surrogate")),
        Some(b'{' | b'[') => Err(format!("`{name:.40}` is not a string, number or boolean")),
        Some(b'n') => Ok(None),
        _ => Ok(Some(text.to_owned())),
    }
}

fn decoded(coded: &RawValue) -> Result<Vec<u8>, String> {
    let text: String =
        serde_json::from_str(coded.get()).map_err(|_| "`data_base64` is no string".to_owned())?;
    STANDARD.decode(text).map_err(|error| format!("`data_base64` is not base64: {error}"))
}

/// Attributes, and `datacontenttype`.
type CheckedAttributes = (Vec<(String, String)>, Option<String>);

/// Checks the attributes, and takes `specversion` and `datacontenttype` out.
fn checked(mut attributes: Vec<(String, String)>) -> Result<CheckedAttributes, String> {
    match taken(&mut attributes, "specversion").as_deref() {
        Some(VERSION) => {}
        Some(other) => {
            return Err(format!("`specversion` is `{other:.20}`; this host reads {VERSION}"));
        }
        None => return Err("the required attribute `specversion` is missing".to_owned()),
    }
    for name in ["id", "source", "type"] {
        match attributes.iter().find(|(known, _)| known == name) {
            None => return Err(format!("the required attribute `{name}` is missing")),
            Some((_, value)) if value.is_empty() => return Err(format!("`{name}` is empty")),
            Some(_) => {}
        }
    }
    attributes.iter().try_for_each(|(name, value)| check(name, value))?;
    let extensions = attributes.iter().filter(|(name, _)| !NAMED.contains(&name.as_str()));
    if extensions.count() > MAX_EXTENSIONS {
        return Err(format!("it has more than {MAX_EXTENSIONS} extension attributes"));
    }
    let content_type = taken(&mut attributes, "datacontenttype");
    Ok((attributes, content_type))
}

fn check(name: &str, value: &str) -> Result<(), String> {
    let is_of_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if name.is_empty() || !name.bytes().all(is_of_name) {
        return Err(format!("the attribute name `{name:.40}` has more than a to z and 0 to 9"));
    }
    if value.chars().any(char::is_control) {
        return Err(format!("`{name:.40}` holds control characters"));
    }
    if value.len() > MAX_VALUE_BYTES {
        return Err(format!("`{name:.40}` is longer than {MAX_VALUE_BYTES} bytes"));
    }
    if name == "time" && parse_rfc3339(value).is_none() {
        return Err("`time` is not a time as RFC 3339 writes it".to_owned());
    }
    Ok(())
}

fn taken(attributes: &mut Vec<(String, String)>, name: &str) -> Option<String> {
    let at = attributes.iter().position(|(known, _)| known == name)?;
    Some(attributes.remove(at).1)
}

/// The members of an object, each name once.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(MemberVisitor)
    }
}

struct MemberVisitor;

impl<'de> Visitor<'de> for MemberVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
        while let Some(MemberName(name)) = map.next_key()? {
            let value = map.next_value()?;
            if members.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom(format_args!("`{name:.40}` occurs twice")));
            }
            if members.len() > MAX_EXTENSIONS + NAMED.len() + 2 {
                let most = format_args!("it has more than {MAX_EXTENSIONS} extension attributes");
                return Err(A::Error::custom(most));
            }
            members.push((name, value));
        }
        Ok(Members(members))
    }
}

/// A name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct MemberName<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = r#""specversion":"1.0","id":"1","source":"/s","type":"t""#;

    fn structured(more: &str) -> Result<ReceivedEvent, String> {
        ReceivedEvent::structured(format!("{{{LEAST}{more}}}").as_bytes())
    }

    fn binary(headers: &[(&str, &str)]) -> Result<ReceivedEvent, String> {
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        ReceivedEvent::binary(headers, Some("text/plain"), b"data")
    }

    #[test]
    fn the_media_type_tells_the_mode() {
        for (kind, mode) in [
            (Some("application/cloudevents+json; charset=utf-8"), HttpMode::Structured),
            (Some("Application/CloudEvents-Batch+JSON"), HttpMode::Batch),
            (Some("application/json"), HttpMode::Binary),
            (None, HttpMode::Binary),
        ] {
            assert_eq!(HttpMode::of(kind), Ok(mode), "{kind:?}");
        }
        let other = HttpMode::of(Some("application/cloudevents+avro")).unwrap_err();
        assert!(other.contains("`application/cloudevents+avro` is not read"), "{other}");
    }

    #[test]
    fn data_keeps_its_bytes_in_each_of_its_writings() {
        let data = |more: &str| {
            let event = structured(more).unwrap();
            (String::from_utf8(event.data).unwrap(), event.content_type)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(data(r#","data":{"a" : 1.0}"#), (r#"{"a" : 1.0}"#.to_owned(), some(JSON)));
        assert_eq!(
            data(r#","datacontenttype":"text/xml","data":"<a/>""#),
            ("<a/>".to_owned(), some("text/xml"))
        );
        assert_eq!(
            data(r#","datacontenttype":"image/png","data_base64":"AQID""#),
            ("\u{1}\u{2}\u{3}".to_owned(), some("image/png"))
        );
        assert_eq!(data(""), (String::new(), None));
        assert_eq!(data(r#","data_base64":null,"data":null"#).0, "null");
    }

    #[test]
    fn attributes_and_extensions_are_kept_as_text() {
        let event = structured(
            r#","subject":"a \"b\"","time":"2026-02-25T06:13:20Z","n":7,"b":true,"none":null"#,
        );
        let event = event.unwrap();
        let value = |name: &str| event.attribute(name);
        assert_eq!(
            (value("id"), value("source"), value("type")),
            (Some("1"), Some("/s"), Some("t"))
        );
        assert_eq!((value("n"), value("b"), value("none")), (Some("7"), Some("true"), None));
        assert_eq!((value("subject"), value("specversion")), (Some("a \"b\""), None));
    }

    #[test]
    fn headers_are_unquoted_and_percent_decoded_once() {
        let least = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-type", "t")];
        let source = |value| [&least[..], &[("ce-source", value)]].concat();
        for (written, read) in [
            ("/plain", "/plain"),
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro \u{20ac} \u{1f600}"),
            ("%2525", "%25"),
            ("100%", "100%"),
            (r#""a \"b\" c""#, r#"a "b" c"#),
        ] {
            let event = binary(&source(written)).unwrap();
            assert_eq!(event.attribute("source"), Some(read), "{written}");
            assert_eq!(event.content_type.as_deref(), Some("text/plain"));
            if !written.starts_with(['"', '1']) {
                assert_eq!(encode_header(read), written);
            }
        }
        assert!(binary(&source("%ff")).unwrap_err().contains("`source` is not UTF-8"));
        let twice = [&source("/s")[..], &[("ce-id", "2")]].concat();
        assert!(binary(&twice).unwrap_err().contains("`ce-id` occurs several times"));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for name in ["specversion", "id", "source", "type"] {
            let text = format!("{{{LEAST}}}").replace(&format!("\"{name}\":"), "\"other\":");
            let fault = ReceivedEvent::structured(text.as_bytes()).unwrap_err();
            assert_eq!(fault, format!("the required attribute `{name}` is missing"));
        }
        let older = format!("{{{LEAST}}}").replace("1.0", "0.3");
        let fault = ReceivedEvent::structured(older.as_bytes()).unwrap_err();
        assert_eq!(fault, "`specversion` is `0.3`; this host reads 1.0");
        let long = format!(",\"x\":\"{}\"", "y".repeat(5_000));
        let many: String = (0..80).map(|n| format!(",\"x{n}\":1")).collect();
        for (more, says) in [
            (r#","data_base64":"!""#, "`data_base64` is not base64"),
            (r#","data_base64":5"#, "`data_base64` is no string"),
            (r#","data":1,"data_base64":"AQ==""#, "one of them is the body"),
            (r#","id":"2""#, "`id` occurs twice"),
            (r#","time":"yesterday""#, "`time` is not a time"),
            (r#","x":{}"#, "`x` is not a string, number or boolean"),
            (r#","aB":1"#, "the attribute name `aB`"),
            (r#","x":"a\u0000""#, "`x` holds control characters"),
            (long.as_str(), "`x` is longer than 4096 bytes"),
            (many.as_str(), "more than 64 extension attributes"),
            (",", "it cannot be read as a JSON object"),
        ] {
            let fault = structured(more).unwrap_err();
            assert!(fault.contains(says), "{says}: {fault}");
        }
        let empty = format!("{{{LEAST}}}").replace("\"id\":\"1\"", "\"id\":\"\"");
        assert_eq!(ReceivedEvent::structured(empty.as_bytes()).unwrap_err(), "`id` is empty");
        assert!(ReceivedEvent::structured(b"[]").unwrap_err().contains("as a JSON object"));
    }
}
