//! `hookbox config`: the configuration that is in force on a running host.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::Common;
use super::client::HostArg;
use super::failure::Failure;
use super::listing::elements;
use super::output::{Printout, print_json, text};

#[derive(Debug, Args)]
#[command(after_help = "\
Each key of the file with its value and its line, and the defaults of [server], [store], [telemetry], sections of plugins \
and `dedupe`; of secrets whether they are set. `hookbox check` reads a file instead, and finds what is wrong with it.

Examples:
  hookbox config
  hookbox config --json")]
pub(super) struct ConfigArgs {
    /// Answer in JSON
    #[arg(long, display_order = 880)]
    json: bool,
    #[command(flatten)]
    host: HostArg,
}

impl ConfigArgs {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let config = self.host.client(common)?.get("/api/v1/config", &[])?;
        match self.json {
            true => print_json(&config)?,
            false => show(&config)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn show(config: &Value) -> Result<(), Failure> {
    let mut out = Printout::new();
    for name in ["file", "read_at", "applies", "error"] {
        out.field(name, &config[name]);
    }
    for key in elements(&config["waits_for_restart"]) {
        out.field("after_restart", key);
    }
    for warning in elements(&config["warnings"]) {
        out.field("warning", &warning["text"]);
    }
    table(&mut out, elements(&config["keys"]));
    out.print()
}

/// Adds keys, each with its value and the line that says so.
pub(super) fn table<'a>(out: &mut Printout, keys: impl IntoIterator<Item = &'a Value>) {
    let head = ["KEY", "VALUE", "FROM"].map(str::to_owned).to_vec();
    let row = |key: &Value| {
        let from = match key["line"].as_u64() {
            Some(line) => format!("line {line}"),
            None => "default".to_owned(),
        };
        vec![text(&key["key"]), text(&key["value"]), from]
    };
    let rows = keys.into_iter().map(row);
    out.table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
}
