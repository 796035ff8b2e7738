//! The data that a signature covers, put together from parts of the request.

use std::borrow::Cow;

use axum::http::header::{CONTENT_TYPE, HeaderName};

use super::head::Head;
use super::refusal::Refusal;
use crate::config::source::{Part, Signature};
use crate::event::form;
use crate::ingest::header;

/// The parts that are signed, with header names parsed.
#[derive(Debug)]
pub(super) struct MessageTemplate {
    pieces: Vec<Piece>,
    pub(super) signs_timestamp: bool,
    pub(super) signs_id: bool,
}

/// [`Part`] made ready.
#[derive(Debug)]
enum Piece {
    Literal(String),
    Timestamp,
    Id,
    Body,
    Method,
    Path,
    PathAndQuery,
    Query,
    QueryValue(String),
    Form,
    Header(HeaderName),
}

impl MessageTemplate {
    pub(super) fn new(signature: &Signature) -> Result<Self, String> {
        let mut pieces = Vec::with_capacity(signature.signed.len());
        for part in &signature.signed {
            let piece = match part {
                Part::Literal(text) => Piece::Literal(text.clone()),
                Part::Timestamp => Piece::Timestamp,
                Part::Id => Piece::Id,
                Part::Body => Piece::Body,
                Part::Method => Piece::Method,
                Part::Url => {
                    let missing = || "`public_url` is not set".to_owned();
                    pieces.push(Piece::Literal(signature.public_url.clone().ok_or_else(missing)?));
                    Piece::PathAndQuery
                }
                Part::Path => Piece::Path,
                Part::Query => Piece::Query,
                Part::QueryValue(name) => Piece::QueryValue(name.clone()),
                Part::Form => Piece::Form,
                Part::Header(name) => Piece::Header(header::parse_name(name)?),
            };
            pieces.push(piece);
        }
        let signs = |part| signature.signed.contains(&part);
        Ok(Self { pieces, signs_timestamp: signs(Part::Timestamp), signs_id: signs(Part::Id) })
    }

    /// Refuses a head that lacks a part that is signed.
    ///
    /// A signature over a form's fields covers no other body, so the body has to be a form.
    pub(super) fn check(&self, head: &Head) -> Result<(), Refusal> {
        for piece in &self.pieces {
            match piece {
                Piece::QueryValue(name) if query_value(head, name).is_none() => {
                    return Err(Refusal::NoPart);
                }
                Piece::Header(name) if header::single(&head.headers, name)?.is_none() => {
                    return Err(Refusal::NoPart);
                }
                Piece::Form if !is_form(head) => return Err(Refusal::NoForm),
                _ => {}
            }
        }
        Ok(())
    }
}

/// A template and the request that fills it.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) template: &'a MessageTemplate,
    pub(super) head: &'a Head,
    pub(super) timestamp: Option<&'a [u8]>,
    pub(super) id: Option<&'a [u8]>,
    pub(super) body: &'a [u8],
}

impl Message<'_> {
    /// Gives the signed bytes to `take`, piece by piece, in order.
    pub(super) fn each(&self, mut take: impl FnMut(&[u8])) {
        let uri = &self.head.uri;
        for piece in &self.template.pieces {
            match piece {
                Piece::Body => take(self.body),
                Piece::Literal(text) => take(text.as_bytes()),
                Piece::Timestamp => take(self.timestamp.unwrap_or_default()),
                Piece::Id => take(self.id.unwrap_or_default()),
                Piece::Method => take(self.head.method.as_str().as_bytes()),
                Piece::Path => take(uri.path().as_bytes()),
                Piece::PathAndQuery => {
                    take(uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes());
                }
                Piece::Query => take(uri.query().unwrap_or_default().as_bytes()),
                Piece::QueryValue(name) => take(&query_value(self.head, name).unwrap_or_default()),
                Piece::Header(name) => {
                    let value = header::single(&self.head.headers, name).ok().flatten();
                    take(value.unwrap_or_default());
                }
                Piece::Form => {
                    for (name, value) in sorted_fields(self.body) {
                        take(&name);
                        take(&value);
                    }
                }
            }
        }
    }
}

fn is_form(head: &Head) -> bool {
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(form::is_form)
}

/// The decoded value of a query parameter that occurs once.
fn query_value<'a>(head: &'a Head, name: &str) -> Option<Cow<'a, [u8]>> {
    form::field(head.uri.query()?.as_bytes(), name).ok().flatten()
}

/// Name and value of a form's field, decoded.
type FormField<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// Every field, sorted by both; equal pairs once, as Twilio signs them.
fn sorted_fields(body: &[u8]) -> Vec<FormField<'_>> {
    let mut fields: Vec<_> = form::fields(body).collect();
    fields.sort_unstable();
    fields.dedup();
    fields
}
