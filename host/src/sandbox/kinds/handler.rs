//! A component that exports `hookbox:plugin/handler`: a function from an event to events.

use wasmtime::Store;

use super::ended::Ended;
use crate::clock;
use crate::sandbox::Call;
use crate::sandbox::bindings::Plugin;
use crate::sandbox::bindings::exports::hookbox::plugin::handler::{Context, Event};
use crate::sandbox::host::AttemptState;

/// Calls the handler with the event.
pub(super) async fn call(instance: &Plugin, store: &mut Store<AttemptState>, call: &Call) -> Ended {
    let attributes = &call.event.attributes;
    let id = call.event.id.to_string();
    let parent = call.event.parent.map(|parent| parent.to_string());
    let time = clock::rfc3339(attributes.time_ms);
    let event = Event {
        id: &id,
        source: &attributes.source,
        type_: &attributes.kind,
        subject: attributes.subject.as_deref(),
        time: &time,
        data_content_type: attributes.content_type.as_deref(),
        data: &attributes.body,
    };
    let context = Context {
        attempt: call.attempt,
        max_attempts: call.max_attempts,
        idempotency_key: &call.idempotency_key,
        parent: parent.as_deref(),
    };
    match instance.hookbox_plugin_handler().call_handle(store, event, context).await {
        Ok(returned) => Ended::Returned(returned),
        Err(error) => Ended::Failed(error),
    }
}
