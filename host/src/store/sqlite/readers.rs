//! Read-only connections, so that queries never delay the writer.
//!
//! Listings, which visit many rows, have one connection of their own, and it rests after each
//! answer as long as the answer took. So clients that list as fast as they can take half of a core,
//! and wait for each other in the order of their calls. With four connections and no rest,
//! ten of them made the median to an acknowledgement ten times that of alone. A thread of a lower
//! priority for listings changed nothing more.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, InterruptHandle};

use super::failure::explain;
use super::published::Published;
use super::schema::open_reader;
use crate::event::PluginName;
use crate::fair::{FairPermit, FairPool};
use crate::store::StoreError;
use crate::tasks;

/// Connections for what an operator asks about one thing, and so such questions at once.
pub(super) const READERS: u32 = 4;

/// Connections for the keys plugins read: their own, so that a slow listing does not hold up
/// attempts. Plugins share them max-min.
pub(super) const KV_READERS: u32 = 2;

/// How long a question may take. It is interrupted then, because a caller that has gone does not
/// stop it by itself.
const PATIENCE: Duration = Duration::from_secs(8);

/// The longest rest after a listing.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// Interrupts a question that takes too long, or whose caller has gone.
#[derive(Default)]
struct TimeLimit(Arc<Mutex<QuestionState>>);

/// How far a question has come.
#[derive(Default)]
enum QuestionState {
    /// It has no connection yet, or has given it back.
    #[default]
    Idle,
    /// It is being answered.
    Asking(InterruptHandle),
    /// It is not to be asked any more.
    Cancelled,
}

