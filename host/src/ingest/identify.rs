//! Verified → `NewEvent`: what is it, what is it about, and have we seen it?
//!
//! The body is parsed only here, after it has been found authentic, and only as far as routing needs; it is stored
//! byte for byte whatever comes of it. An authentic event is routed by whatever can be read of it, and never lost
//! because a parser dislikes it: what cannot be read counts as missing, and a note says why. Nothing can be read in a
//! body that is not JSON (RFC 8259) as a whole or that is nested deeper than [`json::MAX_DEPTH`], nor at a key that
//! occurs twice, since host and plugin might read different ones. An event without a type is stored as [`UNIDENTIFIED`].
//!
//! Types and subjects are percent-escaped where they break the rule of [`name`].

use std::borrow::Cow;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use bytes::Bytes;

use super::gate::header_name;
use super::verify::{Verified, single};
use crate::config::Routes;
use crate::config::source::{Pick, Source};
use crate::event::{Attributes, MAX_NAME_BYTES, NewEvent, UNIDENTIFIED, form, name};

mod dedupe;
mod json;

pub(super) use dedupe::Dedupe;
use dedupe::Facts;
use json::{Found, Pointers};

/// A kept header's value is cut to this many bytes.
const MAX_HEADER_BYTES: usize = 1_024;

/// Where a source has its routing attributes, parsed.
#[derive(Debug)]
pub(super) struct Plan {
    kind: Place,
    id: Option<Place>,
    subject: Option<Place>,
    pointers: Pointers,
    /// The field of a form that holds the JSON.
    form: Option<String>,
}

#[derive(Debug)]
enum Place {
    /// The slot of [`Pointers`] that holds it.
    Json(usize),
    Header(HeaderName),
    Fixed(String),
    /// Each value with the text in front of it, and the text behind the last.
    Joined(Vec<(String, Place)>, String),
    /// The configuration names something that no request can have.
    Nowhere(String),
}

impl Plan {
    pub(super) fn new(source: &Source) -> Self {
        let mut pointers = Pointers::default();
        let mut place = |pick: &Pick| Place::new(pick, &mut pointers);
        let kind = place(&source.kind);
        let id = source.id.as_ref().map(&mut place);
        let subject = source.subject.as_ref().map(&mut place);
        Self { kind, id, subject, pointers, form: source.form.clone() }
    }

    /// The headers it reads.
    pub(super) fn headers(&self) -> Vec<&HeaderName> {
        let mut names = Vec::new();
        for place in [Some(&self.kind), self.id.as_ref(), self.subject.as_ref()].into_iter().flatten() {
            place.add_headers(&mut names);
        }
        names
    }

    /// What the pointers find in a body, or what keeps it from being read.
    fn find(&self, headers: &HeaderMap, body: &[u8]) -> Result<Vec<Found>, String> {
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

fn is_form(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(form::is_form)
}

impl Place {
    fn new(pick: &Pick, pointers: &mut Pointers) -> Self {
        match pick {
            Pick::Json(pointer) => pointers.add(pointer).map_or_else(Self::Nowhere, Self::Json),
            Pick::Header(name) => header_name(name).map_or_else(Self::Nowhere, Self::Header),
            Pick::Fixed(value) => Self::Fixed(value.clone()),
            Pick::Joined(joined) => {
                let values = joined.values.iter();
                let values = values.map(|(before, pick)| (before.clone(), Self::new(pick, pointers))).collect();
                Self::Joined(values, joined.end.clone())
            }
        }
    }

    fn add_headers<'a>(&'a self, names: &mut Vec<&'a HeaderName>) {
        match self {
            Self::Header(name) => names.push(name),
            Self::Joined(values, _) => values.iter().for_each(|(_, place)| place.add_headers(names)),
            Self::Json(_) | Self::Fixed(_) | Self::Nowhere(_) => {}
        }
    }

    /// Whether there is nothing without something that stands in the body.
    fn needs_body(&self) -> bool {
        match self {
            Self::Json(_) => true,
            Self::Joined(values, _) => values.first().is_some_and(|(_, place)| place.needs_body()),
            Self::Header(_) | Self::Fixed(_) | Self::Nowhere(_) => false,
        }
    }
}

impl Verified<'_> {
    /// Identifies it, and finds the plugins that are to get it.
    pub fn identify(self, routes: &Routes, now_ms: i64) -> NewEvent {
        let Self { gate, headers, body, note, .. } = self;
        let source = gate.source();
        let mut notes = Notes(note);
        let identity = Identity::of(&gate.plan, &headers, &body, &mut notes);
        let content_type = match headers.get(CONTENT_TYPE) {
            Some(value) => value.to_str().ok().filter(|text| text.len() <= MAX_NAME_BYTES).map(str::to_owned),
            None => identity.is_json.then(|| "application/json".to_owned()),
        };
        let facts = Facts { id: identity.id.as_deref(), kind: &identity.kind, headers: &headers, body: &body };
        NewEvent {
            dedupe: gate.dedupe.keys(gate, &facts),
            legacy_key: None,
            targets: routes.targets(&source.name, &identity.kind),
            attributes: Attributes {
                source: Arc::clone(&source.name),
                kind: identity.kind,
                subject: identity.subject,
                content_type,
                time_ms: now_ms,
                body,
            },
            provider_id: identity.id,
            headers: kept(&gate.kept, &headers),
            note: notes.0,
            parent: None,
            hops: 0,
            delay_ms: 0,
        }
    }
}

