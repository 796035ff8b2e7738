//! The sandbox, which the attempts of all plugins share.

use std::fmt;
use std::sync::Arc;

use wasmtime::component::Linker;
use wasmtime::{Engine, Result};

use super::warm::WarmInstances;
use crate::config::DEFAULT_STACK_BYTES;
use crate::egress::Egress;
use crate::sandbox::cpu::{Epoch, RunSlots};
use crate::sandbox::engine;
use crate::sandbox::host::{AttemptState, HostState};

/// How large a sandbox is.
#[derive(Debug, Clone, Copy)]
pub struct SandboxOptions {
    /// Attempts that run at once, of all plugins. Each takes address space, and memory only while
    /// it runs.
    pub max_instances: u32,
    /// Instances that are kept for the next event beside them, of all plugins.
    pub max_warm: u32,
    /// How many guests may compute at once for longer than a millisecond or two: as many as there
    /// are cores.
    pub cores: usize,
    /// Stack of a guest, in bytes; deeper recursion traps.
    pub stack_bytes: usize,
}

impl Default for SandboxOptions {
    /// For one attempt at a time.
    fn default() -> Self {
        Self { max_instances: 1, max_warm: 0, cores: 1, stack_bytes: DEFAULT_STACK_BYTES }
    }
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
#[error("failed to set up the sandbox: {0}")]
pub struct SandboxError(String);

/// The engine, its pool of instances, and the slots that guests compute in. One for the process.
#[derive(Clone)]
pub struct Sandbox(Arc<Core>);

impl Sandbox {
    /// Reserves the pool and starts a thread, which ends with the last plugin.
    pub fn new(options: SandboxOptions) -> Result<Self, SandboxError> {
        Self::with(options, Egress::system())
    }

    /// The same, with another egress for the plugins' requests.
    pub fn with(options: SandboxOptions, egress: Egress) -> Result<Self, SandboxError> {
        let core = Core::new(&options, egress);
        core.map(|core| Self(Arc::new(core))).map_err(|error| SandboxError(format!("{error:#}")))
    }

    pub(in crate::sandbox) fn core(&self) -> &Arc<Core> {
        &self.0
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").finish_non_exhaustive()
    }
}

/// Engine, pool and run slots, which the plugins of a sandbox share.
pub(in crate::sandbox) struct Core {
    pub(in crate::sandbox) engine: Engine,
    /// Defines everything that components may import.
    pub(in crate::sandbox) linker: Linker<AttemptState>,
    /// Defines WASI preview 1, all that core modules may import.
    pub(in crate::sandbox) module_linker: wasmtime::Linker<AttemptState>,
    pub(super) slots: RunSlots,
    pub(super) warm: WarmInstances,
    pub(super) epoch: Epoch,
    pub(super) egress: Egress,
}

impl Core {
    fn new(options: &SandboxOptions, egress: Egress) -> Result<Self> {
        let max_instances = options.max_instances.max(1).saturating_add(options.max_warm);
        let engine = engine::running(max_instances, options.stack_bytes)?;
        let mut linker = Linker::new(&engine);
        HostState::link(&mut linker)?;
        let mut module_linker = wasmtime::Linker::new(&engine);
        wasmtime_wasi::p1::add_to_linker_async(&mut module_linker, AttemptState::preview1)?;
        let slots = RunSlots::new(options.cores);
        let warm = WarmInstances::new(options.max_warm);
        let epoch = Epoch::start(engine.clone())?;
        Ok(Self { engine, linker, module_linker, slots, warm, epoch, egress })
    }
}
