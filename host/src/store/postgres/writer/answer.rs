//! Answers to commands whose batch is durable, which is kept until newer ones are.

use super::super::batch::{BatchResult, BatchResults};
use super::super::command::{CommandRef, PostgresCommand, Replier};
use super::super::created::{AppendedAs, hold, tell};
use super::super::hints::hint;
use super::super::lease::{give_back, leased, nothing_before};
use super::super::tail::{TailBatch, TailCommand};
use super::PostgresWriter;
use crate::event::NewEvent;
use crate::store::append_limit::AppendPermit;
use crate::store::{Appended, StoreError};

impl PostgresWriter {
    /// Answers commands whose batch is durable.
    pub(super) fn answer(&mut self, commands: Vec<PostgresCommand>, results: BatchResults) {
        self.shared.changes.committed(|| hint(&commands, &results));
        let place = self.shared.tail.place();
        let mut batch = TailBatch::new(self.run, self.number, self.seq);
        for lease in results.created.leases.iter().chain(&results.refused) {
            batch.leases.add(lease);
        }
        let mut ids = &results.ids[..];
        for (command, result) in commands.into_iter().zip(results.each) {
            let (its, rest) = ids.split_at(CommandRef::from(&command).events());
            ids = rest;
            if let Some(done) = self.answer_one(command, result, &mut batch) {
                batch.add(done, its);
            }
        }
        self.shared.tail.keep(place, batch);
        // The other writer may send it again from now on.
        self.shared.ack(self.run, self.number, self.seq);
        self.carried.extend(results.refused.into_iter().map(give_back));
        tell(&self.shared, self.run, results.created);
    }

    /// Answers a command. Returns it as it is kept, unless nothing came of it.
    fn answer_one(
        &mut self,
        command: PostgresCommand,
        result: BatchResult,
        batch: &mut TailBatch,
    ) -> Option<TailCommand> {
        // A caller may have gone: of its answer only leases matter.
        match (command, result) {
            (PostgresCommand::Append { event, reply, permit }, BatchResult::Appended(appended)) => {
                self.answer_append(event, reply, permit, appended)
            }
            (
                PostgresCommand::AppendAll { events, reply, permit },
                BatchResult::AppendedAll(appended),
            ) => self.answer_append_all(events, reply, permit, &appended),
            (
                PostgresCommand::Settle { lease, settlement, reply },
                BatchResult::Settled(settled),
            ) => {
                // Its permit is free before the caller knows it.
                let done = match self.shared.tail.is_kept() {
                    true => self.shared.tail.settlement(*lease, *settlement, settled),
                    false => None,
                };
                drop(reply.map(|reply| reply.send(Ok(settled))));
                done
            }
            (PostgresCommand::Record { work, reply }, BatchResult::Recorded(recorded)) => {
                drop(reply.send(Ok(recorded)));
                Some(TailCommand::Record(work))
            }
            (PostgresCommand::Tick { tick, reply }, BatchResult::Ticked(ticked)) => {
                drop(reply.send(Ok(ticked)));
                Some(TailCommand::Tick(tick))
            }
            (PostgresCommand::Lease { queue, permits, reply }, BatchResult::Leased(rows)) => {
                let (mut leases, refused) = leased(&rows, permits, self.shared.dispatch.get());
                self.shared.floors.answered(&queue, nothing_before(&rows));
                hold(&self.shared, self.run, &mut leases.leases);
                for lease in leases.leases.iter().chain(&refused) {
                    batch.leases.add(lease);
                }
                self.carried.extend(refused.into_iter().map(give_back));
                if let Err(Ok(stranded)) = reply.send(Ok(leases)) {
                    self.carried.extend(stranded.leases.into_iter().map(give_back));
                }
                None
            }
            _ => unreachable!("each command has a result of its kind"),
        }
    }

    fn answer_append(
        &mut self,
        event: Box<NewEvent>,
        reply: Replier<Appended>,
        permit: AppendPermit,
        appended: AppendedAs,
    ) -> Option<TailCommand> {
        let answer = match appended {
            AppendedAs::New(id) => Appended { id, duplicate: false },
            AppendedAs::DuplicateOf(id) => {
                self.shared.count_duplicate();
                Appended { id, duplicate: true }
            }
            AppendedAs::Later | AppendedAs::Dropped => {
                self.carried.push_back(PostgresCommand::Append { event, reply, permit });
                return None;
            }
        };
        drop(permit);
        drop(reply.send(self.unless_alone(answer)));
        Some(TailCommand::Append(event))
    }

    /// The events of a request are appended again together, if one of them has to be.
    fn answer_append_all(
        &mut self,
        events: Vec<NewEvent>,
        reply: Replier<Vec<Appended>>,
        permit: AppendPermit,
        appended: &[AppendedAs],
    ) -> Option<TailCommand> {
        let answer = |appended: &AppendedAs| match appended {
            AppendedAs::New(id) => Some(Appended { id: *id, duplicate: false }),
            AppendedAs::DuplicateOf(id) => Some(Appended { id: *id, duplicate: true }),
            AppendedAs::Later | AppendedAs::Dropped => None,
        };
        let Some(answers) = appended.iter().map(answer).collect::<Option<Vec<_>>>() else {
            self.carried.push_back(PostgresCommand::AppendAll { events, reply, permit });
            return None;
        };
        for _ in answers.iter().filter(|answer| answer.duplicate) {
            self.shared.count_duplicate();
        }
        drop(permit);
        drop(reply.send(self.unless_alone(answers)));
        Some(TailCommand::AppendAll(events))
    }

    /// The answer, unless it would promise more than the server does now.
    fn unless_alone<T>(&self, answer: T) -> Result<T, StoreError> {
        match self.shared.known.lacks_standby() {
            Some(why) => Err(StoreError::NotReplicated(why)),
            None => Ok(answer),
        }
    }
}
