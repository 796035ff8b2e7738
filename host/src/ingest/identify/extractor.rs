//! Extracts the attributes of a source's requests.

use axum::http::HeaderMap;
use axum::http::header::HeaderName;
use bytes::Bytes;

use super::dedupe::{Deduplicator, KeyParts};
use super::json::{PointerValue, Pointers};
use super::location::{Location, Reader};
use super::notes::NoteLine;
use crate::config::source::{Pick, Source};
use crate::event::{DedupeKey, LegacyKey, UNIDENTIFIED, form, name};
use crate::ingest::head::{Head, is_form};

/// Where a source has its routing attributes, parsed, and how it recognises repeated requests.
#[derive(Debug)]
pub(in crate::ingest) struct Extractor {
    kind: Location,
    id: Option<Location>,
    subject: Option<Location>,
    pointers: Pointers,
    /// The field of a form that holds the JSON.
    form: Option<String>,
    dedupe: Deduplicator,
}

/// The fields that routing and deduplication use.
#[derive(Debug)]
pub(in crate::ingest) struct Extracted {
    pub(in crate::ingest) kind: String,
    pub(in crate::ingest) id: Option<String>,
    pub(in crate::ingest) subject: Option<String>,
    /// Whether the body, or the form's field, is JSON.
    pub(in crate::ingest) is_json: bool,
    pub(in crate::ingest) dedupe: Vec<DedupeKey>,
    /// A note for the operator, in one line.
    pub(in crate::ingest) note: Option<String>,
}

impl Extractor {
    pub(in crate::ingest) fn new(source: &Source) -> Self {
        let mut pointers = Pointers::default();
        let mut locate = |pick: &Pick| Location::new(pick, &mut pointers);
        let kind = locate(&source.kind);
        let id = source.id.as_ref().map(&mut locate);
        let subject = source.subject.as_ref().map(&mut locate);
        let dedupe = Deduplicator::new(source);
        Self { kind, id, subject, pointers, form: source.form.clone(), dedupe }
    }

    /// The headers it reads.
    pub(in crate::ingest) fn headers(&self) -> Vec<&HeaderName> {
        let mut names = Vec::new();
        for location in
            [Some(&self.kind), self.id.as_ref(), self.subject.as_ref()].into_iter().flatten()
        {
            location.add_headers(&mut names);
        }
        names
    }

    /// The key under which a host of an earlier version may have stored this body.
    pub(in crate::ingest) fn legacy_key(&self, body: &[u8]) -> Option<LegacyKey> {
        self.dedupe.legacy_key(body)
    }

    /// Extracts the attributes of a request. `sent_at` gives the text of its timestamp, `signed` is
    /// the digest of the signed text, `note` a remark from before.
    pub(in crate::ingest) fn extract<'a>(
        &self,
        head: &Head,
        body: &Bytes,
        sent_at: impl Fn() -> Option<&'a [u8]>,
        signed: Option<[u8; 32]>,
        note: Option<String>,
    ) -> Extracted {
        let mut notes = NoteLine::after(note);
        let (found, problem) = match self.find(&head.headers, body) {
            Ok(found) => (found, None),
            Err(problem) => (self.pointers.nothing(), Some(problem)),
        };
        let is_json = problem.is_none();
        let noted = notes.len();
        let mut reader = Reader { head, body, found: &found, notes: &mut notes };
        let kind = reader.name("type", &self.kind, name::escaped_type);
        // One note says why the body cannot be read, for all that might be in it.
        let explained = reader.notes.len() > noted || (!is_json && self.kind.needs_body());
        if kind.is_none() && !explained {
            reader.notes.add("the type is missing");
        }
        let id = self.id.as_ref().and_then(|location| reader.id(location));
        let subject = self
            .subject
            .as_ref()
            .and_then(|location| reader.name("subject", location, name::escaped));
        if let Some(problem) = problem {
            notes.add(&problem);
        }
        let kind = kind.unwrap_or_else(|| UNIDENTIFIED.to_owned());
        let parts = KeyParts { id: id.as_deref(), kind: &kind, body, signed };
        let dedupe = self.dedupe.keys(&parts, sent_at);
        Extracted { kind, id, subject, is_json, dedupe, note: notes.into_text() }
    }

    /// The values that the pointers find in a body, or why it cannot be read.
    fn find(&self, headers: &HeaderMap, body: &[u8]) -> Result<Vec<PointerValue>, String> {
        let Some(field) = self.form.as_deref().filter(|_| is_form(headers)) else {
            return self.pointers.find(body, "the body");
        };
        let named = format!("the field `{field}` of the form");
        match form::field(body, field) {
            Ok(Some(json)) => self.pointers.find(&json, &named),
            Ok(None) => Err(format!("{named} is missing")),
            Err(form::Repeated) => Err(format!("{named} occurs more than once")),
        }
    }
}
