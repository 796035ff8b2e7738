//! What happens when HeyGen has news of a video.
//!
//! The first part is what you write: a function for each type of event. The second part, at the end, ties it to hookbox;
//! it stays as it is.

use exports::hookbox::plugin::handler::{Context, Event, Failure, Guest, NewEvent};
use hookbox::plugin::log::{Level, log};
use hookbox::plugin::steps;
use hookbox::plugin::types::RetryLater;
use serde_json::{Value, json};

wit_bindgen::generate!({ world: "plugin", path: "wit" });

fn process_webhook_event(event_type: &str, body: &Value) -> Result<Vec<NewEvent>, Failure> {
    info(format!("Received event: {event_type}"));

    let data = &body["event_data"];
    if !data.is_object() {
        return Err(reject("not a HeyGen notification"));
    }
    match data["simulate"].as_str() {
        Some("outage") => return Err(retry("simulated outage")),
        Some("refusal") => return Err(reject("simulated refusal")),
        _ => {}
    }

    match event_type {
        "avatar_video.success" => Ok(handle_video_success(data)),
        "avatar_video.fail" => Ok(handle_video_failure(data)),
        "video_translate.success" => Ok(handle_translation_success(data)),
        _ => {
            info(format!("Unknown event type: {event_type}"));
            Ok(vec![])
        }
    }
}

// HeyGen has renamed some fields: `video_url` and `url` are the same, and so are `error` and `msg`.

fn handle_video_success(data: &Value) -> Vec<NewEvent> {
    let url = text(data, "video_url").or(text(data, "url"));
    let callback_id = text(data, "callback_id");

    info(format!("Video ready: {}", url.unwrap_or("null")));
    vec![new_event("order.video_ready", callback_id, &json!({ "order": callback_id, "url": url }))]
}

fn handle_video_failure(data: &Value) -> Vec<NewEvent> {
    let error = text(data, "error").or(text(data, "msg"));
    let callback_id = text(data, "callback_id");

    info(format!("Video failed: {}", error.unwrap_or("null")));
    vec![new_event("order.video_failed", callback_id, &json!({ "order": callback_id, "error": error }))]
}

fn handle_translation_success(data: &Value) -> Vec<NewEvent> {
    let url = text(data, "video_url").or(text(data, "url"));
    let callback_id = text(data, "callback_id");

    info(format!("Translation ready: {}", url.unwrap_or("null")));
    vec![new_event("order.translation_ready", callback_id, &json!({ "order": callback_id, "url": url }))]
}

/// A text member; `None` if it is not there, not a text, or empty.
fn text<'a>(data: &'a Value, name: &str) -> Option<&'a str> {
    data[name].as_str().filter(|text| !text.is_empty())
}

// ---------------------------------------------------------------------------------------------------------------------
// The glue: bytes in, events out. A panic counts as a crash, which is tried again.

struct Handler;

export!(Handler);

impl Guest for Handler {
    fn handle(event: Event, _context: Context) -> Result<Vec<NewEvent>, Failure> {
        // Not JSON: an event without data.
        let body = serde_json::from_slice(&event.data).unwrap_or_default();
        process_webhook_event(&event.type_, &body)
    }
}

/// Does something once: if an attempt fails after it, or asks to be called again by `steps::again`, the next one gets the
/// same result. `kv` keeps values from event to event, and `config` reads settings.
pub fn step(name: &str, run: impl FnOnce() -> Result<Vec<u8>, Failure>) -> Result<Vec<u8>, Failure> {
    if let Some(result) = steps::recall(name).map_err(|error| retry(&error.to_string()))? {
        return Ok(result);
    }
    let result = run()?;
    steps::record(name, &result).map_err(|error| retry(&error.to_string()))?;
    Ok(result)
}

/// Asks for another attempt.
fn retry(reason: &str) -> Failure {
    Failure::Retry(RetryLater { reason: reason.to_owned(), after_ms: None })
}

/// Asks for none.
fn reject(reason: &str) -> Failure {
    Failure::Reject(reason.to_owned())
}

/// An event that follows from this one; without a subject it has that of this one.
fn new_event(event_type: &str, subject: Option<&str>, data: &Value) -> NewEvent {
    NewEvent {
        type_: event_type.to_owned(),
        subject: subject.map(str::to_owned),
        data_content_type: Some("application/json".to_owned()),
        data: data.to_string().into_bytes(),
        delay_ms: None,
    }
}

fn info(line: String) {
    log(Level::Info, &line);
}
