//! The metrics that every attempt of a plugin touches, looked up once: looking a metric up by its
//! labels costs several times what counting does.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

use crate::event::{Outcome, PluginName};
use crate::sandbox::Invocation;

/// The metrics of one plugin.
#[derive(Debug)]
pub(super) struct PluginMetrics {
    succeeded: Counter,
    kept: Counter,
    emitted: Counter,
    seconds: Histogram,
    waited: Histogram,
    memory: Histogram,
}

impl PluginMetrics {
    pub(super) fn new(plugin: &PluginName) -> Self {
        let plugin = || plugin.clone();
        Self {
            succeeded: counter!("hookbox_attempts_total", "plugin" => plugin(), "outcome" => Outcome::Ok.name()),
            kept: counter!("hookbox_settlements_total", "plugin" => plugin(), "result" => "kept"),
            emitted: counter!("hookbox_emitted_events_total", "plugin" => plugin()),
            seconds: histogram!("hookbox_attempt_duration_seconds", "plugin" => plugin()),
            waited: histogram!("hookbox_delivery_wait_duration_seconds", "plugin" => plugin()),
            memory: histogram!("hookbox_attempt_memory_peak_bytes", "plugin" => plugin()),
        }
    }

    /// An attempt has begun, so long after its delivery was due.
    pub(super) fn begun(&self, after: Duration) {
        self.waited.record(after);
    }

    /// A guest has run.
    pub(super) fn ran(&self, invocation: &Invocation) {
        self.memory.record(invocation.memory_peak_bytes as f64);
    }

    /// An attempt took so long.
    pub(super) fn took(&self, duration: Duration) {
        self.seconds.record(duration);
    }

    /// An attempt succeeded.
    pub(super) fn succeeded(&self) {
        self.succeeded.increment(1);
    }

    /// A settlement was stored as asked for.
    pub(super) fn kept(&self) {
        self.kept.increment(1);
    }

    /// So many events were stored that an attempt returned.
    pub(super) fn emitted(&self, events: usize) {
        if events > 0 {
            self.emitted.increment(events as u64);
        }
    }
}
