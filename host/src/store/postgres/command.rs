//! The commands to the writer.

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::event::NewEvent;
use crate::store::append_limit::AppendPermit;
use crate::store::{
    Appended, Lease, LeaseHolder, LeaseQueue, Leased, NewStep, Next, Recorded, Settled, Settlement,
    StoreError, Tick, TickStep, Ticked,
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

impl PostgresCommand {
    /// Whether it may take locks that other hosts hold, so that it goes to the writer of those.
    pub(super) fn is_keyed(&self) -> bool {
        match self {
            Self::Append { event, .. } => is_keyed(event),
            Self::Settle { settlement, .. } => match &settlement.next {
                Next::Dead(notice) => notice.as_deref().is_some_and(is_keyed),
                next => next.results().is_some_and(|(emitted, kv)| {
                    let has_values =
                        kv.writes_anything() || !kv.reads.is_empty() || !kv.lists.is_empty();
                    has_values || emitted.iter().any(is_keyed)
                }),
            },
            _ => false,
        }
    }

    /// The bytes that it sends to the database, roughly.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Append { event, .. } => event.attributes.body.len(),
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

    /// Answers that it failed.
    pub(super) fn fail(self, error: StoreError) {
        // The caller may have gone.
        match self {
            Self::Append { reply, .. } => drop(reply.send(Err(error))),
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

/// Whether an event has deliveries with keys, cancels some, or is gathered.
fn is_keyed(event: &NewEvent) -> bool {
    let has_key = event.deliveries.iter().any(|it| it.key.is_some());
    has_key || !event.cancels.is_empty() || !event.members.is_empty()
}
