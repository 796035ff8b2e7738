//! `hookbox events`: what a running host received and emitted.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use self::detail::detail;
use self::tail::tail;
use super::Common;
use super::client::{AdminClient, HostArg, Param};
use super::failure::Failure;
use super::listing::{Listed, ListingArgs, event_table};
use super::output::{Printout, print_json, printable};
use super::since::time;
use crate::event::EventId;

mod case;
mod detail;
mod edit;
mod erase;
mod export;
mod replay;
mod tail;
mod tree;

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  hookbox events --type avatar_video.fail --since 2h
  hookbox events --subject order_1 --json
  hookbox events --state failing                  what is dead or tried again
  hookbox events evt_019a…                        one, with attempts and logs
  hookbox events tree evt_019a…                   all that it led to
  hookbox events body evt_019a…                   its body, byte for byte
  hookbox events tail                             follow what comes in
  hookbox events replay evt_019a… --plugin audit  deliver it again
  hookbox events edit evt_019a…                   make another event of it
  hookbox events cancel evt_019a…                 end what is open of its tree"
)]
pub(super) struct Events {
    #[command(subcommand)]
    verb: Option<EventsVerb>,
    /// Show this event
    #[arg(value_name = "ID", value_parser = event_id)]
    id: Option<EventId>,
    #[command(flatten)]
    filter: EventFilterArgs,
    #[command(flatten)]
    listing: ListingArgs,
    /// Answer in JSON
    #[arg(long, global = true, display_order = 880)]
    json: bool,
    #[command(flatten)]
    host: HostArg,
}

#[derive(Debug, Args)]
struct EventFilterArgs {
    #[command(flatten)]
    rest: EventMatchArgs,
    /// With a delivery of this plugin
    #[arg(long, value_name = "NAME")]
    plugin: Option<String>,
}

/// The filters that mean the same in every command.
#[derive(Debug, Args)]
struct EventMatchArgs {
    /// Exactly this event type, or a pattern such as 'order.*' or 'order.**'
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// With a delivery of which so many attempts were begun
    #[arg(long, value_name = "N")]
    min_attempts: Option<String>,
    /// Exactly this source
    #[arg(long)]
    source: Option<String>,
    /// Emitted by a plugin; with =false, not emitted by one
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = ["true", "false"]
    )]
    emitted: Option<String>,
    /// Exactly this subject
    #[arg(long)]
    subject: Option<String>,
    /// With a delivery in this state: ready, leased, waiting, done, dead, cancelled, discarded; or
    /// failing (dead, or tried again after a failure), or unrouted
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
    /// Stored after the event with this id
    #[arg(long, value_name = "ID")]
    after: Option<String>,
}

#[derive(Debug, Subcommand)]
enum EventsVerb {
    /// Deliver old events again: to what is routed now, or to plugins of your choice
    Replay(replay::ReplayArgs),
    /// Show the tree of an event: what it led to, what became of it, and what waits for what
    #[command(after_help = "\
The tree is the same from each of its events. Times count from its root.

Examples:
  hookbox events tree evt_019a…
  hookbox events tree evt_019a… --json")]
    Tree {
        /// Any event of the tree
        #[arg(value_parser = event_id)]
        id: EventId,
        /// Events at most
        #[arg(
            long, value_name = "N", default_value_t = 1_000,
            value_parser = clap::value_parser!(u32).range(1..=100_000)
        )]
        limit: u32,
        /// Go on where a tree was cut (its `next_cursor`)
        #[arg(long, value_name = "CURSOR")]
        cursor: Option<String>,
    },
    /// Cancel every open delivery of the tree that an event belongs to
    #[command(after_help = "\
Of an attempt that is running only its record is stored: what it returns and writes is not.

Examples:
  hookbox events cancel evt_019a…")]
    Cancel {
        /// An event of the tree
        #[arg(value_parser = event_id)]
        id: EventId,
    },
    /// Write the body of an event, byte for byte
    #[command(after_help = "\
Examples:
  hookbox events body evt_019a… > body.json
  hookbox events body evt_019a… | hookbox send acme acme.order --data -")]
    Body {
        /// The event
        #[arg(value_parser = event_id)]
        id: EventId,
    },
    /// Write every event that matches as lines of JSON
    #[command(after_help = "\
The newest first. A line has the body exactly as it was received; `hookbox events import` reads it back.

Examples:
  hookbox events export > events.ndjson
  hookbox events export --type 'order.paid' --since 7d")]
    Export {
        #[command(flatten)]
        filter: EventFilterArgs,
    },
    /// Store events that were exported
    #[command(after_help = "\
Each gets an id of this host, and its note names the one that it had. An event that the host has, or that was imported \
before, is a duplicate, so a command that broke off can be repeated. They go to no plugin, unless --route says so.

