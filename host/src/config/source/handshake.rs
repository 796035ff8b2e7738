//! Requests that a source answers without storing anything, as data.

use super::Encoding;
use super::place::{Place, ValueCondition};

/// A kind of request, what proves it, and the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandshakeRule {
    /// The method.
    pub method: HandshakeMethod,
    /// The conditions, all of which hold.
    pub when: Vec<ValueCondition>,
    /// An RFC 6901 pointer to a list in the JSON body that is empty.
    pub empty: Option<String>,
    /// Whether the request has to be authentic like an event.
    pub verified: bool,
    /// A value that has to equal a parameter of the source.
    pub check: Option<(Place, String)>,
    /// The status for a request whose value is another one.
    pub refuse_status: u16,
    /// The answer.
    pub answer: AnswerRule,
    /// The place of a new secret of the source, which is kept while an operator waits for it.
    pub offers: Option<Place>,
    /// Whether the operator has to see that secret once.
    pub shows_offer: bool,
    /// The address that is asked after the answer.
    pub then: Option<ThenGet>,
}

/// An address in a handshake that the provider wants to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThenGet {
    /// The place of the address.
    pub from: Place,
    /// The hosts that are asked; `*.` in front stands for one label, also in the middle.
    pub hosts: Vec<String>,
}

impl HandshakeMethod {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
            Self::Post => "POST",
        }
    }
}

impl HandshakeRule {
    /// Whether its answer has the address of the request.
    pub fn uses_url(&self) -> bool {
        let headers = self.answer.headers.iter().flat_map(|(_, parts)| parts);
        let mut values = headers.chain(&self.answer.body).flat_map(AnswerPart::values);
        values.any(|value| *value == AnswerValue::Url)
    }

    /// Whether it signs values of a request that nothing has proved.
    pub fn signs_unproved(&self) -> bool {
        let mut parts =
            self.answer.headers.iter().flat_map(|(_, parts)| parts).chain(&self.answer.body);
        !self.verified
            && parts.any(|part| matches!(part, AnswerPart::Hmac(..) | AnswerPart::HmacSha1(..)))
    }

    /// The names of the parameters that it needs.
    pub fn params(&self) -> Vec<String> {
        let headers = self.answer.headers.iter().flat_map(|(_, parts)| parts);
        let values = headers.chain(&self.answer.body).flat_map(AnswerPart::values);
        let answered = values.filter_map(|value| match value {
            AnswerValue::Param(name) => Some(name.clone()),
            AnswerValue::Request(_) | AnswerValue::Url => None,
        });
        let mut names: Vec<_> = answered.collect();
        names.extend(self.check.as_ref().map(|(_, name)| name.clone()));
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl AnswerPart {
    /// The values in it.
    pub fn values(&self) -> &[AnswerValue] {
        match self {
            Self::Text(_) => &[],
            Self::Value(value) => std::slice::from_ref(value),
            Self::Hmac(_, values) | Self::HmacSha1(_, values) | Self::Digest(_, values) => values,
        }
    }
}

/// A method of handshakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of HTTP")]
pub enum HandshakeMethod {
    Get,
    Head,
    Options,
    Post,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerRule {
    /// The status.
    pub status: u16,
    /// The media type; values in JSON are escaped.
    pub content_type: Option<String>,
    /// Further headers, lower case.
    pub headers: Vec<(String, Vec<AnswerPart>)>,
    /// The body.
    pub body: Vec<AnswerPart>,
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerPart {
    /// This text.
    Text(String),
    /// A value.
    Value(AnswerValue),
    /// The HMAC-SHA256 of values in a row, with the first secret.
    Hmac(Encoding, Vec<AnswerValue>),
    /// The HMAC-SHA1 of values in a row, likewise.
    HmacSha1(Encoding, Vec<AnswerValue>),
    /// The SHA-256 of values in a row.
    Digest(Encoding, Vec<AnswerValue>),
}

/// A value in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerValue {
    /// A value of the request.
    Request(Place),
    /// A parameter of the source.
    Param(String),
    /// The address of the request without its query: `public_url` and the path.
    Url,
}
