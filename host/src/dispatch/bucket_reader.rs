//! Reads of the keys of a plugin's bucket.

use std::sync::Arc;

use crate::event::PluginName;
use crate::sandbox::{KvKeys, KvRead, KvReader};
use crate::store::{KvRange, Read};

/// Reads the keys of one bucket.
#[derive(Debug)]
pub(super) struct BucketReader {
    pub(super) reads: Arc<dyn Read>,
    pub(super) bucket: PluginName,
}

impl KvReader for BucketReader {
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
