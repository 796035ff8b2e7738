//! The command line: arguments become calls, and results become text and exit codes.
//!
//! Exit codes: 0 fine, 1 failure, 2 usage or configuration. stdout carries a command's answer and
//! nothing else; everything else goes to stderr. Text from outside (types, subjects, log lines)
//! is shown with its control characters escaped, so that an event cannot steer the operator's
//! terminal.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::{env, telemetry};

mod asking;
mod audit;
mod backup;
mod bench;
mod check;
mod client;
mod clock;
mod compile;
mod completions;
mod config_shown;
mod deliveries;
mod describe;
mod emit;
mod events;
mod failure;
mod failures;
mod health;
mod hosts;
mod joins;
mod known;
mod kv;
mod listen;
mod listing;
mod new;
mod open;
mod operations;
mod output;
mod plugins;
mod presets;
mod progress;
mod provider;
mod remarks;
mod routes;
mod run;
mod runner;
mod schedules;
mod send;
mod serve;
mod since;
mod sources;
mod stats;
mod store;
mod take_secret;
mod test;
mod token;
mod troubles;
mod tunnel;

use failure::Failure;

/// The host behind every webhook you receive: verified, durable, sandboxed handlers in WebAssembly.
#[derive(Debug, Parser)]
#[command(
    name = "hookbox",
    version = VERSION.as_str(),
    max_term_width = 110,
    after_help = "\
Examples:
  hookbox serve                                   start the host of config.toml
  hookbox send heygen avatar_video.success        send it a signed sample event
  hookbox new my-handler --lang js                start a plugin of your own
  hookbox events                                  what came in, newest first
  hookbox deliveries --state dead                 what failed for good
  hookbox deliveries retry --state dead           ask, and try all of that again

Exit codes: 0 fine, 1 failure, 2 usage or configuration."
)]
struct Cli {
    #[command(flatten)]
    given: GlobalArgs,
    /// As `serve` has it; for scripts that write it in front of the command
    #[arg(long, hide = true, value_name = "FORMAT", value_enum)]
    log_format: Option<Format>,
    #[command(subcommand)]
    command: CliCommand,
}

impl Cli {
    fn logs_json(&self) -> bool {
        let own = match &self.command {
            CliCommand::Serve(serve) => serve.log_format,
            _ => None,
        };
        own.or(self.log_format) == Some(Format::Json)
    }
}

/// The options of every command.
#[derive(Debug, Args)]
struct GlobalArgs {
    /// The configuration file [default: HOOKBOX_CONFIG, or config.toml in this folder]
    #[arg(long, global = true, value_name = "FILE", display_order = 900)]
    config: Option<PathBuf>,
}

/// The same, completed from the environment.
#[derive(Debug)]
struct Common {
    /// The configuration file.
    config: PathBuf,
    /// Whether somebody named it; otherwise it is the usual one of this folder.
    is_named: bool,
    /// Whether log lines are JSON, and all that `serve` writes.
    logs_json: bool,
}

impl GlobalArgs {
    fn complete(&self, logs_json: bool) -> Common {
        let named = self.config.clone().or_else(env::config_file);
        let is_named = named.is_some();
        Common { config: named.unwrap_or_else(|| PathBuf::from(USUAL_CONFIG)), is_named, logs_json }
    }
}

/// The configuration file that is meant if nobody names one.
const USUAL_CONFIG: &str = "config.toml";

