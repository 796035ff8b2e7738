//! Commands for the writer, their weight, and the replies to their callers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::batch::WriteBatch;
use super::erase::FoundKey;
use super::limits::{LimitWalk, LimitWork};
use super::operation_work::OperationWork;
use super::operator::Expired;
use crate::event::{DeliveryId, EventId, NewEvent, State, Target};
use crate::series::Increment;
use crate::store::append_limit::AppendPermit;
use crate::store::model::AuditResult;
use crate::store::{
    Action, Appended, ApprovalChange, AuditNote, Erased, KeyChange, Lease, LeaseHolder, LeaseQueue,
    Leased, NewStep, Next, OperationId, PauseChange, Recorded, ScheduleChange, Settled, Settlement,
    StoreError, Tick, Ticked,
};

mod answer;
mod weight;

pub(super) use self::answer::CommandAnswer;

/// Whose work it is: a source or a plugin.
pub(super) type Owner = Arc<str>;

/// How a caller is answered; it may have gone.
pub(super) type ReplyTo<T> = oneshot::Sender<Result<T, StoreError>>;

/// A command for the writer.
pub(super) enum WriteCommand {
    Append {
        event: Box<NewEvent>,
        reply: ReplyTo<Appended>,
        permit: AppendPermit,
    },
    /// The events of one request.
    AppendAll {
        events: Vec<NewEvent>,
        reply: ReplyTo<Vec<Appended>>,
        permit: AppendPermit,
    },
    Lease {
        queue: LeaseQueue,
        permits: Option<OwnedSemaphorePermit>,
        asked_ms: i64,
        reply: ReplyTo<Leased>,
    },
    Record {
        work: Box<(LeaseHolder, NewStep)>,
        reply: ReplyTo<Recorded>,
    },
    Settle {
        lease: Box<Lease>,
        settlement: Box<Settlement>,
        reply: ReplyTo<Settled>,
    },
    Change {
        action: Action,
        delivery: DeliveryId,
        reply: ReplyTo<u64>,
    },
    ChangeAll {
        action: Action,
        states: Vec<State>,
        found: Vec<DeliveryId>,
        reply: ReplyTo<u64>,
    },
    Replay {
        event: EventId,
        targets: Vec<Arc<Target>>,
        reply: ReplyTo<Vec<DeliveryId>>,
    },
    Approve {
        change: ApprovalChange,
        reply: ReplyTo<()>,
    },
    Make {
        event: Box<NewEvent>,
        reply: ReplyTo<Appended>,
    },
    ChangeKey {
        change: Box<KeyChange>,
        reply: ReplyTo<u64>,
    },
    Pause {
        change: PauseChange,
        reply: ReplyTo<u64>,
    },
    Sweep {
        expired: Expired,
        reply: ReplyTo<bool>,
    },
    ChangeSchedule {
        change: ScheduleChange,
        reply: ReplyTo<bool>,
    },
    Tick {
        tick: Box<Tick>,
        reply: ReplyTo<Ticked>,
    },
    KeepSamples {
        at_ms: i64,
        samples: Vec<Increment>,
        reply: ReplyTo<()>,
    },
    KeepPosition {
        source: Owner,
        position: String,
        reply: ReplyTo<()>,
    },
    Operate {
        work: OperationWork,
        reply: ReplyTo<OperationId>,
    },
    Limit {
        work: LimitWork,
        reply: ReplyTo<Vec<LimitWalk>>,
    },
    Erase {
        events: Vec<EventId>,
        keys: Vec<FoundKey>,
        reply: ReplyTo<Erased>,
    },
    /// A change of an operator, with its entry in the audit log.
    Noted {
        note: Box<AuditNote>,
        command: Box<WriteCommand>,
    },
    /// An entry of a change that touches nothing in the store.
    Note {
        note: Box<AuditNote>,
        reply: ReplyTo<()>,
    },
    KeepAnswer {
        note: Box<AuditNote>,
        answer: String,
        reply: ReplyTo<()>,
    },
    NoteTime {
        reply: ReplyTo<()>,
    },
    Close {
        reply: ReplyTo<()>,
    },
}

