//! How far the logs of providers have been read.

use std::sync::Arc;

use super::{MemoryStore, done};
use crate::store::{Hosts, LogPositions, Pending};

impl Hosts for MemoryStore {}

impl LogPositions for MemoryStore {
    fn log_position(&self, source: Arc<str>) -> Pending<'_, Option<String>> {
        done(self.read(|data| data.positions.get(&source).cloned()))
    }

    fn keep_log_position(&self, source: Arc<str>, position: String) -> Pending<'_, ()> {
        done(self.write(|data| {
            data.positions.insert(source, position);
            Ok(())
        }))
    }
}
