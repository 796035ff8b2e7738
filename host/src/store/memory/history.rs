//! Samples of sources and plugins.

use super::{MemoryStore, done};
use crate::series::{Increment, SeriesOwner};
use crate::store::{History, MAX_SAMPLES, Pending, StoredSample};

impl History for MemoryStore {
    fn keep_samples(&self, at_ms: i64, samples: Vec<Increment>) -> Pending<'_, ()> {
        done(self.write(|data| {
            data.samples.push((at_ms, samples));
            let old = data.samples.len().saturating_sub(MAX_SAMPLES as usize);
            data.samples.drain(..old);
            Ok(())
        }))
    }

    fn samples(&self, owner: SeriesOwner, limit: u32) -> Pending<'_, Vec<StoredSample>> {
        done(self.read(|data| {
            let of_owner = |(at_ms, increments): &(i64, Vec<Increment>)| {
                let increment =
                    increments.iter().find(|increment| increment.owner == owner)?.clone();
                Some(StoredSample {
                    at_ms: *at_ms,
                    counts: increment.counts,
                    durations: increment.durations,
                })
            };
            let mut found: Vec<_> =
                data.samples.iter().rev().filter_map(of_owner).take(limit as usize).collect();
            found.reverse();
            found
        }))
    }
}
