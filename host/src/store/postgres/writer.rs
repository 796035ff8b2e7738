//! The task that groups commands into batches. It is never dropped midway: a batch that was sent is
//! waited for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio_postgres::{Client, Error};

use super::batch::{BatchResult, BatchResults, run};
use super::command::{PostgresCommand, Replier};
use super::created::{AppendedAs, tell};
use super::error::{failed_query, is_lost, is_passing, words};
use super::hints::hint;
use super::identity::HostIdentity;
use super::keys::know_plugins_of;
use super::lease::{give_back, leased};
use super::shared::PostgresShared;
use super::statements::BatchStatements;
use crate::event::NewEvent;
use crate::store::append_limit::AppendPermit;
use crate::store::{Appended, StoreError};

/// The most commands of a batch.
const MAX_COMMANDS: usize = 1_024;

/// The bytes from which on a batch takes no further command.
const MAX_BYTES: usize = 16 << 20;

/// How often a batch is tried when hosts are in each other's way.
const TRIES: u32 = 5;

/// The task that writes.
pub(super) struct PostgresWriter {
    pub(super) client: Client,
    pub(super) statements: BatchStatements,
    pub(super) shared: Arc<PostgresShared>,
    pub(super) commands: UnboundedReceiver<PostgresCommand>,
    /// Commands that an earlier batch has left.
    pub(super) carried: VecDeque<PostgresCommand>,
    /// The last batch.
    pub(super) seq: i64,
    /// Given up when the writer ends.
    pub(super) _identity: HostIdentity,
}

/// The store ends: nobody can say what came of a batch.
struct Ends;

impl PostgresWriter {
    /// Works until the store is closed or dropped, or the connection is gone.
    pub(super) async fn work(mut self) {
        loop {
            let (batch, close) = self.next_batch().await;
            if batch.is_empty() && close.is_none() {
                break;
            }
            if !batch.is_empty() && self.commit(batch).await.is_err() {
                break;
            }
            if let Some(reply) = close {
                if !self.carried.is_empty() {
                    // What the last batch has left goes before the close.
                    self.carried.push_back(PostgresCommand::Close { reply });
                    continue;
                }
                self.close(reply).await;
                break;
            }
        }
        self.commands.close();
        self.shared.stop("the writer has ended".to_owned());
        self.shared.ended.send_replace(true);
    }

    /// What waits, up to a close. Nothing at all once the store was dropped.
    async fn next_batch(&mut self) -> (Vec<PostgresCommand>, Option<Replier<()>>) {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < MAX_COMMANDS && bytes < MAX_BYTES {
            let next = match self.carried.pop_front() {
                Some(carried) => Some(carried),
                None if batch.is_empty() => tokio::select! {
                    next = self.commands.recv() => next,
                    () = self.shared.has_stopped() => None,
                },
                None => self.commands.try_recv().ok(),
            };
            match next {
                None => break,
                Some(PostgresCommand::Close { reply }) => return (batch, Some(reply)),
                Some(command) => {
                    bytes += command.weight();
                    batch.push(command);
                }
            }
        }
        (batch, None)
    }

    /// Commits commands together. If that fails, each is tried alone, and only those that fail
    /// alone are answered so.
    async fn commit(&mut self, commands: Vec<PostgresCommand>) -> Result<(), Ends> {
        match self.try_commit(&commands).await {
            Ok(results) => self.answer(commands, results),
            Err(error) if is_lost(&error) => return Err(self.lost(&error)),
            Err(_) if commands.len() > 1 => {
                for command in commands {
                    let alone = std::slice::from_ref(&command);
                    match self.try_commit(alone).await {
                        Ok(results) => self.answer(vec![command], results),
                        Err(error) if is_lost(&error) => return Err(self.lost(&error)),
                        Err(error) => command.fail(failed_query(&error)),
                    }
                }
            }
            Err(error) => {
                commands.into_iter().for_each(|command| command.fail(failed_query(&error)));
            }
        }
        Ok(())
    }

    async fn try_commit(&mut self, commands: &[PostgresCommand]) -> Result<BatchResults, Error> {
        self.seq += 1;
        let mut tries = 1;
        loop {
            let done = run(commands, &self.client, &self.statements, &self.shared, self.seq).await;
            match done {
                Err(error) if is_passing(&error) && tries < TRIES => {
                    tokio::time::sleep(Duration::from_millis(3 << tries)).await;
                    tries += 1;
                }
                done => {
                    if done.is_ok() {
                        self.shared.ack(self.seq);
                    }
                    return done;
                }
            }
        }
    }

