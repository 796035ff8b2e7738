//! A span that has ended.

use std::borrow::Cow;

use super::context::{SpanContext, SpanId};

/// The part that a span plays for its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Answers a request.
    Server,
    /// Makes a request and waits for its answer.
    Client,
    /// Makes an event that is handled later.
    Producer,
    /// Handles an event.
    Consumer,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldValue {
    /// A text.
    Text(Cow<'static, str>),
    /// A whole number.
    Number(i64),
    /// True or false.
    Truth(bool),
}

impl From<&'static str> for FieldValue {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for FieldValue {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<bool> for FieldValue {
    fn from(truth: bool) -> Self {
        Self::Truth(truth)
    }
}

impl From<i64> for FieldValue {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<u64> for FieldValue {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for FieldValue {
    fn from(number: usize) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for FieldValue {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u16> for FieldValue {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

/// The attributes of a span, in the order in which they were added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpanFields(pub Vec<(&'static str, FieldValue)>);

impl SpanFields {
    /// Adds an attribute.
    pub fn add(&mut self, name: &'static str, value: impl Into<FieldValue>) {
        self.0.push((name, value.into()));
    }

    /// Adds an attribute, if there is a value.
    pub fn maybe(&mut self, name: &'static str, value: Option<impl Into<FieldValue>>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }
}

/// A span that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanRecord {
    /// Its ids.
    pub context: SpanContext,
    /// The span that it is a part of, in the same trace.
    pub parent: Option<SpanId>,
    /// A span that it has to do with, usually of another trace.
    pub link: Option<SpanContext>,
    /// Names a class of spans; what is special to this one is in its attributes.
    pub name: Cow<'static, str>,
    /// The part that it plays for its parent.
    pub kind: SpanKind,
    /// Its start, Unix time in nanoseconds.
    pub start_ns: u64,
    /// Its end.
    pub end_ns: u64,
    /// Its attributes.
    pub fields: SpanFields,
    /// Whether it failed.
    pub failed: bool,
}
