//! The open connections, and the choice of one to close for a newcomer.
//!
//! Only idle connections are closed from here. Requests take no lock: each connection keeps its
//! phase in one number (see `state`), and the phases are searched only when all permits are taken.
//!
//! Times are microseconds since the registry was made. The caller passes them in, so that tests can
//! choose them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::client::ClientKey;

mod state;

use state::ConnectionSignals;
pub(super) use state::ConnectionState;

/// One client may have one part in so many of the connections.
const CLIENT_PART: usize = 4;

/// A listener that was full counts as full for this long afterwards, in microseconds.
const FULL_FOR_US: u64 = 1_000_000;

/// The connections of one listener.
#[derive(Debug)]
pub(super) struct Connections {
    max: usize,
    max_per_client: usize,
    open: Mutex<ConnectionRegistry>,
    signals: Arc<ConnectionSignals>,
    /// Wakes the task that closes overdue connections, once all permits are taken.
    crowded: Notify,
}

#[derive(Debug, Default)]
struct ConnectionRegistry {
    /// By position, without those that were told to close.
    listed: Vec<Option<ListedConnection>>,
    free: Vec<usize>,
    count: usize,
    clients: HashMap<ClientKey, usize>,
    /// When all permits were last seen taken.
    full_at_us: Option<u64>,
}

#[derive(Debug)]
struct ListedConnection {
    /// Whose limit it counts for; `None` if it counts for none.
    client: Option<ClientKey>,
    state: Arc<ConnectionState>,
}

/// The right to be one of the open connections; dropping it gives the right back.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    position: usize,
    state: Arc<ConnectionState>,
    connections: Arc<Connections>,
}

/// The answer to a new connection.
#[derive(Debug)]
pub(super) enum NewConnection {
    /// It may be served.
    Admitted {
        permit: ConnectionPermit,
        /// Why an idle connection was closed for it, if one was.
        closed: Option<Closed>,
    },
    /// Its client has as many as one may have, and all of them are busy.
    OverShare,
    /// All permits are taken, and all connections are busy.
    Full,
}

/// Why an idle connection was closed for a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    /// Its client had as many as one may have.
    OverShare,
    /// All permits were taken.
    Full,
}

impl Connections {
    pub(super) fn new(max: u32) -> Arc<Self> {
        let max = max as usize;
        Arc::new(Self {
            max,
            max_per_client: (max / CLIENT_PART).max(1),
            open: Mutex::default(),
            signals: ConnectionSignals::new(),
            crowded: Notify::new(),
        })
    }

    /// Admits a new connection, if need be by closing the one that has been idle for longest: among
    /// those of the same client if it has reached its limit, else among all. `client` is the share
    /// that the connection counts for, if any.
    pub(super) fn admit(self: &Arc<Self>, client: Option<ClientKey>, now_us: u64) -> NewConnection {
        let mut open = self.open();
        let its = client.and_then(|client| open.clients.get(&client)).copied().unwrap_or(0);
        let mut closed = None;
        // First, so that a client at its limit never costs another one a connection.
        if its >= self.max_per_client {
            if !open.close_longest_idle(|listed| listed.client == client) {
                return NewConnection::OverShare;
            }
            closed = Some(Closed::OverShare);
        } else if open.count >= self.max {
            open.full_at_us = Some(now_us);
            if !open.close_longest_idle(|_| true) {
                return NewConnection::Full;
            }
            closed = Some(Closed::Full);
        }
        let state = Arc::new(ConnectionState::new(&self.signals, now_us));
        let position = open.list(ListedConnection { client, state: Arc::clone(&state) });
        if open.count >= self.max {
            // This one took the last permit, so slow headers are closed sooner from now on.
            open.full_at_us = Some(now_us);
            self.crowded.notify_one();
        }
        drop(open);
        NewConnection::Admitted {
            permit: ConnectionPermit { position, state, connections: Arc::clone(self) },
            closed,
        }
    }

    /// Returns when [`Connections::admit`] should be asked again. For one task at a time, which
    /// must have called [`Connections::want`] before it last asked.
    pub(super) async fn change(&self) {
        self.signals.changed().await;
    }

    /// Says whether a newcomer waits, so that connections that become idle report it.
    pub(super) fn want(&self, wanted: bool) {
        self.signals.want(wanted);
    }

    /// Now, in the time of this registry.
    pub(super) fn now_us(&self) -> u64 {
        self.signals.now_us()
    }

    /// Returns when all permits are taken.
    pub(super) async fn crowded(&self) {
        self.crowded.notified().await;
    }

    /// Closes the connections that have been idle for longer than `limit` and returns their number;
    /// `None` if the listener neither is full nor has just been.
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
        for position in 0..open.listed.len() {
            let overdue = open
                .idle_since(position)
                .filter(|since_us| now_us.saturating_sub(*since_us) >= limit_us);
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
    fn open(&self) -> MutexGuard<'_, ConnectionRegistry> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionRegistry {
    fn list(&mut self, listed: ListedConnection) -> usize {
        self.count += 1;
        if let Some(client) = listed.client {
            *self.clients.entry(client).or_default() += 1;
        }
        if let Some(position) = self.free.pop() {
            self.listed[position] = Some(listed);
            return position;
        }
        self.listed.push(Some(listed));
        self.listed.len() - 1
    }

    fn remove(&mut self, position: usize) {
        let Some(ListedConnection { client, .. }) = self.listed[position].take() else { return };
        self.free.push(position);
        self.count -= 1;
        let Some(client) = client else { return };
        if let Some(its) = self.clients.get_mut(&client) {
            *its -= 1;
            // Otherwise the map would grow with every address that ever came.
            if *its == 0 {
                self.clients.remove(&client);
            }
        }
    }

    fn idle_since(&self, position: usize) -> Option<u64> {
        self.listed[position].as_ref()?.state.idle_since()
    }

    /// Closes the connection that has been idle for longest among those that `which` accepts. False
    /// if none of them is idle.
    fn close_longest_idle(&mut self, which: impl Fn(&ListedConnection) -> bool) -> bool {
        loop {
            let candidates = self.listed.iter().enumerate().filter_map(|(position, listed)| {
                let listed = listed.as_ref().filter(|listed| which(listed))?;
                Some((listed.state.idle_since()?, position))
            });
            let Some((since_us, position)) = candidates.min() else { return false };
            // It may have begun a request since.
            if self.close(position, since_us) {
                return true;
            }
        }
    }

    /// Closes a connection, unless it has had a request since. Its permit is free at once.
    fn close(&mut self, position: usize, since_us: u64) -> bool {
        let told = self.listed[position]
            .as_ref()
            .is_some_and(|listed| listed.state.tell_to_close(since_us));
        if told {
            self.remove(position);
        }
        told
    }
}

impl ConnectionPermit {
    pub(super) fn state(&self) -> &Arc<ConnectionState> {
        &self.state
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        // A connection that was told to close has lost its position to another one.
        let listed = open.listed[self.position]
            .as_ref()
            .is_some_and(|its| Arc::ptr_eq(&its.state, &self.state));
        if listed {
            open.remove(self.position);
        }
        drop(open);
        // Also if its position went to another one: asking once too often does no harm.
        self.connections.signals.tell();
    }
}

#[cfg(test)]
mod tests;