/// The version, and the commit if it was named when this program was built.
static VERSION: LazyLock<String> = LazyLock::new(|| match option_env!("HOOKBOX_COMMIT") {
    Some(commit) => format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
    None => env!("CARGO_PKG_VERSION").to_owned(),
});

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Run the host until ctrl-c or SIGTERM, then drain
    Serve(serve::Serve),
    /// Load configuration and plugins, and report every problem
    Check(check::Check),
    /// Send a signed sample event to a source
    Send(send::Send),
    /// Have a running host make an event of your own
    Emit(emit::Emit),
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
    /// Failures that are alike, and whether the file that runs has met them
    Failures(failures::Failures),
    /// Actions on many deliveries: listed, paused, ended, undone
    Operations(operations::OperationsCommand),
    /// Copy the store into a file, also while a host runs
    Backup(backup::Backup),
    /// Move the store of a stopped host into a Postgres database
    Store(store::StoreArgs),
    /// The log of changes by operators
    Audit(audit::Audit),
    /// The configuration that is in force on a running host
    Config(config_shown::ConfigArgs),
    /// Print the address of a page, or of the page of a thing
    Open(open::Open),
    /// Print what a shell needs to complete commands and options
    Completions(completions::Completions),
    /// Make a token for the admin API, and list those of a running host
    Token(token::TokenArgs),
    /// The hosts that share the store of a running one
    Hosts(hosts::HostsArgs),
    /// Open joins and batches: what has come, and what is still needed
    Joins(joins::Joins),
    /// Routes of a running host and their traffic: sources, types, plugins
    Routes(routes::RoutesArgs),
    /// Sources of a running host: accepted requests, refused ones and why
    Sources(sources::SourcesArgs),
    /// Register a source at its provider, rotate its secret, and ask for events
    Provider(provider::ProviderArgs),
    /// Make the local host reachable from outside, with cloudflared, ngrok or ssh
    Tunnel(tunnel::Tunnel),
    /// Take events of a running host, and post them to the local one
    Listen(listen::Listen),
    /// List and show plugins of a running host
    Plugins(plugins::Plugins),
    /// Show what plugins of a running host keep from one event to the next
    Kv(kv::KvArgs),
    /// List the schedules of a running host: when they tick, and what became of the last tick
    Schedules(schedules::SchedulesArgs),
    /// How much there is of what on a running host, and how fast; once, or again and again
    Stats(stats::StatsArgs),
    /// Show what wants attention on a running host: what it is, since when, and what follows
    Troubles(troubles::Troubles),
    /// Ask a running host whether it is alive or ready, for probes that run a command
    Health(health::HealthArgs),
    /// Show what a running host believes of its clock, and accept it as right
    Clock(clock::ClockArgs),
    /// Compile the file on stdin
    #[command(hide = true)]
    Compile(compile::Compile),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => run(&cli).unwrap_or_else(|failure| match cli.command {
            // A host's streams are read by machines from the first line to the last.
            CliCommand::Serve(_) if cli.logs_json() => failure.report_json("hookbox does not run"),
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
    let logs_json = cli.logs_json();
    telemetry::log(if logs_json { telemetry::LogFormat::Json } else { telemetry::LogFormat::Text })
        .map_err(|error| Failure::usage(error.to_string()))?;
    let common = &cli.given.complete(logs_json);
    match &cli.command {
        CliCommand::Serve(serve) => serve.run(common),
        CliCommand::Check(check) => check.run(common),
        CliCommand::Send(send) => send.run(common),
        CliCommand::Emit(emit) => emit.run(common),
        CliCommand::Bench(bench) => bench.run(common),
        CliCommand::Run(run) => run.run(common),
        CliCommand::Test(test) => test.run(common),
        CliCommand::New(new) => new.run(common),
        CliCommand::Events(events) => events.run(common),
        CliCommand::Deliveries(deliveries) => deliveries.run(common),
        CliCommand::Failures(failures) => failures.run(common),
        CliCommand::Operations(operations) => operations.run(common),
        CliCommand::Backup(backup) => backup.run(common),
        CliCommand::Store(store) => store.run(common),
        CliCommand::Audit(audit) => audit.run(common),
        CliCommand::Config(config) => config.run(common),
        CliCommand::Open(open) => open.run(common),
        CliCommand::Completions(completions) => completions.run(Cli::command()),
        CliCommand::Token(token) => token.run(common),
        CliCommand::Hosts(hosts) => hosts.run(common),
        CliCommand::Joins(joins) => joins.run(common),
        CliCommand::Routes(routes) => routes.run(common),
        CliCommand::Sources(sources) => sources.run(common),
        CliCommand::Provider(provider) => provider.run(common),
        CliCommand::Tunnel(tunnel) => tunnel.run(common),
        CliCommand::Listen(listen) => listen.run(common),
        CliCommand::Plugins(plugins) => plugins.run(common),
        CliCommand::Kv(kv) => kv.run(common),
        CliCommand::Schedules(schedules) => schedules.run(common),
        CliCommand::Stats(stats) => stats.run(common),
        CliCommand::Troubles(troubles) => troubles.run(common),
        CliCommand::Health(health) => health.run(common),
        CliCommand::Clock(clock) => clock.run(common),
        CliCommand::Compile(compile) => Ok(compile.run()),
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

    /// A command and all below it that are shown, with their names.
    fn all(command: &clap::Command, path: &str) -> Vec<(String, clap::Command)> {
        let shown = command
            .get_subcommands()
            .filter(|below| !below.is_hide_set() && below.get_name() != "help");
        let below = shown.flat_map(|below| all(below, &format!("{path} {}", below.get_name())));
        std::iter::once((path.to_owned(), command.clone())).chain(below).collect()
    }

    #[test]
    fn every_command_has_examples_that_fit_a_terminal() {
        for (path, command) in all(&Cli::command(), "hookbox") {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(text.contains("Examples:\n  hookbox "), "{path} has no examples");
            let long = text.lines().find(|line| line.starts_with(' ') && line.chars().count() > 80);
            assert_eq!(long, None, "{path}: a line that is broken elsewhere than at its end");
        }
    }

    /// The terminal decides where a line ends: a paragraph that has ends of its own is broken
    /// twice.
    #[test]
    fn a_paragraph_of_the_help_is_one_line() {
        for (path, command) in all(&Cli::command(), "hookbox") {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let is_text =
                |line: &str| !line.is_empty() && !line.starts_with(' ') && !line.ends_with(':');
            let broken = lines.windows(2).find(|pair| is_text(pair[0]) && is_text(pair[1]));
            assert_eq!(broken, None, "{path}");
        }
    }

    #[test]
    fn what_every_command_has_stands_behind_what_is_its_own() {
        for name in ["events", "deliveries", "send", "new", "serve", "plugins"] {
            let help = Cli::try_parse_from(["hookbox", name, "--help"]).unwrap_err().to_string();
            let at = |option: &str| {
                help.find(option).unwrap_or_else(|| panic!("{option} is not in {help}"))
            };
            let options = help.split("Options:").nth(1).unwrap().split("Examples:").next().unwrap();
            let named: Vec<&str> = options
                .lines()
                .filter(|line| line.trim_start().starts_with('-') && line.contains("--"))
                .collect();
            let end: Vec<&str> = named.iter().rev().take(2).rev().map(|line| line.trim()).collect();
            assert!(
                end[0].starts_with("--config") && end[1].starts_with("-h, --help"),
                "{name}: {end:?}"
            );
            assert_eq!(help.contains("--log-format"), name == "serve", "{name}");
            assert!(at("Examples:") > at("--config"), "{name}");
        }
    }
}
