//! `hookbox stats`: how much there is of what on a running host, once or again and again.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::Common;
use super::client::{AdminClient, HostArg};
use super::failure::Failure;
use super::output::{Printout, print_json, print_json_line, text};
use crate::env;
use crate::text::{duration, grouped};

/// Where the API has them.
const STATS: &str = "/api/v1/stats";

/// Time between two questions.
const POLL: Duration = Duration::from_secs(1);

/// The columns of the plugins.
const COLUMNS: [&str; 9] =
    ["PLUGIN", "READY", "RUNNING", "WAITING", "DONE", "DEAD", "CANCELLED", "DISCARDED", "STATE"];

#[derive(Debug, Args)]
#[command(after_help = "\
Rates are of the last ten seconds that are over; those of attempts are of attempts \
that succeeded and that failed. A leased delivery runs or waits for its turn.

Examples:
  hookbox stats
  hookbox stats --watch           one line, drawn anew each second
  hookbox stats --watch --json    one JSON object a second")]
pub(super) struct StatsArgs {
    /// Go on until it is ended, a look each second
    #[arg(long)]
    watch: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArg,
}

impl StatsArgs {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let client = self.host.client(common)?;
        let stats = client.get(STATS, &[])?;
        match (self.watch, self.json) {
            (true, as_json) => watch(&client, stats, as_json)?,
            (false, true) => print_json(&stats)?,
            (false, false) => {
                let mut out = Printout::new();
                out.line(line(&stats));
                plugins(&mut out, &stats["plugins"]);
                out.print()?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints a line a second, on a terminal over the one before.
fn watch(client: &AdminClient, mut stats: Value, as_json: bool) -> Result<(), Failure> {
    let redraws = !as_json && io::stdout().is_terminal() && !env::is_dumb_terminal();
    loop {
        if as_json {
            print_json_line(&stats)?;
        } else {
            show(&line(&stats), redraws)?;
        }
        stats = loop {
            std::thread::sleep(POLL);
            match client.get(STATS, &[]) {
                Ok(stats) => break stats,
                // A host that restarts comes back; one that was never there does not.
                Err(_) if as_json => {}
                Err(_) => show("no answer, trying again", redraws)?,
            }
        };
    }
}

/// Writes a line; over the one before if that is to be redrawn.
fn show(line: &str, redraws: bool) -> Result<(), Failure> {
    let mut out = Printout::new();
    out.cut_line(line, None);
    if !redraws {
        return out.print();
    }
    let mut stdout = io::stdout().lock();
    write!(stdout, "\r\u{1b}[2K{}", out.text().trim_end())?;
    Ok(stdout.flush()?)
}

/// All of it on one line.
fn line(stats: &Value) -> String {
    let count = |state: &str| grouped(stats["deliveries"][state].as_u64().unwrap_or(0));
    let rate = |name: &str| number(stats["lately"][name].as_f64().unwrap_or(0.0));
    let oldest = age_ms(&stats["at"], &stats["oldest_ready_at"])
        .map_or_else(String::new, |age| format!(" (oldest {})", duration(age)));
    let next = age_ms(&stats["next_due_at"], &stats["at"])
        .map_or_else(String::new, |time| format!(" (next in {})", duration(time)));
    let ack = stats["lately"]["ack_p99_ms"].as_f64();
    let ack = ack.map_or_else(String::new, |ms| format!("  ack p99 {}", duration(ms)));
    format!(
        "accepted {}/s  succeeded {}/s  failed {}/s  ready {}{oldest}  leased {}  waiting {}{next}  dead {}{ack}",
        rate("accepted_per_s"),
        rate("succeeded_per_s"),
        rate("failed_per_s"),
        count("ready"),
        count("leased"),
        count("waiting"),
        count("dead"),
    )
}

/// The milliseconds from one time of the API to an earlier one, if there are both.
fn age_ms(now: &Value, then: &Value) -> Option<f64> {
    let time = |value: &Value| value.as_str()?.parse::<jiff::Timestamp>().ok();
    let ms = time(now)?.as_millisecond() - time(then)?.as_millisecond();
    Some(ms.max(0) as f64)
}

/// A number with a fraction only if it is small.
fn number(value: f64) -> String {
    if value >= 10.0 || value == value.trunc() {
        grouped(value.round() as u64)
    } else {
        format!("{value:.1}")
    }
}

/// Adds the plugins, a row each.
fn plugins(out: &mut Printout, plugins: &Value) {
    let Some(plugins) = plugins.as_object().filter(|plugins| !plugins.is_empty()) else { return };
    let row = |(name, plugin): (&String, &Value)| {
        let counts = ["ready", "running", "waiting", "done", "dead", "cancelled", "discarded"]
            .map(|of| text(&plugin[of]));
        let state = if plugin["paused"] == true { "paused" } else { "" };
        let mut cells = vec![name.clone()];
        cells.extend(counts);
        cells.push(state.to_owned());
        cells
    };
    let head = COLUMNS.map(str::to_owned).to_vec();
    out.line("");
    out.table(&std::iter::once(head).chain(plugins.iter().map(row)).collect::<Vec<_>>());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_look_is_one_line() {
        let stats = json!({
            "at": "2026-11-23T15:04:05.400Z",
            "oldest_ready_at": "2026-11-23T15:04:05.000Z",
            "next_due_at": "2026-11-23T15:04:17.400Z",
            "deliveries": { "ready": 4, "leased": 2, "waiting": 53, "dead": 1_041 },
            "lately": {
                "accepted_per_s": 1204.3, "succeeded_per_s": 1198.0, "failed_per_s": 0.6, "ack_p99_ms": 6.71,
            },
        });
        assert_eq!(
            line(&stats),
            "accepted 1,204/s  succeeded 1,198/s  failed 0.6/s  ready 4 (oldest 400 ms)  leased 2  \
             waiting 53 (next in 12 s)  dead 1,041  ack p99 6.71 ms"
        );
        let still = json!({ "at": "2026-11-23T15:04:05.400Z", "oldest_ready_at": null });
        assert_eq!(
            line(&still),
            "accepted 0/s  succeeded 0/s  failed 0/s  ready 0  leased 0  waiting 0  dead 0"
        );
    }
}
