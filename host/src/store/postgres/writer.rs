//! The tasks that group commands into batches. None is dropped midway: of a batch that was sent the
//! outcome is found out.
//!
//! There are two, each with a connection of its own, so that a command that may wait for a lock of
//! another host delays no other one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio_postgres::{Error, Row};

use super::batch::{BatchMarker, BatchResults, BatchRows};
use super::command::{PostgresCommand, Replier};
use super::connect::{DatabaseAddress, HeldConnection};
use super::error::{is_deposed, is_lost, is_marked, is_over, is_passing, words};
use super::identity::HostIdentity;
use super::leave::leave;
use super::look_back::look_back;
use super::mend::mend;
use super::shared::{HostRun, PostgresShared};
use super::statements::BatchStatements;
use super::tail::TailBatch;
use crate::store::StoreError;

mod answer;

/// The time in which a new connection has what was acknowledged, or another one is tried.
const MENDED_WITHIN: Duration = Duration::from_secs(60);

/// The most commands of a batch.
const MAX_COMMANDS: usize = 1_024;

/// The bytes from which on a batch takes no further command.
const MAX_BYTES: usize = 16 << 20;

/// How often a batch is tried when hosts are in each other's way.
const TRIES: u32 = 5;

/// The time in which a batch is answered, or its outcome is unknown.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);

/// The time after which settlements are sent again that the server had no room for.
const ROOM_AGAIN: Duration = Duration::from_millis(500);

/// The longest time between two attempts to reach the primary, and the number of them that a store
/// makes that is to close.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
const CLOSING_TRIES: u32 = 5;

/// The number of the writer of commands that wait for no other host, and of the other one.
pub(super) const PLAIN: usize = 0;
pub(super) const KEYED: usize = 1;

/// A task that writes.
pub(super) struct PostgresWriter {
    /// [`PLAIN`] or [`KEYED`].
    pub(super) number: usize,
    pub(super) address: DatabaseAddress,
    pub(super) client: HeldConnection,
    pub(super) statements: BatchStatements,
    pub(super) shared: Arc<PostgresShared>,
    pub(super) commands: UnboundedReceiver<PostgresCommand>,
    /// Commands that an earlier batch has left.
    pub(super) carried: VecDeque<PostgresCommand>,
    /// The last batch, and the run that it was of.
    pub(super) seq: i64,
    pub(super) run: i64,
    /// Given up when both writers have ended.
    pub(super) _identity: Arc<HostIdentity>,
}

/// The reply to a close, and the end of the other writer to wait for.
type CloseCall = (Replier<()>, Option<oneshot::Receiver<Result<(), StoreError>>>);

/// The reason why a batch has no results.
enum BatchFailure {
    /// Nothing of it was done.
    Refused(Error),
    /// The store ends, and nobody can say what came of it.
    Ends,
}

/// The reason why there is no answer.
enum NoAnswer {
    Error(Error),
    /// Nobody can say what came of it.
    Unknown(String),
}

impl PostgresWriter {
    /// Works until the store is closed or dropped, or the connection is gone.
    pub(super) async fn work(mut self) {
        let mut is_closed = false;
        loop {
            let Some((batch, close)) = self.next_batch().await else {
                // Nobody waits, and yet it has to be found if a new primary has lost something.
                if self.reconnect("its connection has ended".to_owned()).await.is_err() {
                    break;
                }
                continue;
            };
            if batch.is_empty() && close.is_none() {
                break;
            }
            if !batch.is_empty() && self.commit(batch).await.is_err() {
                break;
            }
            if let Some((reply, after)) = close {
                if !self.carried.is_empty() {
                    // Commands that the last batch has left go before the close.
                    self.carried.push_back(PostgresCommand::Close { reply, after });
                    continue;
                }
                if let Some(after) = after {
                    // The other writer has ended in any case.
                    let _ = after.await;
                    self.close(reply).await;
                } else {
                    is_closed = true;
                    drop(reply.send(Ok(())));
                }
                break;
            }
        }
        self.commands.close();
        if is_closed {
            // The other one ends the store.
            return;
        }
        self.shared.reach.stop("the writer has ended".to_owned());
        self.shared.ended.send_replace(true);
    }

