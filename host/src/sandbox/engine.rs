//! The one engine: what a guest's code may contain, and the pool its instances come from.

use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result, Strategy, WasmFeatures,
};

use super::cpu::{Epoch, Pool};
use super::host::state::Attempt;
use super::limits::MAX_ONE_MEMORY_BYTES;
use super::run::warm::WarmPlaces;
use super::{SandboxOptions, bindings};
use crate::egress::Egress;

/// What host functions that a guest calls have of its stack beside its own part, in bytes.
const HOST_STACK_BYTES: usize = 3 << 19;
/// What stays resident in an unused slot, in bytes: resetting written pages is cheaper than returning them to the kernel and
/// faulting them in again, each time with an interrupt for every other core. The kernel's scan finds the written pages, so
/// that a guest which writes few of them costs no more memory. A JavaScript guest writes about a hundred.
const MEMORY_KEPT_BYTES: usize = 1 << 20;
const TABLE_KEPT_BYTES: usize = 64 << 10;
const STACK_KEPT_BYTES: usize = 32 << 10;
/// Address space of one memory, in bytes: the whole of what 32 bits reach, so that no access needs a bounds check.
const MEMORY_RESERVATION_BYTES: u64 = 4 << 30;

/// Core instances of one component: a Python guest has about 20.
const CORE_INSTANCES_EACH: u32 = 64;
/// Linear memories of one component.
const MEMORIES_EACH: u32 = 8;
/// Tables of one component.
const TABLES_EACH: u32 = 16;
/// The largest table, in elements: a SpiderMonkey guest has 7,700.
const TABLE_ELEMENTS: usize = 20_000;
/// Host-side bookkeeping of one component instance, in bytes.
const INSTANCE_BYTES: usize = 4 << 20;

/// Slots of the pool for each instance on average; most components have one memory and two or three tables.
const CORE_INSTANCES_SHARE: u32 = 24;
const MEMORIES_SHARE: u32 = 2;
const TABLES_SHARE: u32 = 4;

/// What every plugin of a sandbox shares.
pub(super) struct Core {
    pub(super) engine: Engine,
    pub(super) linker: Linker<Attempt>,
    /// For core modules, which import WASI preview 1 and nothing else.
    pub(super) module_linker: wasmtime::Linker<Attempt>,
    pub(super) epoch: Epoch,
    /// Places for instances that are kept warm, of all plugins.
    pub(super) warm: WarmPlaces,
    pub(super) cpu: Pool,
    pub(super) egress: Egress,
}

impl Core {
    /// A pool for as many instances as may be, and a linker with everything that a plugin may import.
    pub(super) fn new(options: &SandboxOptions, egress: Egress) -> Result<Arc<Self>> {
        let instances = options.max_instances.max(1).saturating_add(options.max_warm);
        let engine = Engine::new(&config(instances, options.stack_bytes))?;
        let mut linker = Linker::new(&engine);
        bindings::Plugin::add_to_linker::<_, HasSelf<Attempt>>(&mut linker, |attempt| attempt)?;
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        let mut module_linker = wasmtime::Linker::new(&engine);
        wasmtime_wasi::p1::add_to_linker_async(&mut module_linker, Attempt::preview1)?;
        let warm = WarmPlaces::new(options.max_warm);
        let cpu = Pool::new(options.cpu_threads)?;
        let epoch = Epoch::start(engine.clone())?;
        Ok(Arc::new(Self { engine, linker, module_linker, epoch, warm, cpu, egress }))
    }
}

/// An engine that makes the same code and runs none of it.
pub(super) fn compiling() -> Result<Engine> {
    Engine::new(&code())
}

fn config(max_instances: u32, stack_bytes: usize) -> Config {
    let mut config = code();
    config.max_wasm_stack(stack_bytes).async_stack_size(stack_bytes + HOST_STACK_BYTES);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(max_instances)));
    config
}

/// What a guest's code may contain, and what is built into it.
fn code() -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .wasm_component_model(true)
        .concurrency_support(false)
        .wasm_features(WasmFeatures::THREADS | WasmFeatures::SHARED_EVERYTHING_THREADS, false)
        .wasm_features(WasmFeatures::GC | WasmFeatures::FUNCTION_REFERENCES, false)
        .wasm_features(WasmFeatures::EXCEPTIONS | WasmFeatures::STACK_SWITCHING, false)
        .wasm_features(WasmFeatures::MEMORY64, false)
        .epoch_interruption(true)
        .memory_reservation(MEMORY_RESERVATION_BYTES)
        .memory_init_cow(true);
    config
}

fn pool(max_instances: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(max_instances)
        .total_stacks(max_instances)
        .total_core_instances(max_instances.saturating_mul(CORE_INSTANCES_SHARE).max(CORE_INSTANCES_EACH))
        .total_memories(max_instances.saturating_mul(MEMORIES_SHARE).max(MEMORIES_EACH))
        .total_tables(max_instances.saturating_mul(TABLES_SHARE).max(TABLES_EACH))
        .max_core_instances_per_component(CORE_INSTANCES_EACH)
        .max_memories_per_component(MEMORIES_EACH)
        .max_tables_per_component(TABLES_EACH)
        .max_memories_per_module(MEMORIES_EACH)
        .max_tables_per_module(TABLES_EACH)
        .max_component_instance_size(INSTANCE_BYTES)
        .max_core_instance_size(INSTANCE_BYTES)
        .max_memory_size(MAX_ONE_MEMORY_BYTES)
        .table_elements(TABLE_ELEMENTS)
        .linear_memory_keep_resident(MEMORY_KEPT_BYTES)
        .table_keep_resident(TABLE_KEPT_BYTES)
        .async_stack_keep_resident(STACK_KEPT_BYTES)
        .pagemap_scan(Enabled::Auto);
    pool
}
