//! `hookbox bench`: loads a running host with events of the user's own, and checks that nothing it
//! acknowledged was lost.
//!
//! The load is that of `hookbox send`. The admin API says what became of each acknowledged event.
//! Once something was sent there is a report, which also counts what could not be found out.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::Common;
use super::client::HostArg;
use super::failure::Failure;
use super::known;
use super::output::{print_json, printable};
use super::remarks::remark;
use super::send::load::{self, End, LoadPlan, MAX_EVENTS};
use super::send::{Aim, Bodies, is_loopback, rate};
use crate::config::{Partial, StorePlace};
use crate::names::{closest, did_you_mean};

mod audit;
mod disk;
mod report;

use audit::Times;
use report::BenchReport;

#[derive(Debug, Args)]
#[command(after_help = "\
It really sends these events, so their plugins run, with all their effects. With --data each event gets a member \
`hookbox_bench` with a fresh id, since a repeated body is a duplicate and takes a shorter road. The load generator takes \
its share of the machine when it runs beside the host.

Every event that was acknowledged is looked up: it is stored or lost, or unknown if the admin API gives no answer for as \
long as --settle says. It is settled once each of its deliveries is done or dead. Duplicates were acknowledged before, and \
are counted apart. A run ends with 10 million events at the latest.

Examples:
  hookbox bench heygen avatar_video.success
  hookbox bench acme acme.order --data order.json --seconds 30 --connections 64
  hookbox bench acme acme.order --data order.json --rate 500   at that rate
  hookbox bench acme acme.order --json

Exit codes: 0 every event that was sent was acknowledged and is stored, and all its deliveries are done; 1 one was not: \
the report counts what was refused, unanswered, a duplicate, lost, unknown, open, waiting or dead; 2 usage or configuration.")]
pub(super) struct Bench {
    #[command(flatten)]
    aim: Aim,
    /// Seconds of sending
    #[arg(
        long, value_name = "N", default_value_t = 10,
        value_parser = clap::value_parser!(u16).range(1..=3600)
    )]
    seconds: u16,
    /// Connections, each with one request at a time
    #[arg(
        long, value_name = "N", default_value_t = 64,
        value_parser = clap::value_parser!(u16).range(1..=256)
    )]
    connections: u16,
    /// So many a second, latency counted from when each was due [default: as fast as it goes]
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    rate: Option<f64>,
    /// Seconds to wait for deliveries to settle (not for another attempt) and for a failing admin
    /// API
    #[arg(
        long, value_name = "N", default_value_t = 60,
        value_parser = clap::value_parser!(u16).range(0..=3600)
    )]
    settle: u16,
    /// Send although the host is not on a loopback address, or no route takes the type
    #[arg(long)]
    yes: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArg,
}

impl Bench {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let mut config = known::partial(common)?;
        let sender = self.aim.sender(&mut config, Bodies::Varied)?;
        let wanted = self.wanted()?;
        if !self.yes {
            self.doubt(&config, common, &sender.url)?;
        }
        let client = self.host.client(common)?;
        audit::backlog(&client)?;
        sender.knock().map_err(|error| {
            Failure::failed(format!(
                "the host's admin address answers, but nobody does at {} ({error}): is {} where it takes webhooks?",
                printable(&sender.url),
                self.origin()
            ))
        })?;
        remark(&format!(
            "sending real events to {}: their plugins run on each of them",
            printable(&sender.url)
        ));
        let fdatasync_ms = match &config.store {
            StorePlace::Sqlite(path) if is_loopback(&sender.url) => disk::sync_ms(path),
            _ => None,
        };
        let time = Duration::from_secs(self.seconds.into());
        let plan =
            LoadPlan { end: End::After(time), rate: self.rate, connections: self.connections };
        let start = Instant::now();
        let mut seen = load::run(sender, &plan)?;
        let ids = std::mem::take(&mut seen.counts.ids);
        let acknowledged = ids.len() as u64;
        let audit = audit::trace(
            &client,
            ids,
            Times { start, patience: Duration::from_secs(self.settle.into()) },
        );
        let failures = audit.failures(&client);
        let connections = self.connections;
        let report =
            BenchReport { connections, seen, acknowledged, audit, failures, fdatasync_ms, wanted };
        if self.json {
            print_json(&report.json())?
        } else {
            report.printout().print()?
        }
        Ok(if report.is_fine() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The number of events that the rate asks for.
    fn wanted(&self) -> Result<Option<f64>, Failure> {
        let wanted = self.rate.map(|rate| rate * f64::from(self.seconds));
        match wanted.filter(|wanted| *wanted > MAX_EVENTS.into()) {
            None => Ok(wanted),
            Some(wanted) => Err(Failure::usage(format!(
                "--rate and --seconds ask for {wanted:.0} events, and {MAX_EVENTS} is the most whose outcome is kept in \
                 memory: lower one of them"
            ))),
        }
    }

    /// Asks back about what is likely a mistake.
    fn doubt(&self, config: &Partial, common: &Common, url: &str) -> Result<(), Failure> {
        if !is_loopback(url) {
            return Err(Failure::usage(format!(
                "{} ({}) is not a loopback address: every event really runs its plugins there; add --yes to send them",
                printable(url),
                self.origin()
            )));
        }
        let (source, kind) = (&self.aim.source, &self.aim.kind);
        // Of a file with problems nobody knows which routes the host has.
        let Ok(config) = &config.whole else { return Ok(()) };
        if !config.routes.targets(source, kind).is_empty() {
            return Ok(());
        }
        let patterns: Vec<&str> =
            config.routes.iter().map(|route| route.pattern.as_str()).collect();
        let hint = match closest(kind, patterns.iter().copied()) {
            Some(near) => did_you_mean(near),
            None if patterns.is_empty() => "it has none.".to_owned(),
            None => format!("it has `{}`.", patterns.join("`, `")),
        };
        Err(Failure::usage(format!(
            "no route of {} takes `{}` from `{source}`, so no plugin would run: {hint} Add --yes to measure the \
             acknowledgement alone",
            common.config.display(),
            printable(kind),
        )))
    }

    /// The option or setting that names the address of events.
    fn origin(&self) -> &'static str {
        if self.aim.url.is_some() { "--url" } else { "`server.listen` of the configuration" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_loopback() {
        for url in ["http://127.0.0.1:3000/x", "http://[::1]:3000/", "https://localhost/webhook/a"]
        {
            assert!(is_loopback(url), "{url}");
        }
        for url in
            ["http://10.0.0.1/", "https://hooks.example.com/", "http://127.0.0.1.example.com/"]
        {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
