//! The event a plugin is run on: a CloudEvents document (JSON format 1.0, structured mode) or a
//! bare body.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use clap::Args;

use crate::cli::failure::Failure;
use crate::clock::Clock;
use crate::cloudevents;
use crate::event::{Attributes, Event, EventId};

/// The largest event that is read, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// The source of an event that names none.
const SOURCE: &str = "run";

/// Attributes on the command line; they stand above those of a document.
#[derive(Debug, Default, Args)]
pub(in crate::cli) struct GivenAttributes {
    /// The event type; needed for a bare body
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// The event's source
    #[arg(long)]
    source: Option<String>,
    /// The event's subject
    #[arg(long)]
    subject: Option<String>,
}

/// Reads the event from a file, or from stdin for `-`.
pub(in crate::cli) fn read(file: &str, given: &GivenAttributes) -> Result<Event, Failure> {
    let text = if file == "-" {
        bounded(std::io::stdin().lock())
    } else {
        File::open(file).and_then(bounded)
    };
    let file = if file == "-" { "standard input" } else { file };
    let text = text.map_err(|error| Failure::usage(format!("failed to read {file}: {error}")))?;
    event(&text, given, Clock::system().now_ms())
        .map_err(|reason| Failure::usage(format!("{file}: {reason}")))
}

/// Reads a file that has to hold a CloudEvents document.
pub(in crate::cli) fn read_document(file: &Path) -> Result<Event, String> {
    let shown = file.display();
    let text = File::open(file)
        .and_then(bounded)
        .map_err(|error| format!("failed to read {shown}: {error}"))?;
    let (id, attributes) =
        document(&text, Clock::system().now_ms()).map_err(|reason| format!("{shown}: {reason}"))?;
    Ok(Event { id, attributes, parent: None, root: None, hops: 0, trace: None })
}

fn bounded(input: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    input.take(MAX_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("it is longer than {MAX_BYTES} bytes")));
    }
    Ok(text)
}

fn event(text: &[u8], given: &GivenAttributes, now_ms: i64) -> Result<Event, String> {
    let (id, mut attributes) = if cloudevents::is_document(text) {
        document(text, now_ms).map_err(|reason| format!("it has `specversion`, but {reason}"))?
    } else {
        bare(text, given, now_ms)?
    };
    if let Some(kind) = &given.kind {
        attributes.kind.clone_from(kind);
    }
    if let Some(source) = &given.source {
        attributes.source = source.as_str().into();
    }
    if given.subject.is_some() {
        attributes.subject.clone_from(&given.subject);
    }
    Ok(Event { id, attributes, parent: None, root: None, hops: 0, trace: None })
}

fn document(text: &[u8], now_ms: i64) -> Result<(EventId, Attributes), String> {
    let document = cloudevents::read(text)
        .map_err(|error| format!("it is not a CloudEvents document: {error}"))?;
    let time_ms = match document.time.as_deref() {
        None => now_ms,
        Some(time) => time
            .parse::<jiff::Timestamp>()
            .map_err(|_| format!("`time` is not RFC 3339: `{time}`"))?
            .as_millisecond(),
    };
    // Another host's id is no id of this one; what a plugin sees then depends on the event's time
    // alone.
    let id =
        document.id.and_then(|id| id.parse().ok()).unwrap_or_else(|| EventId::first_at(time_ms));
    let attributes = Attributes {
        source: document.source.as_deref().unwrap_or(SOURCE).into(),
        kind: document.kind,
        subject: document.subject,
        content_type: document.content_type,
        time_ms,
        body: document.data.into(),
    };
    Ok((id, attributes))
}

/// Whether a text that is not JSON was to be a CloudEvents document.
fn looks_like_document(text: &[u8]) -> bool {
    text.windows(SPECVERSION.len()).any(|part| part == SPECVERSION)
}

/// The member that every document has.
const SPECVERSION: &[u8] = b"\"specversion\"";

