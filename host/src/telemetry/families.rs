//! The families of metrics: what each is, in one table.
//!
//! Names follow the conventions of Prometheus (<https://prometheus.io/docs/practices/naming/>):
//! base units, the unit as a suffix, `_total` for counters. Labels are from fixed sets; no type,
//! subject or id is ever one.

use metrics::{SharedString, Unit, describe_counter, describe_gauge, describe_histogram, gauge};

use self::FamilyKind::{Counter, Gauge, Histogram};

/// The kind of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FamilyKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

/// Every family: its name, kind and help.
pub(super) const FAMILIES: [(&str, FamilyKind, &str); 37] = [
    (
        "hookbox_attempt_duration_seconds",
        Histogram,
        "Time from the call of a plugin to its verdict",
    ),
    ("hookbox_attempts_running", Gauge, "Attempts that run or wait for memory for their verdict"),
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
        "hookbox_ingest_ack_duration_seconds",
        Histogram,
        "Time from the last byte of a request to its acknowledgement, by source",
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
    (
        "hookbox_operator_changes_total",
        Counter,
        "Deliveries that operators have retried, cancelled, discarded or moved, by action",
    ),
    (
        "hookbox_plugin_http_requests_total",
        Counter,
        "HTTP requests of plugins by plugin and result: answered, refused, unanswered",
    ),
    ("hookbox_plugin_paused", Gauge, "Whether an operator has paused a plugin (1) or not (0)"),
    ("hookbox_plugin_reloads_total", Counter, "Changes of plugin files by plugin and result"),
    (
        "hookbox_reconcile_passes_total",
        Counter,
        "Passes over the log of a source's provider by source and result",
    ),
    (
        "hookbox_reconciled_events_total",
        Counter,
        "Events of a provider's log by source and result: appended, known, too_large, no_key",
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
        "hookbox_store_commit_duration_seconds",
        Histogram,
        "Time of a group commit, its fsync included",
    ),
    (
        "hookbox_store_damaged_events_total",
        Counter,
        "Deliveries that became dead letters because their stored event does not match its checksum",
    ),
    ("hookbox_store_events", Gauge, "Events stored"),
    ("hookbox_store_free_bytes", Gauge, "Free space on the disk of the store"),
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
    ("hookbox_store_unused_bytes", Gauge, "Free pages in the database, used before it grows"),
    (
        "hookbox_tree_budget_exceeded_total",
        Counter,
        "Deliveries that became dead letters because their tree of events had reached its budget",
    ),
    ("hookbox_verdicts_waiting_bytes", Gauge, "Memory of verdicts that are not durable yet"),
];

/// The unit that a name ends with.
fn unit(name: &str) -> Option<Unit> {
    let name = name.strip_suffix("_total").unwrap_or(name);
    if name.ends_with("_seconds") {
        Some(Unit::Seconds)
    } else if name.ends_with("_bytes") {
        Some(Unit::Bytes)
    } else {
        None
    }
}

/// Tells the recorder of every family.
pub(super) fn describe() {
    for (name, kind, help) in FAMILIES {
        let help = SharedString::const_str(help);
        match (kind, unit(name)) {
            (Counter, Some(unit)) => describe_counter!(name, unit, help),
            (Counter, None) => describe_counter!(name, help),
            (Gauge, Some(unit)) => describe_gauge!(name, unit, help),
            (Gauge, None) => describe_gauge!(name, help),
            (Histogram, Some(unit)) => describe_histogram!(name, unit, help),
            (Histogram, None) => describe_histogram!(name, help),
        }
    }
    gauge!("hookbox_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_says_what_it_counts_and_in_which_unit() {
        let mut names: Vec<_> = FAMILIES.iter().map(|(name, ..)| *name).collect();
        for (name, kind, help) in FAMILIES {
            assert!(name.starts_with("hookbox_"), "{name}");
            assert_eq!(name.ends_with("_total"), kind == Counter, "{name}");
            assert_eq!(name.ends_with("_duration_seconds"), kind == Histogram, "{name}");
            assert!(!help.is_empty() && !help.ends_with('.'), "{name}: {help}");
        }
        assert!(names.is_sorted(), "{names:?}");
        names.dedup();
        assert_eq!(names.len(), FAMILIES.len());
    }

    #[test]
    fn every_metric_of_the_source_is_a_family_and_every_family_is_measured() {
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut found = std::collections::BTreeSet::new();
        let mut folders = vec![source];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("families.rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    found.extend(
                        text.split("\"hookbox_")
                            .skip(1)
                            .map(|rest| format!("hookbox_{}", rest.split('"').next().unwrap())),
                    );
                }
            }
        }
        // The name of a folder.
        found.remove("hookbox_bench");
        found.insert("hookbox_build_info".to_owned());
        let families: std::collections::BTreeSet<_> =
            FAMILIES.iter().map(|(name, ..)| (*name).to_owned()).collect();
        assert_eq!(found, families);
    }

    #[test]
    fn dashboard_and_alerts_name_families_that_exist() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards");
        let mut found = 0;
        for file in ["hookbox.json", "alerts.yml"] {
            let text = std::fs::read_to_string(folder.join(file)).unwrap();
            for rest in text.split("hookbox_").skip(1) {
                let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_');
                let name = format!("hookbox_{}", &rest[..end.unwrap_or(rest.len())]);
                let is_part = |part| name.strip_suffix(part).map(str::to_owned);
                let family = ["_bucket", "_count", "_sum"].into_iter().find_map(is_part);
                let family = family.unwrap_or_else(|| name.clone());
                assert!(FAMILIES.iter().any(|(known, ..)| **known == family), "{file}: {name}");
                found += 1;
            }
            if file.ends_with(".json") {
                serde_json::from_str::<serde_json::Value>(&text).unwrap();
            }
        }
        assert!(found > 40, "{found}");
    }
}
