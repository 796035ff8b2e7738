//! The command line: arguments → calls, and what comes of them → text and exit codes.
//!
//! Exit codes: 0 fine, 1 failure, 2 usage or configuration. stdout carries a command's answer and nothing else;
//! everything else goes to stderr. What came from outside (types, subjects, log lines) is shown with its control
//! characters escaped, so that an event cannot steer the operator's terminal.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::telemetry;

mod bench;
mod check;
mod client;
mod compile;
mod deliveries;
mod describe;
mod events;
mod failure;
mod health;
mod new;
mod output;
mod plugins;
mod progress;
mod run;
mod send;
mod serve;
mod since;
mod test;
mod workbench;

use failure::Failure;

/// The host behind every webhook you receive: verified, durable, sandboxed handlers in WebAssembly.
#[derive(Debug, Parser)]
#[command(
    name = "hookbox",
    version,
    max_term_width = 110,
    propagate_version = true,
    after_help = "\
Examples:
  hookbox serve                                   start the host described by config.toml
  hookbox send heygen avatar_video.success        send it a signed sample event
  hookbox new my-handler --lang js                start a plugin of your own
  hookbox events                                  what came in, newest first
  hookbox deliveries --state dead                 what failed for good
  hookbox deliveries retry --state dead           try all of that again

Exit codes: 0 fine, 1 failure, 2 usage or configuration."
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Debug, Args)]
struct Common {
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE", default_value = "config.toml")]
    config: PathBuf,
    /// How log lines are written to stderr, and all that `serve` writes (what is logged: HOOKBOX_LOG, such as `debug`)
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    log_format: Format,
}

impl Common {
    fn logs_json(&self) -> bool {
        self.log_format == Format::Json
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the host until ctrl-c or SIGTERM, then drain
    Serve(serve::Serve),
    /// Load configuration and plugins, and report every problem
    Check(check::Check),
    /// Send a signed sample event to a source
    Send(send::Send),
    /// Load a running host with events of your own, and say how it did
    Bench(bench::Bench),
    /// Run one plugin on one event, without a host
    Run(run::Run),
    /// Test a plugin on a folder of cases, without a host
    Test(test::Test),
    /// Write a project for a plugin, in the language you like
    New(new::New),
    /// List, show, follow and replay events of a running host
    Events(events::Events),
    /// List, show, retry, cancel and discard deliveries of a running host
    Deliveries(deliveries::Deliveries),
    /// List and show plugins of a running host
    Plugins(plugins::Plugins),
    /// Ask a running host whether it is alive or ready, for probes that run a command
    Health(health::Health),
    /// Compile the file on stdin
    #[command(hide = true)]
    Compile(compile::Compile),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => run(&cli).unwrap_or_else(|failure| match cli.command {
            // A host's streams are read by machines from the first line to the last.
            Command::Serve(_) if cli.common.logs_json() => failure.report_json("hookbox does not run"),
            _ => failure.report(),
        }),
        Err(usage) => {
            // Nothing can be done about a closed stderr.
            let _ = usage.print();
            u8::try_from(usage.exit_code()).map_or(ExitCode::from(2), ExitCode::from)
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode, Failure> {
    let Cli { common, command } = cli;
    telemetry::log(match common.log_format {
        Format::Text => telemetry::LogFormat::Text,
        Format::Json => telemetry::LogFormat::Json,
    })
    .map_err(|error| Failure::usage(error.to_string()))?;
    match command {
        Command::Serve(serve) => serve.run(common),
        Command::Check(check) => check.run(common),
        Command::Send(send) => send.run(common),
        Command::Bench(bench) => bench.run(common),
        Command::Run(run) => run.run(common),
        Command::Test(test) => test.run(common),
        Command::New(new) => new.run(common),
        Command::Events(events) => events.run(common),
        Command::Deliveries(deliveries) => deliveries.run(common),
        Command::Plugins(plugins) => plugins.run(common),
        Command::Health(health) => health.run(common),
        Command::Compile(compile) => Ok(compile.run()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
