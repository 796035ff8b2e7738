//! What the host holds for one attempt, and the host's side of every `hookbox:plugin` import.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use super::http::Outgoing;
use super::kv::Overlay;
use super::log::LogBook;
use super::wasi::{self, Stdio, Wasi};
use crate::config::Limits;
use crate::egress::Egress;
use crate::sandbox::Call;
use crate::sandbox::bindings::hookbox::plugin::{config, kv, log, types};
use crate::sandbox::cpu::Meter;
use crate::sandbox::limits::MemoryBudget;

/// Why a guest was stopped while it computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum Stopped {
    /// Its time was up.
    TimeUp,
    /// It had computed for as long as it may.
    ComputedTooLong,
}

/// The data of an attempt's store. A store that is kept warm serves one attempt after the other.
pub(in crate::sandbox) struct Attempt {
    pub(in crate::sandbox) memory: MemoryBudget,
    pub(in crate::sandbox) logs: LogBook,
    pub(in crate::sandbox) kv: Overlay,
    pub(in crate::sandbox) outgoing: Outgoing,
    /// When the guest's time is up.
    pub(in crate::sandbox) deadline: Instant,
    /// What the guest computes.
    pub(in crate::sandbox) meter: Arc<Meter>,
    /// Why the guest was stopped, if it was.
    pub(in crate::sandbox) stopped: Option<Stopped>,
    pub(in crate::sandbox) limits: Limits,
    config: Arc<BTreeMap<String, String>>,
    stdio: Stdio,
    /// Made when the guest first asks for it: most plugins are linked with WASI by their toolchain and never call it.
    wasi: Option<Box<Wasi>>,
    /// The same for core modules.
    preview1: Option<Box<WasiP1Ctx>>,
}

impl Attempt {
    pub(in crate::sandbox) fn new(call: &Call, egress: &Egress, deadline: Instant, meter: Arc<Meter>) -> Self {
        let logs = LogBook::new(&call.limits);
        Self {
            memory: MemoryBudget::new(&call.limits),
            logs: logs.clone(),
            kv: Overlay::new(Arc::clone(&call.kv)),
            outgoing: Outgoing::new(call, egress.clone(), deadline, logs),
            deadline,
            meter,
            stopped: None,
            limits: call.limits,
            config: Arc::clone(&call.config),
            stdio: Stdio::default(),
            wasi: None,
            preview1: None,
        }
    }

    /// Begins another attempt in the same store. Standard streams and the guest's own memory stay as they are.
    pub(in crate::sandbox) fn renew(&mut self, call: &Call, deadline: Instant, meter: Arc<Meter>) {
        self.memory.renew(&call.limits);
        self.kv = Overlay::new(Arc::clone(&call.kv));
        self.outgoing.renew(call, deadline);
        self.deadline = deadline;
        self.limits = call.limits;
        self.logs.set_limits(&call.limits);
        self.meter = meter;
        self.config = Arc::clone(&call.config);
    }

    /// Standard streams for a guest that has not begun.
    pub(in crate::sandbox) fn set_stdio(&mut self, stdio: Stdio) {
        self.stdio = stdio;
    }

    /// WASI for core modules.
    pub(in crate::sandbox) fn preview1(&mut self) -> &mut WasiP1Ctx {
        let (logs, stdio, limits) = (&self.logs, &self.stdio, &self.limits);
        self.preview1.get_or_insert_with(|| Box::new(wasi::context(logs, stdio, limits).build_p1()))
    }

    fn wasi(&mut self) -> &mut Wasi {
        let (logs, stdio, limits) = (&self.logs, &self.stdio, &self.limits);
        self.wasi.get_or_insert_with(|| Box::new(Wasi::new(logs, stdio, limits)))
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
        let (logs, stdio, limits) = (&self.logs, &self.stdio, &self.limits);
        self.wasi.get_or_insert_with(|| Box::new(Wasi::new(logs, stdio, limits))).http(&mut self.outgoing)
    }
}
