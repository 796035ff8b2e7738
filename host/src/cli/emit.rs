//! `hookbox emit`: an event of one's own, made by a running host.

use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Common;
use super::client::HostArg;
use super::failure::Failure;
use super::listing::elements;
use super::output::{Printout, print_json, printable, text};
use super::send::read;
use crate::cloudevents::MEDIA_TYPE;

#[derive(Debug, Args)]
#[command(after_help = "\
The event comes from the source api/local and is routed like any other. With --key, a repeated command makes nothing \
within `store.dedupe_window`, and names the first event.

Examples:
  hookbox emit order.paid --subject order_1 --data order.json
  hookbox emit order.paid --data '{\"total\": 120}'
  echo '{\"total\": 120}' | hookbox emit order.paid --data -
  hookbox emit report.due --key report-2026-02-01")]
pub(super) struct Emit {
    /// The event type, for example order.paid
    #[arg(value_name = "TYPE")]
    kind: String,
    /// The subject of the event
    #[arg(long)]
    subject: Option<String>,
    /// The body: this JSON, or this file; `-` is stdin
    #[arg(long, value_name = "JSON|FILE")]
    data: Option<String>,
    /// The Idempotency-Key: a repeated command with it makes nothing
    #[arg(long)]
    key: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArg,
}

/// An event that is to be made.
#[derive(Debug, Serialize)]
struct StartDocument<'a> {
    specversion: &'static str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    datacontenttype: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

impl Emit {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let body = self.data.as_deref().map(read).transpose()?;
        let document = self.document(body.as_deref());
        let document = serde_json::to_vec(&document).expect("strings are always JSON");
        let client = self.host.client(common)?;
        let key = self.key.as_deref().map(|key| ("Idempotency-Key", key));
        let answer = client.post_body("/api/v1/events", (MEDIA_TYPE, &document), key)?;
        if self.json {
            print_json(&answer)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut out = Printout::new();
        let duplicate = if answer["duplicate"] == true { "  duplicate" } else { "" };
        out.line(format!("{}{duplicate}", printable(&text(&answer["event_id"]))));
        for delivery in elements(&answer["deliveries"]) {
            let (id, plugin) = (text(&delivery["id"]), text(&delivery["plugin"]));
            let state = out.state(&printable(&text(&delivery["state"])));
            out.line(format!("  {}  {state}  {}", printable(&plugin), printable(&id)));
        }
        if let Some(detail) = answer["detail"].as_str() {
            out.remark(printable(detail));
        }
        out.print()?;
        Ok(ExitCode::SUCCESS)
    }

    /// JSON stays as it is written; anything else is carried as bytes.
    fn document<'a>(&'a self, body: Option<&'a [u8]>) -> StartDocument<'a> {
        let data = body.and_then(|body| serde_json::from_slice(body).ok());
        let bytes = if data.is_none() { body } else { None };
        let datacontenttype = bytes.map(|bytes| match std::str::from_utf8(bytes) {
            Ok(_) => "text/plain",
            Err(_) => "application/octet-stream",
        });
        StartDocument {
            specversion: "1.0",
            kind: &self.kind,
            subject: self.subject.as_deref(),
            datacontenttype,
            data,
            data_base64: bytes.map(|bytes| STANDARD.encode(bytes)),
        }
    }
}
