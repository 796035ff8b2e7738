//! Counts of the calls that a plugin made, and the most that an attempt of it used, since the host
//! started or the plugin was added.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::event::HttpCall;
use crate::sandbox::{Invocation, Verdict};

/// The calls of one plugin. Each file of the plugin hands the counts on to the next.
#[derive(Debug, Default)]
pub struct Usage {
    calls: Mutex<UsageSnapshot>,
    attempts: AtomicU64,
    failed: AtomicU64,
    cpu_us: AtomicU64,
    peaks: Peaks<AtomicU64>,
}

/// Attempts that ran, and those of them that failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttemptCounts {
    /// All that ran.
    pub attempts: u64,
    /// The attempts that failed.
    pub failed: u64,
}

impl AttemptCounts {
    /// The share of failed attempts since other counts were taken; `None` if there was no attempt.
    pub fn failed_since(self, before: Self) -> Option<f64> {
        let attempts = self.attempts.saturating_sub(before.attempts);
        let failed = self.failed.saturating_sub(before.failed).min(attempts);
        (attempts > 0).then(|| failed as f64 / attempts as f64)
    }
}

/// The most that one attempt used of each limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Peaks<N = u64> {
    /// Time, waiting included, in microseconds.
    pub duration_us: N,
    /// Time that it computed, in microseconds.
    pub cpu_us: N,
    /// Linear memory, in bytes.
    pub memory_bytes: N,
    /// Events that it emitted.
    pub emitted: N,
    /// Lines of its log.
    pub log_lines: N,
    /// HTTP requests.
    pub http_requests: N,
    /// Bodies of its HTTP requests together, in bytes.
    pub http_sent_bytes: N,
    /// Bodies of the responses together, in bytes.
    pub http_received_bytes: N,
}

/// The counts at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageSnapshot {
    /// HTTP requests that were answered, with whatever status.
    pub http_answered: u64,
    /// HTTP requests that the host refused, by a rule or a limit.
    pub http_refused: u64,
    /// HTTP requests without an answer.
    pub http_unanswered: u64,
    /// The last request that the host refused.
    pub http_last_refused: Option<HttpCall>,
    /// The last request without an answer.
    pub http_last_unanswered: Option<HttpCall>,
    /// Keys that attempts read.
    pub kv_reads: u64,
    /// Keys that successful attempts wrote or deleted.
    pub kv_writes: u64,
}

impl Usage {
    /// Counts the calls of an attempt, and what it used.
    pub fn count(&self, invocation: &Invocation) {
        self.cpu_us.fetch_add(invocation.cpu_us, Relaxed);
        self.peaks.raise(invocation);
        if !matches!(invocation.verdict, Verdict::NoCapacity) {
            self.attempts.fetch_add(1, Relaxed);
            let has_failed = !matches!(invocation.verdict, Verdict::Ok(_));
            self.failed.fetch_add(u64::from(has_failed), Relaxed);
        }
        let writes = if matches!(invocation.verdict, Verdict::Ok(_)) {
            invocation.kv_writes.len() + invocation.kv_adds.len()
        } else {
            0
        };
        if invocation.calls.is_empty() && invocation.kv_reads.is_empty() && writes == 0 {
            return;
        }
        // A panic leaves no number half written.
        let mut snapshot = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        snapshot.kv_reads += invocation.kv_reads.len() as u64;
        snapshot.kv_writes += writes as u64;
        for call in &invocation.calls {
            match call {
                HttpCall { status: Some(_), .. } => snapshot.http_answered += 1,
                HttpCall { refused: true, .. } => snapshot.http_refused += 1,
                _ => snapshot.http_unanswered += 1,
            }
        }
        let last = |refused: bool| {
            let mut calls = invocation.calls.iter().rev().filter(|call| call.status.is_none());
            calls.find(|call| call.refused == refused).cloned()
        };
        if let Some(last) = last(true) {
            snapshot.http_last_refused = Some(last);
        }
        if let Some(last) = last(false) {
            snapshot.http_last_unanswered = Some(last);
        }
    }

    /// The time that guests of the plugin computed.
    pub fn cpu(&self) -> Duration {
        Duration::from_micros(self.cpu_us.load(Relaxed))
    }

