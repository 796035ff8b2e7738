//! `hookbox:plugin/kv`: reads go to the store and are recorded with their version; writes stay here
//! until the attempt is settled.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::WasiView;

use super::import::{CapabilityInfo, HostImport, Offer, Start};
use crate::sandbox::bindings::hookbox::plugin::kv::{self, Error};
use crate::sandbox::{Invocation, KvReader};

/// The longest key, in bytes.
const MAX_KEY_BYTES: usize = 256;
/// The largest value, in bytes.
const MAX_VALUE_BYTES: usize = 256 << 10;
/// Keys that one attempt may touch.
const MAX_KEYS: usize = 128;
/// Keys and values that one attempt may leave written, in bytes.
const MAX_WRITTEN_BYTES: usize = 1 << 20;

/// Reads and writes of one attempt.
#[derive(Debug)]
pub(super) struct Overlay {
    reader: Arc<dyn KvReader>,
    reads: BTreeMap<String, Option<i64>>,
    writes: BTreeMap<String, Option<Vec<u8>>>,
    written_bytes: usize,
}

impl HostImport for Overlay {
    const OFFER: Offer = Offer {
        interfaces: &["hookbox:plugin/kv"],
        version: "0.1.",
        shown: "kv",
        capability: Some(CapabilityInfo {
            name: "kv",
            interface: "hookbox:plugin/kv",
            lets: "keep values from one event to the next",
            // No key of the configuration is for it: it has to be approved.
            grants: |_| Vec::new(),
        }),
    };

    fn begin(start: &Start<'_>) -> Self {
        Self::new(Arc::clone(&start.call.kv))
    }

    fn link<T: WasiView + 'static>(
        linker: &mut Linker<T>,
        of: fn(&mut T) -> &mut Self,
    ) -> wasmtime::Result<()> {
        kv::add_to_linker::<T, HasSelf<Self>>(linker, of)
    }

    fn record(&mut self, invocation: &mut Invocation) {
        (invocation.kv_reads, invocation.kv_writes) = self.finish();
    }
}

impl kv::Host for Overlay {
    async fn get(&mut self, key: String) -> Result<Option<Vec<u8>>, Error> {
        self.read(key).await
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> Result<(), Error> {
        self.put(key, Some(value))
    }

    fn delete(&mut self, key: String) -> Result<(), Error> {
        self.put(key, None)
    }
}

/// Keys read, with the version seen first.
type Reads = Vec<(String, Option<i64>)>;
/// Keys written; `None` deletes.
type Writes = Vec<(String, Option<Vec<u8>>)>;

impl Overlay {
    fn new(reader: Arc<dyn KvReader>) -> Self {
        Self { reader, reads: BTreeMap::new(), writes: BTreeMap::new(), written_bytes: 0 }
    }

    /// Reads the attempt's own write, or what is stored.
    async fn read(&mut self, key: String) -> Result<Option<Vec<u8>>, Error> {
        if let Some(own) = self.writes.get(&key) {
            return Ok(own.clone());
        }
        self.touch(&key)?;
        let found = self.reader.get(&key).await.map_err(Error::Unavailable)?;
        let (value, version) = found.unzip();
        // The first version counts: if a later read finds another, the settlement finds a conflict.
        self.reads.entry(key).or_insert(version);
        Ok(value)
    }

    /// Writes a value, or deletes it.
    fn put(&mut self, key: String, value: Option<Vec<u8>>) -> Result<(), Error> {
        self.touch(&key)?;
        let bytes = |value: &Option<Vec<u8>>| key.len() + value.as_ref().map_or(0, Vec::len);
        if value.as_ref().is_some_and(|value| value.len() > MAX_VALUE_BYTES) {
            return Err(Error::ValueTooLarge);
        }
        let others_bytes = self.written_bytes - self.writes.get(&key).map_or(0, bytes);
        let written_bytes = others_bytes + bytes(&value);
        if written_bytes > MAX_WRITTEN_BYTES {
            return Err(Error::TooManyBytes);
        }
        self.written_bytes = written_bytes;
        self.writes.insert(key, value);
        Ok(())
    }

    /// Takes what the settlement has to check and to apply.
    fn finish(&mut self) -> (Reads, Writes) {
        let (reads, writes) = (std::mem::take(&mut self.reads), std::mem::take(&mut self.writes));
        self.written_bytes = 0;
        (reads.into_iter().collect(), writes.into_iter().collect())
    }

