//! `hookbox clock`: what a running host believes of its clock, and a word that it is right.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Common;
use super::client::Target;
use super::failure::Failure;
use super::output::{Page, print_json, text};

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  hookbox clock
  hookbox clock accept"
)]
pub(super) struct Clock {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Take the clock as right after a jump, or after a long stop
    #[command(after_help = "\
Look at the clock first: what is older than `store.retention` by it is deleted from then on. Without this the host takes the \
clock as right when it has stood for a day.

Examples:
  hookbox clock accept")]
    Accept,
}

impl Clock {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let client = self.target.client(common)?;
        let answer = match self.verb {
            None => client.get("/api/v1/clock", &[])?,
            Some(Verb::Accept) => client.post("/api/v1/clock/accept", &[])?,
        };
        if self.json {
            print_json(&answer)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut page = Page::new();
        match self.verb {
            None => {
                for name in ["state", "time", "host_time", "since", "detail"] {
                    page.field(name, &answer[name]);
                }
            }
            Some(Verb::Accept) if answer["jump_ms"].is_null() && answer["held_ms"] == 0 => {
                page.line("there was nothing to accept: the clock is right");
            }
            Some(Verb::Accept) => {
                page.line(format!("accepted: it is {}", text(&answer["clock"]["time"])));
            }
        }
        page.print()?;
        Ok(ExitCode::SUCCESS)
    }
}