Examples:
  hookbox events import events.ndjson
  hookbox events export --admin old:3001 | hookbox events import -")]
    Import {
        /// Lines of JSON; `-` is stdin
        #[arg(value_name = "FILE")]
        file: String,
        /// Deliver them as the routes are now
        #[arg(long)]
        route: bool,
    },
    Case(case::CaseArgs),
    Edit(edit::EditArgs),
    /// Delete the data of events for ever: of one, or of all with a subject
    Erase(erase::EraseArgs),
    /// Follow what comes in, until ctrl-c
    #[command(after_help = "\
Examples:
  hookbox events tail
  hookbox events tail --source heygen --state dead
  hookbox events tail --json                      one line an event, for scripts")]
    Tail {
        #[command(flatten)]
        filter: EventFilterArgs,
    },
}

/// An event's id; of a delivery's it says where that one is shown.
fn event_id(text: &str) -> Result<EventId, String> {
    let elsewhere = text
        .starts_with("dlv_")
        .then(|| format!("; `hookbox deliveries {}` shows a delivery", printable(text)));
    text.parse().map_err(|error| format!("{error}{}", elsewhere.unwrap_or_default()))
}

impl EventFilterArgs {
    fn query(&self) -> Vec<Param<'_>> {
        let mut query = self.rest.query().to_vec();
        query.push(("plugin", self.plugin.as_deref()));
        query
    }
}

impl EventMatchArgs {
    fn query(&self) -> [Param<'_>; 10] {
        [
            ("type", self.kind.as_deref()),
            ("source", self.source.as_deref()),
            ("emitted", self.emitted.as_deref()),
            ("subject", self.subject.as_deref()),
            ("state", self.state.as_deref()),
            ("min_attempts", self.min_attempts.as_deref()),
            ("q", self.query.as_deref()),
            ("since", self.since.as_deref()),
            ("until", self.until.as_deref()),
            ("after", self.after.as_deref()),
        ]
    }
}

impl Events {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        const LISTED: Listed =
            Listed { path: "/api/v1/events", none: "no event", table: event_table };
        let client = &self.host.client(common)?;
        match (&self.verb, self.id) {
            (Some(EventsVerb::Replay(replay)), _) => return replay.run(client, self.json),
            (Some(EventsVerb::Body { id }), _) => {
                let path = format!("/api/v1/events/{id}/body");
                client.copy(&path, &[], &mut std::io::stdout().lock())?;
            }
            (Some(EventsVerb::Export { filter }), _) => export::export(client, &filter.query())?,
            (Some(EventsVerb::Import { file, route }), _) => {
                export::import(client, file, *route, self.json)?;
            }
            (Some(EventsVerb::Case(case)), _) => case.run(client, self.json)?,
            (Some(EventsVerb::Edit(edit)), _) => edit.run(client, self.json)?,
            (Some(EventsVerb::Erase(erase)), _) => return erase.run(client, self.json),
            (Some(EventsVerb::Cancel { id }), _) => self.cancel(client, *id)?,
            (Some(EventsVerb::Tail { filter }), _) => tail(client, &filter.query(), self.json)?,
            (Some(EventsVerb::Tree { id, limit, cursor }), _) => {
                self.tree(client, *id, *limit as usize, cursor.clone())?
            }
            (None, Some(id)) => self.show(client, id)?,
            (None, None) => self.listing.print(client, &LISTED, &self.filter.query(), self.json)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn show(&self, client: &AdminClient, id: EventId) -> Result<(), Failure> {
        let event = client.get(&format!("/api/v1/events/{id}"), &[])?;
        if self.json { print_json(&event) } else { detail(&event).print() }
    }

    fn tree(
        &self,
        client: &AdminClient,
        id: EventId,
        limit: usize,
        mut cursor: Option<String>,
    ) -> Result<(), Failure> {
        const MAX_PAGE: usize = 500;
        let path = format!("/api/v1/events/{id}/tree");
        let mut events: Vec<Value> = Vec::new();
        let mut page = loop {
            let rows = (limit - events.len()).min(MAX_PAGE).to_string();
            let query = [("limit", Some(&*rows)), ("cursor", cursor.as_deref())];
            let mut page = client.get(&path, &query)?;
            if let Value::Array(found) = page["events"].take() {
                events.extend(found);
            }
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() || events.len() >= limit {
                break page;
            }
        };
        if self.json {
            page["events"] = Value::Array(events);
            return print_json(&page);
        }
        let mut out = tree::tree(&page, &events);
        if let Some(cursor) = cursor {
            out.remark(format!("there is more: --cursor {}", printable(&cursor)));
        }
        out.print()
    }

    fn cancel(&self, client: &AdminClient, id: EventId) -> Result<(), Failure> {
        let path = format!("/api/v1/events/{id}/cancel");
        let (mut cancelled, mut cursor) = (0, None);
        loop {
            let answer = client.post(&path, &[("cursor", cursor.as_deref())])?;
            cancelled += answer["cancelled"].as_u64().unwrap_or(0);
            cursor = answer["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        if self.json {
            return print_json(&json!({ "cancelled": cancelled }));
        }
        let mut out = Printout::new();
        out.line(format!("{cancelled} cancelled"));
        out.print()
    }
}
