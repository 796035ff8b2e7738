//! Measurements of a row: its runs, and the one that is compared.

use serde_json::{Value, json};

/// The result of one load.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) body_bytes: usize,
    pub(super) connections: usize,
    pub(super) seconds: f64,
    pub(super) per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// Deliveries settled a second while the load lasted; with a burst, until all are.
    pub(super) settled_per_second: Option<f64>,
    /// CPU time of the receiver for each accepted request, until all is settled, in
    /// microseconds.
    pub(super) cpu_us: Option<f64>,
    /// Deliveries that waited, each second.
    pub(super) backlog: Vec<u64>,
    /// How fast that grew, as a share of what was accepted.
    pub(super) growth: Option<f64>,
}

/// All that was measured of a row.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) name: &'static str,
    /// Closed loops and bursts.
    pub(super) runs: Vec<Run>,
    /// The open loop at half the peak.
    pub(super) half_peak: Option<Run>,
    /// Milliseconds from the call of the plugin to its verdict at that rate, median and 99th
    /// percentile.
    pub(super) attempt_ms: Option<[f64; 2]>,
}

impl Run {
    /// The compared figure: settled if there is something to settle, else answered.
    pub(super) fn rate(&self) -> f64 {
        self.settled_per_second.unwrap_or(self.per_second)
    }

    fn json(&self) -> Value {
        json!({ "body_bytes": self.body_bytes, "connections": self.connections, "seconds": self.seconds,
            "requests_per_second": self.per_second, "p50_ms": self.p50_ms, "p99_ms": self.p99_ms,
            "settled_per_second": self.settled_per_second, "cpu_us_per_request": self.cpu_us, "backlog": self.backlog, "backlog_growth": self.growth })
    }
}

impl Measured {
    /// The peak: small bodies over the most connections.
    pub(super) fn peak(&self) -> Option<&Run> {
        let smallest = self.runs.iter().map(|run| run.body_bytes).min()?;
        self.runs.iter().filter(|run| run.body_bytes == smallest).max_by_key(|run| run.connections)
    }

    /// Its rate.
    pub(super) fn rate(&self) -> f64 {
        self.peak().map_or(0.0, Run::rate)
    }

    pub(super) fn json(&self) -> Value {
        let runs: Vec<Value> = self.runs.iter().map(Run::json).collect();
        json!({ "receiver": self.name, "runs": runs, "half_peak": self.half_peak.as_ref().map(Run::json),
            "attempt_ms": self.attempt_ms })
    }
}
