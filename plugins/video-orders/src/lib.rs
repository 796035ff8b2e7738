//! Turns what HeyGen says about a video into news about the order it was made for.
//!
//! The order is the video's `callback_id`, which HeyGen echoes; it becomes the subject of the event that is returned, so
//! that everything about one order is found under one key.
//!
//! | event | becomes |
//! | --- | --- |
//! | `avatar_video.success` | `order.video_ready`: video id, URL, and the configured currency |
//! | `avatar_video.fail` | `order.video_failed`: video id and error |
//! | any other type | nothing but a line in the log |
//!
//! With `"simulate": "outage"` in `event_data` every attempt asks for a retry: a way to watch one.

wit_bindgen::generate!({ world: "plugin", path: "../../wit" });

use exports::hookbox::plugin::handler::{Context, Event, Failure, Guest, NewEvent};
use hookbox::plugin::config;
use hookbox::plugin::log::{Level, log};
use hookbox::plugin::types::RetryLater;
use serde::{Deserialize, Serialize};

/// The body of every HeyGen webhook, as far as it matters here.
#[derive(Deserialize)]
struct Notification {
    event_data: EventData,
}

/// Two generations of names are in use, and a payload may carry both: `url` and `msg` are today's, `video_url` and
/// `error` the older ones.
#[derive(Deserialize)]
struct EventData {
    video_id: Option<String>,
    url: Option<String>,
    video_url: Option<String>,
    msg: Option<String>,
    error: Option<String>,
    callback_id: Option<String>,
    simulate: Option<String>,
}

#[derive(Serialize)]
struct VideoReady<'a> {
    video_id: &'a str,
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
}

#[derive(Serialize)]
struct VideoFailed<'a> {
    video_id: &'a str,
    error: &'a str,
}

struct VideoOrders;

impl Guest for VideoOrders {
    fn handle(event: Event, context: Context) -> Result<Vec<NewEvent>, Failure> {
        match event.type_.as_str() {
            "avatar_video.success" => {
                let data = read(&event, &context)?;
                let video_id = required(data.video_id.as_ref(), "video_id")?;
                let url = required(data.url.as_ref().or(data.video_url.as_ref()), "url")?;
                let ready = VideoReady { video_id, url, currency: config::get("currency") };
                emit("order.video_ready", &data, &ready)
            }
            "avatar_video.fail" => {
                let data = read(&event, &context)?;
                let video_id = required(data.video_id.as_ref(), "video_id")?;
                let error = data.msg.as_deref().or(data.error.as_deref()).unwrap_or("no reason was given");
                emit("order.video_failed", &data, &VideoFailed { video_id, error })
            }
            other => {
                log(Level::Info, &format!("nothing to do for an event of type {other}"));
                Ok(Vec::new())
            }
        }
    }
}

fn read(event: &Event, context: &Context) -> Result<EventData, Failure> {
    let parsed: Result<Notification, _> = serde_json::from_slice(&event.data);
    let data =
        parsed.map_err(|error| Failure::Reject(format!("the body is not a HeyGen notification: {error}")))?.event_data;
    if data.simulate.as_deref() == Some("outage") {
        let reason = format!("simulated outage (attempt {} of {})", context.attempt, context.max_attempts);
        return Err(Failure::Retry(RetryLater { reason, after_ms: None }));
    }
    Ok(data)
}

/// What can never succeed is rejected: another attempt would find the same payload.
fn required<'a>(value: Option<&'a String>, name: &str) -> Result<&'a str, Failure> {
    let value = value.map(String::as_str).filter(|value| !value.is_empty());
    value.ok_or_else(|| Failure::Reject(format!("the payload has no event_data.{name}")))
}

fn emit(kind: &str, about: &EventData, data: &impl Serialize) -> Result<Vec<NewEvent>, Failure> {
    let data = serde_json::to_vec(data).map_err(|error| Failure::Reject(error.to_string()))?;
    log(Level::Info, &format!("{kind} for order {}", about.callback_id.as_deref().unwrap_or("-")));
    Ok(vec![NewEvent {
        type_: kind.to_owned(),
        subject: about.callback_id.clone(),
        data_content_type: Some("application/json".to_owned()),
        data,
        delay_ms: None,
    }])
}

export!(VideoOrders);
