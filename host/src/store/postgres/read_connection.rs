//! The connection of queries, which is made again when it is gone.

use std::ops::Deref;
use std::sync::OnceLock;

use super::client::SqlClient as Client;
use super::connect::{DatabaseAddress, HeldConnection};

/// A connection and those that came after it, of which the last is used. Those before stay, closed,
/// because queries may still borrow them.
#[derive(Debug)]
pub(super) struct ReadConnection {
    held: HeldConnection,
    next: OnceLock<Box<ReadConnection>>,
}

impl ReadConnection {
    pub(super) fn new(held: HeldConnection) -> Self {
        Self { held, next: OnceLock::new() }
    }

    fn last(&self) -> &Self {
        let mut last = self;
        while let Some(next) = last.next.get() {
            last = next;
        }
        last
    }

    /// Connects again if the connection is gone, or leads to a server that is no primary any more.
    pub(super) async fn renew(&self, address: &DatabaseAddress) {
        let last = self.last();
        if !last.held.is_over() {
            return;
        }
        last.held.close();
        match address.hold().await {
            // Only the heartbeat does this, so that the place is free.
            Ok(held) => drop(last.next.set(Box::new(Self::new(held)))),
            Err(error) => tracing::warn!(%error, "this host cannot connect for its queries"),
        }
    }
}

impl Deref for ReadConnection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.last().held
    }
}
