//! The sizes and bounds of a plugin: its file, its settings, and how much of its limits it used.

use serde_json::Value;

use crate::cli::output::{Printout, bytes, text};
use crate::text::{duration, exact_duration};

/// The settings in force: their keys in `[plugins.NAME]`, and where the API says them.
const SETTINGS: [(&str, &str); 30] = [
    ("timeout", "/limits/timeout_ms"),
    ("memory", "/limits/memory_bytes"),
    ("concurrency", "/concurrency"),
    ("rate", "/rate"),
    ("key", "/key/by"),
    ("per_key", "/key/per_key"),
    ("key_rate", "/key/interval_ms"),
    ("on_dead", "/key/on_dead"),
    ("max_waiting_per_key", "/key/max_waiting_per_key"),
    ("limits.cpu", "/limits/cpu_ms"),
    ("limits.table_elements", "/limits/table_elements"),
    ("limits.handles", "/limits/handles"),
    ("limits.call_size", "/limits/call_bytes"),
    ("limits.emitted", "/limits/emitted"),
    ("limits.emitted_size", "/limits/emitted_bytes"),
    ("limits.log_lines", "/limits/log_lines"),
    ("limits.log_size", "/limits/log_bytes"),
    ("limits.random_size", "/limits/random_bytes"),
    ("limits.http_requests", "/limits/http_requests"),
    ("limits.http_open", "/limits/http_open"),
    ("limits.http_sent", "/limits/http_sent_bytes"),
    ("limits.http_received", "/limits/http_received_bytes"),
    ("retry.max_attempts", "/retry/max_attempts"),
    ("retry.initial", "/retry/initial_ms"),
    ("retry.factor", "/retry/factor"),
    ("retry.max", "/retry/max_ms"),
    ("kv.bucket", "/kv/bucket"),
    ("kv.ttl", "/kv/ttl_ms"),
    ("max_again", "/again/max"),
    ("again_for", "/again/for_ms"),
];

/// The most that was used of a limit, and where the API says it.
const PEAKS: [(&str, &str); 8] = [
    ("/limits/timeout_ms", "/peak/duration_ms"),
    ("/limits/cpu_ms", "/peak/cpu_ms"),
    ("/limits/memory_bytes", "/peak/memory_bytes"),
    ("/limits/emitted", "/peak/emitted"),
    ("/limits/log_lines", "/peak/log_lines"),
    ("/limits/http_requests", "/peak/http_requests"),
    ("/limits/http_sent_bytes", "/peak/http_sent_bytes"),
    ("/limits/http_received_bytes", "/peak/http_received_bytes"),
];

/// How large the file is that runs, and what it took to load it.
pub(super) fn compiled(plugin: &Value) -> Option<String> {
    let size = bytes(plugin["size"].as_u64()?);
    Some(match plugin["compile_ms"].as_f64() {
        Some(ms) => format!("{size} in {}", duration(ms)),
        None => format!("{size}, before it was loaded"),
    })
}

/// Adds the settings that are in force, and the most that was used of those that are limits. A host
/// of an older version does not say them.
pub(super) fn settings(out: &mut Printout, plugin: &Value) {
    let known = SETTINGS
        .iter()
        .filter_map(|(name, pointer)| Some((name, pointer, plugin.pointer(pointer)?)))
        .filter(|(_, _, value)| !value.is_null());
    let rows: Vec<Vec<String>> = known
        .map(|(name, pointer, value)| vec![(*name).to_owned(), with_peak(plugin, pointer, value)])
        .collect();
    out.rows(&rows);
}

/// A setting, with the most that was used of it.
fn with_peak(plugin: &Value, pointer: &str, value: &Value) -> String {
    let setting = quantity(pointer, value);
    let peak = PEAKS.iter().find(|(limit, _)| *limit == pointer).map(|(_, peak)| peak);
    let peak = peak.and_then(|peak| plugin.pointer(peak)?.as_f64()).filter(|peak| *peak > 0.0);
    match peak {
        None => setting,
        Some(peak) if pointer.ends_with("_ms") => {
            format!("{setting}, used at most {}", duration(peak))
        }
        Some(peak) if pointer.ends_with("_bytes") => {
            format!("{setting}, used at most {}", bytes(peak as u64))
        }
        Some(peak) => format!("{setting}, used at most {peak}"),
    }
}

/// A number in the unit that its name says. A duration is not rounded: it is what the file says.
fn quantity(pointer: &str, value: &Value) -> String {
    match value.as_u64() {
        Some(0) if pointer.ends_with("_ms") => "0".to_owned(),
        Some(ms) if pointer.ends_with("_ms") => exact_duration(ms),
        Some(length) if pointer.ends_with("_bytes") => bytes(length),
        // Each host of a store has its own.
        _ if ["/concurrency", "/rate"].contains(&pointer) => {
            format!("{} on this host", text(value))
        }
        _ => text(value),
    }
}
