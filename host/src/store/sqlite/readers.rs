//! Read-only connections, so that no look at the data holds up the writer.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, InterruptHandle};
use tokio::sync::Semaphore;

use super::schema::open_reader;
use super::writer::Shared;
use crate::store::StoreError;
use crate::tasks;

/// Connections for an operator's questions, and so questions at once.
pub(super) const READERS: usize = 4;

/// Connections for the keys plugins read: their own, so that a slow listing does not hold up attempts.
pub(super) const KV_READERS: usize = 2;

/// How long a question may take. It is interrupted then, because a caller that has gone does not stop it by itself.
const PATIENCE: Duration = Duration::from_secs(8);

/// Interrupts a question that takes too long, or that nobody waits for any more.
#[derive(Default)]
struct Limit(Arc<Mutex<Progress>>);

/// How far a question has come.
#[derive(Default)]
enum Progress {
    /// It has no connection yet, or has given it back.
    #[default]
    Idle,
    /// It is being answered.
    Asking(InterruptHandle),
    /// It is not to be asked any more.
    Cancelled,
}

impl Limit {
    fn interrupt(&self) {
        let progress = std::mem::replace(&mut *lock(&self.0), Progress::Cancelled);
        if let Progress::Asking(handle) = progress {
            handle.interrupt();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Limit {
    fn drop(&mut self) {
        self.interrupt();
    }
}

fn interrupted() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_INTERRUPT), None)
}

/// The read-only side of the file.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    path: PathBuf,
    shared: Arc<Shared>,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(path: PathBuf, shared: Arc<Shared>, most: usize) -> Self {
        Self { path, shared, idle: Arc::default(), permits: Arc::new(Semaphore::new(most)) }
    }

    /// Runs a question away from the async workers. A store that has stopped answers none.
    pub(super) async fn ask<T, F>(&self, question: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    {
        let permit = self.permits.clone().acquire_owned().await.expect("the semaphore is never closed");
        if let Some(stopped) = self.stopped() {
            return Err(stopped);
        }
        let readers = self.clone();
        let limit = Limit::default();
        let handle = limit.0.clone();
        let asked = tasks::blocking(move || {
            let _permit = permit;
            let idle = readers.idle().pop();
            let answer = idle.map_or_else(|| open_reader(&readers.path), Ok).and_then(|connection| {
                {
                    let mut progress = lock(&handle);
                    if matches!(*progress, Progress::Cancelled) {
                        return Err(interrupted());
                    }
                    *progress = Progress::Asking(connection.get_interrupt_handle());
                }
                let answer = question(&connection);
                // Taken back before the connection serves somebody else.
                *lock(&handle) = Progress::Idle;
                if answer.is_ok() && readers.stopped().is_none() {
                    readers.idle().push(connection);
                }
                answer
            });
            answer.map_err(|error| StoreError::Query(error.to_string()))
        });
        tokio::pin!(asked);
        match tokio::time::timeout(PATIENCE, &mut asked).await {
            Ok(answer) => answer,
            Err(_) => {
                limit.interrupt();
                asked.await.map_err(|_| StoreError::Query(format!("it took longer than {} s", PATIENCE.as_secs())))
            }
        }
    }

    /// Closes the connections nobody uses.
    pub(super) fn close(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        lock(&self.idle)
    }

    fn stopped(&self) -> Option<StoreError> {
        self.shared.trouble.borrow().clone().filter(|trouble| matches!(trouble, StoreError::Stopped(_)))
    }
}
