//! Parts of a plugin as it is shown: its use of capabilities, the file that waits, its breaker.

use serde::Serialize;
use utoipa::ToSchema;

use crate::clock::rfc3339;
use crate::dispatch::BreakerView;
use crate::event::HttpCall;
use crate::plugins;
use crate::sandbox::{Capability, Plugin};

/// The capabilities that a plugin has used.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Used)]
pub(in crate::admin) struct UsedJson {
    /// HTTP requests.
    pub(in crate::admin) http: UsedHttp,
    /// Its key-value store.
    pub(in crate::admin) kv: UsedKv,
}

/// HTTP requests of a plugin.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct UsedHttp {
    /// Requests that were answered, with any status.
    pub(in crate::admin) answered: u64,
    /// Requests that the host refused, by a rule or a limit.
    pub(in crate::admin) refused: u64,
    /// Requests without an answer.
    pub(in crate::admin) unanswered: u64,
    /// The last request that the host refused.
    pub(in crate::admin) last_refused: Option<Unanswered>,
    /// The last request without an answer.
    pub(in crate::admin) last_unanswered: Option<Unanswered>,
}

/// An HTTP request without an answer.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct Unanswered {
    /// The URL; of its query only the names.
    pub(in crate::admin) url: String,
    /// The reason.
    pub(in crate::admin) error: String,
}

/// Keys of a plugin's store.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct UsedKv {
    /// Keys that attempts read.
    pub(in crate::admin) reads: u64,
    /// Keys that successful attempts wrote or deleted.
    pub(in crate::admin) writes: u64,
}

/// A file that waits for approval.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Held)]
pub(in crate::admin) struct HeldJson {
    /// SHA-256 of the file.
    pub(in crate::admin) digest: String,
    /// Interfaces it imports beyond those of the file that runs.
    pub(in crate::admin) imports_added: Vec<String>,
    /// Capabilities it asks for that the plugin does not have: `http`, `kv`, `config`.
    pub(in crate::admin) capabilities_added: Vec<&'static str>,
    /// For each of these capabilities a line of the configuration that grants it. With it the file
    /// needs no approval.
    pub(in crate::admin) granted_by: Vec<GrantLineJson>,
    /// Interfaces it imports.
    pub(in crate::admin) imports: Vec<String>,
    /// Capabilities it uses.
    pub(in crate::admin) capabilities: Vec<&'static str>,
    /// Size of the file, in bytes.
    pub(in crate::admin) size: u64,
    /// The time since which it waits, RFC 3339 with milliseconds.
    pub(in crate::admin) since: String,
}

/// A line of the configuration that would grant a capability.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GrantLine)]
pub(in crate::admin) struct GrantLineJson {
    /// The capability.
    pub(in crate::admin) capability: &'static str,
    /// The heading of the section that the line belongs to.
    pub(in crate::admin) section: String,
    /// The line: an example, whose hosts and values the operator knows better.
    pub(in crate::admin) line: String,
}

/// The most that one attempt used of its limits, since the host started.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = Peak)]
pub(in crate::admin) struct PeakJson {
    /// Time, waiting included, in milliseconds.
    pub(in crate::admin) duration_ms: f64,
    /// Time that it computed, in milliseconds.
    pub(in crate::admin) cpu_ms: f64,
    /// Linear memory, in bytes.
    pub(in crate::admin) memory_bytes: u64,
    /// Events that it emitted.
    pub(in crate::admin) emitted: u64,
    /// Lines of its log that were kept.
    pub(in crate::admin) log_lines: u64,
    /// HTTP requests.
    pub(in crate::admin) http_requests: u64,
    /// Bodies of its HTTP requests together, in bytes.
    pub(in crate::admin) http_sent_bytes: u64,
    /// Bodies of the responses together, in bytes.
    pub(in crate::admin) http_received_bytes: u64,
}

impl From<plugins::Peaks> for PeakJson {
    fn from(peaks: plugins::Peaks) -> Self {
        Self {
            duration_ms: peaks.duration_us as f64 / 1e3,
            cpu_ms: peaks.cpu_us as f64 / 1e3,
            memory_bytes: peaks.memory_bytes,
            emitted: peaks.emitted,
            log_lines: peaks.log_lines,
            http_requests: peaks.http_requests,
            http_sent_bytes: peaks.http_sent_bytes,
            http_received_bytes: peaks.http_received_bytes,
        }
    }
}

