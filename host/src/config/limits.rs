//! The limits of one attempt. `[plugins.NAME]` has the two that everybody meets, `timeout` and
//! `memory`; the others are in its `limits`.

use std::ops::RangeInclusive;

use super::raw::{Item, Section};
use super::units::{MINUTE_MS, show_bytes, show_ms};

const TIMEOUT_BOUNDS_MS: RangeInclusive<u64> = 10..=15 * MINUTE_MS;
const MEMORY_BOUNDS: RangeInclusive<u64> = 1 << 20..=256 << 20;
const TABLES_BOUNDS: RangeInclusive<u32> = 0..=1_000_000;
const HANDLES_BOUNDS: RangeInclusive<u32> = 16..=100_000;
const CALL_BOUNDS: RangeInclusive<u64> = 64 << 10..=64 << 20;
const EMITTED_BOUNDS: RangeInclusive<u32> = 0..=4_096;
const EMITTED_SIZE_BOUNDS: RangeInclusive<u64> = 1 << 10..=16 << 20;
const LOG_LINES_BOUNDS: RangeInclusive<u32> = 1..=10_000;
const LOG_SIZE_BOUNDS: RangeInclusive<u64> = 1 << 10..=1 << 20;
const RANDOM_BOUNDS: RangeInclusive<u64> = 1 << 10..=16 << 20;
const HTTP_REQUESTS_BOUNDS: RangeInclusive<u32> = 0..=1_000;
const HTTP_OPEN_BOUNDS: RangeInclusive<u32> = 1..=64;
const HTTP_SIZE_BOUNDS: RangeInclusive<u64> = 1 << 10..=256 << 20;

/// Limits of one attempt, from instantiation to verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Time, waiting included, in milliseconds.
    pub timeout_ms: u64,
    /// Time that it computes, in milliseconds; not longer than `timeout_ms`.
    pub cpu_ms: u64,
    /// All linear memories and tables together, in bytes.
    pub memory_bytes: usize,
    /// Elements of all tables together.
    pub table_elements: usize,
    /// Resource handles, on either side.
    pub handles: usize,
    /// The most that one call to the host may carry, its answer included, in bytes.
    pub call_bytes: usize,
    /// Events that it may emit.
    pub emitted: usize,
    /// All of these together, in bytes.
    pub emitted_bytes: usize,
    /// Lines of its log that are kept.
    pub log_lines: usize,
    /// Bytes of its log that are kept.
    pub log_bytes: usize,
    /// Random bytes in one call.
    pub random_bytes: usize,
    /// HTTP requests, refused ones included.
    pub http_requests: usize,
    /// HTTP requests whose response has not been taken to its end.
    pub http_open: usize,
    /// Bodies of all HTTP requests together, in bytes.
    pub http_sent_bytes: u64,
    /// Headers and bodies of all HTTP responses together, in bytes.
    pub http_received_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout_ms: 10_000,
            cpu_ms: 10_000,
            memory_bytes: 64 << 20,
            table_elements: 200_000,
            handles: 1_000,
            call_bytes: 4 << 20,
            emitted: 256,
            emitted_bytes: 4 << 20,
            log_lines: 256,
            log_bytes: 64 << 10,
            random_bytes: 64 << 10,
            http_requests: 32,
            http_open: 8,
            http_sent_bytes: 4 << 20,
            http_received_bytes: 16 << 20,
        }
    }
}

/// Reads `timeout`, `memory` and `limits` of a plugin's section.
pub(super) fn read(section: &mut Section<'_>) -> Limits {
    let mut limits = Limits::default();
    let timeout = section.take("timeout");
    if let Some(timeout_ms) = timeout.as_ref().and_then(|item| item.duration_ms(TIMEOUT_BOUNDS_MS))
    {
        limits.timeout_ms = timeout_ms;
    }
    limits.cpu_ms = limits.timeout_ms;
    set_size(&mut limits.memory_bytes, section.take("memory"), MEMORY_BOUNDS);
    let mut section = section.take_section("limits", "{ emitted = 16 }");
    if let Some((item, cpu_ms)) = section
        .take("cpu")
        .and_then(|item| Some((item.clone(), item.duration_ms(TIMEOUT_BOUNDS_MS)?)))
    {
        if cpu_ms > limits.timeout_ms {
            let timeout = show_ms(limits.timeout_ms);
            item.refuse(
                "is longer than `timeout`",
                format!("write at most {timeout}, or a longer `timeout`"),
            );
        }
        limits.cpu_ms = cpu_ms;
    }
    set_count(&mut limits.table_elements, section.take("table_elements"), TABLES_BOUNDS);
    set_count(&mut limits.handles, section.take("handles"), HANDLES_BOUNDS);
    set_size(&mut limits.call_bytes, section.take("call_size"), CALL_BOUNDS);
    set_count(&mut limits.emitted, section.take("emitted"), EMITTED_BOUNDS);
    let emitted_size = section.take("emitted_size");
    set_size(&mut limits.emitted_bytes, emitted_size.clone(), EMITTED_SIZE_BOUNDS);
    set_count(&mut limits.log_lines, section.take("log_lines"), LOG_LINES_BOUNDS);
    set_size(&mut limits.log_bytes, section.take("log_size"), LOG_SIZE_BOUNDS);
    set_size(&mut limits.random_bytes, section.take("random_size"), RANDOM_BOUNDS);
    set_count(&mut limits.http_requests, section.take("http_requests"), HTTP_REQUESTS_BOUNDS);
    set_count(&mut limits.http_open, section.take("http_open"), HTTP_OPEN_BOUNDS);
    for (limit, key) in [
        (&mut limits.http_sent_bytes, "http_sent"),
        (&mut limits.http_received_bytes, "http_received"),
    ] {
        if let Some(bytes) = section.take(key).and_then(|item| item.size_bytes(HTTP_SIZE_BOUNDS)) {
            *limit = bytes;
        }
    }
    section.finish();
    if let Some(item) = emitted_size
        && limits.emitted_bytes > limits.call_bytes
    {
        let call = show_bytes(limits.call_bytes as u64);
        let help = format!(
            "a handler returns its events in one call: write at most {call}, or a larger `call_size`"
        );
        item.refuse("is larger than `call_size`", help);
    }
    limits
}

fn set_count(limit: &mut usize, item: Option<Item<'_>>, bounds: RangeInclusive<u32>) {
    let read = item.and_then(|item| item.whole(bounds));
    *limit = read.and_then(|count| usize::try_from(count).ok()).unwrap_or(*limit);
}

fn set_size(limit: &mut usize, item: Option<Item<'_>>, bounds: RangeInclusive<u64>) {
    let read = item.and_then(|item| item.size_bytes(bounds));
    *limit = read.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(*limit);
}
