//! What the host holds for one attempt, and the host's side of every `hookbox:plugin` import.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use wasmtime_wasi::{WasiCtxView, WasiView};

use super::Call;
use super::bindings::hookbox::plugin::{config, kv, log, types};
use super::kv::Overlay;
use super::limits::MemoryBudget;
use super::logs::LogBook;
use super::wasi::Wasi;

/// The data of an attempt's store.
pub(super) struct Attempt {
    pub(super) memory: MemoryBudget,
    pub(super) logs: LogBook,
    pub(super) kv: Overlay,
    /// Whether the guest has computed for longer than its first look; seen from outside while it runs.
    pub(super) busy: Arc<AtomicBool>,
    /// Whether the guest was stopped because its time was up.
    pub(super) timed_out: bool,
    config: Arc<BTreeMap<String, String>>,
    /// Made when the guest first asks for it: most plugins are linked with WASI by their toolchain and never call it.
    wasi: Option<Box<Wasi>>,
}

impl Attempt {
    pub(super) fn new(call: &Call) -> Self {
        Self {
            memory: MemoryBudget::new(call.limits.memory_bytes),
            logs: LogBook::default(),
            kv: Overlay::new(Arc::clone(&call.kv)),
            busy: Arc::default(),
            timed_out: false,
            config: Arc::clone(&call.config),
            wasi: None,
        }
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
        let logs = &self.logs;
        self.wasi.get_or_insert_with(|| Box::new(Wasi::new(logs))).view()
    }
}
