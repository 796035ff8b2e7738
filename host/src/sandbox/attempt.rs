//! The input and the result of one attempt: the sandbox's side of `dispatch`.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Grants, Limits};
use crate::event::{Event, HttpCall, LogLine, PluginName, StepUse};
use crate::trace::{OpenSpan, SpanParent};

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
    /// The results of `hookbox:plugin/steps`.
    pub steps: Arc<dyn StepStore>,
    /// Path and query of an HTTP handler's request, as `http::Uri` takes them.
    pub path: Arc<str>,
    /// Whether the instance may serve other events before and after this one. A command never does.
    pub reuse: bool,
    /// The span of the attempt, if it is traced: those of its HTTP requests are parts of it.
    pub trace: Option<SpanParent>,
    /// Whether instances that are kept for other events stay as they are: it takes, keeps and drops
    /// none.
    pub is_apart: bool,
}

/// A value and its version, or why it could not be read.
pub type KvRead<'a> =
    Pin<Box<dyn Future<Output = Result<Option<(Vec<u8>, i64)>, String>> + Send + 'a>>;

/// Keys, or why they could not be read.
pub type KvKeys<'a> = Pin<Box<dyn Future<Output = Result<Vec<String>, String>> + Send + 'a>>;

/// Reads the committed values of one bucket.
pub trait KvReader: Send + Sync + std::fmt::Debug {
    /// The value of `key` and its version.
    fn get<'a>(&'a self, key: &'a str) -> KvRead<'a>;

    /// The keys that begin with `prefix`, after `after`, in the order of their bytes: at most
    /// `limit`.
    fn keys<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> KvKeys<'a>;
}

/// A list of stored keys that an attempt read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvList {
    /// They begin with this.
    pub prefix: String,
    /// They come after this one.
    pub after: Option<String>,
    /// The most that were asked for.
    pub limit: usize,
    /// The keys.
    pub keys: Vec<String>,
}

/// All results by the names of their steps, or why they could not be read.
pub type StepsAnswer<'a> =
    Pin<Box<dyn Future<Output = Result<BTreeMap<String, Vec<u8>>, String>> + Send + 'a>>;

/// Whether a result was recorded, or why the store did not say.
pub type StepAnswer<'a> = Pin<Box<dyn Future<Output = Result<StepRecorded, String>> + Send + 'a>>;

/// The end of recording a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepRecorded {
    /// It is durable.
    Kept,
    /// Another attempt has the delivery now.
    Lost,
}

/// Keeps the results of one delivery's steps.
pub trait StepStore: Send + Sync + std::fmt::Debug {
    /// Everything that earlier attempts have recorded.
    fn all(&self) -> StepsAnswer<'_>;

    /// Records the result of a step that has none.
    fn record<'a>(&'a self, name: &'a str, value: Vec<u8>) -> StepAnswer<'a>;
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
    /// Lists of keys that it read.
    pub kv_lists: Vec<KvList>,
    /// Keys written; to be applied only with [`Verdict::Ok`].
    pub kv_writes: Vec<(String, Option<Vec<u8>>)>,
    /// Numbers to be added to values; likewise.
    pub kv_adds: Vec<(String, i64)>,
    /// Steps that it recorded or recalled.
    pub steps: Vec<StepUse>,
    /// The time after which the handler asks to be called again; of no meaning without
    /// [`Verdict::Ok`].
    pub again: Option<Duration>,
    /// The spans of `calls`, in the same order; none if the attempt is not traced.
    pub call_spans: Vec<OpenSpan>,
    /// Whether the instance was made for this attempt.
    pub is_cold: bool,
    /// The most linear memory that the guest held, in bytes.
    pub memory_peak_bytes: usize,
    /// The time that the guest computed, in microseconds.
    pub cpu_us: u64,
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
