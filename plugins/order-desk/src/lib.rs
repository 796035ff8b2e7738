//! Decides what becomes of an order. It keeps the order's state, and asks nobody.
//!
//! | event | the order was | becomes | returns |
//! | --- | --- | --- | --- |
//! | `order.created` | unknown | `making` | `order.accepted` |
//! | `hookbox.dead` of `video-details` | | | `order.video_failed`, which the join of the videos counts |
//! | `order.videos_ready` with no failure | `making` | `asked` | `approval.asked`, `approval.reminder` |
//! | `order.videos_ready` with a failure, `order.videos_late` | `making` | `refunding` | `order.refund_due` |
//! | `approval.answered` with `approval.granted` | `asked` | `approved` | `order.approved` |
//! | `approval.answered` with `approval.denied`, `approval.expired` | `asked` | `refunding` | `order.refund_due` |
//! | any other `hookbox.dead` | `making`, `approved` | `refunding` | `order.refund_due` |
//! | `order.complete`, `order.refunded` | `approved`, `refunding` | `complete`, `refunded` | nothing |
//!
//! An event that finds the order in another state changes nothing: an order that is being refunded is not delivered any more,
//! and is not refunded again. Deliveries with `key = "subject"` come one after the other for each order.
//!
//! The state is kept under `order/ID`. `open/ID` is there as long as the order has not ended, and `count/created`,
//! `count/complete` and `count/refunded/REASON` are counters: `order-report` reads both.

wit_bindgen::generate!({ world: "plugin", path: "../../wit" });

use exports::hookbox::plugin::handler::{Context, Event, Failure, Guest, NewEvent};
use hookbox::plugin::kv;
use hookbox::plugin::log::{Level, log};
use hookbox::plugin::types::RetryLater;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The largest order: one attempt of `order-videos` may send 32 requests.
const MAX_VIDEOS: usize = 32;

#[derive(Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Making,
    Asked,
    Approved,
    Complete,
    Refunding,
    Refunded,
}

#[derive(Deserialize, Serialize)]
struct Order {
    state: State,
    /// The order as the shop sent it.
    order: Value,
    /// Why it is refunded.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Each finished video, as HeyGen described it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    videos: Vec<Value>,
}

type Events = Result<Vec<NewEvent>, Failure>;

struct OrderDesk;

impl Guest for OrderDesk {
    fn handle(event: Event, _: Context) -> Events {
        let id = event.subject.as_deref().filter(|id| is_id(id));
        let id = id.ok_or_else(|| {
            reject("the subject is no order number: 1 to 64 of A-Z, a-z, 0-9, - and _")
        })?;
        let data: Value = serde_json::from_slice(&event.data)
            .map_err(|error| reject(&format!("the body is not JSON: {error}")))?;
        let refund = |states: &[State], reason: &str| refund(id, states, reason);
        match event.type_.as_str() {
            "order.created" => create(id, data),
            "order.videos_ready" => videos_ready(id, &data),
            "order.videos_late" => refund(&[State::Making], "videos-late"),
            "approval.answered" => match closing_type(&data) {
                "approval.granted" => approve(id),
                _ => refund(&[State::Asked], "approval-denied"),
            },
            "approval.expired" => refund(&[State::Asked], "approval-late"),
            "hookbox.dead" => match data["plugin"].as_str() {
                Some("video-details") => Ok(vec![video_failed(&data)]),
                Some("order-videos") => refund(&[State::Making], "not-made"),
                _ => refund(&[State::Approved], "not-delivered"),
            },
            "order.complete" => end(id, State::Approved, State::Complete),
            "order.refunded" => end(id, State::Refunding, State::Refunded),
            other => {
                log(Level::Info, &format!("nothing to do for an event of type {other}"));
                Ok(Vec::new())
            }
        }
    }
}

fn create(id: &str, order: Value) -> Events {
    let scripts =
        order["scripts"].as_array().filter(|scripts| scripts.iter().all(Value::is_string));
    let scripts = scripts.filter(|scripts| (1..=MAX_VIDEOS).contains(&scripts.len()));
    let scripts = scripts.ok_or_else(|| {
        reject(&format!("`scripts` of an order is a list of 1 to {MAX_VIDEOS} texts"))
    })?;
    if get(id)?.is_some() {
        log(Level::Warn, &format!("order {id} is there already: it is not begun again"));
        return Ok(Vec::new());
    }
    let accepted = new_event("order.accepted", json!({ "scripts": scripts }));
    put(id, &Order { state: State::Making, order, reason: None, videos: Vec::new() })?;
    kv::set(&format!("open/{id}"), b"").map_err(later)?;
    kv::add("count/created", 1).map_err(later)?;
    Ok(vec![accepted])
}

