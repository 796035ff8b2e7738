//! What an operator is told of a client that has its share: it may be a proxy, and then the configuration should say so.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::LineLimit;
use crate::ingest::client::ShareKey;

/// The most clients that are remembered.
const MAX_REMEMBERED: usize = 1_024;

/// Tells of each client once, and of one a second at most.
#[derive(Debug)]
pub(in crate::ingest) struct ShareNotices {
    limit: LineLimit,
    told: Mutex<HashSet<ShareKey>>,
}

impl ShareNotices {
    pub(in crate::ingest) fn new() -> Self {
        Self { limit: LineLimit::new(1, Duration::from_secs(1)), told: Mutex::default() }
    }

    /// `client` has all it may have of `what`.
    pub(in crate::ingest) fn note(&self, client: ShareKey, what: &'static str) {
        if self.is_news(client, Instant::now()) {
            tracing::warn!(
                client.address = %client,
                "one address has its share, a quarter, of the {what}; if it is a reverse proxy, name it in \
                 `[server] trusted_proxies`, and its clients are counted instead"
            );
        }
    }

    fn is_news(&self, client: ShareKey, now: Instant) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.contains(&client) || self.limit.admit(now).is_none() {
            return false;
        }
        // To forget all of them costs a few lines more.
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
    fn each_client_is_told_of_once_and_one_a_second() {
        let notices = ShareNotices::new();
        let [one, other] = [1, 2].map(|last| ShareKey::of([192, 0, 2, last].into()));
        let start = Instant::now() + Duration::from_secs(5);
        let later = start + Duration::from_secs(1);
        assert!(notices.is_news(one, start));
        assert!(!notices.is_news(other, start), "the second line of this second");
        assert!(!notices.is_news(one, later), "it is known already");
        assert!(notices.is_news(other, later));
    }

    #[test]
    fn the_memory_of_clients_is_bounded() {
        let notices = ShareNotices::new();
        let mut now = Instant::now() + Duration::from_secs(5);
        for number in 0..2_000_u32 {
            now += Duration::from_secs(1);
            assert!(notices.is_news(ShareKey::of(std::net::Ipv4Addr::from(number).into()), now));
            assert!(notices.told.lock().unwrap().len() <= MAX_REMEMBERED);
        }
    }
}
