//! Spans: what the road tells of itself, event by event.
//!
//! A [`Tracer`] begins spans, and an [`OpenSpan`] ends as a [`SpanRecord`] in a bounded queue,
//! which `telemetry` sends on. Nothing here waits: a record that finds the queue full is dropped
//! and counted. A tracer that is off begins none, allocates nothing and reads no clock.

pub use self::context::{SpanContext, SpanId, TraceId, senders_span};
pub use self::current::{EnteredSpan, current, enter, within};
pub use self::span::{FieldValue, SpanFields, SpanKind, SpanRecord};
pub use self::tracer::{OpenSpan, SpanParent, TraceSettings, Tracer, dropped_spans};

mod context;
mod current;
mod span;
mod tracer;
