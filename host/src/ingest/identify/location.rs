//! Where a routing attribute is in a request, and its value there.

use std::borrow::Cow;

use axum::http::header::HeaderName;

use super::items::beside;
use super::json::{PointerValue, Pointers};
use super::notes::NoteLine;
use crate::config::source::Pick;
use crate::event::{MAX_NAME_BYTES, form};
use crate::ingest::head::Head;
use crate::ingest::header;

/// [`Pick`] with its pointer or header name parsed.
#[derive(Debug)]
pub(super) enum Location {
    /// The slot of [`Pointers`] that holds it.
    Json(usize),
    /// The same of the pointers into the request whose items are events.
    Request(usize),
    Header(HeaderName),
    Fixed(String),
    /// Each value with the text in front of it, and the text after the last one.
    Joined(Vec<(String, Location)>, String),
    Form(String),
    Query(String),
    Method,
    Beside(String),
    First(Vec<Self>),
    /// The configuration names something that no request can have.
    Nowhere(String),
}

impl Location {
    /// `pointers` are those into the event, and those into the request that it is an item of.
    pub(super) fn new(pick: &Pick, pointers: &mut [Pointers; 2]) -> Self {
        let [own, request] = &mut *pointers;
        match pick {
            Pick::Json(pointer) => own.add(pointer).map_or_else(Self::Nowhere, Self::Json),
            Pick::Request(pointer) => {
                request.add(pointer).map_or_else(Self::Nowhere, Self::Request)
            }
            Pick::Header(name) => header::parse_name(name).map_or_else(Self::Nowhere, Self::Header),
            Pick::Fixed(value) => Self::Fixed(value.clone()),
            Pick::Form(name) => Self::Form(name.clone()),
            Pick::Query(name) => Self::Query(name.clone()),
            Pick::Method => Self::Method,
            Pick::Beside(name) => Self::Beside(name.clone()),
            Pick::First(picks) => {
                Self::First(picks.iter().map(|pick| Self::new(pick, pointers)).collect())
            }
            Pick::Joined(joined) => {
                let values = joined.values.iter();
                let values = values
                    .map(|(before, pick)| (before.clone(), Self::new(pick, pointers)))
                    .collect();
                Self::Joined(values, joined.end.clone())
            }
        }
    }

    pub(super) fn add_headers<'a>(&'a self, names: &mut Vec<&'a HeaderName>) {
        match self {
            Self::Header(name) => names.push(name),
            Self::Joined(values, _) => {
                values.iter().for_each(|(_, location)| location.add_headers(names))
            }
            Self::First(locations) => {
                locations.iter().for_each(|location| location.add_headers(names));
            }
            _ => {}
        }
    }

    /// Whether it is read in the event itself, and not in the request that it is an item of.
    fn is_of_item(&self) -> bool {
        match self {
            Self::Json(_) | Self::Beside(_) => true,
            Self::First(locations) => locations.iter().any(Self::is_of_item),
            Self::Joined(values, _) => values.iter().any(|(_, location)| location.is_of_item()),
            _ => false,
        }
    }

    /// Whether nothing can be there without something that is in the body.
    pub(super) fn needs_body(&self) -> bool {
        match self {
            Self::Json(_) | Self::Beside(_) => true,
            Self::First(locations) => locations.iter().all(Self::needs_body),
            Self::Joined(values, _) => {
                values.first().is_some_and(|(_, location)| location.needs_body())
            }
            _ => false,
        }
    }
}

/// Reads the attributes of one request, and notes why one cannot be read.
pub(super) struct AttributeReader<'a> {
    pub(super) head: &'a Head,
    pub(super) body: &'a [u8],
    pub(super) found: &'a [PointerValue],
    /// The values that the pointers into the request have found.
    pub(super) request: &'a [PointerValue],
    pub(super) notes: &'a mut NoteLine,
    /// The length of the longest value that is taken, in bytes.
    pub(super) most_bytes: usize,
}

