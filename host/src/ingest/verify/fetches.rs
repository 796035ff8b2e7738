//! The fetches of public keys that are under way: one for each address, and few for each client.
//!
//! Anybody can send a request that names an address. So the addresses that have never answered
//! have bounds, for each client and for all together: whoever names many that do not exist keeps
//! nobody else from the key of a real one.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::server::ClientKey;

/// The most addresses that are asked at once for requests of one client.
const MAX_OF_CLIENT: usize = 2;

/// The most addresses that are asked at once for all clients.
const MAX_OF_ALL: usize = 16;

/// The end of a fetch, once there is one: an error says what is wrong, for people.
pub(in crate::ingest) type FetchEnded = watch::Receiver<Option<Result<(), String>>>;

/// The sender of that end.
pub(super) type FetchEnd = watch::Sender<Option<Result<(), String>>>;

/// The fetches of one ring.
#[derive(Debug, Default)]
pub(super) struct Fetches(Mutex<HashMap<String, OpenFetch>>);

/// A fetch that is under way.
#[derive(Debug)]
struct OpenFetch {
    /// The client that named the address, unless it is one that has answered before.
    counts_for: Option<Option<ClientKey>>,
    ended: FetchEnded,
}

impl Fetches {
    /// The end of the fetch of an address, and its sender if the fetch begins now.
    pub(super) fn join(
        &self,
        url: &str,
        client: Option<ClientKey>,
        is_known: bool,
    ) -> Option<(FetchEnded, Option<FetchEnd>)> {
        let mut open = self.open();
        if let Some(fetch) = open.get(url) {
            return Some((fetch.ended.clone(), None));
        }
        if !is_known {
            let clients = || open.values().filter_map(|fetch| fetch.counts_for);
            let own = clients().filter(|other| other.is_some() && *other == client).count();
            if own >= MAX_OF_CLIENT || clients().count() >= MAX_OF_ALL {
                return None;
            }
        }
        let (end, ended) = watch::channel(None);
        let counts_for = (!is_known).then_some(client);
        open.insert(url.to_owned(), OpenFetch { counts_for, ended: ended.clone() });
        Some((ended, Some(end)))
    }

    /// Forgets a fetch that has ended.
    pub(super) fn forget(&self, url: &str) {
        self.open().remove(url);
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, OpenFetch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> Option<ClientKey> {
        Some(ClientKey::of([192, 0, 2, last].into()))
    }

    #[test]
    fn a_client_has_few_fetches_all_have_more_and_a_known_address_is_always_asked() {
        let fetches = Fetches::default();
        let begins = |url: &str, client, is_known| {
            fetches.join(url, client, is_known).is_some_and(|(_, end)| end.is_some())
        };
        assert!(begins("a", client(1), false) && begins("b", client(1), false));
        assert!(!begins("c", client(1), false) && begins("c", client(1), true));
        assert!(fetches.join("a", client(1), false).unwrap().1.is_none(), "it is under way");
        for other in 2..9 {
            assert!(begins(&format!("{other}/a"), client(other), false));
            assert!(begins(&format!("{other}/b"), client(other), false));
        }
        assert!(!begins("d", client(9), false) && !begins("d", None, false));
        assert!(begins("d", client(9), true));
    }

    #[test]
    fn a_proxy_that_names_no_client_is_bound_by_what_all_may_have() {
        let fetches = Fetches::default();
        let begun =
            (0..MAX_OF_ALL + 5).filter(|n| fetches.join(&n.to_string(), None, false).is_some());
        assert_eq!(begun.count(), MAX_OF_ALL);
    }
}
