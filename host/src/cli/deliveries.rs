//! `hookbox deliveries`: how a running host's plugins did; `change` gives another chance, or clears up.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use self::change::Change;
use super::Common;
use super::client::{Client, Target};
use super::events::list;
use super::failure::Failure;
use super::output::{Ink, Page, call_line, print_json, printable, text};
use super::since::time;
use crate::event::DeliveryId;
use crate::store::Action;

mod change;

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  hookbox deliveries --state dead --since 1d
  hookbox deliveries dlv_019a…_0                     one, with attempts and logs
  hookbox deliveries retry dlv_019a…_0
  hookbox deliveries retry --state dead --plugin video-orders
  hookbox deliveries cancel --plugin video-orders --dry-run
  hookbox deliveries discard --type avatar_video.fail --until 7d"
)]
pub(super) struct Deliveries {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Show this delivery
    #[arg(value_name = "ID", value_parser = delivery_id)]
    id: Option<DeliveryId>,
    #[command(flatten)]
    filter: Filter,
    /// Rows at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Go on where a listing ended (its `next_cursor`)
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// Answer in JSON
    #[arg(long, global = true, display_order = 880)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
struct Filter {
    /// In this state: ready, leased, waiting, done, dead, cancelled, discarded
    #[arg(long)]
    state: Option<String>,
    /// Of this plugin
    #[arg(long, value_name = "NAME")]
    plugin: Option<String>,
    /// Of events of exactly this type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Of events of exactly this source
    #[arg(long)]
    source: Option<String>,
    /// Of events with exactly this subject
    #[arg(long)]
    subject: Option<String>,
    /// Of events received at or after: RFC 3339, Unix seconds, or 90s, 15m, 2h, 3d ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<String>,
    /// Of events received before: RFC 3339, Unix seconds, or 90s, 15m, 2h, 3d ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make deliveries due at once: one by its id, or all that match
    #[command(after_help = "\
By filter it takes dead deliveries, and begins them anew; with --state waiting, cancelled or discarded those. One that \
waits keeps the count of its attempts. A delivery that a plugin has delayed on purpose waits as well.

Examples:
  hookbox deliveries retry dlv_019a…_0                 this one
  hookbox deliveries retry --plugin video-orders       all that is dead
  hookbox deliveries retry --state dead                every dead delivery
  hookbox deliveries retry --state waiting --since 1h  at once, before it is due")]
    Retry(Change),
    /// End open deliveries (ready, leased, waiting): one by its id, or all that match
    #[command(after_help = "\
Of an attempt that is running only its record is stored: no events, no values.

Examples:
  hookbox deliveries cancel --plugin video-orders --dry-run
  hookbox deliveries cancel --state open              all that is not settled
  hookbox deliveries cancel --state waiting --type order.reminder")]
    Cancel(Change),
    /// Put dead letters away: one by its id, or all that match
    #[command(after_help = "\
A discarded delivery is deleted with its event after `store.retention`. Until then it can be retried.

Examples:
  hookbox deliveries discard dlv_019a…_0
  hookbox deliveries discard --state dead --until 7d   those older than a week")]
    Discard(Change),
    /// Give what is ready or waits to another plugin: one by its id, or all that match
    #[command(after_help = "\
A delivery keeps its time and its id, and with the id its idempotency key; its attempts are counted anew. It stays where it is \
if the other plugin has a delivery of the same event, because a plugin gets an event once. Values that a plugin keeps stay its \
own.

Examples:
  hookbox deliveries move --plugin video-orders --to orders --dry-run
  hookbox deliveries move --plugin video-orders --to orders   after a renaming
  hookbox deliveries move dlv_019a…_0 --to orders")]
    Move {
        /// The plugin that gets them
        #[arg(long, value_name = "PLUGIN")]
        to: String,
        #[command(flatten)]
        change: Change,
    },
}

/// A delivery's id; of an event's it says where that one is shown.
fn delivery_id(text: &str) -> Result<DeliveryId, String> {
    let elsewhere = text.starts_with("evt_").then(|| format!("; `hookbox events {}` shows an event", printable(text)));
    text.parse().map_err(|error| format!("{error}{}", elsewhere.unwrap_or_default()))
}

impl Verb {
    fn parts(&self) -> (Action, &Change) {
        match self {
            Self::Retry(change) => (Action::Retry, change),
            Self::Cancel(change) => (Action::Cancel, change),
            Self::Discard(change) => (Action::Discard, change),
            Self::Move { to, change } => (Action::Move(to.as_str().into()), change),
        }
    }
}

impl Filter {
    fn query(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("state", self.state.clone()),
            ("plugin", self.plugin.clone()),
            ("type", self.kind.clone()),
            ("source", self.source.clone()),
            ("subject", self.subject.clone()),
            ("since", self.since.clone()),
            ("until", self.until.clone()),
        ]
    }
}

