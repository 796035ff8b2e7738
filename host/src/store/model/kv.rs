//! The types of key-value calls.

use std::sync::Arc;
use std::time::Duration;

use crate::event::DeliveryId;

/// A stored value and the version that a settlement checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvValue {
    /// The bytes.
    pub value: Vec<u8>,
    /// The version, another one after every write.
    pub version: i64,
}

/// The key-value operations of one attempt, in one bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KvTransaction {
    /// The bucket; the plugin's own one, of its name, if none is named.
    pub bucket: Option<Arc<str>>,
    /// Written values are deleted when nobody has written them for so long. None stay.
    pub ttl: Option<Duration>,
    /// Keys read, with the version seen; `None` where there was no value.
    pub reads: Vec<(String, Option<i64>)>,
    /// Lists of keys that were read.
    pub lists: Vec<ListedKeys>,
    /// Keys written; `None` deletes.
    pub writes: Vec<(String, Option<Vec<u8>>)>,
    /// Numbers that are added to. No key of them is written as well.
    pub adds: Vec<(String, i64)>,
}

impl KvTransaction {
    /// The bucket, for a plugin of this name.
    pub fn bucket_of<'a>(&'a self, plugin: &'a Arc<str>) -> &'a Arc<str> {
        self.bucket.as_ref().unwrap_or(plugin)
    }

    /// Whether it writes anything.
    pub fn writes_anything(&self) -> bool {
        !self.writes.is_empty() || !self.adds.is_empty()
    }
}

/// A list of keys that an attempt read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKeys {
    /// The part of the bucket.
    pub range: KvRange,
    /// The keys that were in it.
    pub keys: Vec<String>,
}

/// Keys of a bucket in the order of their bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KvRange {
    /// They begin with this.
    pub prefix: String,
    /// They come after this one.
    pub after: Option<String>,
    /// The most that are meant, at least 1.
    pub limit: usize,
}

impl KvRange {
    /// The least text that is greater than all that begin with the prefix, if there is one.
    pub(in crate::store) fn end(&self) -> Option<String> {
        let mut end = self.prefix.clone();
        while let Some(last) = end.pop() {
            let next = match last {
                '\u{d7ff}' => Some('\u{e000}'),
                _ => char::from_u32(u32::from(last) + 1),
            };
            if let Some(next) = next {
                end.push(next);
                return Some(end);
            }
        }
        None
    }
}

/// A key of a bucket, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvKey {
    /// The key.
    pub key: String,
    /// Bytes of its value.
    pub bytes: u64,
}

/// A key with what is known of its last write, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvEntry {
    /// The key.
    pub key: String,
    /// Bytes of its value.
    pub bytes: u64,
    /// The version of its value.
    pub version: i64,
    /// When it goes unless it is written again, by the wall clock, Unix ms; `None` if it stays.
    pub expires_ms: Option<i64>,
    /// The attempt that wrote it last; `None` if a client did, or a host of an older version.
    pub writer: Option<(DeliveryId, u32)>,
}

/// A value as a number: 8 bytes, little-endian; no value is 0.
///
/// # Errors
/// It has another length.
pub(in crate::store) fn number(value: Option<&[u8]>) -> Result<i64, OtherLength> {
    let Some(value) = value else { return Ok(0) };
    value.try_into().map(i64::from_le_bytes).map_err(|_| OtherLength { bytes: value.len() })
}

impl KvTransaction {
    /// The value of a key that this attempt has set or removed itself; `None` if it has not.
    pub(in crate::store) fn written(&self, key: &str) -> Option<Option<&[u8]>> {
        let found = self.writes.iter().rev().find(|(written, _)| written == key);
        found.map(|(_, value)| value.as_deref())
    }
}

/// A value is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its value has {bytes} bytes, and a number has 8")]
pub(in crate::store) struct OtherLength {
    /// The length of the value.
    pub bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_with_a_prefix_is_before_its_end() {
        for (prefix, end) in [
            ("", None),
            ("a", Some("b")),
            ("a/", Some("a0")),
            ("\u{d7ff}", Some("\u{e000}")),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}", None),
        ] {
            let range = KvRange { prefix: prefix.to_owned(), ..KvRange::default() };
            assert_eq!(range.end().as_deref(), end, "{prefix:?}");
            let longest = format!("{prefix}\u{10ffff}\u{10ffff}");
            assert!(end.is_none_or(|end| longest.as_str() < end), "{prefix:?}");
        }
    }
}
