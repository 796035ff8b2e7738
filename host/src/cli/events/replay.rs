//! `hookbox events replay`: one event at once, or many by an operation of the host.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::{EventMatchArgs, event_id};
use crate::cli::asking::{says_yes, somebody_is_there};
use crate::cli::client::{AdminClient, Param};
use crate::cli::failure::Failure;
use crate::cli::listing::elements;
use crate::cli::operations::{report, watch};
use crate::cli::output::{Printout, print_json, printable, text};
use crate::event::EventId;

#[derive(Debug, Args)]
#[command(after_help = "\
One event is replayed at once. Several, by their ids or by filters, are an operation of the host: it says how many they \
are and asks, replays the oldest first, each once, and goes on beyond a restart of the host; see `hookbox operations`. \
Where nobody can be asked, as in a script, it needs --yes.

Examples:
  hookbox events replay evt_019a…                 to what is routed now
  hookbox events replay evt_019a… --plugin audit  to this one only
  hookbox events replay --type 'order.*' --since 2h --to audit
  hookbox events replay --state dead --first --pace 50 --stop-after 10 --yes")]
pub(super) struct ReplayArgs {
    /// The events
    #[arg(value_name = "ID", value_parser = event_id)]
    ids: Vec<EventId>,
    /// With IDs only to this plugin, and may be repeated; otherwise events with a delivery of it
    #[arg(long = "plugin", value_name = "NAME")]
    plugins: Vec<String>,
    /// Only to this plugin; may be repeated
    #[arg(long, value_name = "NAME")]
    to: Vec<String>,
    #[command(flatten)]
    filter: EventMatchArgs,
    /// Try one first, and go on only if that succeeds
    #[arg(long)]
    first: bool,
    /// So many events a second at most
    #[arg(long, value_name = "PER_SECOND", value_parser = clap::value_parser!(u32).range(1..))]
    pace: Option<u32>,
    /// Stop after so many events that failed
    #[arg(long, value_name = "FAILURES", value_parser = clap::value_parser!(u32).range(1..))]
    stop_after: Option<u32>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl ReplayArgs {
    pub(super) fn run(&self, client: &AdminClient, as_json: bool) -> Result<ExitCode, Failure> {
        let is_filtered = self.filter.query().iter().any(|(_, value)| value.is_some());
        if is_filtered && !self.ids.is_empty() {
            return Err(Failure::usage("the IDs name the events: leave the filters out"));
        }
        let steps = self.first || self.pace.is_some() || self.stop_after.is_some();
        match self.ids.as_slice() {
            [id] if !steps => self.one(client, *id, as_json),
            [] if self.plugins.len() > 1 => {
                Err(Failure::usage("events are of one --plugin; --to names those that get them"))
            }
            _ => self.many(client, as_json),
        }
    }

    fn one(&self, client: &AdminClient, id: EventId, as_json: bool) -> Result<ExitCode, Failure> {
        let path = format!("/api/v1/events/{id}/replay");
        let plugins: Vec<_> = self.plugins.iter().chain(&self.to).collect();
        let body = json!({ "plugins": plugins }).to_string();
        let replayed = client.post_body(&path, ("application/json", body.as_bytes()), None)?;
        if as_json {
            print_json(&replayed)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut out = Printout::new();
        let pairs = elements(&replayed["deliveries"]).iter().zip(elements(&replayed["plugins"]));
        for (delivery, plugin) in pairs {
            out.line(format!("{}  {}", printable(&text(delivery)), printable(&text(plugin))));
        }
        out.print()?;
        Ok(ExitCode::SUCCESS)
    }

    fn many(&self, client: &AdminClient, as_json: bool) -> Result<ExitCode, Failure> {
        if !self.yes && !somebody_is_there() {
            return Err(Failure::usage("nobody can be asked whether to replay them: add --yes"));
        }
        let planned = self.plan(client)?;
        let path = format!("/api/v1/operations/{}", text(&planned["id"]));
        let refused = match planned["total"] == 0 {
            true => Some("nothing matches: there is nothing to replay"),
            false if self.yes || confirmed(&planned)? => None,
            false => Some("nothing was replayed"),
        };
        if let Some(why) = refused {
            // It could be started within the hour.
            client.post(&format!("{path}/cancel"), &[])?;
            return Err(Failure::failed(why));
        }
        let [pace, stop_after] =
            [self.pace, self.stop_after].map(|number| number.map(|number| number.to_string()));
        let options = [
            ("first", self.first.then_some("true")),
            ("pace", pace.as_deref()),
            ("stop_after", stop_after.as_deref()),
        ];
        let started = client.post(&format!("{path}/start"), &options)?;
        let now = watch(client, &path, started)?;
        report(&now, as_json)
    }

    /// Plans the operation.
    fn plan(&self, client: &AdminClient) -> Result<Value, Failure> {
        let ids: Vec<String> = self.ids.iter().map(ToString::to_string).collect();
        let (mut to, mut of) = (self.to.clone(), None);
        match ids.is_empty() {
            true => of = self.plugins.first().map(String::as_str),
            false => to.extend(self.plugins.iter().cloned()),
        }
        let (ids, to) = (ids.join(","), to.join(","));
        let given = |value: &'_ str| !value.is_empty();
        let mut query: Vec<Param<'_>> = self.filter.query().to_vec();
        query.push(("action", Some("replay")));
        query.push(("ids", Some(&*ids).filter(|ids| given(ids))));
        query.push(("to", Some(&*to).filter(|to| given(to))));
        query.push(("plugin", of));
        client.post("/api/v1/operations", &query)
    }
}

/// Asks whoever is there.
fn confirmed(planned: &Value) -> Result<bool, Failure> {
    let at_least = if planned["exact"] == true { "" } else { "at least " };
    let names: Vec<String> = elements(&planned["events"])
        .iter()
        .map(|event| {
            let subject = event["subject"].as_str().or(event["id"].as_str()).unwrap_or_default();
            printable(&format!("{} {subject}", text(&event["type"])))
        })
        .collect();
    let to: Vec<String> =
        elements(&planned["to"]).iter().map(|name| printable(&text(name))).collect();
    let to = if to.is_empty() { "what is routed now".to_owned() } else { to.join(", ") };
    let (total, as_of) = (planned["total"].as_u64().unwrap_or(0), text(&planned["as_of"]));
    let events = if total == 1 { "event" } else { "events" };
    let more = if total > names.len() as u64 { " · …" } else { "" };
    let shown = format!("{at_least}{total} {events}, as of {as_of}: {}{more}\n", names.join(" · "));
    says_yes(&shown, &format!("replay them to {to}?"))
}