fn bare(
    text: &[u8],
    given: &GivenAttributes,
    now_ms: i64,
) -> Result<(EventId, Attributes), String> {
    // Read as a value, for the sake of a better message.
    let json = serde_json::from_slice::<serde_json::Value>(text);
    let kind = given.kind.clone().ok_or_else(|| match &json {
        Ok(_) => "it is not a CloudEvents document (it has no `specversion`): say what it is with --type".to_owned(),
        Err(error) if looks_like_document(text) => format!("it is not JSON: {error}"),
        Err(error) => format!(
            "it is not JSON ({error}): put that right, or if it is to be a body of another kind, say its type with --type"
        ),
    })?;
    let is_json = json.is_ok();
    let attributes = Attributes {
        source: SOURCE.into(),
        kind,
        subject: None,
        content_type: Some(
            if is_json { "application/json" } else { "application/octet-stream" }.to_owned(),
        ),
        time_ms: now_ms,
        body: Bytes::copy_from_slice(text),
    };
    Ok((EventId::first_at(now_ms), attributes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(kind: &str) -> GivenAttributes {
        GivenAttributes { kind: Some(kind.to_owned()), ..GivenAttributes::default() }
    }

    #[test]
    fn a_cloudevents_document_is_taken_with_its_data_byte_for_byte() {
        let text = br#"{"specversion":"1.0","id":"evt_0000019c1c5a5c00","source":"heygen","type":"a.b","subject":"s",
            "time":"2026-02-02T02:40:00.120Z","data":{"b": 1.0, "a":[]},"extension":1}"#;
        let event = event(text, &GivenAttributes::default(), 5).unwrap();
        assert_eq!(event.id.to_string(), "evt_0000019c1c5a5c00");
        assert_eq!(event.attributes.body, br#"{"b": 1.0, "a":[]}"#.as_slice());
        assert_eq!(event.attributes.time_ms, 1_770_000_000_120);
        assert_eq!(
            (event.attributes.kind.as_str(), event.attributes.subject.as_deref()),
            ("a.b", Some("s"))
        );
    }

    #[test]
    fn binary_data_is_decoded() {
        let text =
            br#"{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"AP8="}"#;
        let event = event(text, &given("other"), 7).unwrap();
        assert_eq!(event.attributes.body, [0, 255].as_slice());
        assert_eq!((event.attributes.kind.as_str(), event.id), ("other", EventId::first_at(7)));
    }

    #[test]
    fn a_bare_body_needs_a_type() {
        assert!(
            event(b"{\"n\":1}", &GivenAttributes::default(), 0)
                .unwrap_err()
                .contains("no `specversion`")
        );
        let broken = event(b"{\"specversion\":", &GivenAttributes::default(), 0).unwrap_err();
        assert!(broken.contains("not JSON") && !broken.contains("--type"), "{broken}");
        let json = event(b"{\"n\":1}", &given("t"), 0).unwrap().attributes;
        assert_eq!(
            (json.content_type.as_deref(), json.body.as_ref()),
            (Some("application/json"), b"{\"n\":1}".as_slice())
        );
        let binary = event(&[0xff], &given("t"), 0).unwrap().attributes;
        assert_eq!(binary.content_type.as_deref(), Some("application/octet-stream"));
    }

    #[test]
    fn what_is_not_json_is_told_from_a_document_with_a_mistake() {
        let told = |text: &str| event(text.as_bytes(), &GivenAttributes::default(), 0).unwrap_err();
        let document = told("{\"specversion\":\"1.0\",\"id\":\"1\",}");
        assert!(
            document.starts_with("it is not JSON: trailing comma at line 1")
                && !document.contains("--type"),
            "{document}"
        );
        let body = told("a body of text");
        assert!(body.contains("put that right, or") && body.contains("--type"), "{body}");
    }

    #[test]
    fn a_broken_document_is_explained() {
        for (text, reason) in [
            (r#"{"specversion":"1.0"}"#, "missing field"),
            (r#"{"specversion":"1.0","id":"1","source":"s","type":"t","time":"noon"}"#, "RFC 3339"),
            (
                r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":1,"data_base64":"AA=="}"#,
                "one of them",
            ),
            (
                r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"!"}"#,
                "data_base64",
            ),
        ] {
            let message = event(text.as_bytes(), &GivenAttributes::default(), 0).unwrap_err();
            assert!(message.contains(reason), "{message}");
        }
    }
}
