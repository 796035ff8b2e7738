//! Asks HeyGen's API about a finished video, and returns what it knows as `video.details`.
//!
//! The notification of a finished video carries a link that expires; the API gives out a new one whenever it is asked, with
//! the duration and a thumbnail (<https://docs.heygen.com/reference/video-status>). The key for the API never comes here:
//! the host adds it on the wire, to requests that the rule in its configuration allows:
//!
//! ```toml
//! [plugins.video-details]
//! http = [{ host = "api.heygen.com", methods = ["GET"], path = "/v1/", headers = { X-Api-Key = { env = "HEYGEN_API_KEY" } } }]
//! ```
//!
//! `config = { api = "https://…" }` names another API, for a test.

wit_bindgen::generate!({ world: "plugin", path: "../../wit" });

use exports::hookbox::plugin::handler::{Context, Event, Failure, Guest, NewEvent};
use hookbox::plugin::config;
use hookbox::plugin::log::{Level, log};
use hookbox::plugin::types::RetryLater;
use serde::{Deserialize, Serialize};
use wstd::http::error::ErrorCode;
use wstd::http::{Body, Client, Request, StatusCode};

const API: &str = "https://api.heygen.com";

/// What is asked again after this long while HeyGen still works on the video, in milliseconds.
const NOT_READY_MS: u64 = 30_000;

/// The notification, as far as it matters here.
#[derive(Deserialize)]
struct Notification {
    event_data: EventData,
}

#[derive(Deserialize)]
struct EventData {
    video_id: Option<String>,
    callback_id: Option<String>,
}

/// The API's answer.
#[derive(Deserialize)]
struct Answer {
    data: Option<Video>,
}

#[derive(Deserialize)]
struct Video {
    status: String,
    video_url: Option<String>,
    thumbnail_url: Option<String>,
    duration: Option<f64>,
    error: Option<serde_json::Value>,
}

#[derive(Serialize)]
struct Details<'a> {
    video_id: &'a str,
    url: Option<String>,
    thumbnail_url: Option<String>,
    duration: Option<f64>,
}

struct VideoDetails;

impl Guest for VideoDetails {
    fn handle(event: Event, _: Context) -> Result<Vec<NewEvent>, Failure> {
        if event.type_ != "avatar_video.success" {
            log(Level::Info, &format!("nothing to do for an event of type {}", event.type_));
            return Ok(Vec::new());
        }
        let notification: Notification = serde_json::from_slice(&event.data)
            .map_err(|error| Failure::Reject(format!("the body is not a HeyGen notification: {error}")))?;
        let EventData { video_id, callback_id } = notification.event_data;
        let video_id = video_id.filter(|id| is_id(id));
        let video_id = video_id.ok_or_else(|| Failure::Reject("there is no usable event_data.video_id".to_owned()))?;
        let video = wstd::runtime::block_on(ask(&video_id))?;
        let details = Details {
            video_id: &video_id,
            url: video.video_url,
            thumbnail_url: video.thumbnail_url,
            duration: video.duration,
        };
        let data = serde_json::to_vec(&details).map_err(|error| Failure::Reject(error.to_string()))?;
        Ok(vec![NewEvent {
            type_: "video.details".to_owned(),
            subject: callback_id,
            data_content_type: Some("application/json".to_owned()),
            data,
            delay_ms: None,
        }])
    }
}

/// An id goes into a URL as it is.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// Asks until HeyGen has made up its mind; what may be otherwise later is asked again by the host.
async fn ask(video_id: &str) -> Result<Video, Failure> {
    let api = config::get("api").unwrap_or_else(|| API.to_owned());
    let request = Request::get(format!("{api}/v1/video_status.get?video_id={video_id}")).body(Body::empty());
    let request = request.map_err(|error| Failure::Reject(format!("`api` in the configuration: {error}")))?;
    let mut response = Client::new().send(request).await.map_err(unreachable)?;
    let status = response.status();
    if !status.is_success() {
        return Err(refused(status, response.headers().get("retry-after").and_then(|after| after.to_str().ok())));
    }
    let body = response.body_mut().contents().await.map_err(unreachable)?;
    let answer: Result<Answer, _> = serde_json::from_slice(body);
    match answer.map(|answer| answer.data) {
        Ok(Some(video)) if video.status == "completed" => Ok(video),
        Ok(Some(video)) if video.status == "failed" => {
            Err(Failure::Reject(format!("HeyGen failed to make it: {}", video.error.unwrap_or_default())))
        }
        Ok(Some(video)) => Err(retry(format!("HeyGen says it is {}", video.status), Some(NOT_READY_MS))),
        Ok(None) => Err(Failure::Reject("HeyGen knows nothing of this video".to_owned())),
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
        Some(ErrorCode::HttpRequestDenied) => {
            Failure::Reject("the request was refused by the host; the log says what would allow it".to_owned())
        }
        Some(code) => retry(format!("HeyGen cannot be reached: {code:?}"), None),
        None => retry(format!("HeyGen cannot be reached: {error}"), None),
    }
}

fn retry(reason: String, after_ms: Option<u64>) -> Failure {
    Failure::Retry(RetryLater { reason, after_ms })
}

export!(VideoDetails);
