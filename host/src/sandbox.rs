//! Runs one handler on one event, contained: nothing a guest does reaches the host, another plugin or the disk.
//!
//! A file becomes a [`Plugin`] once, at load: the contract is chosen from its exports, its imports are checked against
//! what the host offers, and everything that can be prepared is. An attempt then gets an instance, limits of its own,
//! and ends as an [`Invocation`] whatever the guest did.
//!
//! Invariant: `invoke` always returns, at the latest shortly after the deadline, and never panics for a guest's sake.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::config::{DEFAULT_STACK_BYTES, Grants, Limits};
use crate::egress::Egress;
use crate::event::{Event, HttpCall, LogLine, PluginName};

mod bindings;
mod compile;
mod cpu;
mod engine;
mod host;
mod kinds;
mod limits;
mod load;
mod run;

pub use compile::{Cache, CompileLimits, Compiler, Confinement, Origin, Workshop, compile_stdin};
pub use load::imports::Capability;
pub use load::kind::Contract;
pub use load::link::{LoadError, MAX_FILE_BYTES};

/// What a plugin gets for one attempt.
#[derive(Debug)]
pub struct Call {
    /// Whose attempt it is.
    pub plugin: PluginName,
    /// What is to be handled.
    pub event: Arc<Event>,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// Attempts before the dead letters.
    pub max_attempts: u32,
    /// The same in every attempt of a delivery.
    pub idempotency_key: String,
    /// Limits of this attempt.
    pub limits: Limits,
    /// What it may reach beyond the sandbox.
    pub grants: Arc<Grants>,
    /// What `hookbox:plugin/config` answers.
    pub config: Arc<BTreeMap<String, String>>,
    /// What `hookbox:plugin/kv` reads from.
    pub kv: Arc<dyn KvReader>,
    /// Path and query of an HTTP handler's request, as `http::Uri` takes them.
    pub path: Arc<str>,
    /// Whether the instance may serve other events before and after this one. Commands run in one of their own anyway.
    pub reuse: bool,
}

/// A value and its version, or why it could not be read.
pub type KvRead<'a> = Pin<Box<dyn Future<Output = Result<Option<(Vec<u8>, i64)>, String>> + Send + 'a>>;

/// Reads the committed values of one plugin.
pub trait KvReader: Send + Sync + std::fmt::Debug {
    /// The value of `key` and its version.
    fn get<'a>(&'a self, key: &'a str) -> KvRead<'a>;
}

/// What came of an attempt.
#[derive(Debug)]
pub struct Invocation {
    /// How it ended.
    pub verdict: Verdict,
    /// What the guest logged, within the limit.
    pub logs: Vec<LogLine>,
    /// What the guest sent, within the limit.
    pub calls: Vec<HttpCall>,
    /// Keys read, with the version seen.
    pub kv_reads: Vec<(String, Option<i64>)>,
    /// Keys written; to be applied only with [`Verdict::Ok`].
    pub kv_writes: Vec<(String, Option<Vec<u8>>)>,
    /// The most linear memory it held, in bytes.
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
        /// Not before this many milliseconds, if it says so.
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
    /// The host could not run it, or refused what it returned.
    Error(String),
    /// There was no room for an instance: to be given back without spending the attempt.
    NoCapacity,
}

/// An event a handler returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// The event type.
    pub kind: String,
    /// What it is about: the handled event's subject, unless the handler set another.
    pub subject: Option<String>,
    /// The media type of `data`.
    pub content_type: Option<String>,
    /// The body.
    pub data: Vec<u8>,
    /// Not delivered before this many milliseconds from now.
    pub delay_ms: u64,
}

/// How large a sandbox is.
#[derive(Debug, Clone, Copy)]
pub struct SandboxOptions {
    /// Attempts that run at once, of all plugins. Each takes address space, and memory only while it runs.
    pub max_instances: u32,
    /// Instances that are kept for the next event beside them, of all plugins.
    pub max_warm: u32,
    /// Threads for guests that compute for longer than a millisecond or two; best as many as cores.
    pub cpu_threads: usize,
    /// Stack of a guest, in bytes; deeper recursion traps.
    pub stack_bytes: usize,
}

impl Default for SandboxOptions {
    /// For one attempt at a time.
    fn default() -> Self {
        Self { max_instances: 1, max_warm: 0, cpu_threads: 1, stack_bytes: DEFAULT_STACK_BYTES }
    }
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
#[error("failed to set up the sandbox: {0}")]
pub struct SandboxError(String);

/// The engine, the pool of instances and the clock that interrupts them. One for the whole process.
#[derive(Clone)]
pub struct Sandbox(Arc<engine::Core>);

impl Sandbox {
    /// Reserves the pool and starts the clock's thread, which ends with the last plugin.
    pub fn new(options: SandboxOptions) -> Result<Self, SandboxError> {
        Self::with(options, Egress::system())
    }

    /// The same, with another way out for the plugins' requests.
    pub fn with(options: SandboxOptions, egress: Egress) -> Result<Self, SandboxError> {
        engine::Core::new(&options, egress).map(Self).map_err(|error| SandboxError(format!("{error:#}")))
    }

    /// Waits until nothing is left of CPU-bound attempts that were dropped; no attempt may begin any more.
    pub async fn ended(&self) {
        self.0.cpu.ended().await;
    }

    /// Compiles a `.wasm` file or its `.wat` text, checks what it exports and imports, and links it.
    ///
    /// Blocks for as long as the compiler takes: milliseconds for a Rust plugin, seconds for a large runtime. It does
    /// so in this process; a host has a [`Compiler`] for it.
    pub fn load(&self, bytes: &[u8]) -> Result<Plugin, LoadError> {
        load::link::load(&self.0, bytes)
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").finish_non_exhaustive()
    }
}

/// A file that was loaded and can be invoked, any number of times at once.
pub struct Plugin(Arc<Linked>);

/// What a plugin and its attempts share.
struct Linked {
    core: Arc<engine::Core>,
    slots: cpu::Slots,
    entry: run::invoke::Entry,
    contract: Contract,
    version: String,
    imports: Vec<String>,
    warm: Arc<run::warm::Warm>,
}

impl Plugin {
    /// Runs one attempt, in an instance of its own unless the call says otherwise. Needs a tokio runtime with time.
    ///
    /// Dropping the future ends the attempt: at once, or at the next tick of a CPU-bound guest.
    pub async fn invoke(&self, call: Call) -> Invocation {
        run::invoke::invoke(&self.0, call).await
    }

    /// How the host talks to it.
    pub fn contract(&self) -> Contract {
        self.0.contract
    }

    /// The version of the contract's interface that it exports, for example `0.1.0`; `preview1` for a core module.
    pub fn interface_version(&self) -> &str {
        &self.0.version
    }

    /// The interfaces that it imports, sorted.
    pub fn imports(&self) -> &[String] {
        &self.0.imports
    }

    /// What it asks for with them.
    pub fn capabilities(&self) -> BTreeSet<Capability> {
        load::imports::capabilities(&self.0.imports)
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("contract", &self.0.contract)
            .field("version", &self.0.version)
            .finish_non_exhaustive()
    }
}
