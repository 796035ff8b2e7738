//! `hookbox bench`: loads a running host with events of the user's own, and checks that nothing it accepted was lost.
//!
//! The load is that of `hookbox send`; what became of it is asked from the admin API, before and after.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::Common;
use super::client::Target;
use super::failure::Failure;
use super::output::{Page, print_json, printable};
use super::send::load::{self, End, Plan, Seen};
use super::send::{Aim, Bodies, rate};
use crate::clock::{self, Clock};
use crate::config::{Config, MakeSecrets};

mod disk;
mod stats;

use stats::{Settled, Stats};

#[derive(Debug, Args)]
#[command(after_help = "\
It really sends these events: their plugins run, and do what they do. With --data each event gets a member
`hookbox_bench` with a fresh id, since a repeated body is a duplicate and takes a shorter road. The load generator takes
its share of the machine when it runs beside the host.

Examples:
  hookbox bench heygen avatar_video.success
  hookbox bench acme acme.order --data order.json --seconds 30 --connections 64
  hookbox bench acme acme.order --data order.json --rate 500         latency at that rate
  hookbox bench acme acme.order --json

Exit codes: 0 fine, 1 something accepted was lost or the host did not answer, 2 usage or configuration.")]
pub(super) struct Bench {
    #[command(flatten)]
    aim: Aim,
    /// How long to send
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: u16,
    /// Connections, each with one request at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=256))]
    connections: u16,
    /// So many a second, latency counted from when each was due [default: as fast as it goes]
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    rate: Option<f64>,
    /// How long to wait for deliveries to settle, in seconds
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u16).range(0..=3600))]
    settle: u16,
    /// Send although --url is another machine
    #[arg(long)]
    yes: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Everything that was measured.
#[derive(Debug)]
struct Report {
    seen: Seen,
    stored: u64,
    settled: Settled,
    /// Deliveries that failed for good: id and why.
    failures: Vec<(String, String)>,
    disk_ms: Option<[f64; 2]>,
    /// Events that the rate asked for.
    wanted: Option<f64>,
}

