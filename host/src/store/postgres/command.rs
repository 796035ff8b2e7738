//! The commands to the writer.

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_postgres::Error;

use super::error::{failed_query, is_scarce};
use crate::event::NewEvent;
use crate::store::append_limit::AppendPermit;
use crate::store::{
    Appended, Lease, LeaseHolder, LeaseQueue, Leased, NewStep, Next, PluginPolicies, Recorded,
    Settled, Settlement, StoreError, Tick, TickStep, Ticked,
};

/// Takes the answer to a command.
pub(super) type Replier<T> = oneshot::Sender<Result<T, StoreError>>;

/// A command to the writer.
#[derive(Debug)]
pub(super) enum PostgresCommand {
    Append {
        event: Box<NewEvent>,
        reply: Replier<Appended>,
        permit: AppendPermit,
    },
    /// The events of one request, of which there is at least one.
    AppendAll {
        events: Vec<NewEvent>,
        reply: Replier<Vec<Appended>>,
        permit: AppendPermit,
    },
    Lease {
        queue: LeaseQueue,
        permits: OwnedSemaphorePermit,
        reply: Replier<Leased>,
    },
    Record {
        work: Box<(LeaseHolder, NewStep)>,
        reply: Replier<Recorded>,
    },
    Tick {
        tick: Box<Tick>,
        reply: Replier<Ticked>,
    },
    /// Without a reply the store gives a lease back that it could not hand out.
    Settle {
        lease: Box<Lease>,
        settlement: Box<Settlement>,
        reply: Option<Replier<Settled>>,
    },
    /// With `after` it waits until the other writer has ended.
    Close {
        reply: Replier<()>,
        after: Option<oneshot::Receiver<Result<(), StoreError>>>,
    },
}

/// A command as it goes into a batch.
#[derive(Debug, Clone, Copy)]
pub(super) enum CommandRef<'c> {
    Append(&'c NewEvent),
    AppendAll(&'c [NewEvent]),
    Lease { queue: &'c LeaseQueue, most: usize },
    Record(&'c (LeaseHolder, NewStep)),
    Tick(&'c Tick),
    Settle { lease: &'c Lease, settlement: &'c Settlement, is_told: bool },
}

impl CommandRef<'_> {
    /// The number of events that it may store.
    pub(super) fn events(self) -> usize {
        match self {
            Self::Append(_) => 1,
            Self::AppendAll(events) => events.len(),
            Self::Settle { settlement, .. } => left_by(&settlement.next).count(),
            Self::Tick(tick) => usize::from(matches!(tick.step, TickStep::Emit { .. })),
            Self::Lease { .. } | Self::Record(_) => 0,
        }
    }
}

impl<'c> From<&'c PostgresCommand> for CommandRef<'c> {
    fn from(command: &'c PostgresCommand) -> Self {
        match command {
            PostgresCommand::Append { event, .. } => Self::Append(event),
            PostgresCommand::AppendAll { events, .. } => Self::AppendAll(events),
            PostgresCommand::Lease { queue, permits, .. } => {
                Self::Lease { queue, most: permits.num_permits() }
            }
            PostgresCommand::Record { work, .. } => Self::Record(work),
            PostgresCommand::Tick { tick, .. } => Self::Tick(tick),
            PostgresCommand::Settle { lease, settlement, reply } => {
                Self::Settle { lease, settlement, is_told: reply.is_some() }
            }
            PostgresCommand::Close { .. } => unreachable!("the writer closes by itself"),
        }
    }
}

/// The events that a settlement leaves.
pub(super) fn left_by(next: &Next) -> impl Iterator<Item = &NewEvent> {
    let notice = match next {
        Next::Dead(notice) => notice.as_deref(),
        _ => None,
    };
    let emitted = next.results().map_or(&[][..], |(emitted, _)| emitted);
    emitted.iter().chain(notice)
}

/// Whether an event enters keys, cancels, or is gathered.
fn takes_locks(event: &NewEvent) -> bool {
    let has_key = event.deliveries.iter().any(|delivery| delivery.key.is_some());
    has_key || !event.cancels.is_empty() || !event.members.is_empty()
}

impl PostgresCommand {
    /// Whether it takes locks of keys, values or gatherings, and may wait for another host.
    pub(super) fn is_keyed(&self, policies: &dyn PluginPolicies) -> bool {
        match self {
            Self::Append { event, .. } => takes_locks(event),
            Self::AppendAll { events, .. } => events.iter().any(takes_locks),
            Self::Settle { lease, settlement, .. } => {
                let notice = match &settlement.next {
                    Next::Dead(notice) => notice.as_deref(),
                    _ => None,
                };
                let results = settlement.next.results();
                lease.terms.key.is_some()
                    || notice.is_some_and(takes_locks)
                    || results.is_some_and(|(emitted, kv)| {
                        let reads = !kv.reads.is_empty() || !kv.lists.is_empty();
                        reads || kv.writes_anything() || emitted.iter().any(takes_locks)
                    })
            }
            // Delayed deliveries enter their keys when they are leased.
            Self::Lease { queue: LeaseQueue::Plugin(plugin), .. } => policies.key(plugin).is_some(),
            Self::Lease { .. } | Self::Record { .. } | Self::Close { .. } => false,
            Self::Tick { tick, .. } => match &tick.step {
                TickStep::Emit { event, .. } => takes_locks(event),
                TickStep::Missed { .. } => false,
            },
        }
    }

    /// The bytes that it sends to the database, roughly.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Append { event, .. } => event.attributes.body.len(),
            Self::AppendAll { events, .. } => {
                events.iter().map(|event| event.attributes.body.len()).sum()
            }
            Self::Settle { settlement, .. } => {
                let Some((emitted, kv)) = settlement.next.results() else { return 0 };
                let bodies = emitted.iter().map(|event| event.attributes.body.len());
                let values = kv.writes.iter().map(|(_, value)| value.as_ref().map_or(0, Vec::len));
                bodies.chain(values).sum()
            }
            Self::Record { work, .. } => work.1.value.len(),
            Self::Tick { tick, .. } => match &tick.step {
                TickStep::Emit { event, .. } => event.attributes.body.len(),
                TickStep::Missed { .. } => 0,
            },
            Self::Lease { .. } | Self::Close { .. } => 0,
        }
    }

    /// Answers that Postgres refuses it. A settlement is returned if it may wait for room on the
    /// server and the store goes on: its attempt has run, and would be held for good.
    pub(super) fn refused(self, error: &Error, may_wait: bool) -> Option<Self> {
        if may_wait && is_scarce(error) && matches!(self, Self::Settle { .. }) {
            return Some(self);
        }
        self.fail(failed_query(error));
        None
    }

    /// Answers that it failed.
    pub(super) fn fail(self, error: StoreError) {
        // The caller may have gone.
        match self {
            Self::Append { reply, .. } => drop(reply.send(Err(error))),
            Self::AppendAll { reply, .. } => drop(reply.send(Err(error))),
            Self::Lease { reply, .. } => drop(reply.send(Err(error))),
            Self::Record { reply, .. } => drop(reply.send(Err(error))),
            Self::Tick { reply, .. } => drop(reply.send(Err(error))),
            Self::Settle { reply, .. } => {
                drop(reply.map(|reply| reply.send(Err(error))));
            }
            Self::Close { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}
