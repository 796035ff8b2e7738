//! Which connections there are, and which of them is closed for another.
//!
//! Only an idle connection is ever closed from here. Requests pass without a lock: each connection keeps its phase in
//! one number (see `entry`), and these are looked through only when there is no place left.
//!
//! Times are microseconds since the registry was made. They come from the caller, so that a test can say them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::ingest::client::ShareKey;

mod entry;

pub(super) use entry::Entry;
use entry::Shared;

/// One client may have one part in so many of the connections.
const CLIENT_PART: usize = 4;

/// A door that was full counts as full for so long afterwards, in microseconds.
const FULL_FOR_US: u64 = 1_000_000;

/// The connections of one door.
#[derive(Debug)]
pub(super) struct Connections {
    max: usize,
    max_per_client: usize,
    open: Mutex<Open>,
    shared: Arc<Shared>,
    /// Wakes who closes overdue connections, once the door is full.
    crowded: Notify,
}

#[derive(Debug, Default)]
struct Open {
    /// By position; those that were told to close are not listed any more.
    entries: Vec<Option<Listed>>,
    free: Vec<usize>,
    count: usize,
    clients: HashMap<ShareKey, usize>,
    /// When the door was last seen full.
    full_at_us: Option<u64>,
}

#[derive(Debug)]
struct Listed {
    /// Whose share it counts for; `None` if it counts for none.
    client: Option<ShareKey>,
    entry: Arc<Entry>,
}

/// A connection's place; dropping it gives the place back.
#[derive(Debug)]
pub(super) struct Place {
    position: usize,
    entry: Arc<Entry>,
    connections: Arc<Connections>,
}

/// What becomes of a new connection.
#[derive(Debug)]
pub(super) enum Admission {
    /// It has a place.
    Admitted {
        place: Place,
        /// Whose idle connection was closed for it.
        closed: Option<Closed>,
    },
    /// Its client has as many as one may have, and all of them are at work.
    OverShare,
    /// There is no place, and all are at work.
    Full,
}

/// Why an idle connection was closed for a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    /// Its client had as many as one may have.
    OverShare,
    /// There was no place.
    Full,
}

impl Connections {
    pub(super) fn new(max: u32) -> Arc<Self> {
        let max = max as usize;
        Arc::new(Self {
            max,
            max_per_client: (max / CLIENT_PART).max(1),
            open: Mutex::default(),
            shared: Shared::new(),
            crowded: Notify::new(),
        })
    }

    /// Gives a new connection a place, if need be that of the one that has been idle for longest: of the same client if
    /// it has its share, else of all. `client` is whose share it counts for, if it does for one.
    pub(super) fn admit(self: &Arc<Self>, client: Option<ShareKey>, now_us: u64) -> Admission {
        let mut open = self.open();
        let its = client.and_then(|client| open.clients.get(&client)).copied().unwrap_or(0);
        let mut closed = None;
        if its >= self.max_per_client {
            if !open.close_longest_idle(|listed| listed.client == client) {
                return Admission::OverShare;
            }
            closed = Some(Closed::OverShare);
        } else if open.count >= self.max {
            open.full_at_us = Some(now_us);
            if !open.close_longest_idle(|_| true) {
                return Admission::Full;
            }
            closed = Some(Closed::Full);
        }
        let entry = Arc::new(Entry::new(&self.shared, now_us));
        let position = open.list(Listed { client, entry: Arc::clone(&entry) });
        if open.count >= self.max {
            open.full_at_us = Some(now_us);
            self.crowded.notify_one();
        }
        drop(open);
        Admission::Admitted { place: Place { position, entry, connections: Arc::clone(self) }, closed }
    }

    /// Returns when [`Connections::admit`] should be asked again. For one task at a time, which has said before it last
    /// asked that it wants a place.
    pub(super) async fn change(&self) {
        self.shared.changed().await;
    }

    /// Says whether somebody waits for a place, so that connections that become idle tell.
    pub(super) fn want(&self, wanted: bool) {
        self.shared.want(wanted);
    }

    /// The time that all of this goes by.
    pub(super) fn now_us(&self) -> u64 {
        self.shared.now_us()
    }

    /// Returns when the door is full.
    pub(super) async fn crowded(&self) {
        self.crowded.notified().await;
    }

    /// Closes what has been idle for longer than `limit`, if the door is full or has just been, and says how many that
    /// were; `None` if it is not.
    pub(super) fn close_overdue(&self, limit: Duration, now_us: u64) -> Option<u64> {
        let mut open = self.open();
        if open.count >= self.max {
            open.full_at_us = Some(now_us);
        }
        if open.full_at_us.is_none_or(|at_us| now_us.saturating_sub(at_us) >= FULL_FOR_US) {
            return None;
        }
        let limit_us = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        let mut closed = 0;
        for position in 0..open.entries.len() {
            let overdue = open.idle_since(position).filter(|since_us| now_us.saturating_sub(*since_us) >= limit_us);
            closed += u64::from(overdue.is_some_and(|since_us| open.close(position, since_us)));
        }
        Some(closed)
    }

    /// How many there are, without those that were told to close.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.open().count
    }

    /// Nothing that holds this lock can panic halfway.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn list(&mut self, listed: Listed) -> usize {
        self.count += 1;
        if let Some(client) = listed.client {
            *self.clients.entry(client).or_default() += 1;
        }
        if let Some(position) = self.free.pop() {
            self.entries[position] = Some(listed);
            return position;
        }
        self.entries.push(Some(listed));
        self.entries.len() - 1
    }

    fn strike(&mut self, position: usize) {
        let Some(Listed { client, .. }) = self.entries[position].take() else { return };
        self.free.push(position);
        self.count -= 1;
        let Some(client) = client else { return };
        if let Some(its) = self.clients.get_mut(&client) {
            *its -= 1;
            if *its == 0 {
                self.clients.remove(&client);
            }
        }
    }

    fn idle_since(&self, position: usize) -> Option<u64> {
        self.entries[position].as_ref()?.entry.idle_since()
    }

    /// Closes the connection that has been idle for longest among those that `which` says. False if none is idle.
    fn close_longest_idle(&mut self, which: impl Fn(&Listed) -> bool) -> bool {
        loop {
            let candidates = self.entries.iter().enumerate().filter_map(|(position, listed)| {
                let listed = listed.as_ref().filter(|listed| which(listed))?;
                Some((listed.entry.idle_since()?, position))
            });
            let Some((since_us, position)) = candidates.min() else { return false };
            // It may have begun a request since.
            if self.close(position, since_us) {
                return true;
            }
        }
    }

    /// Closes a connection, unless it is not idle any more, or idle anew. Its place is free at once.
    fn close(&mut self, position: usize, since_us: u64) -> bool {
        let told = self.entries[position].as_ref().is_some_and(|listed| listed.entry.tell_to_close(since_us));
        if told {
            self.strike(position);
        }
        told
    }
}

impl Place {
    pub(super) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        // One that was told to close has lost its position to another.
        let listed = open.entries[self.position].as_ref().is_some_and(|its| Arc::ptr_eq(&its.entry, &self.entry));
        if listed {
            open.strike(self.position);
        }
        drop(open);
        self.connections.shared.tell();
    }
}

#[cfg(test)]
mod tests;