impl WriteCommand {
    pub(super) fn run(
        &mut self,
        work: &mut WriteBatch<'_>,
    ) -> Result<CommandAnswer, rusqlite::Error> {
        Ok(match self {
            Self::Append { event, .. } => CommandAnswer::Appended(work.append(event)?),
            Self::AppendAll { events, .. } => {
                let each = events.iter().map(|event| work.append(event));
                CommandAnswer::AppendedAll(each.collect::<Result<_, _>>()?)
            }
            Self::Lease { queue, permits, asked_ms, reply } => {
                CommandAnswer::Leased(match permits.take() {
                    Some(permits) if !reply.is_closed() => work.lease(queue, permits, *asked_ms)?,
                    _ => Leased { leases: Vec::new(), next_due_in: None, memory_is_full: false },
                })
            }
            Self::Record { work: step, .. } => {
                CommandAnswer::Recorded(work.record_step(&step.0, &step.1)?)
            }
            Self::Settle { lease, settlement, .. } => {
                CommandAnswer::Settled(work.settle(lease, settlement)?)
            }
            Self::Change { action, delivery, .. } => {
                CommandAnswer::Changed(work.change(action, *delivery)?)
            }
            Self::ChangeAll { action, states, found, .. } => {
                CommandAnswer::Changed(Ok(work.change_all(action, states, found)?))
            }
            Self::Replay { event, targets, .. } => {
                CommandAnswer::Replayed(work.replay(*event, targets)?)
            }
            Self::Approve { change, .. } => {
                work.approve(change).map(|()| CommandAnswer::Approved)?
            }
            Self::Make { event, .. } => CommandAnswer::Made(work.make(event)?),
            Self::ChangeKey { change, .. } => CommandAnswer::Changed(work.change_key(change)?),
            Self::Pause { change, .. } => CommandAnswer::Changed(Ok(work.pause(change)?)),
            Self::Sweep { expired, .. } => CommandAnswer::Swept(work.sweep(*expired)?),
            Self::ChangeSchedule { change, .. } => {
                CommandAnswer::ScheduleChanged(work.change_schedule(change)?)
            }
            Self::Tick { tick, .. } => CommandAnswer::Ticked(work.tick(tick)?),
            Self::Noted { note, command } => work.noted(note, command)?,
            other => return other.run_upkeep(work),
        })
    }

    /// Runs one of those that do not move deliveries by themselves.
    fn run_upkeep(&mut self, work: &mut WriteBatch<'_>) -> Result<CommandAnswer, rusqlite::Error> {
        Ok(match self {
            Self::KeepSamples { at_ms, samples, .. } => {
                work.keep_samples(*at_ms, samples)?;
                CommandAnswer::Noted
            }
            Self::KeepPosition { source, position, .. } => {
                work.keep_position(source, position).map(|()| CommandAnswer::Noted)?
            }
            Self::NoteTime { .. } => work.note_time().map(|()| CommandAnswer::Noted)?,
            Self::Erase { events, keys, .. } => CommandAnswer::Erased(work.erase(events, keys)?),
            Self::Operate { work: operation, .. } => {
                CommandAnswer::Operated(work.operate(operation)?)
            }
            Self::Limit { work: step, .. } => CommandAnswer::Walks(work.limit(step)?),
            Self::Note { note, .. } => {
                work.make_entry(note, &().text())?;
                CommandAnswer::Noted
            }
            Self::KeepAnswer { note, answer, .. } => {
                work.keep_answer(note, answer).map(|()| CommandAnswer::Noted)?
            }
            Self::Close { .. } => {
                work.note_time()?;
                work.release()?;
                CommandAnswer::Closed
            }
            _ => unreachable!("`run` has run it"),
        })
    }

    /// The answer to this command that was kept as text.
    pub(super) fn kept_answer(&self, text: &str) -> Option<CommandAnswer> {
        Some(match self {
            Self::Make { .. } => CommandAnswer::Made(Ok(Appended::read(text)?)),
            Self::Change { .. } | Self::ChangeKey { .. } | Self::Pause { .. } => {
                CommandAnswer::Changed(Ok(u64::read(text)?))
            }
            Self::Replay { .. } => CommandAnswer::Replayed(Ok(Vec::read(text)?)),
            Self::Approve { .. } => CommandAnswer::Approved,
            Self::Operate { .. } => CommandAnswer::Operated(Ok(OperationId::read(text)?)),
            _ => return None,
        })
    }

