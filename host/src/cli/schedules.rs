//! `hookbox schedules`: when the schedules of a running host tick, and what became of their last
//! ticks.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::Common;
use super::client::HostArg;
use super::failure::Failure;
use super::listing::elements;
use super::output::{Printout, print_json, printable, text};
use crate::names::hint;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hookbox schedules
  hookbox schedules nightly-report                one, with what was skipped
  hookbox schedules --json")]
pub(super) struct SchedulesArgs {
    /// Show this schedule
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArg,
}

impl SchedulesArgs {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let answer = self.host.client(common)?.get("/api/v1/schedules", &[])?;
        let items = elements(&answer["items"]);
        match &self.name {
            Some(name) => self.show(name, items)?,
            None if self.json => print_json(&json!({ "items": items }))?,
            None => list(items)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn show(&self, name: &str, items: &[Value]) -> Result<(), Failure> {
        let Some(found) = items.iter().find(|item| item["name"] == name) else {
            let hint = hint(name, items.iter().filter_map(|item| item["name"].as_str()));
            return Err(Failure::failed(format!(
                "there is no schedule `{}`{hint}",
                printable(name)
            )));
        };
        if self.json {
            return print_json(found);
        }
        let mut out = Printout::new();
        for field in ["name", "spec", "enabled", "emit", "subject", "missed", "overlap"] {
            out.field(field, &found[field]);
        }
        for time in elements(&found["upcoming"]) {
            out.field("next", time);
        }
        out.field("last", &json!(last(found)));
        for skipped in elements(&found["skipped"]) {
            let (first, last, ticks) = (&skipped["first"], &skipped["last"], &skipped["ticks"]);
            let range = match first == last {
                true => text(first),
                false => format!("{} to {}, {ticks} ticks", text(first), text(last)),
            };
            out.field("skipped", &json!(format!("{range}: {}", text(&skipped["reason"]))));
        }
        out.print()
    }
}

fn list(items: &[Value]) -> Result<(), Failure> {
    let mut out = Printout::new();
    if items.is_empty() {
        out.line("no schedule");
        return out.print();
    }
    let head = ["NAME", "TIMES", "EMITS", "NEXT", "LAST"].map(str::to_owned).to_vec();
    let row = |item: &Value| {
        let next =
            if item["enabled"] == false { "disabled".to_owned() } else { text(&item["next"]) };
        vec![text(&item["name"]), text(&item["spec"]), text(&item["emit"]), next, last(item)]
    };
    out.table(&std::iter::once(head).chain(items.iter().map(row)).collect::<Vec<_>>());
    out.print()
}

/// The last tick with its event, or the reason for which it was skipped.
fn last(item: &Value) -> String {
    let last = &item["last"];
    if last.is_null() {
        return "never".to_owned();
    }
    let result = match last["skipped"].as_str() {
        Some(reason) => format!("skipped: {reason}"),
        None => text(&last["event_id"]),
    };
    format!("{}  {result}", text(&last["time"]))
}
