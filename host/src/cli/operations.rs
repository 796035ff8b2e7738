//! `hookbox operations`: what is done to many deliveries of a running host, step by step.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::Common;
use super::client::{AdminClient, HostArg};
use super::failure::Failure;
use super::listing::{Listed, ListingArgs, delivery_table, elements};
use super::output::{Printout, print_json, printable, text};
use super::progress::ProgressLine;
use crate::store::OperationId;
use crate::text::duration;

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
An operation retries, discards or cancels many deliveries, or replays many events: at a pace, stopping after failures, \
and beyond a restart of the host. `hookbox deliveries retry` with --first, --pace or --stop-after begins one, and \
`hookbox events replay` with filters. Both say how many there are and ask first; where nobody can be asked, they need --yes.

Examples:
  hookbox operations
  hookbox operations op_12            one, with the deliveries that failed again
  hookbox operations op_12 --result ok
  hookbox operations pause op_12
  hookbox operations undo op_12       bring back what it has discarded"
)]
pub(super) struct OperationsCommand {
    #[command(subcommand)]
    verb: Option<OperationsVerb>,
    /// Show this operation
    #[arg(value_name = "OPERATION", value_parser = operation_id)]
    id: Option<OperationId>,
    /// Of one operation, the deliveries of this result [default: failed]
    #[arg(long, value_name = "RESULT", requires = "id")]
    result: Option<String>,
    #[command(flatten)]
    listing: ListingArgs,
    /// Answer in JSON
    #[arg(long, global = true, display_order = 880)]
    json: bool,
    #[command(flatten)]
    host: HostArg,
}

#[derive(Debug, Subcommand)]
enum OperationsVerb {
    /// Let a running one rest
    #[command(after_help = "Examples:\n  hookbox operations pause op_12")]
    Pause(OperationArg),
    /// Let one go on that was paused or has stopped
    #[command(after_help = "Examples:\n  hookbox operations resume op_12")]
    Resume(OperationArg),
    /// End one where it is: what it has changed stays
    #[command(after_help = "Examples:\n  hookbox operations cancel op_12")]
    Cancel(OperationArg),
    /// Bring back what one has discarded
    #[command(after_help = "Examples:\n  hookbox operations undo op_12")]
    Undo(OperationArg),
}

#[derive(Debug, Args)]
struct OperationArg {
    /// The operation
    #[arg(value_name = "OPERATION", value_parser = operation_id)]
    id: OperationId,
}

fn operation_id(text: &str) -> Result<OperationId, String> {
    text.parse().map_err(|error: crate::store::NotAnOperation| error.to_string())
}

impl OperationsCommand {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let client = &self.host.client(common)?;
        match &self.verb {
            Some(OperationsVerb::Pause(arg)) => self.steer(client, arg.id, "pause")?,
            Some(OperationsVerb::Resume(arg)) => self.steer(client, arg.id, "resume")?,
            Some(OperationsVerb::Cancel(arg)) => self.steer(client, arg.id, "cancel")?,
            Some(OperationsVerb::Undo(arg)) => self.steer(client, arg.id, "undo")?,
            None => match self.id {
                Some(id) => self.show(client, id)?,
                None => {
                    const LISTED: Listed =
                        Listed { path: "/api/v1/operations", none: "no operation", table };
                    self.listing.print(client, &LISTED, &[], self.json)?;
                }
            },
        }
        Ok(ExitCode::SUCCESS)
    }

    fn steer(&self, client: &AdminClient, id: OperationId, verb: &str) -> Result<(), Failure> {
        let now = client.post(&format!("/api/v1/operations/{id}/{verb}"), &[])?;
        if self.json {
            return print_json(&now);
        }
        let mut out = Printout::new();
        out.line(summary(&now));
        out.print()
    }

    fn show(&self, client: &AdminClient, id: OperationId) -> Result<(), Failure> {
        let query = [("result", self.result.as_deref()), ("cursor", self.listing.cursor())];
        let operation = client.get(&format!("/api/v1/operations/{id}"), &query)?;
        if self.json {
            return print_json(&operation);
        }
        let mut out = Printout::new();
        out.line(summary(&operation));
        if let Some(first) = first_line(&operation) {
            out.line(first);
        }
        for name in [
            "reason",
            "trouble",
            "actor",
            "as_of",
            "planned_at",
            "started_at",
            "ended_at",
            "undoes",
        ] {
            if !operation[name].is_null() {
                out.field(name, &operation[name]);
            }
        }
        out.field("for", &scope(&operation).into());
        let failed = elements(&operation["items"]);
        if !failed.is_empty() {
            let replays = operation["action"] == "replay";
            out.line(match self.result.as_deref() {
                None | Some("failed") if replays => "failed:".to_owned(),
                None | Some("failed") => "failed again:".to_owned(),
                Some(result) => format!("{result}:"),
            });
            delivery_table(&mut out, failed);
        }
        if let Some(next) = operation["next_cursor"].as_str() {
            out.remark(format!("there is more: --cursor {next}"));
        }
        out.print()
    }
}

