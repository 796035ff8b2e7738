//! The commands to the writer.

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::event::NewEvent;
use crate::store::append_limit::AppendPermit;
use crate::store::{
    Appended, Lease, LeaseHolder, LeaseQueue, Leased, NewStep, Recorded, Settled, Settlement,
    StoreError,
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
    /// Without a reply the store gives a lease back that it could not hand out.
    Settle {
        lease: Box<Lease>,
        settlement: Box<Settlement>,
        reply: Option<Replier<Settled>>,
    },
    Close {
        reply: Replier<()>,
    },
}

impl PostgresCommand {
    /// The bytes that it sends to the database, roughly.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Append { event, .. } => event.attributes.body.len(),
            Self::AppendAll { events, .. } => {
                events.iter().map(|event| event.attributes.body.len()).sum()
            }
            Self::Settle { settlement, .. } => {
                let emitted = settlement.next.results().map_or(&[][..], |(emitted, _)| emitted);
                emitted.iter().map(|event| event.attributes.body.len()).sum()
            }
            Self::Record { work, .. } => work.1.value.len(),
            Self::Lease { .. } | Self::Close { .. } => 0,
        }
    }

    /// Answers that it failed.
    pub(super) fn fail(self, error: StoreError) {
        // The caller may have gone.
        match self {
            Self::Append { reply, .. } => drop(reply.send(Err(error))),
            Self::AppendAll { reply, .. } => drop(reply.send(Err(error))),
            Self::Lease { reply, .. } => drop(reply.send(Err(error))),
            Self::Record { reply, .. } => drop(reply.send(Err(error))),
            Self::Settle { reply, .. } => {
                drop(reply.map(|reply| reply.send(Err(error))));
            }
            Self::Close { reply } => drop(reply.send(Err(error))),
        }
    }
}