/// Every video of the order is there or has failed.
fn videos_ready(id: &str, gathered: &Value) -> Events {
    if members(gathered).any(|member| member["type"] == "order.video_failed") {
        return refund(id, &[State::Making], "video-failed");
    }
    let Some(mut order) = one_of(id, &[State::Making])? else { return Ok(Vec::new()) };
    let details = members(gathered).filter(|member| member["type"] == "video.details");
    order.videos = details.map(|member| member["data"].clone()).collect();
    order.state = State::Asked;
    put(id, &order)?;
    let data = json!({ "videos": order.videos });
    Ok(vec![new_event("approval.asked", data.clone()), new_event("approval.reminder", data)])
}

fn approve(id: &str) -> Events {
    let Some(mut order) = one_of(id, &[State::Asked])? else { return Ok(Vec::new()) };
    order.state = State::Approved;
    put(id, &order)?;
    Ok(vec![new_event("order.approved", json!({ "videos": order.videos }))])
}

fn refund(id: &str, states: &[State], reason: &str) -> Events {
    let Some(mut order) = one_of(id, states)? else { return Ok(Vec::new()) };
    order.state = State::Refunding;
    order.reason = Some(reason.to_owned());
    put(id, &order)?;
    Ok(vec![new_event("order.refund_due", json!({ "reason": reason }))])
}

fn end(id: &str, before: State, after: State) -> Events {
    let Some(mut order) = one_of(id, &[before])? else { return Ok(Vec::new()) };
    order.state = after;
    put(id, &order)?;
    kv::delete(&format!("open/{id}")).map_err(later)?;
    let counter = match &order.reason {
        Some(reason) => format!("count/refunded/{reason}"),
        None => "count/complete".to_owned(),
    };
    kv::add(&counter, 1).map_err(later)?;
    Ok(Vec::new())
}

/// A video whose details could not be fetched counts as failed.
fn video_failed(death: &Value) -> NewEvent {
    let video_id = &death["event"]["data"]["event_data"]["video_id"];
    new_event("order.video_failed", json!({ "video_id": video_id, "error": death["error"] }))
}

fn members(gathered: &Value) -> impl Iterator<Item = &Value> {
    gathered["members"].as_array().into_iter().flatten()
}

/// The type of the event that closed a join.
fn closing_type(gathered: &Value) -> &str {
    members(gathered).last().and_then(|member| member["type"].as_str()).unwrap_or_default()
}

/// The order if it is in one of these states; otherwise the log says what was not done.
fn one_of(id: &str, states: &[State]) -> Result<Option<Order>, Failure> {
    let Some(order) = get(id)? else {
        log(Level::Warn, &format!("there is no order {id}"));
        return Ok(None);
    };
    if states.contains(&order.state) {
        return Ok(Some(order));
    }
    let state = json!(order.state);
    log(
        Level::Info,
        &format!("order {id} is {}: nothing is changed", state.as_str().unwrap_or_default()),
    );
    Ok(None)
}

fn get(id: &str) -> Result<Option<Order>, Failure> {
    let Some(value) = kv::get(&format!("order/{id}")).map_err(later)? else { return Ok(None) };
    serde_json::from_slice(&value)
        .map(Some)
        .map_err(|error| reject(&format!("the state of order {id}: {error}")))
}

fn put(id: &str, order: &Order) -> Result<(), Failure> {
    let value = serde_json::to_vec(order).map_err(|error| reject(&error.to_string()))?;
    kv::set(&format!("order/{id}"), &value).map_err(later)
}

fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

/// An event about the same order.
fn new_event(kind: &str, data: Value) -> NewEvent {
    NewEvent {
        type_: kind.to_owned(),
        subject: None,
        data_content_type: Some("application/json".to_owned()),
        data: data.to_string().into_bytes(),
        delay_ms: None,
    }
}

fn later(error: kv::Error) -> Failure {
    Failure::Retry(RetryLater { reason: error.to_string(), after_ms: None })
}

fn reject(reason: &str) -> Failure {
    Failure::Reject(reason.to_owned())
}

export!(OrderDesk);
