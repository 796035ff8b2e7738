//! The requests of each source since the start of the host: counts, and the newest refusals, in
//! memory only; and the last uses of keys.
//!
//! A request that is accepted costs additions to atomics. A refused one is noted under a lock of
//! its source.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::Semaphore;

use super::key_use::{KeyMark, KeyUse, NEVER, UnkeptUses, UnreadKey, marks, time};
use super::reasons::RefusalReason;
use super::verify::KeyRing;
use super::window::SecretWindows;
use crate::config::Source;

/// Refusals of a source that are kept.
pub const KEPT_REFUSALS: usize = 50;

/// The names of headers that are kept of a refusal.
const MAX_HEADERS: usize = 24;

/// The bytes that the names of headers may have together.
const MAX_HEADER_BYTES: usize = 400;

/// Subscriptions of a source that are confirmed at once.
const MAX_CONFIRMING: usize = 4;

/// The longest hint, in bytes.
const MAX_HINT_BYTES: usize = 300;

/// The activity of the sources, by their names. The intake writes it, the admin API shows it.
#[derive(Debug, Default)]
pub struct SourceActivity {
    by_source: RwLock<BTreeMap<Arc<str>, Arc<SourceCounts>>>,
    windows: SecretWindows,
}

/// The counts and the newest refusals of one source.
#[derive(Debug)]
pub(super) struct SourceCounts {
    accepted: AtomicU64,
    duplicates: AtomicU64,
    last_ms: AtomicI64,
    /// The keys of the running configuration with their last use.
    keys: Mutex<Vec<Arc<KeyUse>>>,
    refused: Mutex<RecentRefusals>,
    /// The newest confirmation of a subscription.
    confirmation: Mutex<Option<Confirmation>>,
    /// Permits to confirm one.
    confirming: Arc<Semaphore>,
    /// The rings of the running configuration.
    rings: Mutex<Vec<KeyRing>>,
}

#[derive(Debug, Default)]
struct RecentRefusals {
    reasons: BTreeMap<RefusalReason, ReasonSummary>,
    /// The newest is first.
    newest: VecDeque<(u64, RefusalNote)>,
    next: u64,
}

/// The requests of one source until now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceReceived {
    /// Requests that were stored as new events.
    pub accepted: u64,
    /// Requests that repeated an event.
    pub duplicates: u64,
    /// When the last of both came, Unix ms.
    pub last_ms: Option<i64>,
    /// The requests that were refused.
    pub reasons: BTreeMap<RefusalReason, ReasonSummary>,
    /// The newest confirmation of a subscription.
    pub confirmation: Option<Confirmation>,
}

/// The requests that were refused for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReasonSummary {
    /// How many.
    pub count: u64,
    /// When the last one came, Unix ms.
    pub last_ms: i64,
    /// The last hint.
    pub hint: Option<String>,
    /// How long before it came the last one was sent, by its own words, in seconds.
    pub offset_s: Option<i64>,
}

/// The result of a source's newest confirmation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// When, Unix ms.
    pub at_ms: i64,
    /// The host that was asked.
    pub host: String,
    /// Why it failed, for people; absent if the subscription is confirmed.
    pub error: Option<String>,
}

/// A request that was refused: no value of a header, and no byte of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalNote {
    /// When, Unix ms.
    pub at_ms: i64,
    /// Why.
    pub reason: RefusalReason,
    /// The address of the client.
    pub client: String,
    /// The length of the body, as it was read or announced.
    pub body_bytes: Option<u64>,
    /// The names of headers, those first that say something of the sender.
    pub headers: Vec<String>,
    /// How long before it came it was sent, by its own words, in seconds.
    pub offset_s: Option<i64>,
    /// The change that would have made it authentic.
    pub hint: Option<String>,
}

impl SourceActivity {
    /// The counts of a source of the running configuration.
    pub(super) fn counts(&self, source: &Source) -> Arc<SourceCounts> {
        let mut by_source = self.by_source.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(by_source.entry(Arc::clone(&source.name)).or_default())
    }

    /// Forgets the sources that `is_there` does not know.
    pub(super) fn retain(&self, is_there: impl Fn(&str) -> bool) {
        let mut by_source = self.by_source.write().unwrap_or_else(PoisonError::into_inner);
        by_source.retain(|name, _| is_there(name));
    }

    /// The windows in which the secrets of handshakes are taken.
    pub fn windows(&self) -> &SecretWindows {
        &self.windows
    }

    /// Counts an event of a provider's log that was appended.
    pub fn reconciled(&self, source: &Source, now_ms: i64) {
        self.counts(source).stored(false, now_ms);
    }