/// How often an operation is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Watches an operation that was started to its end.
pub(super) fn watch(client: &AdminClient, path: &str, started: Value) -> Result<Value, Failure> {
    let mut now = started;
    let verb = text(&now["action"]);
    let progress = ProgressLine::new(&verb, now["total"].as_u64().unwrap_or(0));
    while now["state"] == "running" {
        progress.show(now["done"].as_u64().unwrap_or(0), summary(&now));
        std::thread::sleep(LOOK_EVERY);
        now = client.get(path, &[])?;
    }
    Ok(now)
}

/// Prints the end of an operation that was watched.
pub(super) fn report(now: &Value, as_json: bool) -> Result<ExitCode, Failure> {
    if as_json {
        print_json(now)?;
    } else {
        let mut out = Printout::new();
        if let Some(first) = first_line(now) {
            out.line(first);
        }
        out.line(summary(now));
        if let Some(reason) = now["reason"].as_str() {
            let reason = printable(reason);
            out.line(format!("stopped: {reason}; `hookbox operations resume` goes on"));
        }
        out.print()?;
    }
    let is_well = now["state"] == "done" && now["failed"] == 0;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The one that was tried before the others, and the verdict.
pub(super) fn first_line(operation: &Value) -> Option<String> {
    let tried = &operation["first_tried"];
    let outcome = tried["outcome"].as_str()?;
    let took = tried["duration_ms"].as_f64().map(|ms| format!(" in {}", duration(ms)));
    let before = tried["before"].as_str().map(|before| format!(" (was {before})"));
    let verdict = tried["verdict"].as_str();
    let is_known = matches!(verdict, Some("fixed" | "same error" | "still well"));
    let error = if is_known { None } else { tried["error"].as_str() };
    let [verdict, error] =
        [verdict, error].map(|text| text.map(|it| format!(": {}", printable(it))));
    Some(format!(
        "first: {} {outcome}{}{}{}{}",
        text(&tried["delivery_id"]),
        took.unwrap_or_default(),
        before.unwrap_or_default(),
        verdict.unwrap_or_default(),
        error.unwrap_or_default()
    ))
}

/// An operation in one line.
pub(super) fn summary(operation: &Value) -> String {
    let count = |name: &str| text(&operation[name]);
    let at_least = if operation["exact"] == true { "" } else { "at least " };
    format!(
        "{} {} {}: {}/{at_least}{}  {} ok  {} failed  {} skipped",
        count("id"),
        count("action"),
        count("state"),
        count("done"),
        count("total"),
        count("ok"),
        count("failed"),
        count("skipped")
    )
}

/// The deliveries that it is for.
fn scope(operation: &Value) -> String {
    if operation["action"] == "unreadable" {
        return "not known".to_owned();
    }
    if let Some(ids) = operation["ids"].as_u64() {
        let things = if operation["action"] == "replay" { "events" } else { "deliveries" };
        return format!("{ids} {things} by their ids");
    }
    let filters = operation["filter"].as_object().into_iter().flatten();
    let parts: Vec<_> = filters.map(|(name, value)| format!("{name}={}", text(value))).collect();
    if parts.is_empty() { "all".to_owned() } else { parts.join(" ") }
}

fn table(out: &mut Printout, operations: &[Value]) {
    let head = ["OPERATION", "ACTION", "STATE", "DONE", "OF", "FAILED", "WHO", "WHEN", "FOR"];
    let head = head.map(str::to_owned).to_vec();
    let row = |operation: &Value| {
        let names = ["id", "action", "state", "done", "total", "failed", "actor", "planned_at"];
        let mut row: Vec<String> = names.iter().map(|name| text(&operation[*name])).collect();
        row.push(scope(operation));
        row
    };
    out.table(&std::iter::once(head).chain(operations.iter().map(row)).collect::<Vec<_>>());
}
