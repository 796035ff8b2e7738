//! The memory for bodies: bounded in total, and for the bodies of each client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::server::ClientKey;

/// One client may hold this part of it.
const CLIENT_PART: usize = 4;

/// The memory that bodies hold, while they are received and appended.
#[derive(Debug)]
pub(in crate::ingest) struct BodyMemory {
    max_bytes: usize,
    max_client_bytes: usize,
    in_use: Mutex<MemoryInUse>,
}

/// In bytes. Clients that hold nothing are not listed.
#[derive(Debug, Default)]
struct MemoryInUse {
    all: usize,
    clients: HashMap<ClientKey, usize>,
}

impl BodyMemory {
    /// For bodies of up to `max_body_bytes`. Both limits have room for one of them.
    pub(in crate::ingest) fn new(max_bytes: usize, max_body_bytes: usize) -> Self {
        let max_bytes = max_bytes.max(max_body_bytes);
        let max_client_bytes = (max_bytes / CLIENT_PART).max(max_body_bytes);
        Self { max_bytes, max_client_bytes, in_use: Mutex::default() }
    }

    /// An empty reservation that counts for `client`, or for nobody.
    pub(in crate::ingest) fn reserve(self: &Arc<Self>, client: Option<ClientKey>) -> Reservation {
        Reservation { memory: Arc::clone(self), client, bytes: 0 }
    }

    /// Nothing that holds this lock can panic halfway.
    fn in_use(&self) -> MutexGuard<'_, MemoryInUse> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(in crate::ingest) fn held_bytes(&self) -> usize {
        self.in_use().all
    }
}

/// Why there is no memory for a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::ingest) enum NoMemory {
    /// All of it is in use.
    #[error("request bodies fill the memory set aside for them")]
    Full,
    /// The client has reserved as much as one client may.
    #[error("request bodies of this client fill the memory that one client may reserve for them")]
    ClientShare,
}

/// The memory of one body. Dropping it gives the memory back.
#[derive(Debug)]
pub(in crate::ingest) struct Reservation {
    memory: Arc<BodyMemory>,
    client: Option<ClientKey>,
    bytes: usize,
}

impl Reservation {
    /// Reserves this many bytes more.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), NoMemory> {
        let memory = &self.memory;
        let mut in_use = memory.in_use();
        let its =
            self.client.map(|client| (client, in_use.clients.get(&client).copied().unwrap_or(0)));
        if its.is_some_and(|(_, its)| bytes > memory.max_client_bytes - its) {
            return Err(NoMemory::ClientShare);
        }
        if bytes > memory.max_bytes - in_use.all {
            return Err(NoMemory::Full);
        }
        if let Some((client, its)) = its {
            in_use.clients.insert(client, its + bytes);
        }
        in_use.all += bytes;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut in_use = self.memory.in_use();
        in_use.all -= self.bytes;
        let Some(client) = self.client else { return };
        if let Some(its) = in_use.clients.get_mut(&client) {
            *its -= self.bytes;
            if *its == 0 {
                in_use.clients.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(last: u8) -> Option<ClientKey> {
        Some(ClientKey::of([192, 0, 2, last].into()))
    }

    fn grown(
        memory: &Arc<BodyMemory>,
        client: Option<ClientKey>,
        bytes: usize,
    ) -> Result<Reservation, NoMemory> {
        let mut reservation = memory.reserve(client);
        reservation.grow(bytes)?;
        Ok(reservation)
    }

    #[test]
    fn one_client_holds_at_most_a_quarter_and_others_have_theirs() {
        let memory = Arc::new(BodyMemory::new(100, 10));
        let _held = grown(&memory, key(1), 20).unwrap();
        let mut growing = grown(&memory, key(1), 5).unwrap();
        assert!(matches!(growing.grow(1), Err(NoMemory::ClientShare)));
        assert!(matches!(grown(&memory, key(1), 1), Err(NoMemory::ClientShare)));
        let _others = [2, 3, 4].map(|last| grown(&memory, key(last), 25).unwrap());
        assert!(matches!(grown(&memory, key(5), 1), Err(NoMemory::Full)));
        drop(growing);
        assert!(grown(&memory, key(1), 5).is_ok());
        assert_eq!(memory.held_bytes(), 95);
    }

    #[test]
    fn a_proxy_without_a_client_has_no_share_but_the_whole() {
        let memory = Arc::new(BodyMemory::new(100, 10));
        let all = grown(&memory, None, 100).unwrap();
        assert!(matches!(grown(&memory, None, 1), Err(NoMemory::Full)));
        drop(all);
        assert_eq!(memory.held_bytes(), 0);
    }

    #[test]
    fn one_body_of_the_largest_size_has_room() {
        let memory = Arc::new(BodyMemory::new(10, 50));
        let body = grown(&memory, key(1), 50).unwrap();
        assert!(matches!(grown(&memory, key(2), 1), Err(NoMemory::Full)));
        drop(body);
        assert!(grown(&memory, key(2), 50).is_ok());
    }

    #[test]
    fn a_client_that_holds_nothing_is_forgotten() {
        let memory = Arc::new(BodyMemory::new(100, 10));
        drop(grown(&memory, key(1), 20).unwrap());
        drop(memory.reserve(key(2)));
        assert!(memory.in_use().clients.is_empty());
    }
}