    fn find(&self, source: &str) -> Option<Arc<SourceCounts>> {
        self.by_source.read().unwrap_or_else(PoisonError::into_inner).get(source).map(Arc::clone)
    }

    /// The requests of a source until now.
    pub fn received(&self, source: &str) -> SourceReceived {
        let Some(counts) = self.find(source) else { return SourceReceived::default() };
        SourceReceived {
            accepted: counts.accepted.load(Ordering::Relaxed),
            duplicates: counts.duplicates.load(Ordering::Relaxed),
            last_ms: time(&counts.last_ms),
            reasons: counts.recent().reasons.clone(),
            confirmation: counts
                .confirmation
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }

    /// The newest refusals of a source, the newest first.
    pub fn refusals(&self, source: &str) -> Vec<RefusalNote> {
        let Some(counts) = self.find(source) else { return Vec::new() };
        counts.recent().newest.iter().map(|(_, note)| note.clone()).collect()
    }

    /// When each key of a source was used last, Unix ms, in the order of the configuration.
    pub fn key_uses(&self, source: &Source) -> Vec<Option<i64>> {
        let counts = self.find(&source.name);
        let keys = counts.as_ref().map(|counts| counts.keys()).map(|keys| keys.clone());
        let keys = keys.unwrap_or_default();
        let of = |mark: KeyMark| {
            keys.iter().find(|known| known.mark == mark).and_then(|known| time(&known.at))
        };
        marks(source).into_iter().map(of).collect()
    }

    /// The oldest use of a key of a source that is stored, Unix ms: since then last uses are known.
    pub fn key_uses_since(&self, source: &str) -> Option<i64> {
        self.find(source)?.keys().iter().filter_map(|key| key.first_kept()).min()
    }

    /// The keys whose stored uses were not read yet.
    pub fn unread_keys(&self) -> Vec<UnreadKey> {
        let keys = self.all_keys();
        keys.iter().filter_map(|(source, key)| UnreadKey::of(source, key)).collect()
    }

    /// The last uses of keys that are not stored yet.
    pub fn unkept_uses(&self, now_ms: i64) -> UnkeptUses {
        UnkeptUses::of(self.all_keys(), now_ms)
    }

    fn all_keys(&self) -> Vec<(Arc<str>, Arc<KeyUse>)> {
        let counts = self.by_source.read().unwrap_or_else(PoisonError::into_inner);
        let of = |(source, counts): (&Arc<str>, &Arc<SourceCounts>)| {
            let keys = counts.keys().clone();
            keys.into_iter().map(|key| (Arc::clone(source), key)).collect::<Vec<_>>()
        };
        counts.iter().flat_map(of).collect()
    }
}

impl Default for SourceCounts {
    fn default() -> Self {
        Self {
            accepted: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            last_ms: AtomicI64::new(NEVER),
            keys: Mutex::default(),
            refused: Mutex::default(),
            confirmation: Mutex::default(),
            confirming: Arc::new(Semaphore::new(MAX_CONFIRMING)),
            rings: Mutex::default(),
        }
    }
}

impl SourceCounts {
    /// The times of last use of a source's keys, in the order of the configuration. Keys that the
    /// configuration before did not have are new. Its `rings` have the documents of those before.
    pub(super) fn uses<'a>(
        &self,
        source: &Source,
        rings: impl Iterator<Item = &'a KeyRing>,
    ) -> Vec<Arc<AtomicI64>> {
        self.keep_rings(rings);
        let mut keys = self.keys();
        let old = std::mem::take(&mut *keys);
        for mark in marks(source) {
            let known = old.iter().find(|known| known.mark == mark);
            keys.push(known.map_or_else(|| Arc::new(KeyUse::new(mark)), Arc::clone));
        }
        keys.iter().map(|key| Arc::clone(&key.at)).collect()
    }

