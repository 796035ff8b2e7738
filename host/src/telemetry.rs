//! Log lines on stderr, and metrics in the Prometheus format.
//!
//! The command line sets both up before anything else; the rest of the host only uses the macros of
//! `tracing` and `metrics`. Invariants: the log never writes to stdout, which belongs to the
//! command's output; with [`LogFormat::Json`] every line that the host itself writes is one JSON
//! object.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::Value;

use self::series::Tee;
use crate::admin::RenderMetrics;
use crate::clock::Clock;
use crate::series::Series;
use crate::{env, tasks};

mod exposition;
mod families;
mod filter;
mod json;
mod process;
mod series;

/// Histograms of what may take minutes: the `timeout` of an attempt may be 15 of them.
const LONG: [&str; 4] = [
    "hookbox_attempt_duration_seconds",
    "hookbox_delivery_wait_duration_seconds",
    "hookbox_plugin_compile_duration_seconds",
    "hookbox_plugin_http_request_duration_seconds",
];

/// Upper bounds of the buckets of the [`LONG`] ones.
const LONG_BUCKETS_SECONDS: [f64; 20] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 100.0, 300.0, 900.0,
];

/// Upper bounds of the buckets of every other `*_seconds` histogram.
const BUCKETS_SECONDS: [f64; 16] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// Upper bounds of the buckets of an attempt's memory, which grows by pages of 64 KiB.
const MEMORY_BUCKETS_BYTES: [f64; 8] = [
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
];

/// Upper bounds of the buckets of a group commit's commands.
const COMMANDS_BUCKETS: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];

/// How often measured values are folded into their buckets. Until then each takes memory.
const UPKEEP: Duration = Duration::from_secs(5);

/// How a log line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; in colour on a terminal.
    #[default]
    Text,
    /// One JSON object on each line.
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
        /// Its value.
        filter: String,
        /// Why it is invalid.
        reason: String,
    },
    /// Metrics are set up already, or their thread cannot be started.
    #[error("metrics cannot be collected: {0}")]
    Metrics(String),
}

impl From<BuildError> for TelemetryError {
    fn from(error: BuildError) -> Self {
        Self::Metrics(error.to_string())
    }
}

/// Starts logging to stderr, filtered by [`env::log_filter`]. Likely mistakes in the filter are
/// the first lines of the log.
pub fn log(format: LogFormat) -> Result<(), TelemetryError> {
    let (filter, warnings) = filter::read(env::log_filter())?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // Otherwise a write error would be reported on stderr and panic: a full disk would end the
    // host.
    let lines = lines.log_internal_errors(false);
    // If logging is set up already, the first set-up stays.
    let _ = match format {
        LogFormat::Text => lines.with_ansi(env::colour(io::stderr().is_terminal())).try_init(),
        LogFormat::Json => lines.event_format(json::JsonFormat).try_init(),
    };
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    Ok(())
}

/// Writes an error as one JSON line to stderr, whatever the filter: for a host that cannot start or
/// go on.
pub fn say_json_error(message: &str, fields: &[(&str, Value)]) {
    json::say("ERROR", message, fields, "hookbox::cli");
}

/// Writes panics as JSON lines, too.
pub fn panics_as_json() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        let reason = panic.payload_as_str().unwrap_or("no message");
        say_json_error("panic", &[("reason", reason.into()), ("location", location.into())]);
    }));
}

/// Starts to collect metrics for the life of the process, those of `series` among them. Returns the
/// function that renders them.
pub fn metrics(series: Arc<Series>) -> Result<RenderMetrics, TelemetryError> {
    let inner = builder()?.build_recorder();
    let (handle, started_ms) = (inner.handle(), Clock::system().now_ms());
    metrics::set_global_recorder(Tee { inner, series })
        .map_err(|error| TelemetryError::Metrics(error.to_string()))?;
    metrics::gauge!("hookbox_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    keep_up(handle.clone()).map_err(|error| TelemetryError::Metrics(error.to_string()))?;
    Ok(Arc::new(move |measure, is_known| {
        // A recorder for one moment: a gauge that is not set now is of something that is gone.
        let of_now = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&of_now, || {
            process::measure(started_ms);
            measure();
        });
        exposition::render(&[handle.render(), of_now.handle().render()], is_known)
    }))
}

/// A recorder's buckets.
fn builder() -> Result<PrometheusBuilder, BuildError> {
    let exactly = |name: &str| Matcher::Full(name.to_owned());
    let mut builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS_SECONDS)?
        .set_buckets_for_metric(
            exactly("hookbox_attempt_memory_peak_bytes"),
            &MEMORY_BUCKETS_BYTES,
        )?
        .set_buckets_for_metric(exactly("hookbox_store_batch_commands"), &COMMANDS_BUCKETS)?;
    for name in LONG {
        builder = builder.set_buckets_for_metric(exactly(name), &LONG_BUCKETS_SECONDS)?;
    }
    Ok(builder)
}

/// Folds measured values into their buckets regularly, because they accumulate while nobody
/// scrapes.
fn keep_up(handle: PrometheusHandle) -> io::Result<()> {
    tasks::thread("metrics", move || {
        loop {
            std::thread::sleep(UPKEEP);
            handle.run_upkeep();
        }
    })
    .map(drop)
}
