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
    pub(super) timeout_ms: u64,
    /// `limits.cpu`, in milliseconds.
    pub(super) cpu_ms: u64,
    /// `memory`, in bytes.
    pub(super) memory_bytes: usize,
    /// `limits.table_elements`.
    pub(super) table_elements: usize,
    /// `limits.handles`.
    pub(super) handles: usize,
    /// `limits.call_size`, in bytes.
    pub(super) call_bytes: usize,
    /// `limits.emitted`.
    pub(super) emitted: usize,
    /// `limits.emitted_size`, in bytes.
    pub(super) emitted_bytes: usize,
    /// `limits.log_lines`.
    pub(super) log_lines: usize,
    /// `limits.log_size`, in bytes.
    pub(super) log_bytes: usize,
    /// `limits.random_size`, in bytes.
    pub(super) random_bytes: usize,
    /// `limits.http_requests`.
    pub(super) http_requests: usize,
    /// `limits.http_open`.
    pub(super) http_open: usize,
    /// `limits.http_sent`, in bytes.
    pub(super) http_sent_bytes: u64,
    /// `limits.http_received`, in bytes.
    pub(super) http_received_bytes: u64,
}

/// The order of deliveries by a key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KeyOrder)]
pub(super) struct KeyOrderJson {
    /// The part of an event that is the key: `subject`, `root`, `source` or
    /// `{ json = "/pointer" }`.
    pub(super) by: String,
    /// Deliveries of one key that are open at once; 1 is strict order.
    pub(super) per_key: u32,
    /// The least time between the starts of two attempts of one key, in milliseconds; absent if
    /// there is none.
    pub(super) interval_ms: Option<u64>,
    /// The effect of a dead letter on its key: `go-on` lets the next one go, `hold` keeps it
    /// waiting.
    pub(super) on_dead: &'static str,
    /// The most deliveries of one key that wait.
    pub(super) max_waiting_per_key: u32,
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
    pub(super) max_attempts: u32,
    /// The backoff after the first one, in milliseconds.
    pub(super) initial_ms: u64,
    /// The backoff grows by this.
    pub(super) factor: f64,
    /// And never exceeds this, in milliseconds.
    pub(super) max_ms: u64,
    /// `full`, `equal` or `none`.
    pub(super) jitter: &'static str,
}

/// The key-value store: `kv` of `[plugins.NAME]`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KvSettings)]
pub(super) struct KvSettingsJson {
    /// The bucket of its keys.
    pub(super) bucket: String,
    /// The time after its last write when a value goes, in milliseconds; absent if it stays.
    pub(super) ttl_ms: Option<u64>,
}

/// How often its handler may ask to be called again with one event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Again)]
pub(super) struct AgainJson {
    /// `max_again`.
    pub(super) max: u32,
    /// `again_for`, in milliseconds.
    pub(super) for_ms: u64,
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