impl TimeLimit {
    fn interrupt(&self) {
        let progress = std::mem::replace(&mut *lock(&self.0), QuestionState::Cancelled);
        if let QuestionState::Asking(handle) = progress {
            handle.interrupt();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for TimeLimit {
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
    published: Arc<Published>,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: FairPool,
    /// Whether a connection rests after each answer.
    paced: bool,
    /// In whose name questions are asked that are no plugin's.
    operators: PluginName,
}

impl Readers {
    pub(super) fn new(path: PathBuf, published: Arc<Published>, most: u32) -> Self {
        Self {
            path,
            published,
            idle: Arc::default(),
            permits: FairPool::new(most),
            paced: false,
            operators: "".into(),
        }
    }

    /// One connection, which rests after each answer.
    pub(super) fn paced(path: PathBuf, published: Arc<Published>) -> Self {
        Self { paced: true, ..Self::new(path, published, 1) }
    }

    /// Runs an operator's question away from the async workers. A store that has stopped, or whose
    /// files are elsewhere, answers none.
    pub(super) async fn ask<T, F>(&self, question: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    {
        self.ask_for(&self.operators, question).await
    }

    /// Answers a question of a plugin. A plugin that asks all the time delays another by the one
    /// question that is being answered.
    pub(super) async fn ask_for<T, F>(
        &self,
        plugin: &PluginName,
        question: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    {
        let permit = self.permits.acquire(plugin, 1).await;
        if let Some(stopped) = self.stopped() {
            return Err(stopped);
        }
        let readers = self.clone();
        let limit = TimeLimit::default();
        let handle = limit.0.clone();
        let asked = tasks::blocking(move || {
            let begun = Instant::now();
            let idle = readers.idle().pop();
            let answer =
                idle.map_or_else(|| open_reader(&readers.path), Ok).and_then(|connection| {
                    {
                        let mut progress = lock(&handle);
                        if matches!(*progress, QuestionState::Cancelled) {
                            return Err(interrupted());
                        }
                        *progress = QuestionState::Asking(connection.get_interrupt_handle());
                    }
                    let answer = question(&connection);
                    // Reset before the connection serves another caller.
                    *lock(&handle) = QuestionState::Idle;
                    if answer.is_ok() && readers.stopped().is_none() {
                        readers.idle().push(connection);
                    }
                    answer
                });
            if readers.paced {
                release_later(permit, begun.elapsed());
            }
            answer.map_err(|error| StoreError::Query(explain(&error, &readers.path)))
        });
        tokio::pin!(asked);
        match tokio::time::timeout(PATIENCE, &mut asked).await {
            Ok(answer) => answer,
            Err(_) => {
                limit.interrupt();
                asked.await.map_err(|_| {
                    StoreError::Query(format!("it took longer than {} s", PATIENCE.as_secs()))
                })
            }
        }
    }

    /// The database.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Closes the idle connections.
    pub(super) fn close(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        lock(&self.idle)
    }

    fn stopped(&self) -> Option<StoreError> {
        self.published
            .trouble
            .borrow()
            .clone()
            .filter(|trouble| matches!(trouble, StoreError::Stopped(_) | StoreError::Lost(_)))
    }
}

/// Gives a permit back after a pause, without blocking.
fn release_later(permit: FairPermit, took: Duration) {
    tasks::spawn(async move {
        tokio::time::sleep(took.min(LONGEST_REST)).await;
        drop(permit);
    });
}

#[cfg(test)]
impl Readers {
    /// Takes a connection, as a question that is being answered does.
    pub(super) async fn occupy(&self) -> FairPermit {
        self.permits.acquire(&self.operators, 1).await
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::mpsc::{Sender, channel};
    use std::task::{Context, Waker};

    use super::*;
    use crate::store::sqlite::schema;

    /// A question that is answered when the sender says so or has gone.
    fn slow()
    -> (Sender<()>, impl FnOnce(&Connection) -> Result<(), rusqlite::Error> + Send + 'static) {
        let (go, gone) = channel::<()>();
        (go, move |_: &Connection| {
            let _ = gone.recv();
            Ok(())
        })
    }

    #[tokio::test]
    async fn a_listing_begins_when_the_one_before_has_rested_for_as_long_as_it_took() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hookbox.db");
        drop(schema::open_writer(&path).unwrap());
        let listings = Readers::paced(path, Arc::default());
        let work = |connection: &Connection| {
            let begun = Instant::now();
            let count = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT max(i) FROM n";
            connection.query_row(count, [], |row| row.get::<_, i64>(0))?;
            Ok((begun, Instant::now()))
        };
        let mut before: Option<(Instant, Instant)> = None;
        for _ in 0..3 {
            let (begun, ended) = listings.ask(work).await.unwrap();
            if let Some((last_begun, last_ended)) = before.replace((begun, ended)) {
                let rest = (last_ended - last_begun).min(LONGEST_REST);
                assert!(begun - last_ended >= rest);
            }
        }
    }

    #[tokio::test]
    async fn a_plugin_that_reads_all_the_time_makes_another_wait_for_one_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hookbox.db");
        drop(schema::open_writer(&path).unwrap());
        let readers = Readers::new(path, Arc::default(), KV_READERS);
        let (greedy, other): (PluginName, PluginName) = ("greedy".into(), "other".into());
        let begin = |readers: Readers, plugin: PluginName, question| {
            // QuestionState in this order, whichever thread runs the task.
            let mut asked = Box::pin(async move { readers.ask_for(&plugin, question).await });
            let polled = asked.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending());
            asked
        };
        let (signals, questions): (Vec<_>, Vec<_>) = (0..6).map(|_| slow()).unzip();
        let mut greedys: Vec<_> = questions
            .into_iter()
            .map(|question| begin(readers.clone(), greedy.clone(), question))
            .collect();
        let (answer, question) = slow();
        drop(answer);
        let others = begin(readers.clone(), other, question);
        let mut signals = signals.into_iter();
        drop(signals.next());
        greedys.remove(0).await.unwrap();
        // One of the greedy one is still being answered, four have waited for longer.
        others.await.unwrap();
        let mut next = pin!(greedys.remove(1));
        drop(signals);
        next.as_mut().await.unwrap();
    }
}
