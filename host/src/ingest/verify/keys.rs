//! Public keys that are fetched from an address: which addresses may be asked, and what is cached.
//!
//! A request never chooses the host: the configuration pins it. Fetching is not done here, but
//! before a request is checked; a check only looks into the cache.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fetches::{FetchEnd, FetchEnded, Fetches};
use crate::config::source::{KeyAddress, KeyDocument, KeyFrom, PublicKey};
use crate::server::ClientKey;

/// The most documents that are kept of a source.
const MAX_DOCUMENTS: usize = 32;

/// The longest address, in bytes.
const MAX_ADDRESS_BYTES: usize = 512;

/// The time after which a document is fetched again when a signature does not match its keys, in
/// milliseconds.
const RENEWABLE_MS: i64 = 60_000;

/// The time for which a document is used, in milliseconds.
const FRESH_MS: i64 = 6 * 60 * 60_000;

/// The time for which an address rests after a failure, in milliseconds.
const REST_MS: u64 = 10_000;

/// The keys of a source that are known from addresses. Clones share them.
#[derive(Debug, Clone)]
pub(in crate::ingest) struct KeyRing(Arc<Ring>);

#[derive(Debug)]
struct Ring {
    address: KeyAddress,
    documents: Mutex<HashMap<String, FetchedKeys>>,
    /// The addresses that failed, and when.
    failed: Mutex<HashMap<String, i64>>,
    fetches: Fetches,
}

/// The duty to fetch a document. Dropping it ends the fetch without one.
#[derive(Debug)]
pub(in crate::ingest) struct FetchDuty {
    ring: KeyRing,
    url: String,
    end: FetchEnd,
}

/// The keys of one document, and when it was fetched.
#[derive(Debug)]
struct FetchedKeys {
    keys: Arc<[PublicKey]>,
    fetched_ms: i64,
}

