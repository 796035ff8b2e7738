//! The end of an attempt, alike for every kind of plugin.

use crate::cloudevents::Document;
use crate::sandbox::bindings::exports::hookbox::plugin::handler::{Failure, NewEvent};

/// How the call into the guest ended.
pub(in crate::sandbox) enum Ended {
    /// The handler returned.
    Returned(Result<Vec<NewEvent>, Failure>),
    /// The handler returned something that the host does not take, and why.
    Refused(String),
    /// There is no instance.
    NotStarted(wasmtime::Error),
    /// The handler did not return.
    Failed(wasmtime::Error),
    /// The host panicked, with this text.
    Panicked(String),
    /// The time was up while the guest waited, for the host or for a run slot.
    TimedOut,
}

/// An event by a program that does not speak `hookbox:plugin`. The host sets id, source and time.
pub(super) fn from_document(document: Document) -> NewEvent {
    let Document { kind, subject, content_type, data, delay_ms, .. } = document;
    NewEvent { type_: kind, subject, data_content_type: content_type, data, delay_ms }
}
