//! `hookbox:plugin/kv`: reads go to the store and are recorded with their version; writes stay here
//! until the attempt is settled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::WasiView;

use super::import::{CapabilityInfo, HostImport, Offer, Start};
use crate::sandbox::bindings::hookbox::plugin::kv::{self, Error};
use crate::sandbox::{Invocation, KvList, KvReader};

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 256;
/// The largest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 256 << 10;
/// Keys that one attempt may touch.
const MAX_KEYS: usize = 128;
/// Keys and values that one attempt may leave written, in bytes.
const MAX_WRITTEN_BYTES: usize = 1 << 20;

/// Lists of keys that one attempt may read.
const MAX_LISTS: usize = 16;
/// Keys of one list.
const MAX_LISTED: usize = 1_000;
/// The length of a number, in bytes.
const NUMBER_BYTES: usize = size_of::<i64>();

/// Reads and writes of one attempt.
#[derive(Debug)]
pub(super) struct Overlay {
    reader: Arc<dyn KvReader>,
    reads: BTreeMap<String, Option<i64>>,
    lists: Vec<KvList>,
    writes: BTreeMap<String, Option<Vec<u8>>>,
    /// Of keys that are not in `writes`, or whose value there is no number.
    adds: BTreeMap<String, i64>,
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
            grants: |settings| {
                settings.kv.bucket.iter().map(|it| format!("bucket: {it}")).collect()
            },
            line: |plugin| format!("kv = {{ bucket = \"{plugin}\" }}"),
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
        invocation.kv_reads = std::mem::take(&mut self.reads).into_iter().collect();
        invocation.kv_lists = std::mem::take(&mut self.lists);
        invocation.kv_writes = std::mem::take(&mut self.writes).into_iter().collect();
        invocation.kv_adds = std::mem::take(&mut self.adds).into_iter().collect();
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

    async fn keys(
        &mut self,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<Vec<String>, Error> {
        self.list(prefix, after, limit as usize).await
    }

    fn add(&mut self, key: String, delta: i64) -> Result<(), Error> {
        self.add_to(key, delta)
    }
}

impl Overlay {
    fn new(reader: Arc<dyn KvReader>) -> Self {
        Self {
            reader,
            reads: BTreeMap::new(),
            lists: Vec::new(),
            writes: BTreeMap::new(),
            adds: BTreeMap::new(),
        }
    }

    /// Reads the attempt's own write, or what is stored with what the attempt adds to it.
    async fn read(&mut self, key: String) -> Result<Option<Vec<u8>>, Error> {
        if let Some(own) = self.writes.get(&key) {
            return Ok(own.clone());
        }
        self.touch(&key)?;
        let found = self.reader.get(&key).await.map_err(Error::Unavailable)?;
        let (value, version) = found.unzip();
        let added = self.adds.get(&key).copied();
        // The first version counts: if a later read finds another, the settlement finds a conflict.
        self.reads.entry(key).or_insert(version);
        Ok(match (added, number(value.as_deref())) {
            (Some(delta), Some(before)) => Some(bytes_of(before.saturating_add(delta))),
            // Not a number: the settlement will say so.
            (Some(_), None) | (None, _) => value,
        })
    }

    /// Writes a value, or deletes it.
    fn put(&mut self, key: String, value: Option<Vec<u8>>) -> Result<(), Error> {
        self.touch(&key)?;
        if value.as_ref().is_some_and(|value| value.len() > MAX_VALUE_BYTES) {
            return Err(Error::ValueTooLarge);
        }
        self.has_room(&key, value.as_ref().map_or(0, Vec::len))?;
        // A value that is set replaces the number, whatever was added to it before.
        self.adds.remove(&key);
        self.writes.insert(key, value);
        Ok(())
    }

    /// Adds to a number, which is read when the attempt is settled.
    fn add_to(&mut self, key: String, delta: i64) -> Result<(), Error> {
        self.touch(&key)?;
        let own = self.writes.get(&key).map(Option::as_deref);
        // The own value is known, so the sum is a write and needs no read when it is settled.
        if let Some(before) = own.and_then(number) {
            self.has_room(&key, NUMBER_BYTES)?;
            self.writes.insert(key, Some(bytes_of(before.saturating_add(delta))));
            return Ok(());
        }
        self.has_room(&key, own.flatten().map_or(0, <[u8]>::len) + NUMBER_BYTES)?;
        let sum = self.adds.get(&key).copied().unwrap_or(0);
        self.adds.insert(key, sum.saturating_add(delta));
        Ok(())
    }

