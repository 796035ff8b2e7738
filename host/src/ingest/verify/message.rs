//! The data that a signature covers, put together from parts of the request.

use std::borrow::Cow;

use axum::http::header::HeaderName;
use sha2::{Digest, Sha256};

use super::place::{PointedRequest, Spot};
use super::refusal::Refusal;
use crate::config::source::{ParamText, Part, Signature};
use crate::event::form;
use crate::ingest::head::Head;
use crate::ingest::header;
use crate::ingest::identify::json::{PointerValue, Pointers};

mod lines;
mod listed;
mod present;

use lines::Breaks;
use listed::ListedHeaders;

/// The most fields of a form that are sorted.
const MAX_FIELDS: usize = 1_000;

/// The parts that are signed, with header names parsed.
#[derive(Debug)]
pub(super) struct MessageTemplate {
    pieces: Vec<MessagePiece>,
    pub(super) signs_timestamp: bool,
    pub(super) signs_id: bool,
    pub(super) signs_form: bool,
}

/// [`Part`] made ready.
#[derive(Debug)]
enum MessagePiece {
    Literal(String),
    Param(ParamText),
    Timestamp,
    Id,
    Body,
    Method,
    Path,
    PathAndQuery,
    Query,
    QueryValue(String, Breaks),
    Form,
    Header(HeaderName),
    Other(OtherPiece),
}

/// Parts that few providers sign.
#[derive(Debug)]
enum OtherPiece {
    Json(usize, Breaks),
    FormValue(String, Breaks),
    UnescapedTarget,
    BodySha256,
    BodyCrc32,
    Secret,
    HeaderList(ListedHeaders),
    Optional(Vec<MessagePiece>),
}

impl MessageTemplate {
    pub(super) fn new(signature: &Signature) -> Result<Self, String> {
        Self::with(signature, signature.public_url.as_deref(), &mut Pointers::default())
    }

    /// With a spelling of the host's address; pointers into the body are added to `pointers`.
    pub(super) fn with(
        signature: &Signature,
        url: Option<&str>,
        pointers: &mut Pointers,
    ) -> Result<Self, String> {
        let time = signature.timestamp.as_ref().and_then(|rule| rule.field.place.header());
        let mut pieces = pieces(&signature.signed, (url, time), pointers)?;
        let mut is_free = !signature.signed.contains(&Part::Body);
        lines::forbid_breaks(&mut pieces, &mut is_free);
        let signs = |part| signature.signed.contains(&part);
        Ok(Self {
            pieces,
            signs_timestamp: signs(Part::Timestamp),
            signs_id: signs(Part::Id),
            signs_form: signs(Part::Form),
        })
    }

    /// Whether the secret is the last that is signed.
    pub(super) fn ends_with_secret(&self) -> bool {
        matches!(self.pieces.last(), Some(MessagePiece::Other(OtherPiece::Secret)))
    }

    /// Whether the head alone, with the raw body, has all that is signed.
    pub(super) fn is_plain(&self) -> bool {
        self.pieces.iter().all(|piece| !matches!(piece, MessagePiece::Other(_)))
    }

    /// Whether it has values that are looked for in the body.
    pub(super) fn needs_body(&self) -> bool {
        let looked_for = |piece: &MessagePiece| {
            matches!(
                piece,
                MessagePiece::Other(
                    OtherPiece::Json(..)
                        | OtherPiece::FormValue(..)
                        | OtherPiece::HeaderList(_)
                        | OtherPiece::Optional(_)
                )
            )
        };
        self.pieces.iter().any(looked_for)
    }

    /// Refuses a request that lacks a part that is signed, or whose form has too many fields.
    pub(super) fn check_whole(&self, reading: PointedRequest<'_>) -> Result<(), Refusal> {
        self.check(reading.head)?;
        self.check_form(reading.body)?;
        present::check(&self.pieces, reading)
    }

    /// Refuses a form of more fields than are sorted.
    pub(super) fn check_form(&self, body: &[u8]) -> Result<(), Refusal> {
        let is_long = self.signs_form && form::fields(body).nth(MAX_FIELDS).is_some();
        if is_long { Err(Refusal::NoForm) } else { Ok(()) }
    }

