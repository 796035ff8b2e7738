//! The span that appends an event: its *creation context*. It is stored with the event, so that
//! every attempt belongs to the trace of its event, also after a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::NewEvent;
use super::ids::EventId;
use crate::trace::{OpenSpan, SpanContext, SpanFields, SpanKind};

/// The version of CloudEvents whose attributes events have.
const CLOUDEVENTS: &str = "1.0";

/// The span that makes an event, on its way into the store.
#[derive(Debug)]
pub struct CreationSpan {
    context: SpanContext,
    /// The event's row key, once it is stored.
    stored_as: AtomicI64,
}

impl CreationSpan {
    /// Its ids.
    pub fn context(&self) -> SpanContext {
        self.context
    }

    /// Notes the id under which the event is stored.
    pub fn stored_as(&self, id: EventId) {
        self.stored_as.store(id.row(), Ordering::Release);
    }

    /// The id of the event, once it is stored.
    pub fn id(&self) -> Option<EventId> {
        let row = self.stored_as.load(Ordering::Acquire);
        (row > 0).then(|| EventId::from_row(row))
    }
}

impl From<SpanContext> for CreationSpan {
    fn from(context: SpanContext) -> Self {
        Self { context, stored_as: AtomicI64::new(0) }
    }
}

/// The span of an append that is under way.
#[derive(Debug)]
pub struct AppendSpan {
    span: OpenSpan,
    creation: Arc<CreationSpan>,
    name: String,
    fields: SpanFields,
    /// The root of the event's tree, unless that is the event itself.
    root: Option<EventId>,
}

impl AppendSpan {
    /// Makes `span` the one that appends `event`, which belongs to the tree of `root`.
    pub fn begin(span: OpenSpan, event: &mut NewEvent, root: Option<EventId>) -> Self {
        let creation = Arc::new(CreationSpan::from(span.context()));
        event.trace = Some(Arc::clone(&creation));
        let attributes = &event.attributes;
        let source = &*attributes.source;
        let mut fields = SpanFields::default();
        fields.add("messaging.system", "hookbox");
        fields.add("messaging.operation.name", "append");
        fields.add("messaging.operation.type", "send");
        fields.add("messaging.destination.name", source.to_owned());
        fields.add("messaging.message.body.size", attributes.body.len());
        fields.add("cloudevents.event_source", source.to_owned());
        fields.add("cloudevents.event_type", attributes.kind.clone());
        fields.add("cloudevents.event_spec_version", CLOUDEVENTS);
        if span.tracer().tells_subjects() {
            fields.maybe("cloudevents.event_subject", attributes.subject.clone());
        }
        Self { name: format!("append {source}"), span, creation, fields, root }
    }

    /// Ends it, if the store has taken the event.
    pub fn end(self) {
        if let Some(id) = self.creation.id() {
            self.end_as(id, false);
        }
    }

    /// Ends it: the event has this id, or is a duplicate of the one that has it.
    pub fn end_as(mut self, id: EventId, duplicate: bool) {
        let root = self.root.unwrap_or(id);
        self.fields.add("messaging.message.id", id.to_string());
        self.fields.add("messaging.message.conversation_id", root.to_string());
        self.fields.add("cloudevents.event_id", id.to_string());
        if duplicate {
            self.fields.add("hookbox.event.duplicate", true);
        }
        self.span.end(self.name, SpanKind::Producer, self.fields, false);
    }
}
