//! `hookbox events`: what a running host received and emitted.

use std::process::ExitCode;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Common;
use super::client::{Client, Target};
use super::deliveries::attempts;
use super::failure::Failure;
use super::output::{Columns, Page, bytes, print_json, print_json_line, printable, text};
use super::since::time;
use crate::event::EventId;

/// How often `tail` asks.
const POLL: Duration = Duration::from_secs(1);

/// Events that `tail` shows at once; of more that came in between two polls it shows the newest.
const TAIL_WINDOW: usize = 5_000;

/// The columns of a listing, and how wide they are at least where rows come one by one.
const TAIL_COLUMNS: [(&str, usize); 6] =
    [("TIME", 24), ("ID", 20), ("SOURCE", 20), ("TYPE", 24), ("SUBJECT", 16), ("DELIVERIES", 0)];

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  hookbox events --type avatar_video.fail --since 2h
  hookbox events --subject order_1 --json
  hookbox events evt_019a…                        one, with attempts and logs
  hookbox events tail                             follow what comes in
  hookbox events replay evt_019a… --plugin audit  deliver it again"
)]
pub(super) struct Events {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Show this event
    #[arg(value_name = "ID", value_parser = event_id)]
    id: Option<EventId>,
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
    /// Exactly this event type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Exactly this source
    #[arg(long)]
    source: Option<String>,
    /// Exactly this subject
    #[arg(long)]
    subject: Option<String>,
    /// With a delivery in this state: ready, leased, waiting, done, dead, cancelled, discarded; or unrouted
    #[arg(long)]
    state: Option<String>,
    /// This text occurs in id, type, subject, provider id or body
    #[arg(long, short, value_name = "TEXT")]
    query: Option<String>,
    /// Received at or after: RFC 3339, Unix seconds, or 90s, 15m, 2h, 3d ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<String>,
    /// Received before: RFC 3339, Unix seconds, or 90s, 15m, 2h, 3d ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Deliver an old event again: to what is routed now, or to one plugin
    #[command(after_help = "\
Examples:
  hookbox events replay evt_019a…                 to what is routed now
  hookbox events replay evt_019a… --plugin audit  to this one only")]
    Replay {
        /// The event
        #[arg(value_parser = event_id)]
        id: EventId,
        /// Only this plugin
        #[arg(long, value_name = "NAME")]
        plugin: Option<String>,
    },
    /// Follow what comes in, until ctrl-c
    #[command(after_help = "\
Examples:
  hookbox events tail
  hookbox events tail --source heygen --state dead
  hookbox events tail --json                      one line an event, for scripts")]
    Tail {
        #[command(flatten)]
        filter: Filter,
    },
}

/// An event's id; of a delivery's it says where that one is shown.
fn event_id(text: &str) -> Result<EventId, String> {
    let elsewhere =
        text.starts_with("dlv_").then(|| format!("; `hookbox deliveries {}` shows a delivery", printable(text)));
    text.parse().map_err(|error| format!("{error}{}", elsewhere.unwrap_or_default()))
}

impl Filter {
    fn query(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("type", self.kind.clone()),
            ("source", self.source.clone()),
            ("subject", self.subject.clone()),
            ("state", self.state.clone()),
            ("q", self.query.clone()),
            ("since", self.since.clone()),
            ("until", self.until.clone()),
        ]
    }
}

