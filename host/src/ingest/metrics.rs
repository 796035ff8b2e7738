//! The metrics that every accepted request touches, looked up once for each source: looking a
//! metric up by its labels costs several times what counting does.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// The counters of one source.
#[derive(Debug)]
pub(super) struct SourceMetrics {
    accepted: Counter,
    ack_seconds: Histogram,
    unidentified: Counter,
    keys: Vec<Counter>,
}

impl SourceMetrics {
    /// For a source with this many keys, which answers an event with this status.
    pub(super) fn new(source: &Arc<str>, keys: usize, status: StatusCode) -> Self {
        let source = || Arc::clone(source);
        Self {
            accepted: counter!(
                "hookbox_ingest_requests_total", "source" => source(), "reason" => "accepted",
                "code" => status.as_u16().to_string()
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

/// Requests that are not answered yet, of all sources.
#[derive(Debug)]
pub(super) struct InFlightGauge(Gauge);

impl InFlightGauge {
    pub(super) fn new() -> Self {
        Self(gauge!("hookbox_ingest_requests_in_flight"))
    }

    /// Counts a request until the guard is dropped.
    pub(super) fn begin(&self) -> CountedRequest<'_> {
        self.0.increment(1);
        CountedRequest(&self.0)
    }
}

/// A request that is counted as not answered.
#[derive(Debug)]
pub(super) struct CountedRequest<'g>(&'g Gauge);

impl Drop for CountedRequest<'_> {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}
