//! `hookbox plugins try`: an event on a plugin, without effects.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::client::{AdminClient, encoded};
use crate::cli::failure::Failure;
use crate::cli::listing::elements;
use crate::cli::output::{Printout, call_line, print_json, printable, text};
use crate::event::EventId;

/// Try an event on a plugin of a running host, without effects
#[derive(Debug, Args)]
#[command(after_help = "\
Keys are read and not written, requests are refused, and what it emits is shown and not stored.

Examples:
  hookbox plugins try video-orders --event evt_019a…
  hookbox plugins try video-orders --event evt_019a… --json")]
pub(in crate::cli) struct TryArgs {
    /// The plugin
    #[arg(value_name = "NAME")]
    name: String,
    /// The stored event
    #[arg(long, value_name = "ID")]
    event: EventId,
    /// SHA-256 of the file that is meant; it must be the one that runs
    #[arg(long, value_name = "SHA256")]
    digest: Option<String>,
}

impl TryArgs {
    pub(in crate::cli) fn run(&self, client: &AdminClient, json: bool) -> Result<(), Failure> {
        let path = format!("/api/v1/plugins/{}/try", encoded(&self.name));
        let asked = json!({ "event_id": self.event.to_string(), "digest": self.digest });
        let body = asked.to_string();
        let trial = client.post_body(&path, ("application/json", body.as_bytes()), None)?;
        if json {
            return print_json(&trial);
        }
        let mut out = Printout::new();
        out.field("outcome", &trial["outcome"]);
        out.field("error", &trial["error"]);
        let against = &trial["against"];
        if !against.is_null() {
            let said =
                format!("{} (it was {})", text(&against["verdict"]), text(&against["outcome"]));
            out.field("against", &json!(said));
        }
        for event in elements(&trial["emitted"]) {
            let plugins: Vec<_> = elements(&event["plugins"]).iter().map(text).collect();
            let to = if plugins.is_empty() { "no route".to_owned() } else { plugins.join(", ") };
            let kind = text(&event["type"]);
            out.field("would emit", &json!(format!("{kind} {} → {to}", text(&event["subject"]))));
        }
        for write in elements(&trial["kv_writes"]) {
            let key = text(&write["key"]);
            let what = match (&write["add"], &write["value_base64"]) {
                (Value::Number(number), _) => format!("{key} + {number}"),
                (_, Value::Null) => format!("{key} deleted"),
                (_, value) => format!("{key} = {} (base64)", text(value)),
            };
            out.field("would write", &json!(what));
        }
        for call in elements(&trial["requests"]) {
            out.line(call_line(call));
        }
        for line in elements(&trial["logs"]) {
            out.line(printable(&format!("{}: {}", text(&line["level"]), text(&line["message"]))));
        }
        out.print()
    }
}
