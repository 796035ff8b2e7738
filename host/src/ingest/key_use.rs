//! When the keys of sources were used last, across restarts.
//!
//! A use is an atomic store in memory. Every five minutes, with the samples of the charts, the keys
//! that were used since are stored too. Each is an owner of samples, named by its source and one
//! byte of a digest of the key. That tells the keys of a source apart, but for one time in 256,
//! and no secret can be tried against it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use secrecy::ExposeSecret;
use sha2::{Digest as _, Sha256};

use crate::config::Source;
use crate::config::source::{Secrets, Verify};
use crate::series::{COUNTS, Increment, OwnerKind, SeriesOwner, Spread};
use crate::store::StoredSample;

/// The time of what has not happened.
pub(super) const NEVER: i64 = i64::MIN;

/// A digest by which a key is known again after a reload.
pub(super) type KeyMark = [u8; 32];

/// The place among the counts of a sample that has how long before its end the last use was, in
/// milliseconds.
const BEFORE_END: usize = 1;

/// The last use of a key.
#[derive(Debug)]
pub(super) struct KeyUse {
    pub(super) mark: KeyMark,
    /// The last use, Unix ms, or [`NEVER`].
    pub(super) at: Arc<AtomicI64>,
    /// The last use that is stored.
    kept: AtomicI64,
    /// The oldest use that is stored.
    first_kept: AtomicI64,
    /// Whether the stored ones were read.
    is_read: AtomicBool,
}

/// A key whose stored uses were not read yet.
#[derive(Debug, Clone)]
pub struct UnreadKey {
    /// The owner of its samples.
    pub owner: SeriesOwner,
    key: Arc<KeyUse>,
}

impl UnreadKey {
    pub(super) fn of(source: &str, key: &Arc<KeyUse>) -> Option<Self> {
        let is_read = key.is_read.load(Ordering::Relaxed);
        (!is_read).then(|| Self { owner: owner(source, &key.mark), key: Arc::clone(key) })
    }

    /// Takes the stored uses, the oldest first.
    pub fn read(&self, samples: &[StoredSample]) {
        let at = |sample: &StoredSample| {
            sample.at_ms.saturating_sub(i64::from(sample.counts[BEFORE_END]))
        };
        if let Some(last) = samples.iter().map(at).max() {
            self.key.at.fetch_max(last, Ordering::Relaxed);
            self.key.kept.fetch_max(last, Ordering::Relaxed);
        }
        if let Some(first) = samples.iter().map(at).min() {
            self.key.first_kept.store(first, Ordering::Relaxed);
        }
        self.key.is_read.store(true, Ordering::Relaxed);
    }
}

impl KeyUse {
    /// A key that was not used.
    pub(super) fn new(mark: KeyMark) -> Self {
        Self {
            mark,
            at: Arc::new(AtomicI64::new(NEVER)),
            kept: AtomicI64::new(NEVER),
            first_kept: AtomicI64::new(NEVER),
            is_read: AtomicBool::new(false),
        }
    }

    /// The last use as it is to be stored at this time, if that is not stored yet.
    fn increment(&self, source: &str, at_ms: i64, now_ms: i64) -> Option<Increment> {
        if at_ms <= self.kept.load(Ordering::Relaxed) {
            return None;
        }
        let mut counts = [0; COUNTS];
        counts[0] = 1;
        let before_ms = now_ms.saturating_sub(at_ms).max(0);
        counts[BEFORE_END] = u32::try_from(before_ms).unwrap_or(u32::MAX);
        Some(Increment { owner: owner(source, &self.mark), counts, durations: Spread::default() })
    }

    /// The oldest use that is stored.
    pub(super) fn first_kept(&self) -> Option<i64> {
        time(&self.first_kept)
    }
}

/// Last uses of keys that are not stored yet.
#[derive(Debug)]
pub struct UnkeptUses {
    /// The samples that store them.
    pub increments: Vec<Increment>,
    uses: Vec<(Arc<KeyUse>, i64)>,
}

impl UnkeptUses {
    /// Those of these keys, each of a source.
    pub(super) fn of(keys: Vec<(Arc<str>, Arc<KeyUse>)>, now_ms: i64) -> Self {
        let (mut increments, mut uses) = (Vec::new(), Vec::new());
        for (source, key) in keys {
            let Some(at_ms) = time(&key.at) else { continue };
            let Some(increment) = key.increment(&source, at_ms, now_ms) else { continue };
            increments.push(increment);
            uses.push((key, at_ms));
        }
        Self { increments: newest(increments), uses }
    }

    /// Notes that they are stored.
    pub fn are_kept(&self) {
        for (key, at_ms) in &self.uses {
            key.kept.fetch_max(*at_ms, Ordering::Relaxed);
        }
    }
}

/// The newest use of each owner: keys of one source may have one, and a store takes one sample of
/// each owner.
fn newest(uses: Vec<Increment>) -> Vec<Increment> {
    let mut of_owners = BTreeMap::<SeriesOwner, Increment>::new();
    for used in uses {
        let known = of_owners.entry(used.owner.clone()).or_insert_with(|| used.clone());
        if used.counts[BEFORE_END] < known.counts[BEFORE_END] {
            *known = used;
        }
    }
    of_owners.into_values().collect()
}

