//! The input and the result of one attempt: the sandbox's side of `dispatch`.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use crate::config::{Grants, Limits};
use crate::event::{Event, HttpCall, LogLine, PluginName};

/// The input of one attempt.
#[derive(Debug)]
pub struct Call {
    /// The plugin.
    pub plugin: PluginName,
    /// The event to handle.
    pub event: Arc<Event>,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// How many attempts a delivery has before it becomes a dead letter.
    pub max_attempts: u32,
    /// The same in every attempt of a delivery.
    pub idempotency_key: String,
    /// Limits of this attempt.
    pub limits: Limits,
    /// Grants of what the plugin may reach beyond the sandbox.
    pub grants: Arc<Grants>,
    /// The answers of `hookbox:plugin/config`.
    pub config: Arc<BTreeMap<String, String>>,
    /// The values that `hookbox:plugin/kv` reads.
    pub kv: Arc<dyn KvReader>,
    /// Path and query of an HTTP handler's request, as `http::Uri` takes them.
    pub path: Arc<str>,
    /// Whether the instance may serve other events before and after this one. A command never does.
    pub reuse: bool,
}

/// A value and its version, or why it could not be read.
pub type KvRead<'a> =
    Pin<Box<dyn Future<Output = Result<Option<(Vec<u8>, i64)>, String>> + Send + 'a>>;

/// Reads the committed values of one plugin.
pub trait KvReader: Send + Sync + std::fmt::Debug {
    /// The value of `key` and its version.
    fn get<'a>(&'a self, key: &'a str) -> KvRead<'a>;
}

/// The result of an attempt.
#[derive(Debug)]
pub struct Invocation {
    /// How it ended.
    pub verdict: Verdict,
    /// The guest's log lines, within the limit.
    pub logs: Vec<LogLine>,
    /// The requests that the guest sent, within the limit.
    pub calls: Vec<HttpCall>,
    /// Keys read, with the version seen.
    pub kv_reads: Vec<(String, Option<i64>)>,
    /// Keys written; to be applied only with [`Verdict::Ok`].
    pub kv_writes: Vec<(String, Option<Vec<u8>>)>,
    /// The most linear memory that the guest held, in bytes.
    pub memory_peak_bytes: usize,
    /// From instantiation to verdict, in microseconds.
    pub duration_us: u64,
}

/// How an attempt ended. The texts are for people, bounded and without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Succeeded, emitting these.
    Ok(Vec<Emitted>),
    /// The handler asks for another attempt.
    Retry {
        /// Why.
        reason: String,
        /// Not before this many milliseconds, if the handler says so.
        after_ms: Option<u64>,
    },
    /// The handler refuses the event for good.
    Reject(String),
    /// The guest trapped.
    Trap(String),
    /// The time limit passed.
    Timeout(String),
    /// The memory limit was reached.
    Memory(String),
    /// The host could not run the guest, or refused what it returned.
    Error(String),
    /// The pool had no free instance: the delivery is given back and the attempt is not spent.
    NoCapacity,
}

/// An event that a handler returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// The event type.
    pub kind: String,
    /// The subject: the handled event's, unless the handler set another.
    pub subject: Option<String>,
    /// The media type of `data`.
    pub content_type: Option<String>,
    /// The body.
    pub data: Vec<u8>,
    /// Not delivered before this many milliseconds from now.
    pub delay_ms: u64,
}
