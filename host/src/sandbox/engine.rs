//! The engine: what a guest's code may contain, and the pool that its instances come from.

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result, Strategy,
    WasmFeatures,
};

use super::limits::MAX_ONE_MEMORY_BYTES;

/// Added to a guest's stack for the host functions that it calls, in bytes.
const HOST_STACK_BYTES: usize = 3 << 19;
/// Memory that stays resident in an unused slot, in bytes: resetting written pages is cheaper than
/// returning them to the kernel and faulting them in again, each time with an interrupt for every
/// other core. The kernel's scan finds the written pages, so that a guest which writes few of them
/// costs no more memory. A JavaScript guest writes about a hundred.
const MEMORY_RESIDENT_BYTES: usize = 512 << 10;
const TABLE_RESIDENT_BYTES: usize = 16 << 10;
const STACK_RESIDENT_BYTES: usize = 32 << 10;
/// Address space of one memory, in bytes: all that 32 bits reach, so that no access is checked.
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

/// Slots of the pool for an average instance; most components have one memory and two or three
/// tables.
const CORE_INSTANCES_SHARE: u32 = 24;
const MEMORIES_SHARE: u32 = 2;
const TABLES_SHARE: u32 = 4;

/// An engine with a pool for so many instances at once.
pub(super) fn running(max_instances: u32, stack_bytes: usize) -> Result<Engine> {
    let mut config = code();
    config.max_wasm_stack(stack_bytes).async_stack_size(stack_bytes + HOST_STACK_BYTES);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(max_instances)));
    Engine::new(&config)
}

/// An engine that compiles the same code and runs none of it.
pub(super) fn compiling() -> Result<Engine> {
    Engine::new(&code())
}

/// The features that a guest's code may use, and the checks that are compiled into it.
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
        .total_core_instances(
            max_instances.saturating_mul(CORE_INSTANCES_SHARE).max(CORE_INSTANCES_EACH),
        )
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
        .linear_memory_keep_resident(MEMORY_RESIDENT_BYTES)
        .table_keep_resident(TABLE_RESIDENT_BYTES)
        .async_stack_keep_resident(STACK_RESIDENT_BYTES)
        .pagemap_scan(Enabled::Auto);
    pool
}