impl Deliveries {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        if let Some((action, change)) = self.verb.as_ref().map(Verb::parts) {
            change.check(&action)?;
            return change.run(&action, &self.target.client(common)?, self.json);
        }
        let client = self.target.client(common)?;
        match &self.id {
            Some(id) => self.show(&client, *id)?,
            None => self.list(&client)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn list(&self, client: &Client) -> Result<(), Failure> {
        let mut query = self.filter.query();
        query.push(("cursor", self.cursor.clone()));
        let (items, next) = client.list("/api/v1/deliveries", &query, self.limit as usize)?;
        if self.json {
            return print_json(&json!({ "items": items, "next_cursor": next }));
        }
        let mut page = Page::new();
        if items.is_empty() {
            page.line("no delivery");
        } else {
            table(&mut page, &items);
        }
        if let Some(next) = next.as_str() {
            page.remark(format!("there is more: --cursor {}", printable(next)));
        }
        page.print()
    }

    fn show(&self, client: &Client, id: DeliveryId) -> Result<(), Failure> {
        let delivery = client.get(&format!("/api/v1/deliveries/{id}"), &[])?;
        if self.json {
            return print_json(&delivery);
        }
        let mut page = Page::new();
        for name in ["event_id", "type", "subject"] {
            page.field(name, &delivery[name]);
        }
        attempts(&mut page, &delivery);
        page.print()
    }
}

/// Adds deliveries, a row each.
fn table(page: &mut Page, deliveries: &[Value]) {
    let head = ["ID", "PLUGIN", "TYPE", "SUBJECT", "STATE", "ATTEMPTS", "LAST", "DUE"].map(str::to_owned).to_vec();
    page.table(&std::iter::once(head).chain(deliveries.iter().map(row)).collect::<Vec<_>>());
}

fn row(delivery: &Value) -> Vec<String> {
    let last = list(&delivery["attempts"]).last().map(|attempt| match attempt["error"].as_str() {
        Some(error) => format!("{}: {error}", text(&attempt["outcome"])),
        None => text(&attempt["outcome"]),
    });
    let mut cells: Vec<String> =
        ["id", "plugin", "type", "subject", "state", "attempt"].iter().map(|name| text(&delivery[*name])).collect();
    cells.extend([last.unwrap_or_default(), text(&delivery["due_at"])]);
    cells
}

/// Adds a delivery with its attempts and their logs.
pub(super) fn attempts(page: &mut Page, delivery: &Value) {
    let plugin = page.ink(Ink::Bold, &printable(&text(&delivery["plugin"])));
    let state = page.state(&text(&delivery["state"]));
    let cancelling = if delivery["cancelling"] == true { ", cancelled: ends with this attempt" } else { "" };
    let due = delivery["due_at"].as_str().map(|due| format!(", due {}", printable(due))).unwrap_or_default();
    let replay = if delivery["replay"] == true { ", a replay" } else { "" };
    page.line(format!("{plugin}  {state}{cancelling}{due}{replay}  {}", printable(&text(&delivery["id"]))));
    if let Some(note) = delivery["note"].as_str() {
        page.line(format!("  {}", printable(note)));
    }
    for attempt in list(&delivery["attempts"]) {
        let outcome = page.state(&text(&attempt["outcome"]));
        let error = attempt["error"].as_str().map(|error| format!(": {}", printable(error))).unwrap_or_default();
        let (number, started, ms) = (&attempt["number"], text(&attempt["started_at"]), &attempt["duration_ms"]);
        page.line(format!("  #{number}  {}  {ms} ms  {outcome}{error}", printable(&started)));
        for call in list(&attempt["calls"]) {
            page.line(format!("    {}", call_line(call)));
        }
        for log in list(&attempt["logs"]) {
            let line = format!("{:<5} {}", text(&log["level"]), text(&log["message"]));
            page.line(format!("      {}", printable(&line)));
        }
    }
}

/// A path segment: everything but letters, digits, `-`, `_` and `.` percent-encoded.
pub(super) fn encoded(segment: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    segment
        .bytes()
        .map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
