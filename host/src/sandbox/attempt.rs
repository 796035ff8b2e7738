//! What the host holds for one attempt, and the host's side of every `hookbox:plugin` import.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use super::Call;
use super::bindings::hookbox::plugin::{config, kv, log, types};
use super::kv::Overlay;
use super::limits::MemoryBudget;
use super::logs::LogBook;
use super::outgoing::Outgoing;
use super::wasi::{self, Stdio, Wasi};
use crate::egress::Egress;

/// The data of an attempt's store. A store that is kept warm serves one attempt after the other.
pub(super) struct Attempt {
    pub(super) memory: MemoryBudget,
    pub(super) logs: LogBook,
    pub(super) kv: Overlay,
    pub(super) outgoing: Outgoing,
    /// When the guest's time is up.
    pub(super) deadline: Instant,
    /// Whether the guest has computed for longer than its first look; seen from outside while it runs.
    pub(super) busy: Arc<AtomicBool>,
    /// Whether the guest was stopped because its time was up.
    pub(super) timed_out: bool,
    config: Arc<BTreeMap<String, String>>,
    stdio: Stdio,
    /// Made when the guest first asks for it: most plugins are linked with WASI by their toolchain and never call it.
    wasi: Option<Box<Wasi>>,
    /// The same for core modules.
    preview1: Option<Box<WasiP1Ctx>>,
}

impl Attempt {
    pub(super) fn new(call: &Call, egress: &Egress, deadline: Instant) -> Self {
        let logs = LogBook::default();
        Self {
            memory: MemoryBudget::new(call.limits.memory_bytes),
            logs: logs.clone(),
            kv: Overlay::new(Arc::clone(&call.kv)),
            outgoing: Outgoing::new(call, egress.clone(), deadline, logs),
            deadline,
            busy: Arc::default(),
            timed_out: false,
            config: Arc::clone(&call.config),
            stdio: Stdio::default(),
            wasi: None,
            preview1: None,
        }
    }

    /// Begins another attempt in the same store. Standard streams and the guest's own memory stay as they are.
    pub(super) fn renew(&mut self, call: &Call, deadline: Instant) {
        self.memory.renew(call.limits.memory_bytes);
        self.kv = Overlay::new(Arc::clone(&call.kv));
        self.outgoing.renew(call, deadline);
        self.deadline = deadline;
        self.busy.store(false, Ordering::Relaxed);
        self.config = Arc::clone(&call.config);
    }

    /// Standard streams for a guest that has not begun.
    pub(super) fn set_stdio(&mut self, stdio: Stdio) {
        self.stdio = stdio;
    }

    /// WASI for core modules.
    pub(super) fn preview1(&mut self) -> &mut WasiP1Ctx {
        let (logs, stdio) = (&self.logs, &self.stdio);
        self.preview1.get_or_insert_with(|| Box::new(wasi::context(logs, stdio).build_p1()))
    }

    fn wasi(&mut self) -> &mut Wasi {
        let (logs, stdio) = (&self.logs, &self.stdio);
        self.wasi.get_or_insert_with(|| Box::new(Wasi::new(logs, stdio)))
    }
}

impl types::Host for Attempt {}

impl log::Host for Attempt {
    fn log(&mut self, level: log::Level, message: String) {
        let level = match level {
            log::Level::Trace => "trace",
            log::Level::Debug => "debug",
            log::Level::Info => "info",
            log::Level::Warn => "warn",
            log::Level::Error => "error",
        };
        self.logs.line(level, &message);
    }
}

impl config::Host for Attempt {
    fn get(&mut self, key: String) -> Option<String> {
        self.config.get(&key).cloned()
    }
}

impl kv::Host for Attempt {
    async fn get(&mut self, key: String) -> Result<Option<Vec<u8>>, kv::Error> {
        self.kv.get(key).await
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> Result<(), kv::Error> {
        self.kv.put(key, Some(value))
    }

    fn delete(&mut self, key: String) -> Result<(), kv::Error> {
        self.kv.put(key, None)
    }
}

impl WasiView for Attempt {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi().view()
    }
}

impl WasiHttpView for Attempt {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let (logs, stdio) = (&self.logs, &self.stdio);
        self.wasi.get_or_insert_with(|| Box::new(Wasi::new(logs, stdio))).http(&mut self.outgoing)
    }
}
