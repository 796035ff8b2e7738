//! What the host says about itself while it runs: log lines on stderr, and metrics for whoever asks.
//!
//! Set up once, first thing, by the command line; everything else only speaks through the `tracing` and `metrics`
//! macros. Invariants: stdout belongs to the command's own answer, never to the log; with [`LogFormat::Json`] every line
//! that the host itself writes is one JSON object.

use std::io::{self, IsTerminal};
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::Value;

use crate::{config, tasks};

mod filter;
mod json;

/// Upper bounds of the buckets of every `*_seconds` histogram.
const BUCKETS_SECONDS: [f64; 16] =
    [0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How often measured values are folded into their buckets. Until then each is kept by itself.
const UPKEEP: Duration = Duration::from_secs(5);

/// How a log line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `HOOKBOX_LOG` is not a filter.
    #[error(
        "HOOKBOX_LOG: `{filter}` is not a log filter: {reason} (`info`, `debug` or `hookbox::dispatch=debug,info` would be)"
    )]
    Filter {
        /// As written.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Metrics are set up already, or their thread does not start.
    #[error("metrics cannot be collected: {0}")]
    Metrics(String),
}

impl From<BuildError> for TelemetryError {
    fn from(error: BuildError) -> Self {
        Self::Metrics(error.to_string())
    }
}

/// Starts logging to stderr, filtered by [`config::log_filter`]. What in that is likely to be a mistake is the first
/// thing that is logged.
pub fn log(format: LogFormat) -> Result<(), TelemetryError> {
    let (filter, doubts) = filter::read(config::log_filter())?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // It would say on stderr that stderr cannot be written, and panic: a log on a full disk would end the host.
    let lines = lines.log_internal_errors(false);
    // A second call finds logging set up: the first one stands.
    let _ = match format {
        LogFormat::Text => lines.with_ansi(config::colour(io::stderr().is_terminal())).try_init(),
        LogFormat::Json => lines.event_format(json::Lines).try_init(),
    };
    doubts.iter().for_each(|doubt| tracing::warn!("{doubt}"));
    Ok(())
}

/// Writes an error as one JSON line to stderr, whatever is filtered: for a host that does not start, or does not go on.
pub fn say_json_error(message: &str, fields: &[(&str, Value)]) {
    json::say("ERROR", message, fields, "hookbox::cli");
}

/// Has panics written as JSON lines too.
pub fn panics_as_json() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        let reason = panic.payload_as_str().unwrap_or("no message");
        say_json_error("panic", &[("reason", reason.into()), ("location", location.into())]);
    }));
}

/// Starts collecting metrics for the life of the process, and returns what renders them in the Prometheus text format.
pub fn metrics() -> Result<impl Fn() -> String + Send + Sync + Clone + 'static, TelemetryError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS_SECONDS)?
        .install_recorder()?;
    keep_up(handle.clone()).map_err(|error| TelemetryError::Metrics(error.to_string()))?;
    Ok(move || handle.render())
}

/// Folds measured values into their buckets, also when nobody scrapes: otherwise they pile up.
fn keep_up(handle: PrometheusHandle) -> io::Result<()> {
    tasks::thread("metrics", move || {
        loop {
            std::thread::sleep(UPKEEP);
            handle.run_upkeep();
        }
    })
    .map(drop)
}