impl KeyRing {
    pub(super) fn new(address: KeyAddress) -> Self {
        let (documents, failed) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Ring { address, documents, failed, fetches: Fetches::default() }))
    }

    /// Takes over what an older ring of the same address knows: a reload changes no key.
    pub(in crate::ingest) fn inherit(&self, older: &Self) {
        if self.0.address != older.0.address || Arc::ptr_eq(&self.0, &older.0) {
            return;
        }
        for (url, document) in &*older.documents() {
            let FetchedKeys { keys, fetched_ms } = document;
            let document = FetchedKeys { keys: Arc::clone(keys), fetched_ms: *fetched_ms };
            self.documents().entry(url.clone()).or_insert(document);
        }
    }

    /// The address, if the configuration names it.
    pub(super) fn fixed(&self) -> Option<&str> {
        match &self.0.address.from {
            KeyFrom::Fixed(url) => Some(url),
            KeyFrom::Request(_) => None,
        }
    }

    /// Whether an address may be asked: https, a pinned host, no user, no port, no query.
    pub(super) fn admits(&self, url: &str) -> bool {
        let KeyAddress { hosts, path, .. } = &self.0.address;
        let Some(rest) = url.strip_prefix("https://") else { return false };
        let (host, _) = rest.split_once('/').unwrap_or((rest, ""));
        let target = &rest[host.len()..];
        let plain = url.len() <= MAX_ADDRESS_BYTES
            && url.chars().all(|c| c.is_ascii_graphic() && !"@?#\\%".contains(c))
            && !target.contains("..");
        plain
            && target.starts_with(path.as_str())
            && hosts.iter().any(|pinned| is_pinned(pinned, host))
    }

    /// The keys of an address, if they are known.
    pub(super) fn keys(&self, url: &str) -> Option<Arc<[PublicKey]>> {
        self.documents().get(url).map(|document| Arc::clone(&document.keys))
    }

    /// Whether the keys of an address have to be fetched.
    pub(in crate::ingest) fn is_missing(&self, url: &str, now_ms: i64) -> bool {
        let documents = self.documents();
        let document = documents.get(url);
        document.is_none_or(|document| now_ms.saturating_sub(document.fetched_ms) > FRESH_MS)
    }

    /// Whether the keys of an address may be fetched again before they are old: the provider may
    /// have others meanwhile.
    pub(in crate::ingest) fn is_renewable(&self, url: &str, now_ms: i64) -> bool {
        let documents = self.documents();
        let age_ms = |document: &FetchedKeys| now_ms.saturating_sub(document.fetched_ms);
        documents.get(url).is_some_and(|document| age_ms(document) > RENEWABLE_MS)
    }

    /// Whether there are keys of an address, however old.
    pub(in crate::ingest) fn is_known(&self, url: &str) -> bool {
        self.documents().contains_key(url)
    }

    /// The end of the fetch of an address, and the duty to perform it unless it is under way;
    /// `None` if too many others are. Addresses that have answered before are asked in any case.
    pub(in crate::ingest) fn join(
        &self,
        url: &str,
        client: Option<ClientKey>,
    ) -> Option<(FetchEnded, Option<FetchDuty>)> {
        let is_known = self.is_known(url);
        let (ended, end) = self.0.fetches.join(url, client, is_known)?;
        let duty = end.map(|end| FetchDuty { ring: self.clone(), url: url.to_owned(), end });
        Some((ended, duty))
    }

    /// Whether an address failed a moment ago.
    pub(in crate::ingest) fn rests(&self, url: &str, now_ms: i64) -> bool {
        let failed = self.0.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get(url).is_some_and(|at| now_ms.saturating_sub(*at).unsigned_abs() < REST_MS)
    }

    /// Notes that an address failed: it rests for a while.
    fn failed(&self, url: &str, now_ms: i64) {
        let mut failed = self.0.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.retain(|_, at| now_ms.saturating_sub(*at).unsigned_abs() < REST_MS);
        if failed.len() < MAX_DOCUMENTS {
            failed.insert(url.to_owned(), now_ms);
        }
    }

    /// Keeps a document. Says whether it has a key that can be used.
    pub(in crate::ingest) fn keep(&self, url: &str, text: &str, now_ms: i64) -> bool {
        let is_jwks = text.trim_start().starts_with('{');
        if is_jwks != (self.0.address.kind == KeyDocument::Jwks) {
            return false;
        }
        let keys: Arc<[PublicKey]> = PublicKey::parse(text).into();
        if keys.is_empty() {
            return false;
        }
        let mut documents = self.documents();
        if documents.len() >= MAX_DOCUMENTS && !documents.contains_key(url) {
            let oldest = documents.iter().min_by_key(|(_, document)| document.fetched_ms);
            if let Some(oldest) = oldest.map(|(url, _)| url.clone()) {
                documents.remove(&oldest);
            }
        }
        documents.insert(url.to_owned(), FetchedKeys { keys, fetched_ms: now_ms });
        drop(documents);
        self.0.failed.lock().unwrap_or_else(PoisonError::into_inner).remove(url);
        true
    }

    fn documents(&self) -> MutexGuard<'_, HashMap<String, FetchedKeys>> {
        self.0.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FetchDuty {
    /// The address.
    pub(in crate::ingest) fn url(&self) -> &str {
        &self.url
    }

    /// Ends the fetch: keeps the document, or has the address rest.
    pub(in crate::ingest) fn end(self, fetched: Result<String, String>, now_ms: i64) {
        let kept = fetched.and_then(|text| match self.ring.keep(&self.url, &text, now_ms) {
            true => Ok(()),
            false => Err("the document has no key that can be used".to_owned()),
        });
        if kept.is_err() {
            self.ring.failed(&self.url, now_ms);
        }
        self.end.send_replace(Some(kept));
    }
}

impl Drop for FetchDuty {
    fn drop(&mut self) {
        self.ring.0.fetches.forget(&self.url);
    }
}

