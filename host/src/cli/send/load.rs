//! Many events over several connections, with a summary: rate, latency, and what came back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::duplicate;
use super::sender::{HostReply, Sender, TIMEOUT};
use crate::cli::client::loading_agent;
use crate::cli::failure::Failure;
use crate::cli::output::{Printout, printable};
use crate::cli::progress::ProgressLine;
use crate::config::Source;
use crate::event::EventId;
use crate::text::duration;
use crate::{clock, tasks};

/// The most events of one run: the id and the latency of each are kept, which are 12 bytes.
pub(in crate::cli) const MAX_EVENTS: u32 = 10_000_000;

/// The time between two updates of the progress.
const UPDATE_INTERVAL: Duration = Duration::from_millis(100);

/// The amount and the rate of a load.
#[derive(Debug)]
pub(in crate::cli) struct LoadPlan {
    pub(in crate::cli) end: End,
    /// A second; as fast as it goes if absent.
    pub(in crate::cli) rate: Option<f64>,
    pub(in crate::cli) connections: u16,
}

/// The end of a load.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) enum End {
    Count(u32),
    After(Duration),
}

/// The result of all connections together.
#[derive(Debug)]
pub(in crate::cli) struct LoadResult {
    pub(in crate::cli) counts: LoadCounts,
    pub(in crate::cli) took: Duration,
    /// CPU time of this process meanwhile, on all cores together.
    pub(in crate::cli) cpu: Duration,
    pub(in crate::cli) url: String,
}

/// Counts of one connection.
#[derive(Debug, Default)]
pub(in crate::cli) struct LoadCounts {
    /// Replies by status, and what went wrong without one.
    pub(in crate::cli) answers: BTreeMap<String, u64>,
    pub(in crate::cli) successes: u64,
    pub(in crate::cli) duplicates: u64,
    /// The event that the first duplicate repeats.
    duplicate_of: Option<EventId>,
    /// Ids of acknowledged events, without duplicates; sorted once all are together.
    pub(in crate::cli) ids: Vec<EventId>,
    /// The latency of every reply, in microseconds.
    latencies_us: Vec<u32>,
    /// The text of the first failure.
    pub(in crate::cli) first_failure: Option<String>,
}

/// The state that all connections share.
#[derive(Debug)]
struct Load {
    sender: Sender,
    pace: LoadPace,
    /// Answered, or failed.
    sent: AtomicU64,
}

/// The times at which events are due.
#[derive(Debug)]
struct LoadPace {
    end: End,
    rate: Option<f64>,
    start: Instant,
    next: AtomicU32,
}

/// Sends events over several connections until there were enough.
pub(in crate::cli) fn run(sender: Sender, plan: &LoadPlan) -> Result<LoadResult, Failure> {
    let &LoadPlan { end, rate, connections } = plan;
    let pace = LoadPace { end, rate, start: Instant::now(), next: AtomicU32::new(0) };
    let job = Arc::new(Load { sender, pace, sent: AtomicU64::new(0) });
    let cpu = clock::process_cpu();
    let threads = match end {
        End::Count(count) => u32::from(connections).min(count),
        End::After(_) => u32::from(connections),
    };
    // Nothing is ever said: the channel is closed when the last of them is done.
    let (working, done) = channel::<()>();
    let workers: Vec<_> = (0..threads)
        .map(|number| {
            let (job, working) = (Arc::clone(&job), working.clone());
            tasks::thread(&format!("send-{number}"), move || {
                let counts = job.work();
                drop(working);
                counts
            })
        })
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::failed(format!("failed to start a thread: {error}")))?;
    drop(working);
    let progress = job.progress();
    while let Err(RecvTimeoutError::Timeout) = done.recv_timeout(UPDATE_INTERVAL) {
        job.show(&progress);
    }
    let mut counts = LoadCounts::default();
    for worker in workers {
        counts
            .add(worker.join().map_err(|_| Failure::failed("a connection's thread ended early"))?);
    }
    let (took, cpu) = (job.pace.start.elapsed(), clock::process_cpu().saturating_sub(cpu));
    counts.latencies_us.sort_unstable();
    counts.ids.sort_unstable();
    Ok(LoadResult { counts, took, cpu, url: job.sender.url.clone() })
}

impl Load {
    fn progress(&self) -> ProgressLine {
        let length = match self.pace.end {
            End::Count(count) => count.into(),
            End::After(time) => millis(time),
        };
        ProgressLine::new("sending", length)
    }

    fn show(&self, progress: &ProgressLine) {
        let (sent, elapsed) = (self.sent.load(Ordering::Relaxed), self.pace.start.elapsed());
        let rate = sent as f64 / elapsed.as_secs_f64().max(f64::EPSILON);
        match self.pace.end {
            End::Count(count) => {
                progress.show(sent, format!("{sent} of {count}, {rate:.0} a second"))
            }
            End::After(time) => {
                let (seconds, all) = (elapsed.as_secs_f32(), time.as_secs_f32());
                progress.show(
                    millis(elapsed),
                    format!("{seconds:.1} of {all} s, {sent} sent, {rate:.0} a second"),
                );
            }
        }
    }

