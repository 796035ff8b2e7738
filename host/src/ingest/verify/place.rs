//! Values at places of a request, read once for each check.

use std::borrow::Cow;

use axum::http::HeaderName;
use subtle::ConstantTimeEq;

use super::refusal::Refusal;
use crate::config::source::{ParamText, Place, ValueCondition};
use crate::event::form;
use crate::ingest::head::Head;
use crate::ingest::header;
use crate::ingest::identify::json::{PointerValue, Pointers};

/// [`Place`] made ready.
#[derive(Debug)]
pub(in crate::ingest) enum Spot {
    Header(HeaderName),
    Query(String),
    /// The slot of [`Pointers`].
    Json(usize),
    Form(String),
}

/// A request, and what the pointers of its source find in it.
#[derive(Debug, Clone, Copy)]
pub(in crate::ingest) struct PointedRequest<'a> {
    pub(in crate::ingest) head: &'a Head,
    pub(in crate::ingest) body: &'a [u8],
    pub(in crate::ingest) found: &'a [PointerValue],
}

impl Spot {
    pub(in crate::ingest) fn new(place: &Place, pointers: &mut Pointers) -> Result<Self, String> {
        Ok(match place {
            Place::Header(name) => Self::Header(header::parse_name(name)?),
            Place::Query(name) => Self::Query(name.clone()),
            Place::Json(pointer) => Self::Json(pointers.add(pointer)?),
            Place::Form(name) => Self::Form(name.clone()),
        })
    }

    /// The header's name, if it is one.
    pub(super) fn header(&self) -> Option<&HeaderName> {
        if let Self::Header(name) = self { Some(name) } else { None }
    }

    /// Whether the body has to be there to look.
    pub(in crate::ingest) fn is_in_body(&self) -> bool {
        matches!(self, Self::Json(_) | Self::Form(_))
    }

    /// The value there, if there is one.
    pub(in crate::ingest) fn value<'a>(
        &self,
        reading: PointedRequest<'a>,
    ) -> Result<Option<Cow<'a, [u8]>>, Refusal> {
        match self {
            Self::Header(name) => Ok(header::single(&reading.head.headers, name)?.map(Cow::from)),
            Self::Query(name) => query(reading.head, name),
            Self::Json(slot) => match reading.found.get(*slot) {
                Some(PointerValue::Text(text)) => Ok(Some(text.as_bytes().into())),
                Some(PointerValue::Repeated | PointerValue::Unreadable(_)) => Err(Refusal::NoPart),
                Some(PointerValue::Nothing) | None => Ok(None),
            },
            Self::Form(_) if !reading.head.is_form() => Ok(None),
            Self::Form(name) => form::field(reading.body, name).map_err(|_| Refusal::Repeated),
        }
    }
}

/// [`ValueCondition`] made ready.
#[derive(Debug)]
pub(in crate::ingest) struct ConditionCheck {
    spot: Spot,
    is: Option<ExpectedText>,
    starts: Option<String>,
    hex: Option<(usize, usize)>,
    absent: bool,
}

/// The text that a value has to have.
#[derive(Debug)]
enum ExpectedText {
    Text(String),
    Param(ParamText),
}

impl ExpectedText {
    fn as_str(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Param(text) => text.as_str(),
        }
    }
}

impl ConditionCheck {
    pub(in crate::ingest) fn new(
        condition: &ValueCondition,
        pointers: &mut Pointers,
    ) -> Result<Self, String> {
        let spot = Spot::new(&condition.place, pointers)?;
        let is = match &condition.param {
            Some((_, Some(text))) => Some(ExpectedText::Param(text.clone())),
            Some((name, None)) => return Err(format!("the parameter `{name}` is not set")),
            None => condition.is.clone().map(ExpectedText::Text),
        };
        let ValueCondition { starts, hex, absent, .. } = condition.clone();
        Ok(Self { spot, is, starts, hex, absent })
    }

    /// Whether the body has to be there to look.
    pub(in crate::ingest) fn is_in_body(&self) -> bool {
        self.spot.is_in_body()
    }

    /// Whether it holds.
    pub(in crate::ingest) fn holds(&self, reading: PointedRequest<'_>) -> bool {
        match self.spot.value(reading) {
            Ok(Some(value)) => !self.absent && self.fits(&value),
            Ok(None) => self.absent,
            Err(_) => false,
        }
    }

    fn fits(&self, value: &[u8]) -> bool {
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_hex = |(least, most): (usize, usize)| {
            (least..=most).contains(&value.len()) && value.iter().all(is_digit)
        };
        self.is.as_ref().is_none_or(|is| bool::from(value.ct_eq(is.as_str().as_bytes())))
            && self.starts.as_ref().is_none_or(|start| value.starts_with(start.as_bytes()))
            && self.hex.is_none_or(is_hex)
    }
}

/// The decoded value of a query parameter that occurs once.
fn query<'a>(head: &'a Head, name: &str) -> Result<Option<Cow<'a, [u8]>>, Refusal> {
    let Some(query) = head.uri.query() else { return Ok(None) };
    form::field(query.as_bytes(), name).map_err(|_| Refusal::NoPart)
}
