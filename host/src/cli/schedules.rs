//! `hookbox schedules`: when the schedules of a running host tick, and what became of their last
//! ticks.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Common;
use super::client::{HostArg, encoded};
use super::failure::Failure;
use super::listing::elements;
use super::output::{Printout, print_json, text};
use super::plugins::pause;

/// Where the API has schedules.
const SCHEDULES: &str = "/api/v1/schedules";

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  hookbox schedules
  hookbox schedules nightly-report   one, with its last ticks and skips
  hookbox schedules pause nightly-report --reason \"the database moves\"
  hookbox schedules --json"
)]
pub(super) struct SchedulesArgs {
    #[command(subcommand)]
    verb: Option<SchedulesVerb>,
    /// Show this schedule
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Answer in JSON
    #[arg(long, global = true, display_order = 880)]
    json: bool,
    #[command(flatten)]
    host: HostArg,
}

#[derive(Debug, Subcommand)]
enum SchedulesVerb {
    /// Have a schedule tick now, by hand
    #[command(after_help = "\
Its own ticks stay as they are. The event's note says who has run it.

Examples:
  hookbox schedules run nightly-report")]
    Run {
        /// The schedule
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Let a schedule not tick until it is resumed
    #[command(after_help = "\
`missed` of its section says what becomes of the ticks that fall into the pause. A pause survives a restart of the host.

Examples:
  hookbox schedules pause nightly-report --reason \"the database moves\"")]
    Pause {
        /// The schedule
        #[arg(value_name = "NAME")]
        name: String,
        /// Why: others will read it
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Let a paused schedule go on
    #[command(after_help = "\
Examples:
  hookbox schedules resume nightly-report")]
    Resume {
        /// The schedule
        #[arg(value_name = "NAME")]
        name: String,
    },
}

impl SchedulesArgs {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let client = self.host.client(common)?;
        match &self.verb {
            Some(SchedulesVerb::Run { name }) => {
                let ran = client.post(&format!("{SCHEDULES}/{}/run", encoded(name)), &[])?;
                if self.json {
                    print_json(&ran)?;
                } else {
                    let mut out = Printout::new();
                    out.line(format!("{} has made {}", text(&ran["name"]), text(&ran["event_id"])));
                    out.print()?;
                }
                return Ok(ExitCode::SUCCESS);
            }
            Some(SchedulesVerb::Pause { name, reason }) => {
                pause::pause(&client, SCHEDULES, name, reason, self.json)?;
                return Ok(ExitCode::SUCCESS);
            }
            Some(SchedulesVerb::Resume { name }) => {
                pause::resume(&client, SCHEDULES, name, self.json)?;
                return Ok(ExitCode::SUCCESS);
            }
            None => {}
        }
        if let Some(name) = &self.name {
            self.show(&client.get(&format!("{SCHEDULES}/{}", encoded(name)), &[])?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let answer = client.get(SCHEDULES, &[])?;
        let items = elements(&answer["items"]);
        match self.json {
            true => print_json(&json!({ "items": items }))?,
            false => list(items)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn show(&self, found: &Value) -> Result<(), Failure> {
        if self.json {
            return print_json(found);
        }
        let mut out = Printout::new();
        for field in
            ["name", "spec", "words", "zone", "enabled", "emit", "subject", "missed", "overlap"]
        {
            out.field(field, &found[field]);
        }
        out.field("pause", &json!(pause::line(&found["paused"])));
        for time in elements(&found["upcoming"]) {
            out.field("next", time);
        }
        out.field("last", &json!(last(found)));
        for tick in elements(&found["ticks"]) {
            let states = elements(&tick["deliveries"]).iter().map(|delivery| {
                format!("{} {}", text(&delivery["state"]), text(&delivery["plugin"]))
            });
            let states = states.collect::<Vec<_>>().join(", ");
            let (time, id) = (text(&tick["time"]), text(&tick["id"]));
            out.field("ticked", &json!(format!("{time}  {id}  {states}")));
        }
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
        let next = match (item["enabled"] == false, item["paused"].is_null()) {
            (true, _) => "disabled".to_owned(),
            (false, false) => "paused".to_owned(),
            (false, true) => text(&item["next"]),
        };
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