/// What routing and deduplication go by.
#[derive(Debug)]
struct Identity {
    kind: String,
    id: Option<String>,
    subject: Option<String>,
    is_json: bool,
}

impl Identity {
    fn of(plan: &Plan, headers: &HeaderMap, body: &Bytes, notes: &mut Notes) -> Self {
        let (found, problem) = match plan.find(headers, body) {
            Ok(found) => (found, None),
            Err(problem) => (plan.pointers.nothing(), Some(problem)),
        };
        let is_json = problem.is_none();
        let noted = notes.len();
        let mut reader = Reader { headers, found: &found, notes };
        let kind = reader.name("type", &plan.kind, name::escaped_type);
        // One note says what keeps the body from being read, for all that might stand there.
        let explained = reader.notes.len() > noted || (!is_json && plan.kind.needs_body());
        if kind.is_none() && !explained {
            reader.notes.add("the type is missing");
        }
        let id = plan.id.as_ref().and_then(|place| reader.id(place));
        let subject = plan.subject.as_ref().and_then(|place| reader.name("subject", place, name::escaped));
        if let Some(problem) = problem {
            notes.add(&problem);
        }
        Self { kind: kind.unwrap_or_else(|| UNIDENTIFIED.to_owned()), id, subject, is_json }
    }
}

/// Reads the attributes of one request, and notes what cannot be read.
struct Reader<'a> {
    headers: &'a HeaderMap,
    found: &'a [Found],
    notes: &'a mut Notes,
}

impl Reader<'_> {
    /// A type or a subject, as [`name`] has it.
    fn name(&mut self, what: &str, place: &Place, escape: fn(&str) -> Cow<'_, str>) -> Option<String> {
        let text = self.text(what, place)?;
        let name = match escape(&text) {
            Cow::Borrowed(_) => return Some(text),
            Cow::Owned(name) => name,
        };
        if name.len() > MAX_NAME_BYTES {
            self.notes.add(&too_long(what));
            return None;
        }
        self.notes.add(&format!("the {what} is percent-escaped, where it has what no {what} can have"));
        Some(name)
    }

    fn id(&mut self, place: &Place) -> Option<String> {
        let text = self.text("id", place)?;
        if text.contains(char::is_control) {
            self.notes.add("the id holds control characters");
            return None;
        }
        Some(text)
    }

    /// The text at a place, never empty.
    fn text(&mut self, what: &str, place: &Place) -> Option<String> {
        let Place::Joined(values, end) = place else { return self.value(what, place) };
        let text = self.joined(what, values, end)?;
        if text.len() > MAX_NAME_BYTES {
            self.notes.add(&too_long(what));
            return None;
        }
        Some(text)
    }

    /// A value that is missing is left out with the text in front of it; without the first there is none.
    fn joined(&mut self, what: &str, values: &[(String, Place)], end: &str) -> Option<String> {
        let mut text = String::new();
        for (index, (before, place)) in values.iter().enumerate() {
            match self.value(what, place) {
                Some(value) => {
                    text.push_str(before);
                    text.push_str(&value);
                }
                None if index == 0 => return None,
                None => {}
            }
        }
        text.push_str(end);
        Some(text)
    }

    fn value(&mut self, what: &str, place: &Place) -> Option<String> {
        let value = value_at(place, self.headers, self.found);
        value.unwrap_or_else(|why| {
            self.notes.add(&format!("the {what} {why}"));
            None
        })
    }
}

fn too_long(what: &str) -> String {
    format!("the {what} is longer than {MAX_NAME_BYTES} bytes")
}

/// The text at a place, `None` where there is none, or why it cannot be used.
fn value_at(place: &Place, headers: &HeaderMap, found: &[Found]) -> Result<Option<String>, String> {
    let text = match place {
        Place::Fixed(value) => return Ok(Some(value.clone())),
        Place::Nowhere(why) => return Err(format!("cannot be found: {why}")),
        // Only values are joined, never what is joined itself.
        Place::Joined(..) => return Ok(None),
        Place::Header(name) => match single(headers, name) {
            Ok(None) => return Ok(None),
            Ok(Some(bytes)) => String::from_utf8(bytes.to_vec()).map_err(|_| "is not UTF-8".to_owned())?,
            Err(_) => return Err("occurs in several headers".to_owned()),
        },
        Place::Json(slot) => match &found[*slot] {
            Found::Nothing => return Ok(None),
            Found::Text(text) => text.clone(),
            Found::Repeated => return Err("occurs more than once".to_owned()),
            Found::Unreadable(why) => return Err((*why).to_owned()),
        },
    };
    match text.len() {
        0 => Ok(None),
        length if length > MAX_NAME_BYTES => Err(format!("is longer than {MAX_NAME_BYTES} bytes")),
        _ => Ok(Some(text)),
    }
}

/// What an operator should know, in one line.
#[derive(Debug)]
struct Notes(Option<String>);

impl Notes {
    /// Bytes that it has.
    fn len(&self) -> usize {
        self.0.as_ref().map_or(0, String::len)
    }

    fn add(&mut self, note: &str) {
        match &mut self.0 {
            Some(notes) => {
                notes.push_str("; ");
                notes.push_str(note);
            }
            None => self.0 = Some(note.to_owned()),
        }
    }
}

/// The request headers that are stored, each as text of a bounded length.
fn kept(names: &[HeaderName], headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| {
        let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_HEADER_BYTES)]).into_owned();
        text.truncate(text.floor_char_boundary(MAX_HEADER_BYTES));
        text
    };
    names.iter().filter_map(|name| Some((name.to_string(), text(headers.get(name)?.as_bytes())))).collect()
}
