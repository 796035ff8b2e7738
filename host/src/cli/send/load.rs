//! Many events over several connections, with a summary: rate, latency, and what came back.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::{Reply, Sender, TIMEOUT, agent};
use crate::cli::failure::Failure;
use crate::cli::output::{Page, printable};
use crate::tasks;

/// What one connection saw.
#[derive(Debug, Default)]
struct Tally {
    /// Replies by status, and what went wrong without one.
    answers: BTreeMap<String, u64>,
    successes: u64,
    duplicates: u64,
    /// Of every reply, in microseconds.
    latencies_us: Vec<u32>,
    /// What the first failure said.
    first_failure: Option<String>,
}

/// What all connections share.
#[derive(Debug)]
struct Job {
    sender: Sender,
    count: u32,
    rate: Option<f64>,
    start: Instant,
    next: AtomicU32,
    bar: ProgressBar,
}

/// Sends `count` events and says how that went. Exit code 1 unless all were answered with success.
pub(super) fn run(sender: Sender, count: u32, rate: Option<f64>, connections: u16) -> Result<ExitCode, Failure> {
    // Fails for all alike: better once, before anything is sent.
    sender.sign()?;
    let bar = progress(count);
    let job = Arc::new(Job { sender, count, rate, start: Instant::now(), next: AtomicU32::new(0), bar });
    let threads = u32::from(connections).min(count);
    let workers: Vec<_> = (0..threads)
        .map(|number| {
            let job = Arc::clone(&job);
            tasks::thread(&format!("send-{number}"), move || job.work())
        })
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::failed(format!("failed to start a thread: {error}")))?;
    let mut total = Tally::default();
    for worker in workers {
        total.add(worker.join().map_err(|_| Failure::failed("a connection's thread ended early"))?);
    }
    let took = job.start.elapsed();
    job.bar.finish_and_clear();
    total.page(&job.sender.url, took).print()?;
    Ok(if total.successes == u64::from(count) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn progress(count: u32) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len}  {per_sec}  {eta} left");
    ProgressBar::new(u64::from(count)).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

impl Job {
    fn work(&self) -> Tally {
        let agent = agent(TIMEOUT);
        let mut tally = Tally::default();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.count {
                return tally;
            }
            if let Some(rate) = self.rate {
                let due = self.start + Duration::from_secs_f64(f64::from(number) / rate);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            match self.sender.sign().map(|signed| self.sender.post(&agent, &signed)) {
                Ok(Ok(reply)) => tally.reply(&reply),
                Ok(Err(error)) => tally.failure("no answer", error.to_string()),
                Err(_) => tally.failure("not signed", "signing failed".to_owned()),
            }
            self.bar.inc(1);
        }
    }
}

impl Tally {
    fn reply(&mut self, reply: &Reply) {
        self.latencies_us.push(u32::try_from(reply.took.as_micros()).unwrap_or(u32::MAX));
        let label = format!("{} {}", reply.status, reply.reason);
        if reply.is_success() {
            self.successes += 1;
            self.duplicates += u64::from(reply.is_duplicate());
            *self.answers.entry(label).or_default() += 1;
        } else {
            self.failure(&label, String::from_utf8_lossy(&reply.body).into_owned());
        }
    }

    fn failure(&mut self, label: &str, detail: String) {
        *self.answers.entry(label.to_owned()).or_default() += 1;
        self.first_failure.get_or_insert(detail);
    }

    fn add(&mut self, other: Self) {
        for (label, count) in other.answers {
            *self.answers.entry(label).or_default() += count;
        }
        self.successes += other.successes;
        self.duplicates += other.duplicates;
        self.latencies_us.extend(other.latencies_us);
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }

    fn page(&mut self, url: &str, took: Duration) -> Page {
        let mut page = Page::new();
        let sent: u64 = self.answers.values().sum();
        let seconds = took.as_secs_f64().max(f64::EPSILON);
        page.line(format!("{sent} events to {url} in {seconds:.2} s: {:.0} a second", sent as f64 / seconds));
        for (label, count) in &self.answers {
            page.line(format!("  {count:>8}  {label}"));
        }
        if self.duplicates > 0 {
            page.line(format!("  {:>8}  of them duplicates", self.duplicates));
        }
        self.latencies_us.sort_unstable();
        let at = |share: f64| f64::from(percentile(&self.latencies_us, share)) / 1000.0;
        if !self.latencies_us.is_empty() {
            let (p50, p90, p99, max) = (at(0.5), at(0.9), at(0.99), at(1.0));
            page.line(format!("latency  p50 {p50:.1} ms  p90 {p90:.1} ms  p99 {p99:.1} ms  max {max:.1} ms"));
        }
        if let Some(failure) = &self.first_failure {
            page.line(format!("first failure: {}", printable(failure)));
        }
        page
    }
}

/// The value that `share` of the sorted values do not exceed (nearest rank); 0 of none.
fn percentile(sorted: &[u32], share: f64) -> u32 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_seen() {
        let values: Vec<u32> = (1..=100).collect();
        assert_eq!((percentile(&values, 0.5), percentile(&values, 0.99), percentile(&values, 1.0)), (50, 99, 100));
        assert_eq!((percentile(&[7], 0.5), percentile(&[], 0.5)), (7, 0));
    }
}