/// The names of the capabilities that a plugin uses.
pub(in crate::admin) fn capabilities(plugin: &Plugin) -> Vec<&'static str> {
    plugin.capabilities().iter().map(|capability| capability.name()).collect()
}

/// A type that a plugin emits.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Emits)]
pub(in crate::admin) struct EmitsJson {
    /// The type.
    #[serde(rename = "type")]
    pub(in crate::admin) kind: String,
    /// Events of the last 24 hours, at most since the host started.
    pub(in crate::admin) day: u64,
    /// About when the last one was, RFC 3339 with milliseconds.
    pub(in crate::admin) last_at: Option<String>,
    /// Whether a route takes it.
    pub(in crate::admin) routed: bool,
}

/// The circuit breaker, which slows a plugin down that only fails.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Breaker)]
pub(in crate::admin) struct BreakerJson {
    /// `closed`: attempts begin as they come; `open`: one at a time, until one is ok; `off`: it
    /// never opens.
    pub(in crate::admin) state: &'static str,
    /// Attempts that failed in a row, up to now. Rejections, and retries that say when, do not
    /// count.
    pub(in crate::admin) failures_in_a_row: u32,
    /// The number of failures in a row that opens it.
    pub(in crate::admin) failures: Option<u32>,
    /// The pause between two attempts while it is open, in milliseconds.
    pub(in crate::admin) pause_ms: Option<u64>,
    /// The time since which it is open, RFC 3339 with milliseconds.
    pub(in crate::admin) since: Option<String>,
    /// The time of the next attempt while it is open, RFC 3339 with milliseconds.
    pub(in crate::admin) next_attempt_at: Option<String>,
    /// The error of the last failure.
    pub(in crate::admin) last_error: Option<String>,
}

impl HeldJson {
    /// The file of a plugin of this name.
    pub(super) fn of(held: &plugins::PendingApproval, plugin: &str) -> Self {
        let grant = |it: &Capability| GrantLineJson {
            capability: it.name(),
            section: format!("[plugins.{plugin}]"),
            line: it.grant_line(plugin),
        };
        Self {
            granted_by: held.capabilities_added.iter().map(grant).collect(),
            digest: held.candidate.digest.to_string(),
            imports_added: held.imports_added.clone(),
            capabilities_added: held
                .capabilities_added
                .iter()
                .map(|capability| capability.name())
                .collect(),
            imports: held.candidate.plugin.imports().to_vec(),
            capabilities: capabilities(&held.candidate.plugin),
            size: held.candidate.size_bytes,
            since: rfc3339(held.since_ms),
        }
    }
}

impl From<BreakerView> for BreakerJson {
    fn from(view: BreakerView) -> Self {
        Self {
            state: match (view.open, view.policy) {
                (Some(_), _) => "open",
                (None, Some(_)) => "closed",
                (None, None) => "off",
            },
            failures_in_a_row: view.failures_in_a_row,
            failures: view.policy.map(|policy| policy.failures),
            pause_ms: view.policy.map(|policy| policy.pause_ms),
            since: view.open.map(|open| rfc3339(open.since_ms)),
            next_attempt_at: view.open.map(|open| rfc3339(open.next_attempt_ms)),
            last_error: view.last_error,
        }
    }
}

impl From<plugins::UsageSnapshot> for UsedJson {
    fn from(now: plugins::UsageSnapshot) -> Self {
        let last = |call: HttpCall| Unanswered {
            url: call.url,
            error: call.error.unwrap_or_else(|| "no answer".to_owned()),
        };
        Self {
            http: UsedHttp {
                answered: now.http_answered,
                refused: now.http_refused,
                unanswered: now.http_unanswered,
                last_refused: now.http_last_refused.map(last),
                last_unanswered: now.http_last_unanswered.map(last),
            },
            kv: UsedKv { reads: now.kv_reads, writes: now.kv_writes },
        }
    }
}
