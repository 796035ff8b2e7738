//! The families of metrics: what each is, in one table.
//!
//! Names follow the conventions of Prometheus (<https://prometheus.io/docs/practices/naming/>):
//! base units, the unit as a suffix, `_total` for counters. Labels are from fixed sets; no type,
//! subject or id is ever one.

use self::FamilyKind::{Counter, Gauge, Histogram};

/// The kind of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FamilyKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations or sizes in buckets.
    Histogram,
}

impl FamilyKind {
    /// The word of the Prometheus text format.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Counter => "counter",
            Gauge => "gauge",
            Histogram => "histogram",
        }
    }
}

/// Every family: its name, kind and help.
pub(super) const FAMILIES: [(&str, FamilyKind, &str); 63] = [
    (
        "hookbox_admin_requests_total",
        Counter,
        "Requests to the pages and the API of operators, by route and status code",
    ),
    ("hookbox_admin_streams", Gauge, "Streams of hints that pages hold open"),
    ("hookbox_attempt_cpu_seconds_total", Counter, "Time that the guests of a plugin computed"),
    (
        "hookbox_attempt_duration_seconds",
        Histogram,
        "Time from the call of a plugin to its verdict",
    ),
    (
        "hookbox_attempt_memory_peak_bytes",
        Histogram,
        "The most memory that an attempt of a plugin held",
    ),
    (
        "hookbox_attempts_running",
        Gauge,
        "Attempts of a plugin that run or wait for memory for their verdict",
    ),
    ("hookbox_attempts_total", Counter, "Attempts by plugin and outcome"),
    (
        "hookbox_attempts_unrecorded_total",
        Counter,
        "Failed attempts of a plugin that left no record, because there were too many of them",
    ),
    (
        "hookbox_breaker_open",
        Gauge,
        "Whether the circuit breaker of a plugin is open (1) or not (0)",
    ),
    ("hookbox_breaker_openings_total", Counter, "Openings of the circuit breaker of a plugin"),
    ("hookbox_build_info", Gauge, "1, with the version as a label"),
    (
        "hookbox_clock_held_seconds",
        Gauge,
        "For how long the host was off, while nothing is deleted because of it",
    ),
    (
        "hookbox_clock_jump_seconds",
        Gauge,
        "By how much the clock jumped, if that is neither over nor accepted; negative if it went back",
    ),
    (
        "hookbox_config_last_reload_success_timestamp_seconds",
        Gauge,
        "When a configuration was taken last, Unix time",
    ),
    (
        "hookbox_config_last_reload_successful",
        Gauge,
        "Whether the configuration as it is in the file is the one that runs (1) or was refused (0)",
    ),
    ("hookbox_config_reloads_total", Counter, "Changed configurations by result: ok, error"),
    (
        "hookbox_connections_closed_total",
        Counter,
        "Connections that the host closed, by listener and reason",
    ),
    ("hookbox_dead_letters_total", Counter, "Dead letters after an attempt, by plugin"),
    ("hookbox_deliveries", Gauge, "Deliveries by plugin and state"),
    (
        "hookbox_delivery_wait_duration_seconds",
        Histogram,
        "Time from when a delivery was due until its attempt began, by plugin",
    ),
    ("hookbox_emitted_events_total", Counter, "Events that a plugin returned and that were stored"),
    (
        "hookbox_ingest_ack_duration_seconds",
        Histogram,
        "Time from the last byte of a request to its acknowledgement, by source",
    ),
    (
        "hookbox_ingest_requests_in_flight",
        Gauge,
        "Requests to the public listener that are not answered yet",
    ),
    ("hookbox_ingest_requests_total", Counter, "Requests by source, reason and status code"),
    (
        "hookbox_ingest_signatures_total",
        Counter,
        "Accepted requests by source and the position of the key that signed them",
    ),
    (
        "hookbox_ingest_unidentified_total",
        Counter,
        "Events of a source whose type could not be read, stored as hookbox.unidentified",
    ),
    ("hookbox_kv_bytes", Gauge, "Keys and values of a bucket, under the name of its plugin"),
    (
        "hookbox_log_lines_dropped_total",
        Counter,
        "Log lines that were not sent to the collector of `telemetry.otlp`",
    ),
    (
        "hookbox_oldest_ready_timestamp_seconds",
        Gauge,
        "When the delivery of a plugin was due that has been due for longest, Unix time; absent if none is",
    ),
    (
        "hookbox_operator_changes_total",
        Counter,
        "Deliveries that operators have retried, cancelled, discarded or moved, by action",
    ),
    (
        "hookbox_plugin_compile_duration_seconds",
        Histogram,
        "Time to compile a plugin file (from=\"now\"), or to load code that was compiled before (from=\"before\")",
    ),
    ("hookbox_plugin_concurrency", Gauge, "Attempts of a plugin that may run at once"),
    (
        "hookbox_plugin_http_request_duration_seconds",
        Histogram,
        "Time of an HTTP request of a plugin, its response included, unless it was refused",
    ),
    (
        "hookbox_plugin_http_requests_total",
        Counter,
        "HTTP requests of plugins by plugin and result: answered, refused, unanswered",
    ),
    (
        "hookbox_plugin_info",
        Gauge,
        "1, with the contract and the digest of the file that runs as labels",
    ),
    ("hookbox_plugin_paused", Gauge, "Whether an operator has paused a plugin (1) or not (0)"),
    ("hookbox_plugin_reloads_total", Counter, "Changes of plugin files by plugin and result"),
    (
        "hookbox_plugin_state",
        Gauge,
        "Whether a plugin is in a state (1) or not (0): loaded, stale, held, compiling, failed, missing",
    ),
    (
        "hookbox_reconcile_passes_total",
        Counter,
        "Passes over the log of a source's provider by source and result",
    ),
    (
        "hookbox_reconciled_events_total",
        Counter,
        "Events of a provider's log by source and result: appended, known, other_type, too_large, no_key",
    ),
    (
        "hookbox_route_errors_total",
        Counter,
        "Events whose `when` for a plugin could not be evaluated",
    ),
    (
        "hookbox_schedule_ticks_total",
        Counter,
        "Ticks of schedules, by schedule and result: emitted, missed, overlap",
    ),
    (
        "hookbox_settlements_total",
        Counter,
        "Settlements of attempts by plugin and result: kept, conflict (it runs again), lost (another attempt has the delivery)",
    ),
    (
        "hookbox_spans_dropped_total",
        Counter,
        "Spans that were not sent to the collector of `telemetry.otlp`",
    ),
    ("hookbox_store_batch_commands", Histogram, "Commands that one group commit made durable"),
    (
        "hookbox_store_commit_duration_seconds",
        Histogram,
        "Time of a group commit, its fsync included",
    ),
    (
        "hookbox_store_damaged_events_total",
        Counter,
        "Deliveries that became dead letters because their stored event does not match its checksum",
    ),
    ("hookbox_store_disk_bytes", Gauge, "Size of the disk of the store"),
    ("hookbox_store_events", Gauge, "Events stored"),
    ("hookbox_store_free_bytes", Gauge, "Free space on the disk of the store"),
    (
        "hookbox_store_lost_batches_total",
        Counter,
        "Acknowledged batches that a new primary did not have, by whether they were sent again",
    ),
    (
        "hookbox_store_oldest_xmin_seconds",
        Gauge,
        "Time for which the oldest snapshot of Postgres is held, which keeps deleted rows",
    ),
    (
        "hookbox_store_side_file_failures_total",
        Counter,
        "Failed writes of the small files beside the database, by file",
    ),
    (
        "hookbox_store_size_bytes",
        Gauge,
        "Size of the database (file=\"db\", free pages included) and of its write-ahead log (file=\"wal\")",
    ),
    (
        "hookbox_store_sync_duration_seconds",
        Histogram,
        "Time that a group commit waited for the disk",
    ),
    ("hookbox_store_unused_bytes", Gauge, "Free pages in the database, used before it grows"),
    (
        "hookbox_tree_budget_exceeded_total",
        Counter,
        "Deliveries that became dead letters because their tree of events had reached its budget",
    ),
    ("hookbox_verdicts_waiting_bytes", Gauge, "Memory of verdicts that are not durable yet"),
    ("process_cpu_seconds_total", Counter, "CPU time of the process, in user and system mode"),
    ("process_max_fds", Gauge, "The most file descriptors that the process may have open"),
    ("process_open_fds", Gauge, "File descriptors that the process has open"),
    ("process_resident_memory_bytes", Gauge, "Memory of the process that is in RAM"),
    ("process_start_time_seconds", Gauge, "When the process started, Unix time"),
];

/// The family of a series: of its name, or of that without the suffix of a histogram's part.
pub(super) fn of(series: &str) -> Option<&'static (&'static str, FamilyKind, &'static str)> {
    let find = |name: &str| {
        let found = FAMILIES.binary_search_by(|(known, ..)| (*known).cmp(name)).ok()?;
        Some(&FAMILIES[found])
    };
    let part = ["_bucket", "_count", "_sum"].iter().find_map(|it| series.strip_suffix(it));
    let histogram = part.and_then(find).filter(|(_, kind, _)| *kind == Histogram);
    histogram.or_else(|| find(series))
}

#[cfg(test)]
mod tests;
