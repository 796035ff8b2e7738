//! One event, whole.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::cli::listing::{attempts, elements};
use crate::cli::output::{Printout, bytes, printable, text};

/// An event with its deliveries and their attempts.
pub(super) fn detail(event: &Value) -> Printout {
    let mut out = Printout::new();
    for name in [
        "id",
        "source",
        "type",
        "subject",
        "time",
        "datacontenttype",
        "provider_id",
        "parent_id",
        "root_id",
        "replay_of",
        "edited_by",
        "trace_id",
        "trace_url",
        "note",
    ] {
        out.field(name, &event[name]);
    }
    if let Some(key) = event["verified"]["key"].as_u64() {
        out.field("signed with", &Value::String(format!("key {}", key + 1)));
    }
    if event["duplicates"].as_u64().is_some_and(|count| count > 0) {
        let (count, last) = (&event["duplicates"], text(&event["last_duplicate_at"]));
        out.field("duplicates", &Value::String(format!("{count}, the last at {last}")));
    }
    for header in elements(&event["headers"]) {
        out.field(
            "header",
            &Value::String(format!("{}: {}", text(&header["name"]), text(&header["value"]))),
        );
    }
    for child in elements(&event["children"]) {
        out.field("emitted", child);
    }
    for made in elements(&event["replays"]) {
        out.field("edited into", made);
    }
    data(&mut out, event);
    for delivery in elements(&event["deliveries"]) {
        out.line("");
        attempts(&mut out, delivery);
    }
    out
}

/// The body; of a form that wraps JSON, both.
fn data(out: &mut Printout, event: &Value) {
    let length = bytes(event["data_bytes"].as_u64().unwrap_or(0));
    match (event.get("data"), event.get("form_data")) {
        (Some(data), _) => json_lines(out, data),
        (None, None) => out.field("data", &Value::String(format!("{length}, not JSON"))),
        (None, Some(wrapped)) => {
            let body = event["data_base64"]
                .as_str()
                .and_then(|text| STANDARD.decode(text).ok())
                .unwrap_or_default();
            out.field(
                "data",
                &Value::String(format!("{length}, a form that wraps JSON; as it came:")),
            );
            out.line(printable(&String::from_utf8_lossy(&body)));
            json_lines(out, wrapped);
        }
    }
}

fn json_lines(out: &mut Printout, value: &Value) {
    out.line("");
    format!("{value:#}").lines().for_each(|line| out.line(printable(line)));
}