    /// Whether so many bytes may be left written under a key, beside the other keys.
    fn has_room(&self, key: &str, bytes: usize) -> Result<(), Error> {
        let writes = self.writes.iter();
        let writes = writes.map(|(key, value)| (key, value.as_ref().map_or(0, Vec::len)));
        let adds = self.adds.keys().map(|key| (key, NUMBER_BYTES));
        let others = writes.chain(adds).filter(|(other, _)| *other != key);
        let others_bytes: usize = others.map(|(key, bytes)| key.len() + bytes).sum();
        let fits = others_bytes + key.len() + bytes <= MAX_WRITTEN_BYTES;
        if fits { Ok(()) } else { Err(Error::TooManyBytes) }
    }

    /// Lists what is stored and what the attempt itself has written.
    async fn list(
        &mut self,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        let is_bad = |text: &str| text.len() > MAX_KEY_BYTES || text.chars().any(char::is_control);
        if is_bad(&prefix) || after.as_deref().is_some_and(is_bad) {
            return Err(Error::InvalidKey);
        }
        let limit = limit.min(MAX_LISTED);
        if limit == 0 {
            return Ok(Vec::new());
        }
        // Each list is kept until the settlement, which compares it with what is stored then.
        if self.lists.len() >= MAX_LISTS {
            return Err(Error::TooManyKeys);
        }
        let meant = |key: &&String| {
            key.starts_with(&prefix) && after.as_ref().is_none_or(|after| *key > after)
        };
        let (deleted, set): (Vec<_>, Vec<_>) = self
            .writes
            .iter()
            .filter(|(key, _)| meant(key))
            .partition(|(_, value)| value.is_none());
        let deleted: BTreeSet<_> = deleted.into_iter().map(|(key, _)| key.clone()).collect();
        let set = set.into_iter().map(|(key, _)| key);
        let own: Vec<_> = set.chain(self.adds.keys().filter(meant)).cloned().collect();
        // So many that as many are left as are asked for.
        let asked = limit + deleted.len();
        let keys = self.reader.keys(&prefix, after.as_deref(), asked).await;
        let keys = keys.map_err(Error::Unavailable)?;
        let left = keys.iter().filter(|key| !deleted.contains(*key)).cloned();
        let all: BTreeSet<String> = left.chain(own).collect();
        self.lists.push(KvList { prefix, after, limit: asked, keys });
        Ok(all.into_iter().take(limit).collect())
    }

    fn touch(&self, key: &str) -> Result<(), Error> {
        if key.is_empty() || key.len() > MAX_KEY_BYTES || key.chars().any(char::is_control) {
            return Err(Error::InvalidKey);
        }
        let is_known = |key: &str| {
            self.reads.contains_key(key)
                || self.writes.contains_key(key)
                || self.adds.contains_key(key)
        };
        // A key that was read and written counts once.
        let written = self.writes.keys().chain(self.adds.keys());
        let only_written = || written.filter(|key| !self.reads.contains_key(*key)).count();
        if !is_known(key) && self.reads.len() + only_written() >= MAX_KEYS {
            return Err(Error::TooManyKeys);
        }
        Ok(())
    }
}

/// A value as a number, if it is one.
fn number(value: Option<&[u8]>) -> Option<i64> {
    value.map_or(Some(0), |value| value.try_into().ok().map(i64::from_le_bytes))
}

fn bytes_of(number: i64) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{KvKeys, KvRead};

    #[derive(Debug)]
    struct FixedReader(Result<Option<(Vec<u8>, i64)>, String>);

    impl KvReader for FixedReader {
        fn get<'a>(&'a self, _: &'a str) -> KvRead<'a> {
            let found = self.0.clone();
            Box::pin(async move { found })
        }

        fn keys<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> KvKeys<'a> {
            let stored = ["a", "b/1", "b/2", "b/3", "c"].into_iter();
            let meant = stored
                .filter(|key| key.starts_with(prefix) && after.is_none_or(|after| *key > after));
            let keys = meant.take(limit).map(str::to_owned).collect();
            Box::pin(async move { Ok(keys) })
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
        let (reads, writes) = (Vec::from_iter(kv.reads), Vec::from_iter(kv.writes));
        assert_eq!(reads, [("k".to_owned(), Some(7))], "a key that was only written is not a read");
        assert_eq!(writes, [("k".to_owned(), None), ("own".to_owned(), Some(b"x".to_vec()))]);
    }

