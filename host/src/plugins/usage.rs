//! Counts of the calls that a plugin made, since the host started or the plugin was added.

use std::sync::{Mutex, PoisonError};

use crate::event::HttpCall;
use crate::sandbox::{Invocation, Verdict};

/// The calls of one plugin. Each file of the plugin hands the counts on to the next.
#[derive(Debug, Default)]
pub struct Usage(Mutex<UsageSnapshot>);

/// The counts at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageSnapshot {
    /// HTTP requests that were answered, with whatever status.
    pub http_answered: u64,
    /// HTTP requests that the host refused, by a rule or a limit.
    pub http_refused: u64,
    /// HTTP requests without an answer.
    pub http_unanswered: u64,
    /// The last request that was refused or had no answer.
    pub http_last_unanswered: Option<HttpCall>,
    /// Keys that attempts read.
    pub kv_reads: u64,
    /// Keys that successful attempts wrote or deleted.
    pub kv_writes: u64,
}

impl Usage {
    /// Counts the calls of an attempt.
    pub fn count(&self, invocation: &Invocation) {
        let writes = if matches!(invocation.verdict, Verdict::Ok(_)) {
            invocation.kv_writes.len() + invocation.kv_adds.len()
        } else {
            0
        };
        if invocation.calls.is_empty() && invocation.kv_reads.is_empty() && writes == 0 {
            return;
        }
        // A panic leaves no number half written.
        let mut snapshot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        snapshot.kv_reads += invocation.kv_reads.len() as u64;
        snapshot.kv_writes += writes as u64;
        for call in &invocation.calls {
            match call {
                HttpCall { status: Some(_), .. } => snapshot.http_answered += 1,
                HttpCall { refused: true, .. } => snapshot.http_refused += 1,
                _ => snapshot.http_unanswered += 1,
            }
        }
        if let Some(last) = invocation.calls.iter().rfind(|call| call.status.is_none()) {
            snapshot.http_last_unanswered = Some(last.clone());
        }
    }

    /// Copies the counts.
    pub fn snapshot(&self) -> UsageSnapshot {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
            cpu_ms: 0,
            memory_peak_bytes: 0,
            duration_us: 1,
        }
    }

    #[test]
    fn what_was_used_adds_up_and_the_last_refusal_is_remembered() {
        let usage = Usage::default();
        let last = call("https://c/", None, true);
        let calls = vec![
            call("https://a/", Some(500), false),
            call("https://b/", None, false),
            last.clone(),
        ];
        usage.count(&invocation(Verdict::Ok(Vec::new()), calls));
        usage.count(&invocation(
            Verdict::Reject("no".to_owned()),
            vec![call("https://d/", Some(200), false)],
        ));
        let expected = UsageSnapshot {
            http_answered: 2,
            http_refused: 1,
            http_unanswered: 1,
            http_last_unanswered: Some(last),
            kv_reads: 4,
            kv_writes: 1,
        };
        assert_eq!(usage.snapshot(), expected, "a rejected attempt writes nothing");
    }
}
