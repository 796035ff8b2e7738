//! `hookbox routes`: what is routed on a running host, and what flows.

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
The edges of the map, one a line: from a source or schedule to a type (received), from a type to a plugin (routed) or a \
join (gathered), and from a plugin to a type (emitted). COUNT is of the window; of routed edges it counts attempts. LAST is about \
when it was last used, at most 10 s late.

Examples:
  hookbox routes
  hookbox routes --window 24h
  hookbox routes --focus plugin:audit             what is around one of them
  hookbox routes --json")]
pub(super) struct RoutesArgs {
    /// Count over this time: 1h or 24h
    #[arg(long, value_name = "WINDOW", value_parser = ["1h", "24h"])]
    window: Option<String>,
    /// Only what is at most two steps from this node, such as source:NAME or type:TYPE
    #[arg(long, value_name = "NODE")]
    focus: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArg,
}

impl RoutesArgs {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let query = [("window", self.window.as_deref()), ("focus", self.focus.as_deref())];
        let map = self.host.client(common)?.get("/api/v1/map", &query)?;
        if self.json {
            print_json(&map)?;
        } else {
            table(&map)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn table(map: &Value) -> Result<(), Failure> {
    let mut out = Printout::new();
    let head = ["FROM", "TO", "HOW", "PATTERN", "COUNT", "FAILED", "LAST"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for edge in elements(&map["edges"]) {
        let cell = |name: &str| text(&edge[name]);
        // Members of joins and batches are not counted.
        let count = if edge["kind"] == "gathered" { String::new() } else { cell("count") };
        let failed = if edge["failed"] == 0 { String::new() } else { cell("failed") };
        rows.push(vec![
            cell("from"),
            cell("to"),
            cell("kind"),
            cell("pattern"),
            count,
            failed,
            cell("last_at"),
        ]);
    }
    for node in elements(&map["nodes"]).iter().filter(|node| node["unrouted"] == true) {
        let count: u64 = elements(&map["edges"])
            .iter()
            .filter(|edge| edge["to"] == node["id"])
            .filter_map(|edge| edge["count"].as_u64())
            .sum();
        let mut row = vec![text(&node["id"]), "no route".to_owned(), "unrouted".to_owned()];
        row.extend([String::new(), count.to_string(), String::new(), String::new()]);
        rows.push(row);
    }
    match rows.len() {
        1 => out.line("nothing is routed"),
        _ => out.table(&rows),
    }
    if map["folded"] != 0 {
        out.remark(format!("{} types are shown as their prefix", map["folded"]));
    }
    if map["truncated"] == true {
        out.remark("there is more: --focus shows what is around one node".to_owned());
    }
    out.print()
}