    fn lost(&self, error: &Error) -> Ends {
        let why = words(error);
        tracing::error!(error = why, "the connection to Postgres is gone: the store stops");
        self.shared.stop(format!("the connection to Postgres is gone: {why}"));
        Ends
    }

    /// Answers commands whose batch is durable.
    fn answer(&mut self, commands: Vec<PostgresCommand>, results: BatchResults) {
        self.shared.changes.committed(|| hint(&commands, &results));
        let dispatch = self.shared.dispatch.get().cloned();
        for (command, result) in commands.into_iter().zip(results.each) {
            // A caller may have gone: of its answer only leases matter.
            match (command, result) {
                (
                    PostgresCommand::Append { event, reply, permit },
                    BatchResult::Appended(appended),
                ) => self.answer_append(event, reply, permit, appended),
                (
                    PostgresCommand::AppendAll { events, reply, permit },
                    BatchResult::AppendedAll(appended),
                ) => self.answer_append_all(events, reply, permit, &appended),
                (PostgresCommand::Settle { lease, reply, .. }, BatchResult::Settled(it)) => {
                    // Its permit is free before the caller knows it.
                    drop(lease);
                    drop(reply.map(|reply| reply.send(Ok(it))));
                }
                (PostgresCommand::Record { reply, .. }, BatchResult::Recorded(it)) => {
                    drop(reply.send(Ok(it)));
                }
                (PostgresCommand::Tick { reply, .. }, BatchResult::Ticked(it)) => {
                    drop(reply.send(Ok(it)));
                }
                (PostgresCommand::Lease { permits, reply, .. }, BatchResult::Leased(rows)) => {
                    let (leases, refused) = leased(&rows, permits, dispatch.as_ref());
                    self.carried.extend(refused.into_iter().map(give_back));
                    if let Err(Ok(stranded)) = reply.send(Ok(leases)) {
                        self.carried.extend(stranded.leases.into_iter().map(give_back));
                    }
                }
                _ => unreachable!("each command has a result of its kind"),
            }
        }
        self.carried.extend(results.refused.into_iter().map(give_back));
        if let Some(dispatch) = &dispatch {
            tell(dispatch, results.created);
        }
    }

    fn answer_append(
        &mut self,
        event: Box<NewEvent>,
        reply: Replier<Appended>,
        permit: AppendPermit,
        appended: AppendedAs,
    ) {
        let answer = match appended {
            AppendedAs::New(id) => Appended { id, duplicate: false },
            AppendedAs::DuplicateOf(id) => {
                self.shared.count_duplicate();
                Appended { id, duplicate: true }
            }
            AppendedAs::Later | AppendedAs::Dropped => {
                self.carried.push_back(PostgresCommand::Append { event, reply, permit });
                return;
            }
        };
        drop(permit);
        drop(reply.send(Ok(answer)));
    }

    /// The events of a request are appended again together, if one of them has to be.
    fn answer_append_all(
        &mut self,
        events: Vec<NewEvent>,
        reply: Replier<Vec<Appended>>,
        permit: AppendPermit,
        appended: &[AppendedAs],
    ) {
        let answer = |appended: &AppendedAs| match appended {
            AppendedAs::New(id) => Some(Appended { id: *id, duplicate: false }),
            AppendedAs::DuplicateOf(id) => Some(Appended { id: *id, duplicate: true }),
            AppendedAs::Later | AppendedAs::Dropped => None,
        };
        let Some(answers) = appended.iter().map(answer).collect::<Option<Vec<_>>>() else {
            self.carried.push_back(PostgresCommand::AppendAll { events, reply, permit });
            return;
        };
        for _ in answers.iter().filter(|answer| answer.duplicate) {
            self.shared.count_duplicate();
        }
        drop(permit);
        drop(reply.send(Ok(answers)));
    }

    /// Gives back what this host holds, and takes it off the list of hosts.
    async fn close(&mut self, reply: Replier<()>) {
        let left = self.leave().await;
        self.shared.stop("it was closed".to_owned());
        let answer = left.map_err(|error| StoreError::Query(words(&error)));
        drop(reply.send(answer));
    }

    async fn leave(&mut self) -> Result<(), Error> {
        let (at, me) = (self.shared.at(), self.shared.run.incarnation);
        let transaction = self.client.transaction().await?;
        know_plugins_of(&transaction, me, &*self.shared.policies).await?;
        transaction.execute("SELECT hookbox.leave_v1($1, $2)", &[&at, &me]).await?;
        transaction.commit().await
    }
}