    /// How many attempts there were, and how many of them failed.
    pub fn attempts(&self) -> AttemptCounts {
        AttemptCounts { failed: self.failed.load(Relaxed), attempts: self.attempts.load(Relaxed) }
    }

    /// The most that one attempt used of each limit.
    pub fn peaks(&self) -> Peaks {
        self.peaks.load()
    }

    /// Copies the counts.
    pub fn snapshot(&self) -> UsageSnapshot {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Peaks<AtomicU64> {
    /// Notes what an attempt used.
    fn raise(&self, invocation: &Invocation) {
        let raise = |peak: &AtomicU64, used: u64| {
            // Nearly always it is no new one, and only read.
            if used > peak.load(Relaxed) {
                peak.fetch_max(used, Relaxed);
            }
        };
        raise(&self.duration_us, invocation.duration_us);
        raise(&self.cpu_us, invocation.cpu_us);
        raise(&self.memory_bytes, invocation.memory_peak_bytes as u64);
        raise(&self.log_lines, invocation.logs.len() as u64);
        if let Verdict::Ok(emitted) = &invocation.verdict {
            raise(&self.emitted, emitted.len() as u64);
        }
        if !invocation.calls.is_empty() {
            let sum = |of: fn(&HttpCall) -> u64| invocation.calls.iter().map(of).sum();
            raise(&self.http_requests, invocation.calls.len() as u64);
            raise(&self.http_sent_bytes, sum(|call| call.sent_bytes));
            raise(&self.http_received_bytes, sum(|call| call.received_bytes));
        }
    }

    fn load(&self) -> Peaks {
        Peaks {
            duration_us: self.duration_us.load(Relaxed),
            cpu_us: self.cpu_us.load(Relaxed),
            memory_bytes: self.memory_bytes.load(Relaxed),
            emitted: self.emitted.load(Relaxed),
            log_lines: self.log_lines.load(Relaxed),
            http_requests: self.http_requests.load(Relaxed),
            http_sent_bytes: self.http_sent_bytes.load(Relaxed),
            http_received_bytes: self.http_received_bytes.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(url: &str, status: Option<u16>, refused: bool) -> HttpCall {
        HttpCall {
            method: "GET".to_owned(),
            url: url.to_owned(),
            status,
            error: status.is_none().then(|| "no".to_owned()),
            refused,
            sent_bytes: 0,
            received_bytes: 0,
            duration_ms: 1,
            offset_ms: None,
        }
    }

    fn invocation(verdict: Verdict, calls: Vec<HttpCall>) -> Invocation {
        Invocation {
            verdict,
            logs: Vec::new(),
            calls,
            kv_reads: vec![("a".to_owned(), None), ("b".to_owned(), Some(1))],
            kv_lists: Vec::new(),
            kv_writes: vec![("a".to_owned(), None)],
            kv_adds: Vec::new(),
            steps: Vec::new(),
            again: None,
            call_spans: Vec::new(),
            is_cold: true,
            memory_peak_bytes: 65_536,
            cpu_us: 250,
            duration_us: 1,
        }
    }

    #[test]
    fn what_was_used_adds_up_and_the_last_calls_without_an_answer_are_remembered() {
        let usage = Usage::default();
        let (refused, unanswered) =
            (call("https://c/", None, true), call("https://b/", None, false));
        let calls = vec![
            call("https://a/", Some(500), false),
            unanswered.clone(),
            call("https://a/", None, true),
            refused.clone(),
        ];
        usage.count(&invocation(Verdict::Ok(Vec::new()), calls));
        usage.count(&invocation(
            Verdict::Reject("no".to_owned()),
            vec![call("https://d/", Some(200), false)],
        ));
        let expected = UsageSnapshot {
            http_answered: 2,
            http_refused: 2,
            http_unanswered: 1,
            http_last_refused: Some(refused),
            http_last_unanswered: Some(unanswered),
            kv_reads: 4,
            kv_writes: 1,
        };
        assert_eq!(usage.snapshot(), expected, "a rejected attempt writes nothing");
        assert_eq!(usage.attempts(), AttemptCounts { attempts: 2, failed: 1 });
        assert_eq!(usage.cpu(), Duration::from_micros(500), "of both attempts");
        let peaks = usage.peaks();
        assert_eq!((peaks.cpu_us, peaks.memory_bytes, peaks.http_requests), (250, 65_536, 4));
    }
}
