//! The metrics that every accepted request touches, looked up once for each source: looking a
//! metric up by its labels costs several times what counting does.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

/// The counters of one source.
#[derive(Debug)]
pub(super) struct SourceMetrics {
    accepted: Counter,
    ack_seconds: Histogram,
    unidentified: Counter,
    keys: Vec<Counter>,
}

impl SourceMetrics {
    /// For a source with this many keys.
    pub(super) fn new(source: &Arc<str>, keys: usize) -> Self {
        let source = || Arc::clone(source);
        Self {
            accepted: counter!(
                "hookbox_ingest_requests_total", "source" => source(), "reason" => "accepted", "code" => "200"
            ),
            ack_seconds: histogram!("hookbox_ingest_ack_duration_seconds", "source" => source()),
            unidentified: counter!("hookbox_ingest_unidentified_total", "source" => source()),
            keys: (0..keys)
                .map(|key| counter!("hookbox_ingest_signatures_total", "source" => source(), "key" => key.to_string()))
                .collect(),
        }
    }

    /// A request was stored as a new event.
    pub(super) fn accepted(&self) {
        self.accepted.increment(1);
    }

    /// A request was stored, or known already, so long after it had been read.
    pub(super) fn acknowledged(&self, after: Duration) {
        self.ack_seconds.record(after);
    }

    /// A request was stored as a new event without a type.
    pub(super) fn unidentified(&self) {
        self.unidentified.increment(1);
    }

    /// A request was signed with the key at this position.
    pub(super) fn key_used(&self, key: u32) {
        if let Some(counter) = self.keys.get(key as usize) {
            counter.increment(1);
        }
    }
}
