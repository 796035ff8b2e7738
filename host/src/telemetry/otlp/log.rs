//! The host's log lines, for the collector.

use std::fmt::{self, Write as _};
use std::sync::OnceLock;

use tokio::sync::mpsc::Sender;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::clock;
use crate::trace::{self, SpanContext, SpanFields};

/// Where lines go, once there is a collector.
static LINES: OnceLock<Sender<SentLine>> = OnceLock::new();

/// The lines of this module's own parts: of a collector that does not answer, for example.
const OWN: &str = "hookbox::telemetry::otlp";

/// Lines of attempts, in which [`REASON`] is a text of the plugin.
const ATTEMPTS: &str = "hookbox::dispatch";

/// The field with the reason of a failure.
const REASON: &str = "reason";

/// A line on its way.
#[derive(Debug)]
pub(super) struct SentLine {
    /// Unix time in nanoseconds.
    pub(super) time_ns: u64,
    pub(super) level: Level,
    /// The module that wrote it.
    pub(super) target: &'static str,
    pub(super) message: String,
    pub(super) fields: SpanFields,
    /// The span that it belongs to.
    pub(super) span: Option<SpanContext>,
}

/// Sends lines here from now on: those of the first host of the process.
pub(super) fn send_to(lines: Sender<SentLine>) {
    let _ = LINES.set(lines);
}

/// Counts lines that are not sent.
pub(super) fn dropped_lines(count: u64) {
    metrics::counter!("hookbox_log_lines_dropped_total").increment(count);
}

/// Sends the host's own lines: neither those of libraries nor those of plugins.
#[derive(Debug)]
pub(in crate::telemetry) struct LogLayer;

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(lines) = LINES.get() else { return };
        let metadata = event.metadata();
        let target = metadata.target();
        if !is_sent(target) {
            return;
        }
        let mut read = ReadLine { has_reason: !is_below(target, ATTEMPTS), ..ReadLine::default() };
        event.record(&mut read);
        let line = SentLine {
            time_ns: clock::unix_ns(),
            level: *metadata.level(),
            target,
            message: read.message,
            fields: read.fields,
            span: trace::current(),
        };
        // A line that finds no room is dropped: nothing in the host waits for the collector.
        if lines.try_send(line).is_err() {
            dropped_lines(1);
        }
    }
}

fn is_sent(target: &str) -> bool {
    is_below(target, "hookbox") && !is_below(target, OWN)
}

/// Whether a target is this module or one within it.
fn is_below(target: &str, module: &str) -> bool {
    let rest = target.strip_prefix(module);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The message and the fields of a line.
#[derive(Debug, Default)]
struct ReadLine {
    message: String,
    fields: SpanFields,
    /// Whether the reason is the host's own text.
    has_reason: bool,
}

impl ReadLine {
    fn add(&mut self, field: &Field, value: impl Into<trace::FieldValue>) {
        if field.name() != REASON || self.has_reason {
            self.fields.add(field.name(), value);
        }
    }
}

impl Visit for ReadLine {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a string cannot fail.
            let _ = write!(self.message, "{value:?}");
        } else {
            self.add(field, format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.add(field, value.to_owned());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hosts_own_lines_are_sent() {
        for target in ["hookbox", "hookbox::app", "hookbox::dispatch::settle"] {
            assert!(is_sent(target), "{target}");
        }
        for target in ["plugin", "hyper", "hookboxes", "hookbox::telemetry::otlp::pump"] {
            assert!(!is_sent(target), "{target}");
        }
    }
}