impl Bench {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let config = Config::load(&common.config, MakeSecrets::No)?;
        let sender = self.aim.sender(&config, Bodies::Varied)?;
        if self.aim.url.is_some() && !is_loopback(&sender.url) && !self.yes {
            return Err(Failure::usage(format!(
                "{} is not this machine: every event really runs its plugins there; add --yes to send them",
                printable(&sender.url)
            )));
        }
        let client = self.target.client(common)?;
        let before = Stats::ask(&client)?;
        let since = clock::rfc3339(Clock::system().now_ms());
        eprintln!("sending real events to {}: their plugins run on each of them", printable(&sender.url));
        let disk_ms = if is_loopback(&sender.url) { disk::sync_ms(&config.store.sqlite_path) } else { None };
        let time = Duration::from_secs(self.seconds.into());
        let plan = Plan { end: End::After(time), rate: self.rate, connections: self.connections };
        let start = Instant::now();
        let seen = load::run(sender, &plan)?;
        let settled = stats::settle(&client, &before, start, Duration::from_secs(self.settle.into()))?;
        let stored = settled.after.events.saturating_sub(before.events);
        let failures = if settled.dead > 0 { stats::failures(&client, since)? } else { Vec::new() };
        let wanted = self.rate.map(|rate| rate * time.as_secs_f64());
        let report = Report { seen, stored, settled, failures, disk_ms, wanted };
        if self.json {
            print_json(&report.json())?
        } else {
            report.page().print()?
        }
        Ok(if report.is_fine() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Whether the address is of this machine, as far as it can be told without asking anybody.
fn is_loopback(url: &str) -> bool {
    let uri: Option<ureq::http::Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(|uri| uri.host()).unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

impl Report {
    fn accepted(&self) -> u64 {
        self.seen.tally.successes - self.seen.tally.duplicates
    }

    /// Accepted, but not in the store.
    fn lost(&self) -> u64 {
        self.accepted().saturating_sub(self.stored)
    }

    fn is_fine(&self) -> bool {
        self.accepted() > 0 && self.lost() == 0 && !self.seen.tally.answers.contains_key("no answer")
    }

    /// The check, in words.
    fn check(&self) -> String {
        let (accepted, settled) = (self.accepted(), &self.settled);
        if self.lost() > 0 {
            format!("LOST: {accepted} accepted, but only {} stored", self.stored)
        } else if accepted == 0 {
            "nothing was accepted".to_owned()
        } else if settled.open > 0 {
            format!("all {accepted} stored; {} deliveries were not settled in time", settled.open)
        } else if settled.waiting > 0 {
            format!("all {accepted} stored; {} deliveries wait for another attempt", settled.waiting)
        } else {
            format!("all {accepted} stored, every delivery settled")
        }
    }

    fn page(&self) -> Page {
        let (tally, settled) = (&self.seen.tally, &self.settled);
        let mut page = Page::new();
        let mut rows = vec![
            ["sent".to_owned(), tally.sent().to_string()],
            ["accepted".to_owned(), self.accepted().to_string()],
            ["duplicates".to_owned(), tally.duplicates.to_string()],
        ];
        let refused = tally.answers.iter().filter(|(label, _)| !label.starts_with('2'));
        rows.extend(refused.map(|(label, count)| [label.clone(), count.to_string()]));
        rows.push(["requests/s".to_owned(), format!("{:.0}", self.seen.rate())]);
        if let Some([p50, p90, p99, max]) = tally.latency_ms() {
            rows.push(["ack ms".to_owned(), format!("p50 {p50:.1}  p90 {p90:.1}  p99 {p99:.1}  max {max:.1}")]);
        }
        if let Some([p50, p99]) = self.disk_ms {
            rows.push(["fdatasync ms".to_owned(), format!("p50 {p50:.2}  p99 {p99:.2}")]);
        }
        rows.push(["stored".to_owned(), self.stored.to_string()]);
        rows.push(["settled/s".to_owned(), format!("{:.0}", settled.rate())]);
        rows.push(["settled after".to_owned(), format!("{:.2} s", settled.took.as_secs_f64())]);
        let (done, dead, waiting) = (settled.done, settled.dead, settled.waiting);
        rows.push(["deliveries".to_owned(), format!("{done} done, {dead} dead, {waiting} waiting")]);
        page.rows(&rows.into_iter().map(Vec::from).collect::<Vec<_>>());
        page.line(self.check());
        if let Some(wanted) = self.wanted.filter(|wanted| (tally.sent() as f64) < wanted * 0.99) {
            page.line(format!(
                "fell behind: {} of {wanted:.0} were sent in time, latency is a lower bound",
                tally.sent()
            ));
        }
        for (id, why) in &self.failures {
            page.line(format!("dead: {}  {}", printable(id), printable(why)));
        }
        if let Some(failure) = &tally.first_failure {
            page.line(format!("first failure: {}", printable(failure)));
        }
        page
    }

    fn json(&self) -> serde_json::Value {
        let (tally, settled) = (&self.seen.tally, &self.settled);
        let ack =
            tally.latency_ms().map(|[p50, p90, p99, max]| json!({"p50": p50, "p90": p90, "p99": p99, "max": max}));
        json!({
            "sent": tally.sent(),
            "accepted": self.accepted(),
            "duplicates": tally.duplicates,
            "answers": tally.answers,
            "seconds": self.seen.took.as_secs_f64(),
            "requests_per_second": self.seen.rate(),
            "ack_ms": ack,
            "fdatasync_ms": self.disk_ms.map(|[p50, p99]| json!({"p50": p50, "p99": p99})),
            "wanted": self.wanted,
            "stored": self.stored,
            "lost": self.lost(),
            "settled_per_second": settled.rate(),
            "settled_after_seconds": settled.took.as_secs_f64(),
            "deliveries": {
                "done": settled.done, "dead": settled.dead, "waiting": settled.waiting, "open": settled.open,
            },
            "dead": self.failures.iter().map(|(id, why)| json!({"id": id, "error": why})).collect::<Vec<_>>(),
            "check": self.check(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_loopback() {
        for url in ["http://127.0.0.1:3000/x", "http://[::1]:3000/", "https://localhost/webhook/a"] {
            assert!(is_loopback(url), "{url}");
        }
        for url in ["http://10.0.0.1/", "https://hooks.example.com/", "http://127.0.0.1.example.com/"] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