    fn work(&self) -> LoadCounts {
        let agent = loading_agent(TIMEOUT);
        let mut counts = LoadCounts::default();
        while let Some(due) = self.pace.due() {
            match self.sender.sign().map(|signed| self.sender.post(&agent, &signed)) {
                // Waiting for a free connection is waiting for the host, so the time counts from
                // when the event was due.
                Ok(Ok(reply)) => counts.reply(&reply, due.map_or(reply.took, |due| due.elapsed())),
                Ok(Err(error)) => counts.failure("no answer", error.to_string()),
                Err(_) => counts.failure("not signed", "signing failed".to_owned()),
            }
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
        counts
    }
}

impl LoadPace {
    /// Waits until the next event is due, and says since when, if there is a rate; `None` when
    /// there were enough.
    fn due(&self) -> Option<Option<Instant>> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due =
            self.rate.map(|rate| self.start + Duration::from_secs_f64(f64::from(number) / rate));
        let now = Instant::now();
        let is_enough = match self.end {
            End::Count(count) => number >= count,
            End::After(time) => {
                number >= MAX_EVENTS || due.unwrap_or(now).max(now) >= self.start + time
            }
        };
        if is_enough {
            return None;
        }
        if let Some(due) = due {
            std::thread::sleep(due.saturating_duration_since(now));
        }
        Some(due)
    }
}

impl LoadCounts {
    fn reply(&mut self, reply: &HostReply, took: Duration) {
        self.latencies_us.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        let label = format!("{} {}", reply.status, reply.reason);
        if reply.is_success() {
            self.successes += 1;
            match reply.ack() {
                Some(ack) if ack.is_duplicate => {
                    self.duplicates += 1;
                    self.duplicate_of.get_or_insert(ack.id);
                }
                Some(ack) => self.ids.push(ack.id),
                None => {}
            }
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
        self.duplicate_of = self.duplicate_of.or(other.duplicate_of);
        self.ids.extend(other.ids);
        self.latencies_us.extend(other.latencies_us);
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }

    /// Events that were sent, answered or not.
    pub(in crate::cli) fn sent(&self) -> u64 {
        self.answers.values().sum()
    }

    /// p50, p90, p99 and the longest time to a reply, in milliseconds; `None` without replies.
    pub(in crate::cli) fn latency_ms(&self) -> Option<[f64; 4]> {
        let at = |share: f64| f64::from(percentile(&self.latencies_us, share)) / 1000.0;
        (!self.latencies_us.is_empty()).then(|| [at(0.5), at(0.9), at(0.99), at(1.0)])
    }
}

impl LoadResult {
    /// Events sent a second.
    pub(in crate::cli) fn rate(&self) -> f64 {
        self.counts.sent() as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }

    pub(super) fn printout(&self, source: &Source) -> Printout {
        let (mut out, counts) = (Printout::new(), &self.counts);
        let (sent, took) = (counts.sent(), duration(self.took.as_secs_f64() * 1000.0));
        out.line(format!("{sent} events to {} in {took}: {:.0} a second", self.url, self.rate()));
        for (label, count) in &counts.answers {
            out.line(format!("  {count:>8}  {label}"));
        }
        if counts.duplicates > 0 {
            out.line(format!("  {:>8}  of them duplicates", counts.duplicates));
        }
        if let Some(latency) = counts.latency_ms() {
            let [p50, p90, p99, max] = latency.map(duration);
            out.line(format!("latency  p50 {p50}  p90 {p90}  p99 {p99}  max {max}"));
        }
        if let Some(failure) = &counts.first_failure {
            out.line(format!("first failure: {}", printable(failure)));
        }
        if let Some(first) = counts.duplicate_of {
            let [what, ways @ ..] = duplicate::lines(source, first);
            out.line(if counts.duplicates > 1 { format!("the first {what}") } else { what });
            ways.iter().for_each(|way| out.line(way));
        }
        out
    }

    pub(super) fn json(&self, source: &Source) -> Value {
        let counts = &self.counts;
        let latency = counts
            .latency_ms()
            .map(|[p50, p90, p99, max]| json!({ "p50": p50, "p90": p90, "p99": p99, "max": max }));
        json!({
            "url": self.url, "sent": counts.sent(), "took_s": self.took.as_secs_f64(), "per_second": self.rate(),
            "answers": counts.answers, "successes": counts.successes, "duplicates": counts.duplicates,
            "duplicate_of": counts.duplicate_of.map(|first| first.to_string()),
            "to_send_another": counts.duplicate_of.map(|_| duplicate::another(source)),
            "latency_ms": latency, "first_failure": counts.first_failure,
        })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
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
        assert_eq!(
            (percentile(&values, 0.5), percentile(&values, 0.99), percentile(&values, 1.0)),
            (50, 99, 100)
        );
        assert_eq!((percentile(&[7], 0.5), percentile(&[], 0.5)), (7, 0));
    }

    #[test]
    fn a_run_that_has_time_left_ends_with_the_events_that_can_be_kept() {
        let end = End::After(Duration::from_secs(3600));
        let pace = LoadPace {
            end,
            rate: None,
            start: Instant::now(),
            next: AtomicU32::new(MAX_EVENTS - 1),
        };
        assert!(pace.due().is_some() && pace.due().is_none());
    }
}