    /// Refuses a head that lacks a part that is signed.
    ///
    /// A signature over a form's fields covers no other body, so the body has to be a form.
    pub(super) fn check(&self, head: &Head) -> Result<(), Refusal> {
        for piece in &self.pieces {
            match piece {
                MessagePiece::QueryValue(name, breaks) => {
                    let value = query_value(head, name)?.ok_or(Refusal::NoPart)?;
                    breaks.check(&value)?;
                }
                MessagePiece::Header(name) if header::single(&head.headers, name)?.is_none() => {
                    return Err(Refusal::NoPart);
                }
                MessagePiece::Form if !head.is_form() => return Err(Refusal::NoForm),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The parts made ready.
fn pieces(
    parts: &[Part],
    (url, time): (Option<&str>, Option<&str>),
    pointers: &mut Pointers,
) -> Result<Vec<MessagePiece>, String> {
    let mut pieces = Vec::with_capacity(parts.len());
    let address = || url.map(str::to_owned).ok_or_else(|| "`public_url` is not set".to_owned());
    for part in parts {
        let piece = match part {
            Part::Literal(text) => MessagePiece::Literal(text.clone()),
            Part::Timestamp => MessagePiece::Timestamp,
            Part::Id => MessagePiece::Id,
            Part::Body => MessagePiece::Body,
            Part::Method => MessagePiece::Method,
            Part::Url => {
                pieces.push(MessagePiece::Literal(address()?));
                MessagePiece::PathAndQuery
            }
            Part::Path => MessagePiece::Path,
            Part::Query => MessagePiece::Query,
            Part::QueryValue(name) => MessagePiece::QueryValue(name.clone(), Breaks::Allowed),
            Part::Form => MessagePiece::Form,
            Part::Header(name) => MessagePiece::Header(header::parse_name(name)?),
            Part::UnescapedUrl => {
                pieces.push(MessagePiece::Literal(address()?));
                MessagePiece::Other(OtherPiece::UnescapedTarget)
            }
            Part::Json(pointer) => {
                MessagePiece::Other(OtherPiece::Json(pointers.add(pointer)?, Breaks::Allowed))
            }
            Part::FormValue(name) => {
                MessagePiece::Other(OtherPiece::FormValue(name.clone(), Breaks::Allowed))
            }
            Part::BodySha256 => MessagePiece::Other(OtherPiece::BodySha256),
            Part::BodyCrc32 => MessagePiece::Other(OtherPiece::BodyCrc32),
            Part::Secret => MessagePiece::Other(OtherPiece::Secret),
            Part::HeaderList(name) => {
                MessagePiece::Other(OtherPiece::HeaderList(ListedHeaders::new(name, time)?))
            }
            Part::Param(_, Some(text)) => MessagePiece::Param(text.clone()),
            Part::Param(name, None) => return Err(format!("the parameter `{name}` is not set")),
            Part::Optional(parts) => MessagePiece::Other(OtherPiece::Optional(self::pieces(
                parts,
                (url, time),
                pointers,
            )?)),
        };
        pieces.push(piece);
    }
    Ok(pieces)
}

/// A template and the request that fills it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) template: &'a MessageTemplate,
    pub(super) head: &'a Head,
    pub(super) timestamp: Option<&'a [u8]>,
    pub(super) id: Option<&'a [u8]>,
    pub(super) body: &'a [u8],
    /// The values at the pointers into the body.
    pub(super) found: &'a [PointerValue],
    /// The secret, where it is a part of what is signed.
    pub(super) secret: Option<&'a [u8]>,
    /// The address of the public key.
    pub(super) key_url: Option<&'a str>,
    pub(super) now_ms: i64,
}

impl<'a> Message<'a> {
    /// A message without a body's values.
    pub(super) fn plain(template: &'a MessageTemplate, head: &'a Head, body: &'a [u8]) -> Self {
        Self {
            template,
            head,
            timestamp: None,
            id: None,
            body,
            found: &[],
            secret: None,
            key_url: None,
            now_ms: 0,
        }
    }
}

impl Message<'_> {
    /// Gives the signed bytes to `take`, piece by piece, in order.
    pub(super) fn each(&self, mut take: impl FnMut(&[u8])) {
        self.pieces(&self.template.pieces, &mut take);
    }

    /// The signed bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.each(|piece| bytes.extend_from_slice(piece));
        bytes
    }

    fn pieces(&self, pieces: &[MessagePiece], take: &mut impl FnMut(&[u8])) {
        let uri = &self.head.uri;
        for piece in pieces {
            match piece {
                MessagePiece::Other(other) => self.other(other, take),
                MessagePiece::Body => take(self.body),
                MessagePiece::Literal(text) => take(text.as_bytes()),
                MessagePiece::Param(text) => take(text.as_str().as_bytes()),
                MessagePiece::Timestamp => take(self.timestamp.unwrap_or_default()),
                MessagePiece::Id => take(self.id.unwrap_or_default()),
                MessagePiece::Method => take(self.head.method.as_str().as_bytes()),
                MessagePiece::Path => take(uri.path().as_bytes()),
                MessagePiece::PathAndQuery => {
                    take(uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes());
                }
                MessagePiece::Query => take(uri.query().unwrap_or_default().as_bytes()),
                MessagePiece::QueryValue(name, _) => {
                    let value = query_value(self.head, name).ok().flatten();
                    take(&value.unwrap_or_default());
                }
                MessagePiece::Header(name) => {
                    let value = header::single(&self.head.headers, name).ok().flatten();
                    take(value.unwrap_or_default());
                }
                MessagePiece::Form => {
                    for (name, value) in sorted_fields(self.body) {
                        take(&name);
                        take(&value);
                    }
                }
            }
        }
    }
}

impl Message<'_> {
    fn reading(&self) -> PointedRequest<'_> {
        PointedRequest { head: self.head, body: self.body, found: self.found }
    }

    fn other(&self, piece: &OtherPiece, take: &mut impl FnMut(&[u8])) {
        match piece {
            OtherPiece::Json(slot, _) => {
                let value = Spot::Json(*slot).value(self.reading());
                take(&value.ok().flatten().unwrap_or_default());
            }
            OtherPiece::FormValue(name, _) => {
                let value = form::field(self.body, name).ok().flatten();
                take(&value.unwrap_or_default());
            }
            OtherPiece::UnescapedTarget => {
                let target = self.head.uri.path_and_query().map_or("/", |path| path.as_str());
                take(unescaped(target).as_bytes());
            }
            OtherPiece::BodySha256 => take(hex::encode(Sha256::digest(self.body)).as_bytes()),
            OtherPiece::BodyCrc32 => take(crc32fast::hash(self.body).to_string().as_bytes()),
            OtherPiece::Secret => take(self.secret.unwrap_or_default()),
            OtherPiece::HeaderList(list) => {
                let text = list.text(self.head).ok().flatten();
                take(text.unwrap_or_default().as_bytes());
            }
            OtherPiece::Optional(pieces) => {
                if present::is_complete(pieces, self.reading()) == Ok(true) {
                    self.pieces(pieces, take);
                }
            }
        }
    }
}

/// The address with those escapes undone that HubSpot undoes.
fn unescaped(target: &str) -> String {
    const UNDONE: [&str; 12] =
        ["3A", "2F", "3F", "40", "21", "24", "27", "28", "29", "2A", "2C", "3B"];
    let mut out = String::with_capacity(target.len());
    let mut pieces = target.split('%');
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let code = piece.get(..2).filter(|code| UNDONE.contains(&&*code.to_ascii_uppercase()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                out.push_str(&piece[2..]);
            }
            None => {
                out.push('%');
                out.push_str(piece);
            }
        }
    }
    out
}

/// The decoded value of a query parameter; one that occurs twice is refused.
fn query_value<'a>(head: &'a Head, name: &str) -> Result<Option<Cow<'a, [u8]>>, Refusal> {
    let query = head.uri.query().unwrap_or_default();
    form::field(query.as_bytes(), name).map_err(|_| Refusal::NoPart)
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
