//! Which span it is: the ids of W3C Trace Context (<https://www.w3.org/TR/trace-context/>).

use std::fmt;

use http::HeaderMap;

/// The length of a context as it is stored.
const STORED_BYTES: usize = 24;

/// The length of a `traceparent` of version 00.
const TRACEPARENT_BYTES: usize = 55;

/// Identifies a trace: 16 bytes, not all of them zero. Its text is 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// Identifies a span within its trace: 8 bytes, not all of them zero. Its text is 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

/// A span and its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanContext {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
}

impl TraceId {
    /// The id of these bytes, unless all are zero.
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// Its bytes.
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// Draws one.
    pub(super) fn random() -> Self {
        Self(random())
    }
}

impl SpanId {
    /// The id of these bytes, unless all are zero.
    pub fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        (bytes != [0; 8]).then_some(Self(bytes))
    }

    /// Its bytes.
    pub fn bytes(self) -> [u8; 8] {
        self.0
    }

    /// Draws one.
    pub(super) fn random() -> Self {
        Self(random())
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    while bytes == [0; N] {
        getrandom::fill(&mut bytes).expect("the operating system gives random numbers");
    }
    bytes
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl SpanContext {
    /// The stored form.
    pub fn to_bytes(self) -> [u8; STORED_BYTES] {
        let mut bytes = [0; STORED_BYTES];
        bytes[..16].copy_from_slice(&self.trace.0);
        bytes[16..].copy_from_slice(&self.span.0);
        bytes
    }

    /// Reads the stored form. Anything else is no context.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; STORED_BYTES] = bytes.try_into().ok()?;
        let (trace, span) = bytes.split_at(16);
        Some(Self {
            trace: TraceId::from_bytes(trace.try_into().ok()?)?,
            span: SpanId::from_bytes(span.try_into().ok()?)?,
        })
    }

    /// The value of a `traceparent` header. Every span of the host is recorded, so the flag says
    /// that.
    pub fn traceparent(self) -> String {
        format!("00-{}-{}-01", self.trace, self.span)
    }

    /// Reads the value of a `traceparent` header, of version 00 or a later one.
    pub fn read(text: &str) -> Option<Self> {
        let rest = text.get(TRACEPARENT_BYTES..)?;
        let is_hex =
            |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let mut parts = text[..TRACEPARENT_BYTES].split('-');
        let mut part =
            |length: usize| parts.next().filter(|part| part.len() == length && is_hex(part));
        let version = part(2).filter(|version| *version != "ff")?;
        let (trace, span, _flags) = (part(32)?, part(16)?, part(2)?);
        let ends_well = if version == "00" { rest.is_empty() } else { rest_of_later(rest) };
        let mut bytes = [0; STORED_BYTES];
        hex::decode_to_slice(trace, &mut bytes[..16]).ok()?;
        hex::decode_to_slice(span, &mut bytes[16..]).ok()?;
        if ends_well { Self::from_bytes(&bytes) } else { None }
    }
}

/// The span that a request names as its own, if it names exactly one.
pub fn senders_span(headers: &HeaderMap) -> Option<SpanContext> {
    let mut values = headers.get_all("traceparent").iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    SpanContext::read(value.to_str().ok()?.trim())
}

/// Whether a later version may go on like this.
fn rest_of_later(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_read_back_as_it_is_written() {
        let context = SpanContext::read(EXAMPLE).unwrap();
        assert_eq!(context.traceparent(), EXAMPLE);
        assert_eq!(SpanContext::from_bytes(&context.to_bytes()), Some(context));
        let drawn = SpanContext { trace: TraceId::random(), span: SpanId::random() };
        assert_eq!(SpanContext::read(&drawn.traceparent()), Some(drawn));
        assert_ne!(TraceId::random(), TraceId::random());
    }

    #[test]
    fn a_later_version_may_be_longer_and_the_flags_may_be_any() {
        for text in [
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes",
        ] {
            assert_eq!(SpanContext::read(text), SpanContext::read(EXAMPLE), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_traceparent_is_none() {
        for text in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "00-4bf92f3577b34da6a3ce929d0e0e47361-0f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0é",
        ] {
            assert_eq!(SpanContext::read(text), None, "{text}");
        }
        assert_eq!(SpanContext::from_bytes(&[1; 23]), None);
        assert_eq!(SpanContext::from_bytes(&[0; 24]), None);
    }
}
