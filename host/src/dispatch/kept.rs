//! The store as a running attempt sees it: the keys of its bucket, and its delivery's steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{Digest, PluginName};
use crate::fail;
use crate::sandbox::{KvKeys, KvRead, KvReader, StepAnswer, StepRecorded, StepStore, StepsAnswer};
use crate::store::{KvRange, LeaseHolder, NewStep, Queue, Read, Recorded};

/// The data that the store keeps for one attempt.
#[derive(Debug)]
pub(super) struct KeptByStore {
    pub(super) reads: Arc<dyn Read>,
    pub(super) queue: Arc<dyn Queue>,
    /// The bucket of its keys.
    pub(super) bucket: PluginName,
    /// Its lease.
    pub(super) holder: LeaseHolder,
    /// Whether earlier attempts may have recorded steps.
    pub(super) has_steps: bool,
    /// The plugin file that runs.
    pub(super) digest: Digest,
}

impl KvReader for KeptByStore {
    fn get<'a>(&'a self, key: &'a str) -> KvRead<'a> {
        Box::pin(async move {
            let found = self.reads.kv_get(self.bucket.clone(), key.to_owned()).await;
            found
                .map(|found| found.map(|kv| (kv.value, kv.version)))
                .map_err(|error| error.to_string())
        })
    }

    fn keys<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> KvKeys<'a> {
        Box::pin(async move {
            let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
            let range = KvRange { prefix, after, limit };
            let found = self.reads.kv_keys(self.bucket.clone(), range).await;
            found
                .map(|found| found.into_iter().map(|found| found.key).collect())
                .map_err(|error| error.to_string())
        })
    }
}

impl StepStore for KeptByStore {
    fn all(&self) -> StepsAnswer<'_> {
        Box::pin(async move {
            // An attempt without earlier records spares the store a read.
            if !self.has_steps {
                return Ok(BTreeMap::new());
            }
            self.reads.steps(self.holder.delivery()).await.map_err(|error| error.to_string())
        })
    }

    fn record<'a>(&'a self, name: &'a str, value: Vec<u8>) -> StepAnswer<'a> {
        Box::pin(async move {
            let step = NewStep { name: name.to_owned(), value, digest: Some(self.digest) };
            let recorded = self.queue.record(&self.holder, step).await;
            let _ = fail::point("dispatch.recorded");
            match recorded {
                Ok(Recorded::Kept) => Ok(StepRecorded::Kept),
                Ok(Recorded::Lost) => Ok(StepRecorded::Lost),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}
