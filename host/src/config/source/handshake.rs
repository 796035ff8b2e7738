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
    /// A value that is a new secret of the source: it is offered to the operator.
    pub offers: Option<Place>,
}

impl HandshakeRule {
    /// Whether it signs values of a request that nothing has proved.
    pub fn signs_unproved(&self) -> bool {
        let mut parts =
            self.answer.headers.iter().flat_map(|(_, parts)| parts).chain(&self.answer.body);
        !self.verified && parts.any(|part| matches!(part, AnswerPart::Hmac(..)))
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
            Self::Hmac(_, values) | Self::Digest(_, values) => values,
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
