//! Verified → `NewEvent`: what is it, what is it about, and have we seen it?
//!
//! The body is parsed only here, after it has been found authentic, and only as far as routing needs; it is stored
//! byte for byte whatever comes of it. What cannot be identified is stored as [`UNIDENTIFIED`] with a note that says
//! why: an authentic event is never lost because a parser dislikes it. That is so for a body that is not JSON (RFC
//! 8259) as a whole, for one that is nested deeper than [`json::MAX_DEPTH`], and for one in which a key that routing
//! reads occurs twice, since host and plugin might read different ones. A fixed type is given in any case.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::gate::header_name;
use super::verify::{Verified, single};
use crate::config::Routes;
use crate::config::source::{Pick, Source};
use crate::event::{Attributes, DedupeKey, MAX_NAME_BYTES, NewEvent, UNIDENTIFIED};

mod json;

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
}

#[derive(Debug)]
enum Place {
    /// The slot of [`Pointers`] that holds it.
    Json(usize),
    Header(HeaderName),
    Fixed(String),
    /// The configuration names something that no request can have.
    Nowhere(String),
}

impl Plan {
    pub(super) fn new(source: &Source) -> Self {
        let mut pointers = Pointers::default();
        let mut place = |pick: &Pick| match pick {
            Pick::Json(pointer) => pointers.add(pointer).map_or_else(Place::Nowhere, Place::Json),
            Pick::Header(name) => header_name(name).map_or_else(Place::Nowhere, Place::Header),
            Pick::Fixed(value) => Place::Fixed(value.clone()),
        };
        let kind = place(&source.kind);
        let id = source.id.as_ref().map(&mut place);
        let subject = source.subject.as_ref().map(&mut place);
        Self { kind, id, subject, pointers }
    }

    /// The headers it reads.
    pub(super) fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        [Some(&self.kind), self.id.as_ref(), self.subject.as_ref()].into_iter().flatten().filter_map(
            |place| match place {
                Place::Header(name) => Some(name),
                _ => None,
            },
        )
    }
}

/// Hash states of a source's dedupe keys.
///
/// A key is the first 16 bytes of SHA-256 over: the domain (`hookbox.dedupe.id` or `hookbox.dedupe.body`), the length
/// of the source's name in bytes as a 64-bit little-endian number, the name, and then the provider's id, or the raw
/// body. So an id is never taken for a body, nor one source's for another's.
#[derive(Debug)]
pub(super) struct Dedupe {
    id: Sha256,
    body: Sha256,
}

impl Dedupe {
    pub(super) fn of(source: &str) -> Self {
        let state = |domain: &str| {
            Sha256::new_with_prefix(domain).chain_update((source.len() as u64).to_le_bytes()).chain_update(source)
        };
        Self { id: state("hookbox.dedupe.id"), body: state("hookbox.dedupe.body") }
    }

    /// By the id where there is one; by the body as well where the id is not signed, and alone where there is none.
    fn keys(&self, id: Option<&str>, id_is_signed: bool, body: &[u8]) -> Vec<DedupeKey> {
        let mut keys = Vec::with_capacity(2);
        if let Some(id) = id {
            keys.push(key(self.id.clone(), id.as_bytes()));
        }
        if id.is_none() || !id_is_signed {
            keys.push(key(self.body.clone(), body));
        }
        keys
    }
}

fn key(state: Sha256, value: &[u8]) -> DedupeKey {
    let digest: [u8; 32] = state.chain_update(value).finalize().into();
    std::array::from_fn(|index| digest[index])
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
        NewEvent {
            dedupe: gate.dedupe.keys(identity.id.as_deref(), source.id_is_signed, &body),
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
        let (found, problem) = match plan.pointers.find(body) {
            Ok(found) => (found, None),
            Err(problem) => (plan.pointers.nothing(), Some(problem)),
        };
        let is_json = problem.is_none();
        let ambiguous = found.iter().any(|found| matches!(found, Found::Repeated));
        let mut look = |what: &str, place: &Place, required: bool| {
            match value_at(place, headers, &found) {
                Ok(None) if required => Err("is missing".to_owned()),
                looked => looked,
            }
            .unwrap_or_else(|why| {
                // Without JSON nothing can be found in it, and one note says so for all.
                if is_json || !matches!(place, Place::Json(_)) {
                    notes.add(&format!("the {what} {why}"));
                }
                None
            })
        };
        let kind = look("type", &plan.kind, true);
        let id = plan.id.as_ref().and_then(|place| look("id", place, false));
        let subject = plan.subject.as_ref().and_then(|place| look("subject", place, false));
        let certain = matches!(plan.kind, Place::Fixed(_)) || (is_json && !ambiguous);
        let kind = kind.filter(|_| certain).unwrap_or_else(|| UNIDENTIFIED.to_owned());
        if let Some(problem) = problem {
            notes.add(&problem);
        }
        Self { kind, id, subject, is_json }
    }
}

/// The text at a place, `None` where there is none, or why it cannot be used.
fn value_at(place: &Place, headers: &HeaderMap, found: &[Found]) -> Result<Option<String>, String> {
    let text = match place {
        Place::Fixed(value) => return Ok(Some(value.clone())),
        Place::Nowhere(why) => return Err(format!("cannot be found: {why}")),
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
    if text.is_empty() {
        Ok(None)
    } else if text.len() > MAX_NAME_BYTES {
        Err(format!("is longer than {MAX_NAME_BYTES} bytes"))
    } else if text.chars().any(char::is_control) {
        Err("holds control characters".to_owned())
    } else {
        Ok(Some(text))
    }
}

/// What an operator should know, in one line.
#[derive(Debug)]
struct Notes(Option<String>);

impl Notes {
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