/// The owner of a key's samples: no source has a name with this sign.
fn owner(source: &str, mark: &KeyMark) -> SeriesOwner {
    let name = format!("{source}#{:02x}", mark[0]);
    SeriesOwner { kind: OwnerKind::Source, name: Some(name.into()) }
}

/// The marks of a source's keys, in the order in which the verifier counts them.
pub(super) fn marks(source: &Source) -> Vec<KeyMark> {
    let Verify::Signature(signature) = &source.verify else { return Vec::new() };
    let mark = |key: &[u8]| Sha256::digest(key).into();
    if !signature.has_secrets() {
        return signature.public_keys.iter().map(|key| mark(&key.bytes)).collect();
    }
    match &source.secrets {
        Secrets::Set(all) => {
            let keys = all.iter().map(|secret| secret.expose_secret());
            keys.filter(|key| !key.is_empty()).map(mark).collect()
        }
        Secrets::Generated { secret, .. } => vec![mark(secret.expose_secret())],
        Secrets::Pair { .. } | Secrets::Missing(_) => Vec::new(),
    }
}

/// A time that may be that of what has not happened.
pub(super) fn time(at: &AtomicI64) -> Option<i64> {
    let at = at.load(Ordering::Relaxed);
    (at != NEVER).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn unkept(keys: &[&Arc<KeyUse>], now_ms: i64) -> UnkeptUses {
        let keys = keys.iter().map(|key| ("heygen".into(), Arc::clone(key)));
        UnkeptUses::of(keys.collect(), now_ms)
    }

    #[test]
    fn a_use_is_stored_once_and_read_back_to_the_millisecond() {
        let key = Arc::new(KeyUse::new([0xab; 32]));
        assert!(unkept(&[&key], 1_000_000).increments.is_empty(), "it was never used");
        key.at.store(1_000_000, Ordering::Relaxed);
        let uses = unkept(&[&key], 1_123_456);
        let stored = uses.increments[0].clone();
        assert_eq!(stored.owner.name.as_deref(), Some("heygen#ab"));
        uses.are_kept();
        assert!(unkept(&[&key], 1_400_000).increments.is_empty(), "nothing came since");
        let sample =
            StoredSample { at_ms: 1_123_456, counts: stored.counts, durations: stored.durations };
        let older = StoredSample { at_ms: 900_000, ..sample.clone() };
        let again = Arc::new(KeyUse::new([0xab; 32]));
        let unread = UnreadKey::of("heygen", &again).unwrap();
        assert_eq!(unread.owner, stored.owner);
        unread.read(&[older, sample]);
        assert_eq!(time(&again.at), Some(1_000_000));
        assert_eq!(again.first_kept(), Some(900_000 - 123_456));
        assert!(unkept(&[&again], 2_000_000).increments.is_empty(), "it is stored already");
        assert!(UnreadKey::of("heygen", &again).is_none());
    }

    #[test]
    fn a_use_that_could_not_be_stored_is_stored_with_the_next_ones() {
        let key = Arc::new(KeyUse::new([0xab; 32]));
        key.at.store(1_000, Ordering::Relaxed);
        let before_end = |uses: &UnkeptUses| uses.increments[0].counts[BEFORE_END];
        drop(unkept(&[&key], 2_000));
        let second = unkept(&[&key], HOUR_MS);
        assert_eq!(i64::from(before_end(&second)), HOUR_MS - 1_000, "it is not lost");
        // While that is stored the key is used again.
        key.at.store(HOUR_MS + 1, Ordering::Relaxed);
        second.are_kept();
        let third = unkept(&[&key], HOUR_MS + 7);
        assert_eq!(before_end(&third), 6);
        third.are_kept();
        second.are_kept();
        assert!(unkept(&[&key], 2 * HOUR_MS).increments.is_empty());
    }

    #[test]
    fn keys_that_share_an_owner_are_stored_as_one() {
        let used = |mark: KeyMark, at_ms| {
            let key = Arc::new(KeyUse::new(mark));
            key.at.store(at_ms, Ordering::Relaxed);
            key
        };
        let (mut second, other) = ([0xab; 32], [0xcd; 32]);
        second[1] = 0;
        let keys = [used([0xab; 32], 400_000), used(second, 900_000), used(other, 500_000)];
        let uses = unkept(&keys.each_ref(), 1_000_000);
        let stored = uses.increments.iter();
        let stored: Vec<_> =
            stored.map(|it| (it.owner.name.as_deref().unwrap(), it.counts[BEFORE_END])).collect();
        assert_eq!(stored, [("heygen#ab", 100_000), ("heygen#cd", 500_000)]);
        uses.are_kept();
        assert!(unkept(&keys.each_ref(), 2_000_000).increments.is_empty(), "both are stored");
    }

    #[test]
    fn a_use_that_came_before_the_stored_ones_were_read_stays_the_last_one() {
        let key = Arc::new(KeyUse::new([1; 32]));
        key.at.store(2_000_000, Ordering::Relaxed);
        let mut counts = [0; COUNTS];
        counts[BEFORE_END] = 10;
        let sample = StoredSample { at_ms: 1_000_000, counts, durations: Spread::default() };
        UnreadKey::of("a", &key).unwrap().read(&[sample]);
        assert_eq!(time(&key.at), Some(2_000_000));
        assert_eq!(unkept(&[&key], 2_000_000).increments.len(), 1, "and is stored next");
    }
}
