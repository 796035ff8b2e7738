//! The remark on a duplicate: the first event, and how to send the same as another one.

use crate::config::Source;
use crate::config::source::{DedupeBy, Pick};
use crate::event::EventId;
use crate::ingest::sample;

/// Lines for people; the first says what happened.
pub(super) fn lines(source: &Source, first: EventId) -> [String; 3] {
    [
        format!("duplicate of {first}: nothing new was stored, and no plugin runs for it"),
        format!("  to run that event again:    hookbox events replay {first}"),
        format!("  to send it as another one:  {}", another(source)),
    ]
}

/// The option that makes every dedupe key of the source differ. An id in a header is a fresh one
/// each time.
pub(super) fn another(source: &Source) -> String {
    let keys = &source.dedupe.keys;
    match &source.id {
        Some(Pick::Json(pointer)) if keys.contains(&DedupeBy::Id) => {
            let whole = source.split.as_ref().map(|list| format!("{list}/0{pointer}"));
            let pointer = whole.as_ref().unwrap_or(pointer);
            match path(pointer) {
                // It changes the body as well.
                Some(path) => format!("give it another id: --set {path}=NEW"),
                None => format!("give it another id at `{pointer}` of the body"),
            }
        }
        _ if keys.contains(&DedupeBy::Body) => {
            "change the body, for example with --set PATH=VALUE".to_owned()
        }
        _ if keys.contains(&DedupeBy::TimestampAndBody) => {
            "send it in another second, or change the body, for example with --set PATH=VALUE"
                .to_owned()
        }
        _ if keys.contains(&DedupeBy::Signed) => {
            "change the body, for example with --set PATH=VALUE".to_owned()
        }
        _ => "change what the host's `dedupe` of this source goes by".to_owned(),
    }
}

/// A JSON pointer as `--set` takes it, if it can be written so.
fn path(pointer: &str) -> Option<String> {
    let tokens = sample::tokens(pointer);
    let plain = |token: &String| {
        !token.is_empty()
            && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    tokens.iter().all(plain).then(|| tokens.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::{Dedupe, EventTypes, Secrets, Verify};

    fn source(id: Option<Pick>, keys: &[DedupeBy]) -> Source {
        Source {
            name: "acme".into(),
            preset: None,
            verify: Verify::None,
            secrets: Secrets::Set(Vec::new()),
            provider: Default::default(),
            secret_places: Vec::new(),
            kind: Pick::Fixed("acme.event".to_owned()),
            id,
            dedupe: Dedupe::by(keys),
            subject: None,
            max_body_bytes: None,
            form: None,
            split: None,
            cloudevents: false,
            origins: Vec::new(),
            types: EventTypes::Any,
            trust_traceparent: false,
            handshakes: Vec::new(),
            replies: Default::default(),
            params: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn a_duplicate_names_what_has_to_differ() {
        let json = |pointer: &str| Some(Pick::Json(pointer.to_owned()));
        let header = Some(Pick::Header("x-id".to_owned()));
        for (id, keys, says) in [
            (json("/event/id"), &[DedupeBy::Id][..], "--set event.id=NEW"),
            (json("/a.b"), &[DedupeBy::Id], "another id at `/a.b`"),
            (json("/id"), &[DedupeBy::Body, DedupeBy::Id], "--set id=NEW"),
            (json("/id"), &[DedupeBy::Body], "change the body"),
            (header.clone(), &[DedupeBy::Id, DedupeBy::Body], "change the body"),
            (None, &[DedupeBy::TimestampAndBody], "in another second"),
            (header, &[DedupeBy::Id], "`dedupe`"),
        ] {
            let text = another(&source(id, keys));
            assert!(text.contains(says), "{text}");
        }
        let first = EventId::from_row(7);
        let lines = lines(&source(None, &[DedupeBy::Body]), first);
        assert!(lines[0].starts_with("duplicate of evt_0000000000000007: "), "{lines:?}");
        assert!(lines[1].ends_with("hookbox events replay evt_0000000000000007"), "{lines:?}");
    }
}
