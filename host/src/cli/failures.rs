//! `hookbox failures`: what fails on a running host, by groups of failures that are alike.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::Common;
use super::client::HostArg;
use super::deliveries::filter::failure_id;
use super::failure::Failure;
use super::listing::{Listed, ListingArgs, elements};
use super::output::{Printout, print_json, text};
use super::since::time;

#[derive(Debug, Args)]
#[command(after_help = "\
A group is what one plugin failed with: the outcome, and the text without numbers, ids, quoted text and the queries of URLs. \
DEAD counts dead letters, WAITING the open ones, also those that are due already. A retry of a group takes the dead ones; with --state waiting \
it makes those due at once that wait. It asks first; where nobody can be asked, it needs --yes.

Examples:
  hookbox failures                              what fails now
  hookbox failures f_7c1a90b2d3e4               one group
  hookbox failures --all --since 7d             also what has ended
  hookbox deliveries --failure f_7c1a90b2d3e4   its deliveries
  hookbox deliveries retry --failure f_7c1a90b2d3e4
  hookbox deliveries retry --failure f_7c1a90b2d3e4 --state waiting")]
pub(super) struct Failures {
    /// Show this group
    #[arg(value_name = "GROUP", value_parser = failure_id, conflicts_with_all = ["all", "plugin", "outcome", "since", "until"])]
    id: Option<String>,
    /// Also those without a dead or open delivery
    #[arg(long)]
    all: bool,
    /// Of this plugin
    #[arg(long, value_name = "NAME")]
    plugin: Option<String>,
    /// With this outcome: retry, reject, trap, timeout, memory, error, crash
    #[arg(long)]
    outcome: Option<String>,
    /// Met at or after: RFC 3339, Unix seconds, or 90s, 15m, 2h, 3d ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<String>,
    /// Met first before: RFC 3339, Unix seconds, or 90s, 15m, 2h, 3d ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<String>,
    #[command(flatten)]
    listing: ListingArgs,
    /// Answer in JSON
    #[arg(long, display_order = 880)]
    json: bool,
    #[command(flatten)]
    host: HostArg,
}

impl Failures {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let client = self.host.client(common)?;
        if let Some(id) = &self.id {
            let group = client.get(&format!("/api/v1/failures/{id}"), &[])?;
            match self.json {
                true => print_json(&group)?,
                false => show(&group)?,
            }
            return Ok(ExitCode::SUCCESS);
        }
        const LISTED: Listed = Listed { path: "/api/v1/failures", none: "nothing fails", table };
        let filter = [
            ("state", self.all.then_some("all")),
            ("plugin", self.plugin.as_deref()),
            ("outcome", self.outcome.as_deref()),
            ("since", self.since.as_deref()),
            ("until", self.until.as_deref()),
        ];
        self.listing.print(&client, &LISTED, &filter, self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn table(out: &mut Printout, groups: &[Value]) {
    let head = ["GROUP", "PLUGIN", "OUTCOME", "WHAT", "DEAD", "WAITING", "LAST", "FILE"];
    let head = head.map(str::to_owned).to_vec();
    out.table(&std::iter::once(head).chain(groups.iter().map(row)).collect::<Vec<_>>());
}

fn row(group: &Value) -> Vec<String> {
    let cell = |name: &str| text(&group[name]);
    vec![
        cell("id"),
        cell("plugin"),
        outcome(group),
        cell("text"),
        cell("dead"),
        cell("waiting"),
        cell("last_at"),
        file(group),
    ]
}

fn outcome(group: &Value) -> String {
    if group["outcome"].is_null() { "any".to_owned() } else { text(&group["outcome"]) }
}

/// The last file it was met on, and whether that runs.
fn file(group: &Value) -> String {
    let Some(last) = elements(&group["files"]).last() else { return "-".to_owned() };
    let short: String = text(&last["digest"]).chars().take(12).collect();
    let what = match group["on_running"].as_str() {
        _ if last["running"] == true => "runs",
        Some("fails") => "the one that runs has met it too",
        Some("may_be_fixed") => "another runs now",
        _ => "none runs",
    };
    format!("{short} ({what})")
}

fn show(group: &Value) -> Result<(), Failure> {
    let mut out = Printout::new();
    for name in ["id", "plugin"] {
        out.field(name, &group[name]);
    }
    out.field("outcome", &outcome(group).into());
    for name in ["text", "dead", "waiting", "first_at", "last_at", "sample"] {
        out.field(name, &group[name]);
    }
    let trend: Vec<String> = elements(&group["trend"]).iter().map(text).collect();
    out.field("by_hour", &trend.join(" ").into());
    for file in elements(&group["files"]) {
        let running = if file["running"] == true { ", runs" } else { "" };
        out.field("file", &format!("{} {}x{running}", text(&file["digest"]), file["count"]).into());
    }
    out.field("on_running", &group["on_running"]);
    sample(&mut out, group);
    out.print()
}

/// Adds what its newest deliveries have in common, and its first and last attempt.
fn sample(out: &mut Printout, group: &Value) {
    out.field("looked_at", &group["looked_at"]);
    for (list, name) in [("types", "type"), ("sources", "source"), ("subjects", "subject")] {
        for it in elements(&group[list]) {
            out.field(name, &format!("{} {}x", text(&it["value"]), it["count"]).into());
        }
    }
    for name in ["first", "last"] {
        let Some(number) = group[name]["attempt"]["number"].as_u64() else { continue };
        let (delivery, attempt) = (text(&group[name]["delivery_id"]), &group[name]["attempt"]);
        let (at, error) = (text(&attempt["started_at"]), text(&attempt["error"]));
        out.field(name, &format!("{delivery} #{number} {at} {error}").into());
    }
    for mark in elements(&group["marks"]) {
        let of = |name: &str| text(&mark[name]);
        out.field(
            "changed",
            &format!("{} {} {} {}", of("at"), of("what"), of("name"), of("result")).into(),
        );
    }
}