impl Events {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let client = self.target.client(common)?;
        match (&self.verb, &self.id) {
            (Some(Verb::Replay { id, plugin }), _) => self.replay(&client, *id, plugin.as_ref())?,
            (Some(Verb::Tail { filter }), _) => self.tail(&client, filter)?,
            (None, Some(id)) => self.show(&client, *id)?,
            (None, None) => self.list(&client)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn list(&self, client: &Client) -> Result<(), Failure> {
        let mut query = self.filter.query();
        query.push(("cursor", self.cursor.clone()));
        let (items, next) = client.list("/api/v1/events", &query, self.limit as usize)?;
        if self.json {
            return print_json(&json!({ "items": items, "next_cursor": next }));
        }
        let mut page = Page::new();
        if items.is_empty() {
            page.line("no event");
        } else {
            let head = TAIL_COLUMNS.map(|(name, _)| name.to_owned()).to_vec();
            page.table(&std::iter::once(head).chain(items.iter().map(row)).collect::<Vec<_>>());
        }
        if let Some(next) = next.as_str() {
            page.remark(format!("there is more: --cursor {}", printable(next)));
        }
        page.print()
    }

    fn show(&self, client: &Client, id: EventId) -> Result<(), Failure> {
        let event = client.get(&format!("/api/v1/events/{id}"), &[])?;
        if self.json { print_json(&event) } else { detail(&event).print() }
    }

    fn replay(&self, client: &Client, id: EventId, plugin: Option<&String>) -> Result<(), Failure> {
        let path = format!("/api/v1/events/{id}/replay");
        let replayed = client.post(&path, &[("plugin", plugin.cloned())])?;
        if self.json {
            return print_json(&replayed);
        }
        let mut page = Page::new();
        let pairs = list(&replayed["deliveries"]).iter().zip(list(&replayed["plugins"]));
        for (delivery, plugin) in pairs {
            page.line(format!("{}  {}", printable(&text(delivery)), printable(&text(plugin))));
        }
        page.print()
    }

    fn tail(&self, client: &Client, filter: &Filter) -> Result<(), Failure> {
        const FIRST: usize = 10;
        let mut newest = String::new();
        let mut window = FIRST;
        let mut columns = Columns::new(&TAIL_COLUMNS);
        let mut has_head = self.json;
        loop {
            let mut fresh = match newer(client, &filter.query(), &newest, window) {
                Ok(fresh) => fresh,
                // A host that restarts comes back; one that was never there does not.
                Err(failure) if window == FIRST => return Err(failure),
                Err(_) => {
                    std::thread::sleep(POLL);
                    continue;
                }
            };
            window = TAIL_WINDOW;
            fresh.reverse();
            if let Some(last) = fresh.last() {
                newest = text(&last["id"]);
            }
            if self.json {
                fresh.iter().try_for_each(print_json_line)?;
            } else {
                let mut page = Page::new();
                if !std::mem::replace(&mut has_head, true) {
                    page.head(&columns);
                }
                page.more(&mut columns, &fresh.iter().map(row).collect::<Vec<_>>());
                page.print()?;
            }
            std::thread::sleep(POLL);
        }
    }
}

/// Events after `newest`, newest first, at most `window`. Ids grow with time, so an id not above ends the search.
fn newer(
    client: &Client,
    query: &[(&'static str, Option<String>)],
    newest: &str,
    window: usize,
) -> Result<Vec<Value>, Failure> {
    const PAGE: usize = 100;
    let mut fresh: Vec<Value> = Vec::new();
    let mut query = query.to_vec();
    loop {
        let (items, next) = client.list("/api/v1/events", &query, PAGE.min(window - fresh.len()))?;
        let seen = items.iter().position(|event| event["id"].as_str().is_none_or(|id| id <= newest));
        fresh.extend(items.into_iter().take(seen.unwrap_or(usize::MAX)));
        let more = next.as_str().filter(|_| seen.is_none() && fresh.len() < window);
        let Some(next) = more else { return Ok(fresh) };
        query.retain(|(name, _)| *name != "cursor");
        query.push(("cursor", Some(next.to_owned())));
    }
}

fn row(event: &Value) -> Vec<String> {
    let stand = |delivery: &Value| format!("{} {}", text(&delivery["plugin"]), text(&delivery["state"]));
    let deliveries = list(&event["deliveries"]);
    let deliveries = match deliveries {
        [] => "unrouted".to_owned(),
        some => some.iter().map(stand).collect::<Vec<_>>().join(", "),
    };
    let attribute = |name: &str| text(&event[name]);
    vec![attribute("time"), attribute("id"), attribute("source"), attribute("type"), attribute("subject"), deliveries]
}

fn detail(event: &Value) -> Page {
    let mut page = Page::new();
    for name in ["id", "source", "type", "subject", "time", "datacontenttype", "provider_id", "parent_id", "note"] {
        page.field(name, &event[name]);
    }
    if event["duplicates"].as_u64().is_some_and(|count| count > 0) {
        let (count, last) = (&event["duplicates"], text(&event["last_duplicate_at"]));
        page.field("duplicates", &Value::String(format!("{count}, the last at {last}")));
    }
    for header in list(&event["headers"]) {
        page.field("header", &Value::String(format!("{}: {}", text(&header["name"]), text(&header["value"]))));
    }
    for child in list(&event["children"]) {
        page.field("emitted", child);
    }
    data(&mut page, event);
    for delivery in list(&event["deliveries"]) {
        page.line("");
        attempts(&mut page, delivery);
    }
    page
}

/// The body; of a form that wraps JSON, both.
fn data(page: &mut Page, event: &Value) {
    let length = bytes(event["data_bytes"].as_u64().unwrap_or(0));
    match (event.get("data"), event.get("form_data")) {
        (Some(data), _) => json_lines(page, data),
        (None, None) => page.field("data", &Value::String(format!("{length}, not JSON"))),
        (None, Some(wrapped)) => {
            let body = event["data_base64"].as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
            page.field("data", &Value::String(format!("{length}, a form that wraps JSON; as it came:")));
            page.line(printable(&String::from_utf8_lossy(&body)));
            json_lines(page, wrapped);
        }
    }
}

fn json_lines(page: &mut Page, value: &Value) {
    page.line("");
    format!("{value:#}").lines().for_each(|line| page.line(printable(line)));
}

/// The elements of an array; none for anything else.
pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
