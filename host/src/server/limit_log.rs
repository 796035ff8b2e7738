//! Reports clients that have reached their limit: one may be a reverse proxy that the configuration
//! should name.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::client::ClientKey;
use super::line_limit::LineLimit;

/// The most clients that are remembered.
const MAX_REMEMBERED: usize = 1_024;

/// Writes one line for each client, and at most one a second.
#[derive(Debug)]
pub struct LimitLog {
    limit: LineLimit,
    told: Mutex<HashSet<ClientKey>>,
}

impl Default for LimitLog {
    fn default() -> Self {
        Self::new()
    }
}

impl LimitLog {
    /// A log that has reported nobody yet.
    pub fn new() -> Self {
        Self { limit: LineLimit::new(1, Duration::from_secs(1)), told: Mutex::default() }
    }

    /// Reports that `client` has all it may have of `what`.
    pub fn note(&self, client: ClientKey, what: &'static str) {
        if self.is_news(client, Instant::now()) {
            tracing::warn!(
                client.address = %client,
                "one address has reached its limit, a quarter, of the {what}; if it is a reverse proxy, name it in \
                 `[server] trusted_proxies`, and its clients are counted instead"
            );
        }
    }

    fn is_news(&self, client: ClientKey, now: Instant) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.contains(&client) || self.limit.admit(now).is_none() {
            return false;
        }
        // Forgetting all of them costs a few more lines.
        if told.len() == MAX_REMEMBERED {
            told.clear();
        }
        told.insert(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_is_reported_once_and_one_a_second() {
        let log = LimitLog::new();
        let [one, other] = [1, 2].map(|last| ClientKey::of([192, 0, 2, last].into()));
        let start = Instant::now() + Duration::from_secs(5);
        let later = start + Duration::from_secs(1);
        assert!(log.is_news(one, start));
        assert!(!log.is_news(other, start), "the second line of this second");
        assert!(!log.is_news(one, later), "it is known already");
        assert!(log.is_news(other, later));
    }

    #[test]
    fn the_memory_of_clients_is_bounded() {
        let log = LimitLog::new();
        let mut now = Instant::now() + Duration::from_secs(5);
        for number in 0..2_000_u32 {
            now += Duration::from_secs(1);
            assert!(log.is_news(ClientKey::of(std::net::Ipv4Addr::from(number).into()), now));
            assert!(log.told.lock().unwrap().len() <= MAX_REMEMBERED);
        }
    }
}
