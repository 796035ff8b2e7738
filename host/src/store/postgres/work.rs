//! A connection for transactions of several statements, one at a time: what operators, schedules
//! and listings do. It never delays an acknowledgement.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::Error;

use super::client::{READ, SqlClient as Client, WRITE};
use super::connect::{DatabaseAddress, HeldConnection};
use super::error::{failed_query, is_passing};
use crate::store::StoreError;

/// A connection for transactions of several statements.
#[derive(Debug)]
pub(super) struct WorkConnection {
    client: Mutex<WorkClient>,
    address: DatabaseAddress,
}

#[derive(Debug)]
struct WorkClient {
    client: HeldConnection,
    /// Whether a transaction was begun and not ended.
    open: bool,
}

/// The reason why a transaction was not committed.
#[derive(Debug)]
pub(super) enum WorkError {
    /// The database refused a statement.
    Database(Error),
    /// The call is answered with this.
    Answer(StoreError),
}

impl From<Error> for WorkError {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for WorkError {
    fn from(error: StoreError) -> Self {
        Self::Answer(error)
    }
}

impl From<WorkError> for StoreError {
    fn from(error: WorkError) -> Self {
        match error {
            WorkError::Database(error) => failed_query(&error),
            WorkError::Answer(error) => error,
        }
    }
}

/// How often a transaction is tried when others are in its way.
const TRIES: u32 = 5;

/// Counts the tries of a transaction.
#[derive(Debug, Default)]
pub(super) struct WorkTries(u32);

impl WorkTries {
    /// Whether the transaction is worth another try after this error, after a moment.
    pub(super) async fn again(&mut self, error: &WorkError) -> bool {
        self.0 += 1;
        let passes = matches!(error, WorkError::Database(error) if is_passing(error));
        if !passes || self.0 >= TRIES {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(3 << self.0)).await;
        true
    }
}

/// Runs a transaction, and again if others were in its way.
macro_rules! tried {
    ($call:expr) => {{
        let mut tries = $crate::store::postgres::work::WorkTries::default();
        loop {
            match $call.await {
                Ok(done) => break Ok(done),
                Err(error) => {
                    if !tries.again(&error).await {
                        break Err($crate::store::StoreError::from(error));
                    }
                }
            }
        }
    }};
}
pub(super) use tried;

/// A transaction that was begun. If it is dropped, it is rolled back.
pub(super) struct Work<'a> {
    client: MutexGuard<'a, WorkClient>,
}

impl WorkConnection {
    pub(super) fn new(client: HeldConnection, address: DatabaseAddress) -> Self {
        Self { client: Mutex::new(WorkClient { client, open: false }), address }
    }

    /// Begins a transaction that writes, each statement on a snapshot of its own.
    pub(super) async fn begin(&self) -> Result<Work<'_>, StoreError> {
        self.open(WRITE).await
    }

    /// Begins a transaction that reads, all of it at one moment.
    pub(super) async fn read(&self) -> Result<Work<'_>, StoreError> {
        self.open(READ).await
    }

    /// Returns once a transaction that was dropped is rolled back. Until then others pass over what
    /// it has locked.
    pub(super) async fn rolled_back(&self) {
        let mut work = self.client.lock().await;
        if work.open && work.client.batch_execute("ROLLBACK").await.is_ok() {
            work.open = false;
        }
    }

    async fn open(&self, begin: &str) -> Result<Work<'_>, StoreError> {
        let mut work = self.client.lock().await;
        if work.client.is_over() {
            let connected = self.address.hold().await;
            let client = connected.map_err(|error| StoreError::Unreachable(error.to_string()))?;
            *work = WorkClient { client, open: false };
        }
        let failed = |error| failed_query(&error);
        if work.open {
            work.client.batch_execute("ROLLBACK").await.map_err(failed)?;
        }
        work.open = true;
        work.client.begin(begin).await.map_err(failed)?;
        Ok(Work { client: work })
    }
}

impl Work<'_> {
    /// Commits it.
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        let committed = self.client.client.batch_execute("COMMIT").await;
        committed.map_err(|error| failed_query(&error))?;
        self.client.open = false;
        Ok(())
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        if self.client.open {
            // Sent with the first poll. Nobody waits for the answer: the next transaction makes
            // sure of it.
            let rollback = pin!(self.client.client.batch_execute("ROLLBACK"));
            let _ = rollback.poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

impl std::ops::Deref for Work<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client.client
    }
}