    /// The waiting commands, up to a close; an empty batch once the store was dropped, and none if
    /// the connection is over.
    async fn next_batch(&mut self) -> Option<(Vec<PostgresCommand>, Option<CloseCall>)> {
        if self.client.is_over() {
            return None;
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < MAX_COMMANDS && bytes < MAX_BYTES {
            let next = match self.carried.pop_front() {
                Some(carried) => Some(carried),
                None if batch.is_empty() => tokio::select! {
                    next = self.commands.recv() => next,
                    () = self.shared.reach.has_stopped() => None,
                    () = self.client.over() => return None,
                },
                None => self.commands.try_recv().ok(),
            };
            match next {
                None => break,
                Some(PostgresCommand::Close { reply, after }) => {
                    return Some((batch, Some((reply, after))));
                }
                Some(command) => {
                    bytes += command.weight();
                    batch.push(command);
                }
            }
        }
        Some((batch, None))
    }

    /// Commits commands together. If that fails, each is tried alone, and only those that fail
    /// alone are answered so.
    async fn commit(&mut self, commands: Vec<PostgresCommand>) -> Result<(), BatchFailure> {
        let mut waiting = Vec::new();
        match self.try_commit(&commands).await {
            Ok(results) => self.answer(commands, results),
            Err(BatchFailure::Refused(_)) if commands.len() > 1 => {
                for command in commands {
                    match self.try_commit(std::slice::from_ref(&command)).await {
                        Ok(results) => self.answer(vec![command], results),
                        Err(BatchFailure::Refused(error)) => {
                            waiting.extend(command.refused(&error, self.shared.goes_on()));
                        }
                        Err(ends) => return Err(ends),
                    }
                }
            }
            Err(BatchFailure::Refused(error)) => {
                let refused =
                    |command: PostgresCommand| command.refused(&error, self.shared.goes_on());
                waiting.extend(commands.into_iter().filter_map(refused));
            }
            Err(ends) => return Err(ends),
        }
        if !waiting.is_empty() {
            tracing::warn!(settlements = waiting.len(), "Postgres has no room for outcomes");
            tokio::time::sleep(ROOM_AGAIN).await;
            self.carried.extend(waiting);
        }
        Ok(())
    }

    /// Sends the same batch until its outcome is known. Its marker says whether it was committed
    /// when an answer was lost.
    async fn try_commit(
        &mut self,
        commands: &[PostgresCommand],
    ) -> Result<BatchResults, BatchFailure> {
        loop {
            let run = self.shared.run();
            match self.commit_in(run, commands).await {
                // Nothing of it was done, and of that run nothing ever will be.
                Err(BatchFailure::Refused(error)) if is_over(&error) => {
                    // A server that was left behind knows nothing of the run that follows.
                    let goes_on = tokio::select! {
                        goes_on = self.shared.after_run(run) => goes_on,
                        () = self.client.over() => true,
                    };
                    if !goes_on {
                        return Err(BatchFailure::Ends);
                    }
                    if self.client.is_over() {
                        self.reconnect(words(&error)).await?;
                    }
                }
                done => return done,
            }
        }
    }

    /// Does it in one run of this host.
    async fn commit_in(
        &mut self,
        run: HostRun,
        commands: &[PostgresCommand],
    ) -> Result<BatchResults, BatchFailure> {
        let before = if self.run == run.incarnation { self.seq } else { 0 };
        (self.seq, self.run) = (before + 1, run.incarnation);
        let shared = Arc::clone(&self.shared);
        let marker = BatchMarker {
            incarnation: run.incarnation,
            writer: i16::try_from(self.number).unwrap_or(i16::MAX),
            seq: self.seq,
            after: shared.acked()[self.number],
        };
        let mut rows = BatchRows::of(commands, &shared);
        while let Err(error) = rows.know_plugins(&self.client, &shared).await {
            if !is_lost(&error) {
                return Err(BatchFailure::Refused(error));
            }
            self.reconnect(words(&error)).await?;
        }
        let (mut tries, mut is_known) = (1, true);
        loop {
            let error = match self.send(&rows, marker, !is_known).await {
                Ok(answers) => return Ok(rows.results(answers, &shared)),
                Err(NoAnswer::Error(error)) if !is_lost(&error) => error,
                Err(NoAnswer::Error(error)) => {
                    is_known = false;
                    if is_deposed(&error) {
                        shared.known.distrust();
                    }
                    self.reconnect(words(&error)).await?;
                    continue;
                }
                Err(NoAnswer::Unknown(why)) => {
                    is_known = false;
                    self.reconnect(why).await?;
                    continue;
                }
            };
            // As long as the outcome is unknown, a lock of the batch that was sent first may be in
            // the way.
            if !is_passing(&error) || (is_known && tries >= TRIES) {
                // Its number is of a batch that never was.
                shared
                    .tail
                    .keep(shared.tail.place(), TailBatch::new(self.run, self.number, self.seq));
                return Err(BatchFailure::Refused(error));
            }
            tokio::time::sleep(Duration::from_millis(3 << tries.min(6))).await;
            tries += 1;
        }
    }

    /// Sends a batch. With `again` it may have been committed already.
    async fn send(
        &self,
        rows: &BatchRows<'_>,
        marker: BatchMarker,
        again: bool,
    ) -> Result<Vec<Vec<Row>>, NoAnswer> {
        let (client, statements, shared) = (&self.client, &self.statements, &*self.shared);
        let call = async {
            match rows.run(client, statements, shared, marker).await {
                Err(error) if again && is_marked(&error) => {
                    // Its transaction has failed, and is over. The batch is not to be sent under
                    // another marker, whatever comes of this.
                    let told = look_back(rows, client, statements, shared, marker).await;
                    told.map_err(|error| NoAnswer::Unknown(words(&error)))
                }
                done => done.map_err(NoAnswer::Error),
            }
        };
        let answered = tokio::time::timeout(ANSWERED_WITHIN, call).await;
        let unknown = |why: &str| NoAnswer::Unknown(why.to_owned());
        let answers = answered.map_err(|_| unknown("a batch has no answer"))?;
        if client.was_warned() && answers.is_ok() {
            // A commit that was not to wait for its standby says so, and might be lost.
            return Err(unknown("Postgres has warned of a commit"));
        }
        answers
    }

    /// Connects to the primary again, once it is there. Ends with the store.
    async fn reconnect(&mut self, why: String) -> Result<(), BatchFailure> {
        tracing::warn!(error = why, "the primary is not reachable");
        self.shared.reach.is_unreachable(self.number, &why);
        let mut wait = Duration::from_millis(10);
        for tries in 1.. {
            let is_closing = self.shared.closing.load(Ordering::Relaxed);
            let has_stopped = self.shared.answers().is_err();
            if self.commands.is_closed() || has_stopped || (is_closing && tries > CLOSING_TRIES) {
                return Err(BatchFailure::Ends);
            }
            // Hosts that were cut off together do not come back together.
            let jitter = u64::from(self.shared.run().slot.unsigned_abs()) * 7 % 50;
            tokio::time::sleep(wait + Duration::from_millis(jitter)).await;
            wait = (wait * 2).min(LONGEST_WAIT);
            match self.connect().await {
                Ok(()) => break,
                Err(why) => self.shared.reach.is_unreachable(self.number, &why),
            }
        }
        self.shared.reach.is_reachable(self.number);
        tracing::info!("the primary is reachable again");
        Ok(())
    }

    async fn connect(&mut self) -> Result<(), String> {
        let client = self.address.hold().await.map_err(|error| error.to_string())?;
        let mended = async {
            let statements = BatchStatements::prepare(&client).await?;
            mend(&client, &statements, &self.shared).await?;
            Ok::<_, Error>(statements)
        };
        let mended = tokio::time::timeout(MENDED_WITHIN, mended).await;
        let mended = mended.map_err(|_| "it does not take what it lacks in time".to_owned())?;
        self.statements = mended.map_err(|error| words(&error))?;
        self.client = client;
        // Another server may have another time.
        self.shared.floors.forget();
        Ok(())
    }

    /// Gives back what this host holds, and takes it off the list of hosts.
    async fn close(&mut self, reply: Replier<()>) {
        let left = leave(&mut self.client, &self.shared).await;
        self.shared.reach.stop("it was closed".to_owned());
        let answer = left.map_err(|error| StoreError::Query(words(&error)));
        drop(reply.send(answer));
    }
}
