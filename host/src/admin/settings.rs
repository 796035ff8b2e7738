//! The settings of a plugin that are in force, as the API shows them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::config;
use crate::event::{KeyPolicy, PluginName};
use crate::retry::{Jitter, RetryPolicy};

/// The limits of one attempt: those of `[plugins.NAME]`, and the defaults where it says nothing.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Limits)]
pub(super) struct LimitsJson {
    /// `timeout`, in milliseconds.
    timeout_ms: u64,
    /// `limits.cpu`, in milliseconds.
    cpu_ms: u64,
    /// `memory`, in bytes.
    memory_bytes: usize,
    /// `limits.table_elements`.
    table_elements: usize,
    /// `limits.handles`.
    handles: usize,
    /// `limits.call_size`, in bytes.
    call_bytes: usize,
    /// `limits.emitted`.
    emitted: usize,
    /// `limits.emitted_size`, in bytes.
    emitted_bytes: usize,
    /// `limits.log_lines`.
    log_lines: usize,
    /// `limits.log_size`, in bytes.
    log_bytes: usize,
    /// `limits.random_size`, in bytes.
    random_bytes: usize,
    /// `limits.http_requests`.
    http_requests: usize,
    /// `limits.http_open`.
    http_open: usize,
    /// `limits.http_sent`, in bytes.
    http_sent_bytes: u64,
    /// `limits.http_received`, in bytes.
    http_received_bytes: u64,
}

/// The order of deliveries by a key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KeyOrder)]
pub(super) struct KeyOrderJson {
    /// The part of an event that is the key: `subject`, `root`, `source` or
    /// `{ json = "/pointer" }`.
    by: String,
    /// Deliveries of one key that are open at once; 1 is strict order.
    per_key: u32,
    /// The least time between the starts of two attempts of one key, in milliseconds; absent if
    /// there is none.
    interval_ms: Option<u64>,
    /// The effect of a dead letter on its key: `go-on` lets the next one go, `hold` keeps it
    /// waiting.
    on_dead: &'static str,
    /// The most deliveries of one key that wait.
    max_waiting_per_key: u32,
}

impl From<&KeyPolicy> for KeyOrderJson {
    fn from(policy: &KeyPolicy) -> Self {
        Self {
            by: policy.source.to_string(),
            per_key: policy.per_key.get(),
            interval_ms: (!policy.interval.is_zero())
                .then(|| u64::try_from(policy.interval.as_millis()).unwrap_or(u64::MAX)),
            on_dead: if policy.hold { "hold" } else { "go-on" },
            max_waiting_per_key: policy.max_waiting,
        }
    }
}

/// The retry policy: `[plugins.NAME.retry]`, and the defaults where it says nothing.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Retry)]
pub(super) struct RetryJson {
    /// Attempts in all.
    max_attempts: u32,
    /// The backoff after the first one, in milliseconds.
    initial_ms: u64,
    /// The backoff grows by this.
    factor: f64,
    /// And never exceeds this, in milliseconds.
    max_ms: u64,
    /// `full`, `equal` or `none`.
    jitter: &'static str,
}

/// The key-value store: `kv` of `[plugins.NAME]`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KvSettings)]
pub(super) struct KvSettingsJson {
    /// The bucket of its keys.
    bucket: String,
    /// The time after its last write when a value goes, in milliseconds; absent if it stays.
    ttl_ms: Option<u64>,
}

/// How often its handler may ask to be called again with one event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Again)]
pub(super) struct AgainJson {
    /// `max_again`.
    max: u32,
    /// `again_for`, in milliseconds.
    for_ms: u64,
}

impl KvSettingsJson {
    /// That of a plugin of this name.
    pub(super) fn of(settings: &config::KvSettings, plugin: &PluginName) -> Self {
        Self { bucket: settings.bucket_of(plugin).to_string(), ttl_ms: settings.ttl_ms }
    }
}

impl From<config::AgainPolicy> for AgainJson {
    fn from(policy: config::AgainPolicy) -> Self {
        Self { max: policy.max, for_ms: policy.for_ms }
    }
}

impl From<config::Limits> for LimitsJson {
    fn from(limits: config::Limits) -> Self {
        Self {
            timeout_ms: limits.timeout_ms,
            cpu_ms: limits.cpu_ms,
            memory_bytes: limits.memory_bytes,
            table_elements: limits.table_elements,
            handles: limits.handles,
            call_bytes: limits.call_bytes,
            emitted: limits.emitted,
            emitted_bytes: limits.emitted_bytes,
            log_lines: limits.log_lines,
            log_bytes: limits.log_bytes,
            random_bytes: limits.random_bytes,
            http_requests: limits.http_requests,
            http_open: limits.http_open,
            http_sent_bytes: limits.http_sent_bytes,
            http_received_bytes: limits.http_received_bytes,
        }
    }
}

impl From<&RetryPolicy> for RetryJson {
    fn from(policy: &RetryPolicy) -> Self {
        Self {
            max_attempts: policy.max_attempts,
            initial_ms: policy.initial_ms,
            factor: policy.factor,
            max_ms: policy.max_ms,
            jitter: match policy.jitter {
                Jitter::Full => "full",
                Jitter::Equal => "equal",
                Jitter::None => "none",
            },
        }
    }
}