/// Whether a host is the pinned one; `*.` in front stands for one label, elsewhere for a region.
///
/// A label in the middle of a name must not be any: `sns.s3.amazonaws.com` is whatever the owner of
/// the bucket `sns` puts there.
pub(in crate::ingest) fn is_pinned(pinned: &str, host: &str) -> bool {
    let is_label = |label: &str| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !label.is_empty() && label.bytes().all(plain)
    };
    match pinned.split_once("*.") {
        Some(("", rest)) => {
            host.split_once('.').is_some_and(|(label, tail)| tail == rest && is_label(label))
        }
        Some((start, rest)) => host
            .strip_prefix(start)
            .and_then(|host| host.strip_suffix(rest)?.strip_suffix('.'))
            .is_some_and(is_region),
        None => pinned == host,
    }
}

/// Whether a label is a region as clouds name them: `us-east-1`, `us-gov-west-1`.
fn is_region(label: &str) -> bool {
    let parts: Vec<&str> = label.split('-').collect();
    let [first, middle @ .., last] = &parts[..] else { return false };
    let letters = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    let is_number = (1..=2).contains(&last.len()) && last.bytes().all(|b| b.is_ascii_digit());
    (2..=4).contains(&first.len())
        && letters(first)
        && !middle.is_empty()
        && middle.iter().all(letters)
        && is_number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(host: &str) -> KeyRing {
        let from = KeyFrom::Request(crate::config::source::Place::Json("/url".to_owned()));
        let (hosts, path) = (vec![host.to_owned()], "/certs/".to_owned());
        KeyRing::new(KeyAddress { from, hosts, path, kind: KeyDocument::X509 })
    }

    #[test]
    fn only_the_pinned_host_is_asked() {
        let ring = ring("api.acme.com");
        assert!(ring.admits("https://api.acme.com/certs/one"));
        for url in [
            "http://api.acme.com/certs/one",
            "https://api.acme.com.evil.example/certs/one",
            "https://evil.example/certs/api.acme.com",
            "https://user@api.acme.com/certs/one",
            "https://api.acme.com:8443/certs/one",
            "https://api.acme.com/other/one",
            "https://api.acme.com/certs/../other",
            "https://api.acme.com/certs/%2e%2e/other",
            "https://api.acme.com/certs/one?x=1",
            "https://api.acme.com",
            "",
        ] {
            assert!(!ring.admits(url), "{url}");
        }
        assert!(ring_of_any().admits("https://sns.eu-west-1.acme.com/certs/x.pem"));
        assert!(!ring_of_any().admits("https://sns.a.b.acme.com/certs/x.pem"));
        assert!(!ring_of_any().admits("https://evil.acme.com/certs/x.pem"));
        for region in ["us-gov-west-1", "ap-southeast-4", "mx-central-1"] {
            assert!(ring_of_any().admits(&format!("https://sns.{region}.acme.com/certs/x.pem")));
        }
        // Hosts of the bucket `sns` and of other services.
        for label in ["s3", "s3-us-west-2", "s3-website-us-east-1", "s3-external-1", "us-east", "-"]
        {
            let url = format!("https://sns.{label}.acme.com/certs/x.pem");
            assert!(!ring_of_any().admits(&url), "{url}");
        }
    }

    fn ring_of_any() -> KeyRing {
        ring("sns.*.acme.com")
    }

    #[test]
    fn the_cache_is_bounded_and_a_document_grows_old() {
        let ring = ring("api.acme.com");
        let text = include_str!("../../../tests/data/certificates.pem");
        for n in 0..MAX_DOCUMENTS as i64 + 10 {
            assert!(ring.keep(&format!("https://api.acme.com/certs/{n}"), text, n));
        }
        assert_eq!(ring.documents().len(), MAX_DOCUMENTS);
        assert!(ring.is_missing("https://api.acme.com/certs/0", 0));
        let last = "https://api.acme.com/certs/41";
        assert!(!ring.is_missing(last, 41) && ring.is_missing(last, FRESH_MS + 42));
        assert!(!ring.keep(last, "no key", 0) && !ring.keep(last, r#"{"keys":[]}"#, 0));
    }
}