    fn touch(&self, key: &str) -> Result<(), Error> {
        if key.is_empty() || key.len() > MAX_KEY_BYTES || key.chars().any(char::is_control) {
            return Err(Error::InvalidKey);
        }
        let known = self.reads.contains_key(key) || self.writes.contains_key(key);
        let only_written =
            || self.writes.keys().filter(|key| !self.reads.contains_key(*key)).count();
        if !known && self.reads.len() + only_written() >= MAX_KEYS {
            return Err(Error::TooManyKeys);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::KvRead;

    #[derive(Debug)]
    struct FixedReader(Result<Option<(Vec<u8>, i64)>, String>);

    impl KvReader for FixedReader {
        fn get<'a>(&'a self, _: &'a str) -> KvRead<'a> {
            let found = self.0.clone();
            Box::pin(async move { found })
        }
    }

    fn overlay(found: Result<Option<(Vec<u8>, i64)>, String>) -> Overlay {
        Overlay::new(Arc::new(FixedReader(found)))
    }

    #[tokio::test]
    async fn a_read_sees_the_attempts_own_writes() {
        let mut kv = overlay(Ok(Some((b"old".to_vec(), 7))));
        assert_eq!(kv.read("k".into()).await.unwrap().as_deref(), Some(&b"old"[..]));
        kv.put("k".into(), Some(b"new".to_vec())).unwrap();
        kv.put("own".into(), Some(b"x".to_vec())).unwrap();
        assert_eq!(kv.read("k".into()).await.unwrap().as_deref(), Some(&b"new"[..]));
        assert_eq!(kv.read("own".into()).await.unwrap().as_deref(), Some(&b"x"[..]));
        kv.put("k".into(), None).unwrap();
        assert_eq!(kv.read("k".into()).await.unwrap(), None);
        let (reads, writes) = kv.finish();
        assert_eq!(reads, [("k".to_owned(), Some(7))], "a key that was only written is not a read");
        assert_eq!(writes, [("k".to_owned(), None), ("own".to_owned(), Some(b"x".to_vec()))]);
    }

    #[tokio::test]
    async fn absence_is_a_read_too_and_a_failure_is_none() {
        let mut kv = overlay(Ok(None));
        assert_eq!(kv.read("k".into()).await.unwrap(), None);
        assert_eq!(kv.read("k".into()).await.unwrap(), None);
        assert_eq!(kv.finish().0, [("k".to_owned(), None)]);
        let mut kv = overlay(Err("down".into()));
        assert!(matches!(kv.read("k".into()).await, Err(Error::Unavailable(why)) if why == "down"));
        assert_eq!(kv.finish().0, []);
    }

    #[tokio::test]
    async fn keys_and_values_are_limited() {
        let mut kv = overlay(Ok(None));
        for key in ["", "a\0b", "a\nb", &"k".repeat(MAX_KEY_BYTES + 1)] {
            assert!(matches!(kv.read(key.into()).await, Err(Error::InvalidKey)), "{key:?}");
            assert!(matches!(kv.put(key.into(), None), Err(Error::InvalidKey)), "{key:?}");
        }
        let large = vec![0; MAX_VALUE_BYTES];
        assert!(matches!(
            kv.put("k".into(), Some([&large[..], b"x"].concat())),
            Err(Error::ValueTooLarge)
        ));
        (0..3).for_each(|n| kv.put(n.to_string(), Some(large.clone())).unwrap());
        (0..9).for_each(|_| kv.put("0".into(), Some(large.clone())).unwrap());
        assert!(
            matches!(kv.put("3".into(), Some(large.clone())), Err(Error::TooManyBytes)),
            "keys count too"
        );
        kv.put("0".into(), None).unwrap();
        kv.put("3".into(), Some(large)).unwrap();
    }

    #[tokio::test]
    async fn the_number_of_keys_is_limited() {
        let mut kv = overlay(Ok(None));
        for n in 0..MAX_KEYS / 2 {
            kv.read(format!("r{n}")).await.unwrap();
            kv.put(format!("w{n}"), None).unwrap();
        }
        assert!(matches!(kv.read("more".into()).await, Err(Error::TooManyKeys)));
        assert!(matches!(kv.put("more".into(), None), Err(Error::TooManyKeys)));
        kv.put("r0".into(), None).unwrap();
        kv.read("w0".into()).await.unwrap();
    }
}
