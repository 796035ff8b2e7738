//! Extracts the attributes of a source's requests.

use axum::http::HeaderMap;
use axum::http::header::HeaderName;
use bytes::Bytes;

use super::dedupe::{Deduplicator, KeyParts};
use super::json::{PointerValue, Pointers};
use super::location::{AttributeReader, Location};
use super::notes::NoteLine;
use super::split::{BatchFault, Split};
use crate::config::source::{Pick, Source};
use crate::event::{DedupeKey, LegacyKey, MAX_NAME_BYTES, UNIDENTIFIED, form, name};
use crate::ingest::head::{Head, wrapped};

/// Where a source has its routing attributes, parsed, and how it recognises repeated requests.
#[derive(Debug)]
pub(in crate::ingest) struct Extractor {
    kind: Location,
    id: Option<Location>,
    subject: Option<Location>,
    pointers: Pointers,
    /// Pointers into the request, where events are its items.
    request: Pointers,
    split: Option<Split>,
    /// The field of a form that holds the JSON.
    form: Option<String>,
    dedupe: Deduplicator,
}

/// The bytes that attributes are extracted from: a request, or an item of one.
#[derive(Debug, Clone, Copy)]
pub(in crate::ingest) struct EventPart<'a> {
    /// The bytes that become the event's body.
    pub(in crate::ingest) body: &'a Bytes,
    /// Its position in the list, and what the pointers into the request have found.
    item: Option<(usize, &'a [PointerValue])>,
    /// Among what an id is one of its kind, if not among all events of the source.
    scope: Option<&'a str>,
}

impl<'a> EventPart<'a> {
    /// A whole request.
    pub(in crate::ingest) fn whole(body: &'a Bytes) -> Self {
        Self { body, item: None, scope: None }
    }

    /// An event whose ids are those of `scope`.
    pub(in crate::ingest) fn of_scope(body: &'a Bytes, scope: Option<&'a str>) -> Self {
        Self { scope, ..Self::whole(body) }
    }

    /// Whether it is an item.
    pub(in crate::ingest) fn is_item(&self) -> bool {
        self.item.is_some()
    }
}

/// The items of one request.
#[derive(Debug)]
pub(in crate::ingest) struct EventItems {
    items: Vec<Bytes>,
    request: Vec<PointerValue>,
}

impl EventItems {
    /// Each of them.
    pub(in crate::ingest) fn parts(&self) -> impl Iterator<Item = EventPart<'_>> {
        let part =
            |(at, body)| EventPart { body, item: Some((at, self.request.as_slice())), scope: None };
        self.items.iter().enumerate().map(part)
    }
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
    /// See [`NewEvent::spends`](crate::event::NewEvent::spends).
    pub(in crate::ingest) spends: Option<DedupeKey>,
    /// A note for the operator, in one line.
    pub(in crate::ingest) note: Option<String>,
}

impl Extractor {
    pub(in crate::ingest) fn new(source: &Source) -> Self {
        let mut pointers = [Pointers::default(), Pointers::default()];
        let mut locate = |pick: &Pick| Location::new(pick, &mut pointers);
        let kind = locate(&source.kind);
        let id = source.id.as_ref().map(&mut locate);
        let subject = source.subject.as_ref().map(&mut locate);
        let dedupe = Deduplicator::new(source);
        let [pointers, request] = pointers;
        let form = source.form.clone();
        let split = source.split.as_deref().map(|pointer| Split::new(pointer, form.clone()));
        Self { kind, id, subject, pointers, request, split, form, dedupe }
    }

    /// Whether a request may be several events.
    pub(in crate::ingest) fn splits(&self) -> bool {
        self.split.is_some()
    }

