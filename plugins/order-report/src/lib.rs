//! Sums up the orders that `order-desk` keeps, from the bucket that both share, and returns `report.ready`:
//!
//! ```json
//! { "created": 120, "complete": 97, "refunded": { "approval-late": 4, "video-failed": 11 }, "open": ["order_117"] }
//! ```
//!
//! Of open orders it names the first 1,000, by number.

wit_bindgen::generate!({ world: "plugin", path: "../../wit" });

use std::collections::BTreeMap;

use exports::hookbox::plugin::handler::{Context, Event, Failure, Guest, NewEvent};
use hookbox::plugin::kv;
use hookbox::plugin::log::{Level, log};
use hookbox::plugin::types::RetryLater;
use serde_json::json;

/// As many as one listing has.
const MAX_KEYS: u32 = 1_000;

struct OrderReport;

impl Guest for OrderReport {
    fn handle(event: Event, _: Context) -> Result<Vec<NewEvent>, Failure> {
        if event.type_ != "report.due" {
            log(Level::Info, &format!("nothing to do for an event of type {}", event.type_));
            return Ok(Vec::new());
        }
        let mut refunded = BTreeMap::new();
        for reason in keys("count/refunded/")? {
            let number = number(&format!("count/refunded/{reason}"))?;
            refunded.insert(reason, number);
        }
        let report = json!({
            "created": number("count/created")?,
            "complete": number("count/complete")?,
            "refunded": refunded,
            "open": keys("open/")?,
        });
        log(Level::Info, &report.to_string());
        Ok(vec![NewEvent {
            type_: "report.ready".to_owned(),
            subject: None,
            data_content_type: Some("application/json".to_owned()),
            data: report.to_string().into_bytes(),
            delay_ms: None,
        }])
    }
}

/// What keys have behind this prefix.
fn keys(prefix: &str) -> Result<Vec<String>, Failure> {
    let keys = kv::keys(prefix, None, MAX_KEYS).map_err(later)?;
    Ok(keys.iter().map(|key| key[prefix.len()..].to_owned()).collect())
}

/// A counter; 0 if nothing was counted yet.
fn number(key: &str) -> Result<i64, Failure> {
    let Some(value) = kv::get(key).map_err(later)? else { return Ok(0) };
    let bytes = value.try_into();
    bytes.map(i64::from_le_bytes).map_err(|_| Failure::Reject(format!("{key} is no number")))
}

fn later(error: kv::Error) -> Failure {
    Failure::Retry(RetryLater { reason: error.to_string(), after_ms: None })
}

export!(OrderReport);