impl AttributeReader<'_> {
    /// A type or a subject, percent-escaped by `escape` where it breaks the rule of names.
    pub(super) fn name(
        &mut self,
        what: &str,
        location: &Location,
        escape: fn(&str) -> Cow<'_, str>,
    ) -> Option<String> {
        let text = self.text(what, location)?;
        let name = match escape(&text) {
            Cow::Borrowed(_) => return Some(text),
            Cow::Owned(name) => name,
        };
        if name.len() > MAX_NAME_BYTES {
            self.notes.add(&too_long(what));
            return None;
        }
        self.notes
            .add(&format!("the {what} is percent-escaped, where it has what no {what} can have"));
        Some(name)
    }

    /// The id. An item without one of its own has that of the request, with its position behind it.
    pub(super) fn id(&mut self, location: &Location, item: Option<usize>) -> Option<String> {
        if let Location::First(locations) = location {
            return locations.iter().find_map(|location| self.id(location, item));
        }
        let text = self.text("id", location)?;
        if text.contains(char::is_control) {
            self.notes.add("the id holds control characters");
            return None;
        }
        match item {
            Some(index) if !location.is_of_item() => Some(format!("{text}#{index}")),
            _ => Some(text),
        }
    }

    /// The text at a location, never empty.
    fn text(&mut self, what: &str, location: &Location) -> Option<String> {
        if let Location::First(locations) = location {
            return locations.iter().find_map(|location| self.text(what, location));
        }
        let Location::Joined(values, end) = location else { return self.value(what, location) };
        let text = self.joined(what, values, end)?;
        if text.len() > self.most_bytes {
            self.notes.add(&too_long(what));
            return None;
        }
        Some(text)
    }

    /// A missing value is left out with the text in front of it; without the first there is
    /// nothing.
    fn joined(&mut self, what: &str, values: &[(String, Location)], end: &str) -> Option<String> {
        let mut text = String::new();
        for (index, (before, location)) in values.iter().enumerate() {
            match self.value(what, location) {
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

    fn value(&mut self, what: &str, location: &Location) -> Option<String> {
        let value = match location {
            Location::Request(slot) => self.request.get(*slot).map_or(Ok(None), pointed),
            location => value_at(location, self.head, self.body, self.found),
        };
        checked(value, self.most_bytes).unwrap_or_else(|why| {
            self.notes.add(&format!("the {what} {why}"));
            None
        })
    }
}

/// The decoded value of a form's field.
fn field(form: &[u8], name: &str) -> Result<Option<String>, String> {
    let value = form::field(form, name).map_err(|_| "occurs more than once".to_owned())?;
    let Some(value) = value else { return Ok(None) };
    String::from_utf8(value.into_owned()).map(Some).map_err(|_| "is not UTF-8".to_owned())
}

fn too_long(what: &str) -> String {
    format!("the {what} is longer than {MAX_NAME_BYTES} bytes")
}

/// The text at a location, `None` if there is none, or why it cannot be used.
fn value_at(
    location: &Location,
    head: &Head,
    body: &[u8],
    found: &[PointerValue],
) -> Result<Option<String>, String> {
    let text = match location {
        Location::Fixed(value) => value.clone(),
        Location::Nowhere(why) => return Err(format!("cannot be found: {why}")),
        // Only values are joined, never a joined text or a list.
        Location::Joined(..) | Location::First(_) | Location::Request(_) => return Ok(None),
        Location::Form(_) if !head.is_form() => return Ok(None),
        Location::Form(name) => match field(body, name)? {
            Some(text) => text,
            None => return Ok(None),
        },
        Location::Query(name) => {
            match field(head.uri.query().unwrap_or_default().as_bytes(), name)? {
                Some(text) => text,
                None => return Ok(None),
            }
        }
        Location::Method => head.method.as_str().to_owned(),
        Location::Beside(name) => match beside(body, name) {
            Some(text) => text,
            None => return Ok(None),
        },
        Location::Header(name) => match header::single(&head.headers, name) {
            Ok(None) => return Ok(None),
            Ok(Some(bytes)) => {
                String::from_utf8(bytes.to_vec()).map_err(|_| "is not UTF-8".to_owned())?
            }
            Err(header::RepeatedHeader) => return Err("occurs in several headers".to_owned()),
        },
        Location::Json(slot) => return pointed(&found[*slot]),
    };
    Ok(Some(text))
}

/// The text that a pointer has found.
fn pointed(found: &PointerValue) -> Result<Option<String>, String> {
    match found {
        PointerValue::Nothing => Ok(None),
        PointerValue::Text(text) => Ok(Some(text.clone())),
        PointerValue::Repeated => Err("occurs more than once".to_owned()),
        PointerValue::Unreadable(why) => Err((*why).to_owned()),
    }
}

/// The text, unless it is empty or too long.
fn checked(
    text: Result<Option<String>, String>,
    most_bytes: usize,
) -> Result<Option<String>, String> {
    match text? {
        Some(text) if text.len() > most_bytes => Err(format!("is longer than {most_bytes} bytes")),
        text => Ok(text.filter(|text| !text.is_empty())),
    }
}
