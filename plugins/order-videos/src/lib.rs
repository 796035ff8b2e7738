//! Has HeyGen make the videos of an order, each of them once.
//!
//! It takes `order.accepted` (`{"scripts": ["…", "…"]}`), requests a video for each script
//! (<https://docs.heygen.com/reference/create-an-avatar-video-v2>), and returns `order.started` with the number of videos and
//! their ids. HeyGen's webhooks about them carry the order as their `callback_id`.
//!
//! A video costs money, so each request is a step: its video id is recorded, and an attempt that is made again goes on behind
//! it. An attempt may be interrupted after the request and before the record is on disk. The request is then repeated under
//! the same idempotency key.
//!
//! ```toml
//! [plugins.order-videos]
//! config = { avatar = "Angela-inblackskirt-20220820", voice = "1bd001e7e50f421d891986aad5158bc8" }
//! http = [{ host = "api.heygen.com", methods = ["POST"], path = "/v2/", headers = { X-Api-Key = { env = "HEYGEN_API_KEY" } } }]
//! ```
//!
//! `config = { api = "https://…" }` names another API, for a test.

wit_bindgen::generate!({ world: "plugin", path: "../../wit" });

use exports::hookbox::plugin::handler::{Context, Event, Failure, Guest, NewEvent};
use hookbox::plugin::config;
use hookbox::plugin::log::{Level, log};
use hookbox::plugin::steps;
use hookbox::plugin::types::RetryLater;
use serde::{Deserialize, Serialize};
use serde_json::json;
use wstd::http::error::ErrorCode;
use wstd::http::{Body, Client, Request, StatusCode};

const API: &str = "https://api.heygen.com";

/// An attempt may send 32 requests.
const MAX_VIDEOS: usize = 32;

#[derive(Deserialize)]
struct Order {
    scripts: Vec<String>,
}

/// The API's answer.
#[derive(Deserialize)]
struct Answer {
    data: Option<Made>,
}

#[derive(Deserialize)]
struct Made {
    video_id: String,
}

#[derive(Serialize)]
struct Started {
    videos: usize,
    video_ids: Vec<String>,
}

struct OrderVideos;

impl Guest for OrderVideos {
    fn handle(event: Event, context: Context) -> Result<Vec<NewEvent>, Failure> {
        if event.type_ != "order.accepted" {
            log(Level::Info, &format!("nothing to do for an event of type {}", event.type_));
            return Ok(Vec::new());
        }
        let order =
            event.subject.ok_or_else(|| Failure::Reject("the event has no subject".to_owned()))?;
        let Order { scripts } = serde_json::from_slice(&event.data)
            .map_err(|error| Failure::Reject(format!("the body is not an order: {error}")))?;
        if scripts.is_empty() || scripts.len() > MAX_VIDEOS {
            return Err(Failure::Reject(format!(
                "an order has 1 to {MAX_VIDEOS} scripts, not {}",
                scripts.len()
            )));
        }
        let mut video_ids = Vec::new();
        for (number, script) in scripts.iter().enumerate() {
            let name = format!("video-{}", number + 1);
            let key = format!("{}/{name}", context.idempotency_key);
            video_ids.push(step(&name, || wstd::runtime::block_on(make(&order, script, &key)))?);
        }
        let started = Started { videos: video_ids.len(), video_ids };
        let data =
            serde_json::to_vec(&started).map_err(|error| Failure::Reject(error.to_string()))?;
        Ok(vec![NewEvent {
            type_: "order.started".to_owned(),
            subject: Some(order),
            data_content_type: Some("application/json".to_owned()),
            data,
            delay_ms: None,
        }])
    }
}

/// Does something once: a later attempt gets the recorded result.
fn step(name: &str, run: impl FnOnce() -> Result<String, Failure>) -> Result<String, Failure> {
    let failed = |error: steps::Error| retry(error.to_string(), None);
    if let Some(result) = steps::recall(name).map_err(failed)? {
        return Ok(String::from_utf8_lossy(&result).into_owned());
    }
    let result = run()?;
    steps::record(name, result.as_bytes()).map_err(failed)?;
    Ok(result)
}

/// Requests one video; its id.
async fn make(order: &str, script: &str, key: &str) -> Result<String, Failure> {
    let setting = |name: &str| {
        let missing = || Failure::Reject(format!("`{name}` is missing in `config` of the plugin"));
        config::get(name).ok_or_else(missing)
    };
    let body = json!({
        "callback_id": order,
        "dimension": { "width": 1280, "height": 720 },
        "video_inputs": [{
            "character": { "type": "avatar", "avatar_id": setting("avatar")? },
            "voice": { "type": "text", "input_text": script, "voice_id": setting("voice")? },
        }],
    });
    let api = config::get("api").unwrap_or_else(|| API.to_owned());
    let request = Request::post(format!("{api}/v2/video/generate"))
        .header("content-type", "application/json")
        .header("idempotency-key", key)
        .body(Body::from(body.to_string()))
        .map_err(|error| Failure::Reject(format!("`api` in the configuration: {error}")))?;
    let mut response = Client::new().send(request).await.map_err(unreachable)?;
    let status = response.status();
    if !status.is_success() {
        return Err(refused(
            status,
            response.headers().get("retry-after").and_then(|after| after.to_str().ok()),
        ));
    }
    let body = response.body_mut().contents().await.map_err(unreachable)?;
    match serde_json::from_slice::<Answer>(body) {
        Ok(Answer { data: Some(made) }) => Ok(made.video_id),
        Ok(Answer { data: None }) => {
            Err(Failure::Reject("HeyGen's answer names no video".to_owned()))
        }
        Err(error) => Err(retry(format!("HeyGen's answer cannot be read: {error}"), None)),
    }
}

/// Too much and too busy pass; anything else will be the same next time.
fn refused(status: StatusCode, after: Option<&str>) -> Failure {
    let reason = format!("HeyGen answered {status}");
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        let seconds = after.and_then(|after| after.parse::<u64>().ok());
        return retry(reason, seconds.map(|seconds| seconds.saturating_mul(1_000)));
    }
    Failure::Reject(reason)
}

/// A request that is not granted will not be granted by itself.
fn unreachable(error: wstd::http::Error) -> Failure {
    match error.downcast_ref() {
        Some(ErrorCode::HttpRequestDenied) => Failure::Reject(
            "the request was refused by the host; the log says what would allow it".to_owned(),
        ),
        Some(code) => retry(format!("HeyGen cannot be reached: {code:?}"), None),
        None => retry(format!("HeyGen cannot be reached: {error}"), None),
    }
}

fn retry(reason: String, after_ms: Option<u64>) -> Failure {
    Failure::Retry(RetryLater { reason, after_ms })
}

export!(OrderVideos);
