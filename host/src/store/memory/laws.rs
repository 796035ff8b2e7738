//! The laws, for the store in memory.

use std::sync::{Arc, Mutex};

use super::MemoryStore;
use super::data::MemoryData;
use crate::clock::Clock;
use crate::store::Store;
use crate::store::conformance::tree::BUDGET;
use crate::store::conformance::{Disk, START_MS, StoreHarness};

/// MemoryData that outlives the hosts that are killed.
struct OneMemory {
    data: Arc<Mutex<MemoryData>>,
    clock: Clock,
}

fn one_memory() -> OneMemory {
    let data = MemoryData { tree: BUDGET, ..MemoryData::default() };
    OneMemory { data: Arc::new(Mutex::new(data)), clock: Clock::manual(START_MS) }
}

impl StoreHarness for OneMemory {
    type Store = dyn Store;

    fn clock(&self) -> &Clock {
        &self.clock
    }

    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(MemoryStore::open(self.data.clone(), self.clock.clone()))
    }

    fn set_disk(&self, _: Disk) {
        unreachable!("there is none");
    }
}

crate::store::conformance::laws!(super::one_memory);
crate::store::conformance::failure_laws!(super::one_memory);
crate::store::conformance::operator_laws!(super::one_memory);
