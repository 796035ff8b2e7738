//! The clients: tokens of the configuration, and sessions of those who have logged in with one.
//!
//! Tokens are compared as hashes, with all that there are, in constant time. A session is known by
//! a random key of which only the hash is kept, in memory. It ends after 12 hours, with a log-out,
//! with a restart, and when its token is no longer in the configuration.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use tokio::sync::watch;

use super::role::Identity;
use crate::config::AdminToken;
use crate::server::ClientKey;

/// The cookie of a session. Its prefix makes browsers send it to this host alone, over TLS or
/// loopback.
pub(super) const COOKIE: &str = "__Host-hookbox";

/// The time that a session lasts.
pub(super) const SESSION: Duration = Duration::from_secs(12 * 3600);

/// Sessions at once; the oldest one gives way.
const MAX_SESSIONS: usize = 1_000;

/// Failed log-ins of an address that cost no wait.
const FREE_FAILURES: u32 = 5;

/// The longest wait after failed log-ins.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Addresses whose failed log-ins are counted; the one that failed first gives way.
const MAX_ADDRESSES: usize = 1_024;

/// Failed log-ins are forgotten after this time without another one.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);

/// Failed log-ins of one minute that the audit log is told of.
const MAX_NOTED: u32 = 30;

type Hash = [u8; 32];

/// Sessions and failed log-ins.
#[derive(Debug, Default)]
pub struct Access {
    sessions: Mutex<HashMap<Hash, BrowserSession>>,
    failed: Mutex<FailedLogins>,
    /// When each token was used last, Unix ms.
    used: Mutex<HashMap<String, i64>>,
    /// Told of each log-out.
    ended: watch::Sender<()>,
}

/// A browser that has logged in.
#[derive(Debug)]
struct BrowserSession {
    /// The name of its token.
    name: String,
    /// The hash of its token.
    token: Hash,
    until: Instant,
}

#[derive(Debug, Default)]
struct FailedLogins {
    by_address: HashMap<ClientKey, FailedLogin>,
    /// The present minute, and the failures of it that the audit log was told of.
    noted: Option<(Instant, u32)>,
}

#[derive(Debug)]
struct FailedLogin {
    count: u32,
    last: Instant,
}

impl Access {
    /// The client that shows one of these tokens, or has a session of one.
    pub(super) fn identify(
        &self,
        tokens: &[AdminToken],
        headers: &HeaderMap,
        now_ms: i64,
    ) -> Option<Identity> {
        let client = match headers.contains_key(header::AUTHORIZATION) {
            true => find(tokens, bearer(headers)?).map(Identity::of),
            false => self.session(tokens, cookie(headers)?, Instant::now()),
        }?;
        let mut used = lock(&self.used);
        match used.get_mut(&*client.name) {
            Some(at_ms) => *at_ms = now_ms,
            None => {
                // Tokens that are gone from the file are forgotten.
                used.retain(|name, _| tokens.iter().any(|token| token.name == *name));
                used.insert(client.name.to_string(), now_ms);
            }
        }
        Some(client)
    }

    /// When a token was used last since the start, Unix ms.
    pub(super) fn last_used(&self, name: &str) -> Option<i64> {
        lock(&self.used).get(name).copied()
    }

    fn session(&self, tokens: &[AdminToken], key: &str, now: Instant) -> Option<Identity> {
        let key = hash(key);
        let mut sessions = lock(&self.sessions);
        let session = sessions.get(&key)?;
        let is_of = |token: &&AdminToken| {
            token.name == session.name && bool::from(token.sha256.ct_eq(&session.token))
        };
        let token = if session.until > now { tokens.iter().find(is_of) } else { None };
        let Some(token) = token else {
            sessions.remove(&key);
            return None;
        };
        Some(Identity { has_session: true, ..Identity::of(token) })
    }

    /// Begins a session; gives its key, or nothing if the system has no randomness.
    pub(super) fn begin(&self, token: &AdminToken) -> Option<String> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).ok()?;
        let key = hex::encode(key);
        let now = Instant::now();
        let mut sessions = lock(&self.sessions);
        sessions.retain(|_, session| session.until > now);
        if sessions.len() >= MAX_SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.until);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                sessions.remove(&oldest);
            }
        }
        let (name, until) = (token.name.clone(), now + SESSION);
        sessions.insert(hash(&key), BrowserSession { name, token: token.sha256, until });
        Some(key)
    }

    /// Ends the session of a request, if it has one.
    pub(super) fn end(&self, headers: &HeaderMap) {
        if let Some(key) = cookie(headers) {
            lock(&self.sessions).remove(&hash(key));
            self.ended.send_replace(());
        }
    }

    /// Tells of log-outs: streams ask again whose they are.
    pub(super) fn log_outs(&self) -> watch::Receiver<()> {
        self.ended.subscribe()
    }

    /// The time for which an address has to wait before it may try to log in.
    pub(super) fn wait(&self, address: ClientKey, now: Instant) -> Option<Duration> {
        let failed = lock(&self.failed);
        let FailedLogin { count, last } = failed.by_address.get(&address)?;
        let seconds = u64::from(count.saturating_sub(FREE_FAILURES - 1));
        let wait = Duration::from_secs(seconds).min(LONGEST_WAIT);
        let wait = (*last + wait).checked_duration_since(now);
        wait.filter(|wait| !wait.is_zero())
    }

    /// Counts a failed log-in; says whether the audit log is to be told.
    pub(super) fn fail(&self, address: ClientKey, now: Instant) -> bool {
        let mut failed = lock(&self.failed);
        let known = &mut failed.by_address;
        known.retain(|_, it| now.duration_since(it.last) < FORGOTTEN_AFTER);
        if known.len() >= MAX_ADDRESSES && !known.contains_key(&address) {
            let oldest = known.iter().min_by_key(|(_, it)| it.last).map(|(address, _)| *address);
            if let Some(oldest) = oldest {
                known.remove(&oldest);
            }
        }
        let entry = known.entry(address).or_insert(FailedLogin { count: 0, last: now });
        *entry = FailedLogin { count: entry.count.saturating_add(1), last: now };
        let (begun, noted) = match failed.noted {
            Some((begun, noted)) if now.duration_since(begun) < Duration::from_secs(60) => {
                (begun, noted)
            }
            _ => (now, 0),
        };
        failed.noted = Some((begun, noted.saturating_add(1)));
        noted < MAX_NOTED
    }

    /// Forgets the failed log-ins of an address that has logged in.
    pub(super) fn forgive(&self, address: ClientKey) {
        lock(&self.failed).by_address.remove(&address);
    }
}