    #[tokio::test]
    async fn absence_is_a_read_too_and_a_failure_is_none() {
        let mut kv = overlay(Ok(None));
        assert_eq!(kv.read("k".into()).await.unwrap(), None);
        assert_eq!(kv.read("k".into()).await.unwrap(), None);
        assert_eq!(Vec::from_iter(kv.reads), [("k".to_owned(), None)]);
        let mut kv = overlay(Err("down".into()));
        assert!(matches!(kv.read("k".into()).await, Err(Error::Unavailable(why)) if why == "down"));
        assert!(kv.reads.is_empty());
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

    #[test]
    fn what_is_written_is_counted_whatever_is_added_to_it() {
        let mut kv = overlay(Ok(None));
        let large = || Some(vec![0; MAX_VALUE_BYTES]);
        kv.put("a".into(), large()).unwrap();
        kv.add_to("a".into(), 1).unwrap();
        kv.put("a".into(), large()).unwrap();
        kv.put("b".into(), large()).unwrap();
        // This one stays written beside what is added to it.
        kv.put("c".into(), large()).unwrap();
        kv.add_to("c".into(), 1).unwrap();
        assert!(matches!(kv.put("d".into(), large()), Err(Error::TooManyBytes)));
        kv.put("a".into(), None).unwrap();
        kv.put("d".into(), large()).unwrap();
        // A number takes its place too.
        let left = MAX_WRITTEN_BYTES - 3 * MAX_VALUE_BYTES - "abccdE".len() - NUMBER_BYTES;
        kv.put("E".into(), Some(vec![0; left])).unwrap();
        assert!(matches!(kv.add_to("a".into(), 1), Err(Error::TooManyBytes)));
        kv.put("E".into(), Some(vec![0; left - NUMBER_BYTES])).unwrap();
        kv.add_to("a".into(), 1).unwrap();
        assert!(matches!(kv.add_to("f".into(), 1), Err(Error::TooManyBytes)));
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

    #[tokio::test]
    async fn an_addition_reads_nothing_and_a_read_after_it_sees_the_sum() {
        let mut kv = overlay(Ok(Some((40_i64.to_le_bytes().to_vec(), 7))));
        kv.add_to("n".into(), 3).unwrap();
        kv.add_to("n".into(), -1).unwrap();
        assert!(kv.reads.is_empty() && kv.writes.is_empty());
        assert_eq!(kv.adds["n"], 2);
        assert_eq!(kv.read("n".into()).await.unwrap(), Some(42_i64.to_le_bytes().to_vec()));
        assert_eq!(kv.reads["n"], Some(7), "it is checked then");
        kv.put("n".into(), Some(i64::MAX.to_le_bytes().to_vec())).unwrap();
        kv.add_to("n".into(), 1).unwrap();
        assert_eq!(kv.writes["n"], Some(i64::MAX.to_le_bytes().to_vec()), "it stays at the end");
        assert!(kv.adds.is_empty());
        kv.put("n".into(), None).unwrap();
        kv.add_to("n".into(), 5).unwrap();
        assert_eq!(kv.read("n".into()).await.unwrap(), Some(5_i64.to_le_bytes().to_vec()));
        kv.put("text".into(), Some(b"x".to_vec())).unwrap();
        kv.add_to("text".into(), 1).unwrap();
        assert_eq!((kv.adds["text"], kv.writes.len()), (1, 2), "the settlement refuses it");
    }

    #[tokio::test]
    async fn a_list_has_the_attempts_own_keys_and_not_those_that_it_deleted() {
        let mut kv = overlay(Ok(None));
        for (prefix, after, limit, expected) in [
            ("b/", None, 9, &["b/1", "b/2", "b/3"][..]),
            ("b/", Some("b/1"), 1, &["b/2"]),
            ("", Some("b/3"), 9, &["c"]),
            ("x", None, 9, &[]),
            ("", None, 0, &[]),
        ] {
            let listed = kv.list(prefix.into(), after.map(str::to_owned), limit).await.unwrap();
            assert_eq!(listed, expected, "{prefix} {after:?} {limit}");
        }
        assert_eq!(kv.lists.len(), 4, "nothing is read for no key");
        kv.put("b/1".into(), None).unwrap();
        kv.put("b/15".into(), Some(vec![])).unwrap();
        kv.add_to("b/9".into(), 1).unwrap();
        let listed = kv.list("b/".into(), None, 3).await.unwrap();
        assert_eq!(listed, ["b/15", "b/2", "b/3"]);
        let listed = kv.list("b/".into(), None, 9).await.unwrap();
        assert_eq!(listed, ["b/15", "b/2", "b/3", "b/9"]);
        assert_eq!(kv.lists[4].limit, 4, "one more than was asked for, because one is deleted");
        for _ in kv.lists.len()..MAX_LISTS {
            kv.list("x".into(), None, 1).await.unwrap();
        }
        assert!(matches!(kv.list("x".into(), None, 1).await, Err(Error::TooManyKeys)));
        assert!(matches!(kv.list("\n".into(), None, 1).await, Err(Error::InvalidKey)));
    }
}