    /// Answers a durable command. If the caller has gone, its leases are returned.
    pub(super) fn answer(self, answer: CommandAnswer) -> Vec<Lease> {
        match (self, answer) {
            (Self::Append { reply, permit, .. }, CommandAnswer::Appended(value)) => {
                drop(permit);
                let _ = reply.send(Ok(value));
            }
            (Self::AppendAll { reply, permit, .. }, CommandAnswer::AppendedAll(value)) => {
                drop(permit);
                let _ = reply.send(Ok(value));
            }
            (Self::Lease { reply, .. }, CommandAnswer::Leased(value)) => {
                if let Err(Ok(stranded)) = reply.send(Ok(value)) {
                    return stranded.leases;
                }
            }
            (Self::Record { reply, .. }, CommandAnswer::Recorded(value)) => {
                drop(reply.send(Ok(value)));
            }
            (Self::Settle { reply, .. }, CommandAnswer::Settled(value)) => {
                drop(reply.send(Ok(value)))
            }
            (Self::Make { reply, .. }, CommandAnswer::Made(value)) => drop(reply.send(value)),
            (
                Self::Change { reply, .. }
                | Self::ChangeAll { reply, .. }
                | Self::ChangeKey { reply, .. }
                | Self::Pause { reply, .. },
                CommandAnswer::Changed(value),
            ) => {
                drop(reply.send(value));
            }
            (Self::Replay { reply, .. }, CommandAnswer::Replayed(value)) => drop(reply.send(value)),
            (Self::Approve { reply, .. }, CommandAnswer::Approved) => drop(reply.send(Ok(()))),
            (Self::Sweep { reply, .. }, CommandAnswer::Swept(value)) => drop(reply.send(Ok(value))),
            (Self::ChangeSchedule { reply, .. }, CommandAnswer::ScheduleChanged(value)) => {
                drop(reply.send(Ok(value)));
            }
            (Self::Tick { reply, .. }, CommandAnswer::Ticked(value)) => drop(reply.send(Ok(value))),
            (
                Self::NoteTime { reply }
                | Self::KeepSamples { reply, .. }
                | Self::KeepPosition { reply, .. }
                | Self::Note { reply, .. }
                | Self::KeepAnswer { reply, .. },
                CommandAnswer::Noted,
            ) => drop(reply.send(Ok(()))),
            (Self::Erase { reply, .. }, CommandAnswer::Erased(value)) => {
                drop(reply.send(Ok(value)));
            }
            (Self::Operate { reply, .. }, CommandAnswer::Operated(value)) => {
                drop(reply.send(value));
            }
            (Self::Limit { reply, .. }, CommandAnswer::Walks(value)) => drop(reply.send(Ok(value))),
            (Self::Noted { command, .. }, CommandAnswer::Refused(error)) => command.refuse(&error),
            (Self::Noted { command, .. }, answer) => return command.answer(answer),
            (Self::Close { reply }, CommandAnswer::Closed) => drop(reply.send(Ok(()))),
            _ => unreachable!("a command is answered in kind"),
        }
        Vec::new()
    }

    pub(super) fn refuse(self, error: &StoreError) {
        let error = error.clone();
        match self {
            Self::Append { reply, permit, .. } => {
                drop(permit);
                drop(reply.send(Err(error)));
            }
            Self::AppendAll { reply, permit, .. } => {
                drop(permit);
                drop(reply.send(Err(error)));
            }
            Self::Lease { reply, .. } => drop(reply.send(Err(error))),
            Self::Record { reply, .. } => drop(reply.send(Err(error))),
            Self::Settle { reply, .. } => drop(reply.send(Err(error))),
            Self::Change { reply, .. }
            | Self::ChangeAll { reply, .. }
            | Self::ChangeKey { reply, .. }
            | Self::Pause { reply, .. } => drop(reply.send(Err(error))),
            Self::Make { reply, .. } => drop(reply.send(Err(error))),
            Self::Replay { reply, .. } => drop(reply.send(Err(error))),
            Self::Sweep { reply, .. } | Self::ChangeSchedule { reply, .. } => {
                drop(reply.send(Err(error)));
            }
            Self::Tick { reply, .. } => drop(reply.send(Err(error))),
            Self::Erase { reply, .. } => drop(reply.send(Err(error))),
            Self::Operate { reply, .. } => drop(reply.send(Err(error))),
            Self::Limit { reply, .. } => drop(reply.send(Err(error))),
            Self::Noted { command, .. } => command.refuse(&error),
            Self::Approve { reply, .. }
            | Self::Note { reply, .. }
            | Self::KeepAnswer { reply, .. }
            | Self::KeepSamples { reply, .. }
            | Self::KeepPosition { reply, .. }
            | Self::NoteTime { reply }
            | Self::Close { reply } => {
                drop(reply.send(Err(error)));
            }
        }
    }

    /// Whether it settles a lease.
    pub(super) fn is_settlement(&self) -> bool {
        matches!(self, Self::Settle { .. })
    }
}

/// Gives a lease back whose caller has gone.
pub(super) fn give_back(lease: Lease) -> WriteCommand {
    let settlement = Box::new(Settlement { next: Next::GiveBack(Duration::ZERO), record: None });
    WriteCommand::Settle { lease: Box::new(lease), settlement, reply: oneshot::channel().0 }
}
