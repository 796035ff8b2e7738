//! Has the shop do its part of an order, through the shop's own API.
//!
//! | event | request | returns |
//! | --- | --- | --- |
//! | `approval.asked` | `POST /orders/ID/approval`: the shop shows the videos to its customer | nothing |
//! | `approval.reminder` | `POST /orders/ID/reminder` | nothing |
//! | `order.approved` | `POST /orders/ID/delivery` | `order.complete` |
//! | `order.refund_due` | `POST /orders/ID/refund` | `order.refunded` |
//! | `report.ready` | `POST /reports` | nothing |
//!
//! The body of a request is the event's, and the returned event has the same one. The host adds the delivery's idempotency key
//! to each request, so that the shop does nothing twice when an attempt is made again. The shop answers 2xx if it has done what
//! it was asked, 429 or 5xx if it should be asked again, and anything else if it never will.
//!
//! ```toml
//! [plugins.order-shop]
//! config = { api = "https://shop.example.com/hooks" }
//! http = [{ host = "shop.example.com", methods = ["POST"], path = "/hooks/", headers = { X-Api-Key = { env = "SHOP_API_KEY" } } }]
//! ```

wit_bindgen::generate!({ world: "plugin", path: "../../wit" });

use exports::hookbox::plugin::handler::{Context, Event, Failure, Guest, NewEvent};
use hookbox::plugin::config;
use hookbox::plugin::log::{Level, log};
use hookbox::plugin::types::RetryLater;
use wstd::http::error::ErrorCode;
use wstd::http::{Body, Client, Request, StatusCode};

struct OrderShop;

impl Guest for OrderShop {
    fn handle(event: Event, _: Context) -> Result<Vec<NewEvent>, Failure> {
        let (action, returns) = match event.type_.as_str() {
            "approval.asked" => ("approval", None),
            "approval.reminder" => ("reminder", None),
            "order.approved" => ("delivery", Some("order.complete")),
            "order.refund_due" => ("refund", Some("order.refunded")),
            "report.ready" => ("", None),
            other => {
                log(Level::Info, &format!("nothing to do for an event of type {other}"));
                return Ok(Vec::new());
            }
        };
        let path = if action.is_empty() {
            "reports".to_owned()
        } else {
            let order = event.subject.as_deref().filter(|id| is_id(id));
            let order = order.ok_or_else(|| {
                Failure::Reject("the subject is no usable order number".to_owned())
            })?;
            format!("orders/{order}/{action}")
        };
        wstd::runtime::block_on(post(&path, &event.data))?;
        let next = |kind: &str| NewEvent {
            type_: kind.to_owned(),
            subject: event.subject.clone(),
            data_content_type: event.data_content_type.clone(),
            data: event.data.clone(),
            delay_ms: None,
        };
        Ok(returns.map(next).into_iter().collect())
    }
}

/// A number goes into a URL as it is.
fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

async fn post(path: &str, data: &[u8]) -> Result<(), Failure> {
    let api = config::get("api")
        .ok_or_else(|| Failure::Reject("`api` is missing in `config` of the plugin".to_owned()))?;
    let request = Request::post(format!("{api}/{path}")).header("content-type", "application/json");
    let request = request.body(Body::from(data));
    let request =
        request.map_err(|error| Failure::Reject(format!("`api` in the configuration: {error}")))?;
    let response = Client::new().send(request).await.map_err(unreachable)?;
    let status = response.status();
    let after = response
        .headers()
        .get("retry-after")
        .and_then(|after| after.to_str().ok()?.parse::<u64>().ok());
    let reason = format!("the shop answered {status}");
    match status {
        _ if status.is_success() => Ok(()),
        StatusCode::TOO_MANY_REQUESTS => Err(retry(reason, after)),
        _ if status.is_server_error() => Err(retry(reason, after)),
        _ => Err(Failure::Reject(reason)),
    }
}

/// A request that is not granted will not be granted by itself.
fn unreachable(error: wstd::http::Error) -> Failure {
    match error.downcast_ref() {
        Some(ErrorCode::HttpRequestDenied) => Failure::Reject(
            "the request was refused by the host; the log says what would allow it".to_owned(),
        ),
        Some(code) => retry(format!("the shop cannot be reached: {code:?}"), None),
        None => retry(format!("the shop cannot be reached: {error}"), None),
    }
}

fn retry(reason: String, after_seconds: Option<u64>) -> Failure {
    let after_ms = after_seconds.map(|seconds| seconds.saturating_mul(1_000));
    Failure::Retry(RetryLater { reason, after_ms })
}

export!(OrderShop);