    /// Gives the rings of a new configuration the documents of those before.
    fn keep_rings<'a>(&self, rings: impl Iterator<Item = &'a KeyRing>) {
        let mut kept = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let rings: Vec<_> = rings.cloned().collect();
        for ring in &rings {
            kept.iter().for_each(|older| ring.inherit(older));
        }
        *kept = rings;
    }

    /// Counts a request that was stored, or that repeats an event.
    pub(super) fn stored(&self, is_duplicate: bool, at_ms: i64) {
        let count = if is_duplicate { &self.duplicates } else { &self.accepted };
        count.fetch_add(1, Ordering::Relaxed);
        self.last_ms.store(at_ms, Ordering::Relaxed);
    }

    /// Notes a refusal; the number by which a later hint finds it.
    pub(super) fn refused(&self, note: RefusalNote) -> u64 {
        let mut recent = self.recent();
        let of_reason = recent.reasons.entry(note.reason).or_default();
        of_reason.count += 1;
        of_reason.last_ms = note.at_ms;
        of_reason.offset_s = note.offset_s;
        if note.hint.is_some() {
            of_reason.hint.clone_from(&note.hint);
        }
        let number = recent.next;
        recent.next += 1;
        recent.newest.push_front((number, note));
        recent.newest.truncate(KEPT_REFUSALS);
        number
    }

    /// Notes what became of a confirmation.
    pub(super) fn confirmed(&self, confirmation: Confirmation) {
        let mut newest = self.confirmation.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = Some(confirmation);
    }

    /// Permits to confirm a subscription.
    pub(super) fn confirming(&self) -> &Arc<Semaphore> {
        &self.confirming
    }

    /// Adds a hint to a refusal.
    pub(super) fn hint(&self, number: u64, reason: RefusalReason, mut hint: String) {
        hint.truncate(hint.floor_char_boundary(MAX_HINT_BYTES));
        let mut recent = self.recent();
        recent.reasons.entry(reason).or_default().hint = Some(hint.clone());
        if let Some((_, note)) = recent.newest.iter_mut().find(|(known, _)| *known == number) {
            note.hint = Some(hint);
        }
    }

    fn recent(&self) -> MutexGuard<'_, RecentRefusals> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keys(&self) -> MutexGuard<'_, Vec<Arc<KeyUse>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The names of headers that are kept: those first that not every client sends.
pub(super) fn header_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    const USUAL: [&str; 10] = [
        "accept",
        "accept-encoding",
        "accept-language",
        "connection",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
        "user-agent",
        "via",
    ];
    let mut found: Vec<&str> = names.collect();
    found.sort_by_key(|name| (USUAL.contains(name), *name));
    let mut bytes = 0;
    let kept = found.into_iter().take(MAX_HEADERS).take_while(|name| {
        bytes += name.len();
        bytes <= MAX_HEADER_BYTES
    });
    kept.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(at_ms: i64, hint: Option<&str>) -> RefusalNote {
        RefusalNote {
            at_ms,
            reason: RefusalReason::BadSignature,
            client: "203.0.113.7".to_owned(),
            body_bytes: Some(2),
            headers: Vec::new(),
            offset_s: None,
            hint: hint.map(str::to_owned),
        }
    }

    #[test]
    fn the_newest_refusals_are_kept_and_all_are_counted() {
        let counts = SourceCounts::default();
        for at_ms in 0..KEPT_REFUSALS as i64 + 10 {
            counts.refused(note(at_ms, None));
        }
        let recent = counts.recent();
        assert_eq!(recent.newest.len(), KEPT_REFUSALS);
        assert_eq!(recent.newest[0].1.at_ms, KEPT_REFUSALS as i64 + 9);
        assert_eq!(recent.reasons[&RefusalReason::BadSignature].count, KEPT_REFUSALS as u64 + 10);
    }

    #[test]
    fn a_hint_finds_its_refusal_and_may_come_too_late() {
        let counts = SourceCounts::default();
        let first = counts.refused(note(0, None));
        let second = counts.refused(note(1, None));
        counts.hint(first, RefusalReason::BadSignature, "one".to_owned());
        assert_eq!(counts.recent().newest[1].1.hint.as_deref(), Some("one"));
        for at_ms in 0..KEPT_REFUSALS as i64 {
            counts.refused(note(at_ms, None));
        }
        counts.hint(second, RefusalReason::BadSignature, "ä".repeat(MAX_HINT_BYTES));
        let recent = counts.recent();
        assert!(recent.newest.iter().all(|(_, note)| note.hint.is_none()));
        let hint = recent.reasons[&RefusalReason::BadSignature].hint.as_deref().unwrap();
        assert_eq!(hint.len(), MAX_HINT_BYTES);
    }

    #[test]
    fn names_of_headers_are_bounded_and_the_telling_ones_come_first() {
        let names = ["host", "x-signature", "accept", "a-b"];
        assert_eq!(header_names(names.into_iter()), ["a-b", "x-signature", "accept", "host"]);
        let long = "x".repeat(MAX_HEADER_BYTES + 1);
        assert_eq!(header_names(["b", long.as_str()].into_iter()), ["b"]);
        let many: Vec<String> = (0..100).map(|n| format!("h{n}")).collect();
        assert_eq!(header_names(many.iter().map(String::as_str)).len(), MAX_HEADERS);
    }
}