    /// The items of a request whose items are events.
    pub(in crate::ingest) fn items(
        &self,
        head: &Head,
        body: &Bytes,
    ) -> Result<EventItems, BatchFault> {
        let Some(split) = &self.split else {
            return Ok(EventItems { items: vec![body.clone()], request: Vec::new() });
        };
        let json = split.json(head, body)?;
        let items = split.items(&json)?;
        let is_object = |item: &Bytes| item.first() == Some(&b'{');
        if self.kind.needs_body()
            && let Some(at) = items.iter().position(|item| !is_object(item))
        {
            let what = "is no object, so it has no type";
            return Err(BatchFault::Events(format!(
                "item {at} of the list, counted from 0, {what}"
            )));
        }
        let request = if self.request.is_empty() {
            Vec::new()
        } else {
            self.request.find(&json, "the body").map_err(BatchFault::Events)?
        };
        Ok(EventItems { items, request })
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

    /// Extracts the attributes of an event. `sent_at` gives the text of its timestamp, `signed` is
    /// the digest of the signed text, `note` a remark from before.
    pub(in crate::ingest) fn extract<'a>(
        &self,
        head: &Head,
        part: EventPart<'_>,
        sent_at: impl Fn() -> Option<&'a [u8]>,
        signed: Option<[u8; 32]>,
        note: Option<String>,
    ) -> Extracted {
        let mut notes = NoteLine::after(note);
        let EventPart { body, item, scope } = part;
        let found = match item {
            Some(_) => self.pointers.find(body, "the item"),
            None => self.find(&head.headers, body),
        };
        let (found, problem) = match found {
            Ok(found) => (found, None),
            Err(problem) => (self.pointers.nothing(), Some(problem)),
        };
        let is_json = problem.is_none();
        let noted = notes.len();
        let request = item.map_or(&[][..], |(_, request)| request);
        let (notes_of, most_bytes) = (&mut notes, MAX_NAME_BYTES);
        let mut reader =
            AttributeReader { head, body, found: &found, request, notes: notes_of, most_bytes };
        let kind = reader.name("type", &self.kind, name::escaped_type);
        // One note says why the body cannot be read, for all that might be in it.
        let explained = reader.notes.len() > noted || (!is_json && self.kind.needs_body());
        if kind.is_none() && !explained {
            reader.notes.add("the type is missing");
        }
        let (id, key_id) = self.ids(&mut reader, item.map(|it| it.0));
        let subject = self
            .subject
            .as_ref()
            .and_then(|location| reader.name("subject", location, name::escaped));
        // Nobody looks into the data of a CloudEvent that says what it is.
        let is_looked_into = scope.is_none() || !self.pointers.is_empty();
        if is_looked_into && let Some(problem) = problem {
            notes.add(&problem);
        }
        let kind = kind.unwrap_or_else(|| UNIDENTIFIED.to_owned());
        // An id holds no line end, so no two pairs make the same text.
        let scoped = scope.zip(key_id.as_ref()).map(|(scope, id)| format!("{scope}\n{id}"));
        let own = scoped.as_deref().or(key_id.as_deref());
        let parts = KeyParts { id: own, kind: &kind, body, signed };
        let spends = self.dedupe.spends(&parts);
        let dedupe = self.dedupe.keys(&parts, sent_at);
        Extracted { kind, id, subject, is_json, dedupe, spends, note: notes.into_text() }
    }

    /// The id as it is shown, and the id as a key: an id that is too long to be shown still tells
    /// events apart.
    fn ids(
        &self,
        reader: &mut AttributeReader<'_>,
        item: Option<usize>,
    ) -> (Option<String>, Option<String>) {
        let Some(location) = &self.id else { return (None, None) };
        let noted = reader.notes.len();
        let shown = reader.id(location, item);
        if reader.notes.len() == noted {
            return (shown.clone(), shown);
        }
        let mut unsaid = NoteLine::after(None);
        let AttributeReader { head, body, found, request, .. } = *reader;
        let (notes, most_bytes) = (&mut unsaid, usize::MAX);
        let mut whole = AttributeReader { head, body, found, request, notes, most_bytes };
        (shown, whole.id(location, item))
    }

    /// The values that the pointers find in a body, or why it cannot be read.
    fn find(&self, headers: &HeaderMap, body: &[u8]) -> Result<Vec<PointerValue>, String> {
        let found = self
            .form
            .as_deref()
            .and_then(|field| wrapped(headers, body, field).map(|found| (found, field)));
        let Some((found, field)) = found else { return self.pointers.find(body, "the body") };
        let named = format!("the field `{field}` of the form");
        match found {
            Ok(Some(json)) => self.pointers.find(&json, &named),
            Ok(None) => Err(format!("{named} is missing")),
            Err(form::Repeated) => Err(format!("{named} occurs more than once")),
        }
    }
}