/// The token of this text. Every token is looked at, whichever it is.
pub(super) fn find<'a>(tokens: &'a [AdminToken], text: &str) -> Option<&'a AdminToken> {
    let shown = hash(text);
    let mut found = u32::MAX;
    for (number, token) in (0..).zip(tokens) {
        let same: Choice = token.sha256.ct_eq(&shown);
        found.conditional_assign(&number, same);
    }
    tokens.get(usize::try_from(found).ok()?)
}

fn hash(text: &str) -> Hash {
    let hash = Sha256::digest(text);
    std::array::from_fn(|at| hash[at])
}

/// The token in the one `Authorization: Bearer`, in any case of the scheme (RFC 9110 §11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The key of a session.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|it| it.split_once('='));
    pairs.find(|(name, _)| name.trim() == COOKIE).map(|(_, key)| key.trim())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Role;

    fn token(name: &str, text: &str) -> AdminToken {
        let (name, sha256) = (name.to_owned(), hash(text));
        AdminToken { name, role: Role::Viewer, payloads: false, sha256 }
    }

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn a_token_is_found_by_its_hash_and_a_wrong_one_is_not() {
        let tokens = [token("jo", "a"), token("ann", "b")];
        let name = |text| find(&tokens, text).map(|token| token.name.as_str());
        assert_eq!(
            (name("a"), name("b"), name("c"), name("")),
            (Some("jo"), Some("ann"), None, None)
        );
        assert_eq!(find(&[], "a"), None);
    }

    #[test]
    fn the_scheme_is_read_in_any_case_and_one_header_alone_counts() {
        for (value, expected) in [
            ("Bearer abc", Some("abc")),
            ("bearer abc", Some("abc")),
            ("BEARER  abc", Some("abc")),
            ("Basic abc", None),
            ("Bearer", None),
        ] {
            assert_eq!(bearer(&headers(header::AUTHORIZATION, value)), expected, "{value}");
        }
        let mut two = headers(header::AUTHORIZATION, "Bearer a");
        two.append(header::AUTHORIZATION, "Bearer b".parse().unwrap());
        assert_eq!(bearer(&two), None);
    }

    #[test]
    fn a_session_ends_with_its_time_its_token_and_a_log_out() {
        let (access, jo, begun) = (Access::default(), token("jo", "a"), Instant::now());
        let with = |key: &str| headers(header::COOKIE, &format!("hb-keys=off; {COOKIE}={key}"));
        let is_known = |tokens: &[AdminToken], key: &str, now| {
            access.session(tokens, cookie(&with(key)).unwrap(), now).is_some()
        };
        let [first, second, third] = [0; 3].map(|_| access.begin(&jo).unwrap());
        let tokens = [jo];
        assert!(is_known(&tokens, &first, begun) && !is_known(&tokens, "00", begun));
        access.end(&with(&first));
        assert!(!is_known(&tokens, &first, begun));
        assert!(!is_known(&[token("jo", "another")], &second, begun));
        assert!(!is_known(&tokens, &second, begun), "it does not come back with its token");
        let later = Instant::now() + SESSION;
        assert!(is_known(&tokens, &third, begun + SESSION / 2));
        assert!(!is_known(&tokens, &third, later));
    }

    #[test]
    fn each_failure_after_five_costs_another_second() {
        let (access, mut now) = (Access::default(), Instant::now());
        let address = ClientKey::of([192, 0, 2, 1].into());
        for _ in 0..4 {
            access.fail(address, now);
            assert_eq!(access.wait(address, now), None);
        }
        for seconds in 1..=3 {
            access.fail(address, now);
            let wait = Duration::from_secs(seconds);
            assert_eq!(access.wait(address, now), Some(wait));
            assert_eq!(access.wait(ClientKey::of([192, 0, 2, 2].into()), now), None);
            now += wait;
            assert_eq!(access.wait(address, now), None);
        }
        access.forgive(address);
        access.fail(address, now);
        assert_eq!(access.wait(address, now), None);
    }

    #[test]
    fn failures_from_everywhere_stay_bounded_here_and_in_the_audit_log() {
        let (access, now) = (Access::default(), Instant::now());
        let addresses = (0..3_000_u32).map(|n| ClientKey::of(n.to_be_bytes().into()));
        assert_eq!(addresses.filter(|address| access.fail(*address, now)).count(), 30);
        assert_eq!(lock(&access.failed).by_address.len(), MAX_ADDRESSES);
    }
}
