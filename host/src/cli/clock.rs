//! `hookbox clock`: what a running host believes of its clock, and a word that it is right.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Common;
use super::client::HostArg;
use super::failure::Failure;
use super::output::{Printout, print_json, text};

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  hookbox clock
  hookbox clock accept"
)]
pub(super) struct ClockArgs {
    #[command(subcommand)]
    verb: Option<ClockVerb>,
    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    host: HostArg,
}

#[derive(Debug, Subcommand)]
enum ClockVerb {
    /// Take the clock as right after a jump, or after a long stop
    #[command(after_help = "\
Look at the clock first: what is older than `store.retention` by it is deleted from then on. Without this the host takes the \
clock as right when it has stood for a day.

Examples:
  hookbox clock accept")]
    Accept,
}

impl ClockArgs {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let client = self.host.client(common)?;
        let answer = match self.verb {
            None => client.get("/api/v1/clock", &[])?,
            Some(ClockVerb::Accept) => client.post("/api/v1/clock/accept", &[])?,
        };
        if self.json {
            print_json(&answer)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut out = Printout::new();
        match self.verb {
            None => {
                for name in ["state", "time", "host_time", "since", "detail"] {
                    out.field(name, &answer[name]);
                }
            }
            Some(ClockVerb::Accept) if answer["jump_ms"].is_null() && answer["held_ms"] == 0 => {
                out.line("there was nothing to accept: the clock is right");
            }
            Some(ClockVerb::Accept) => {
                out.line(format!("accepted: it is {}", text(&answer["clock"]["time"])));
            }
        }
        out.print()?;
        Ok(ExitCode::SUCCESS)
    }
}
