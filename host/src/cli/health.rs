//! `hookbox health`: a running host's probes, for those who can only run a command (Docker,
//! Kubernetes `exec`).

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::Common;
use super::client::HostArg;
use super::failure::Failure;
use super::listing::elements;
use super::output::{Printout, print_json, printable, text};

#[derive(Debug, Args)]
#[command(after_help = "\
Exit code 0 if it is, 1 if it is not or does not answer. A host that is degraded serves, and is ready.

Examples:
  hookbox health                                  is it ready for webhooks?
  hookbox health --live                           does the process answer?
  hookbox health --admin 127.0.0.1:3001 --json    without a configuration")]
pub(super) struct HealthArgs {
    /// Ask whether the process answers (`/livez`)
    #[arg(long, conflicts_with = "ready")]
    live: bool,
    /// Ask whether it takes webhooks (`/readyz`) [default]
    #[arg(long)]
    ready: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArg,
}

impl HealthArgs {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let path = if self.live { "/livez" } else { "/readyz" };
        let (fine, answer) = self.host.client(common)?.probe(path)?;
        if self.json {
            print_json(&answer)?;
        } else {
            let mut out = Printout::new();
            out.line(line(&answer));
            out.print()?;
        }
        Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The state, and what is wrong since when, on one line.
fn line(answer: &Value) -> String {
    let problems = elements(&answer["problems"]).iter().flat_map(|problem| {
        let name = problem["name"].as_str().map(|name| format!(" {name}")).unwrap_or_default();
        let since = problem["since"].as_str().map(|at| format!(" (since {at})"));
        let (part, detail) = (text(&problem["part"]), text(&problem["detail"]));
        let since = since.unwrap_or_default();
        // Each problem of a configuration has a line of its own.
        let lines = detail.lines().map(str::trim).filter(|line| !line.is_empty());
        let say = |line| printable(&format!("{part}{name}: {line}{since}"));
        lines.map(say).collect::<Vec<_>>()
    });
    [printable(&text(&answer["status"]))].into_iter().chain(problems).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_state_and_its_problems_are_one_line() {
        assert_eq!(line(&json!({ "status": "live", "problems": [] })), "live");
        let problems = json!([
            { "part": "store", "name": null, "detail": "the disk is full\n" },
            { "part": "plugin", "name": "audit", "detail": "it is missing", "since": null },
            { "part": "config", "name": null, "detail": "line\t3\nline 9", "since": "2026-02-02T02:40:00.000Z" },
        ]);
        let answer = json!({ "status": "unavailable", "problems": problems });
        assert_eq!(
            line(&answer),
            "unavailable; store: the disk is full; plugin audit: it is missing; config: line\\t3 (since \
             2026-02-02T02:40:00.000Z); config: line 9 (since 2026-02-02T02:40:00.000Z)"
        );
    }
}
