//! Postgres behind the store's traits: several hosts share one database.
//!
//! `connect`, `tls`, `schema` and `identity` open it, `error` says why not. `append` and `settle`
//! make arrays of what a batch holds, `lease` makes leases of rows, `batch` sends it all in one
//! flush, and `writer` is the task that groups commands into batches. `heartbeat` keeps this host's
//! row fresh, `read` answers queries. The functions of the database are in `schema/`. The page
//! `docs/design/postgres.md` says what is built and what is not, and why.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

pub(in crate::store) use self::copy::{CopyTarget, CopyTransaction};
pub use self::error::PostgresOpenError;
pub use self::options::PostgresOptions;

use self::command::{PostgresCommand, Replier};
use self::lease::PostgresLeaseAnswer;
use self::read::PostgresReads;
use self::shared::PostgresShared;
use self::work::WorkConnection;
use super::append_limit::AppendLimit;
use super::held_leases::HeldLease;
use super::{
    Appended, Count, DispatchHandle, EventView, FoundFacts, Health, InFlight, Lease, LeaseHolder,
    LeaseQueue, Leased, MaybeReady, NewStep, Pending, Queue, ReadOne, Recorded, Recovered, Settled,
    Settlement, Stats, StoreError, StoreSpace,
};
use crate::event::{DeliveryId, EventId, NewEvent, PluginName};
use crate::store::DeliveryView;

mod anew;
mod append;
mod approvals;
mod audit;
mod batch;
mod bulk;
mod calls;
mod change;
mod changed_keys;
mod chores;
mod client;
mod command;
mod conditions;
mod connect;
mod copy;
mod created;
mod due;
mod erase;
mod error;
mod failures;
mod gather;
mod gathered;
mod heartbeat;
mod hints;
mod history;
mod horizon;
mod hosts;
mod identity;
mod ids;
mod keys;
mod kv;
mod lease;
mod lease_floors;
mod leave;
mod limits;
mod listing;
mod look_back;
mod loss;
mod mend;
mod moves;
mod open;
mod operating;
mod operations;
mod options;
mod orphans;
mod own_limits;
mod pauses;
mod reachability;
mod read;
mod read_connection;
mod reading;
mod recover;
mod rejoin;
mod replay;
mod replay_terms;
mod rows;
mod samples;
mod schedules;
mod schema;
mod search;
mod secrets;
mod server;
mod settle;
mod shared;
mod size;
mod statements;
mod stripes;
mod sweep;
mod tail;
mod terms;
#[cfg(test)]
mod tests;
mod tls;
mod tree_view;
mod trees;
mod values;
mod wake;
mod work;
mod writer;

/// The time for which an append waits for a primary that is not reachable.
const APPEND_WAITS: Duration = Duration::from_millis(2_500);

/// The store of several hosts, as one of them sees it.
#[derive(Debug)]
pub struct Postgres {
    shared: Arc<PostgresShared>,
    commands: mpsc::UnboundedSender<PostgresCommand>,
    /// To the writer of commands that may wait for another host.
    keyed: mpsc::UnboundedSender<PostgresCommand>,
    waiting: Arc<AppendLimit>,
    reads: PostgresReads,
    /// For changes that are no commands of the writer.
    work: WorkConnection,
    /// For queries of several statements.
    listings: WorkConnection,
    recovered: Recovered,
}

impl Postgres {
    /// The leases that this host had left when it ended without being closed.
    pub fn recovered(&self) -> Recovered {
        self.recovered
    }

    /// Whether an event is on a standby when it is acknowledged.
    pub fn is_replicated(&self) -> bool {
        self.shared.known.promise().is_some_and(|promise| promise.is_replicated())
    }

    /// Sends a command now, and returns what waits for its answer.
    fn ask<T: Send + 'static>(
        &self,
        command: impl FnOnce(Replier<T>) -> PostgresCommand,
    ) -> Pending<'_, T> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply));
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(self.shared.reach.gone())) })
    }

    /// A writer that is gone drops the command, and with it the reply.
    fn send(&self, command: PostgresCommand) {
        let writer =
            if command.is_keyed(&*self.shared.policies) { &self.keyed } else { &self.commands };
        let _ = writer.send(command);
    }

    /// The same for an append, whose caller is told when the primary is not reachable.
    fn ask_to_append<T: Send + 'static>(
        &self,
        command: impl FnOnce(Replier<T>) -> PostgresCommand,
    ) -> Pending<'_, T> {
        if let Some(why) = self.shared.known.lacks_standby() {
            return refused(StoreError::NotReplicated(why));
        }
        // An append that would only wait is not taken.
        if let Some(error) = self.shared.reach.unreachable_since(APPEND_WAITS) {
            return refused(error);
        }
        let answer = self.ask(command);
        Box::pin(async move {
            tokio::select! {
                biased;
                answer = answer => answer,
                error = self.shared.reach.unreachable_for(APPEND_WAITS) => Err(error),
            }
        })
    }
}

/// An answer without a call.
fn refused<'a, T: Send + 'a>(error: StoreError) -> Pending<'a, T> {
    Box::pin(std::future::ready(Err(error)))
}

impl Queue for Postgres {
    fn attach(&self, dispatch: Arc<dyn DispatchHandle>) {
        // A second dispatcher would be a second owner of the same leases.
        assert!(self.shared.dispatch.set(dispatch).is_ok(), "a dispatcher is attached once");
    }

    fn append(&self, event: NewEvent) -> Pending<'_, Appended> {
        match self.waiting.take(&event.attributes.source, 1) {
            Err(waiting) => refused(StoreError::Saturated { waiting }),
            Ok(permit) => {
                let event = Box::new(event);
                self.ask_to_append(|reply| PostgresCommand::Append { event, reply, permit })
            }
        }
    }

    fn append_all(&self, events: Vec<NewEvent>) -> Pending<'_, Vec<Appended>> {
        let Some(first) = events.first() else { return Box::pin(async { Ok(Vec::new()) }) };
        match self.waiting.take(&first.attributes.source, events.len()) {
            Err(waiting) => refused(StoreError::Saturated { waiting }),
            Ok(permit) => {
                self.ask_to_append(|reply| PostgresCommand::AppendAll { events, reply, permit })
            }
        }
    }

    fn has_legacy_keys(&self) -> bool {
        false
    }

    fn lease(&self, queue: LeaseQueue, permits: OwnedSemaphorePermit) -> Pending<'_, Leased> {
        let (reply, answer) = oneshot::channel();
        let answer = PostgresLeaseAnswer { commands: &self.commands, shared: &self.shared, answer };
        self.send(PostgresCommand::Lease { queue, permits, reply });
        Box::pin(answer.leased())
    }

    fn begin(&self, lease: &Lease) -> MaybeReady<'_, InFlight> {
        let is_over = |held: &HeldLease| held.run != self.shared.run().incarnation;
        if lease.held.as_deref().is_some_and(is_over) {
            let why = "other hosts have taken over what this one held";
            return MaybeReady::ready(Err(StoreError::Unreachable(why.to_owned())));
        }
        if self.shared.reach.is_cut_off() {
            let why = "other hosts may take over what this one holds";
            return MaybeReady::ready(Err(StoreError::Unreachable(why.to_owned())));
        }
        let noted = self.shared.journal.note(lease.delivery, lease.attempt);
        MaybeReady::ready(noted.map_err(|error| {
            StoreError::Unavailable(format!("the attempt cannot be noted as running: {error}"))
        }))
    }

    fn record(&self, holder: &LeaseHolder, step: NewStep) -> Pending<'_, Recorded> {
        let work = Box::new((holder.clone(), step));
        self.ask(|reply| PostgresCommand::Record { work, reply })
    }

    fn settle(&self, lease: Lease, settlement: Settlement) -> Pending<'_, Settled> {
        let (lease, settlement) = (Box::new(lease), Box::new(settlement));
        self.ask(|reply| PostgresCommand::Settle { lease, settlement, reply: Some(reply) })
    }

    fn set_time_limits(&self, limits: Vec<(PluginName, Duration)>) -> Pending<'_, u64> {
        Box::pin(self.set_limits(limits))
    }

    fn restore_time_limits(&self) -> Pending<'_, u64> {
        Box::pin(self.restore_limits())
    }
}

impl ReadOne for Postgres {
    fn event(&self, id: EventId) -> Pending<'_, EventView> {
        Box::pin(async move {
            self.shared.answers()?;
            self.reads.event(id).await
        })
    }

    fn facts(&self, id: EventId) -> Pending<'_, Option<FoundFacts>> {
        Box::pin(async move {
            self.shared.answers()?;
            self.reads.facts(id).await
        })
    }

    fn delivery(&self, id: DeliveryId) -> Pending<'_, DeliveryView> {
        Box::pin(async move {
            self.shared.answers()?;
            self.reads.delivery(id).await
        })
    }
}

impl Count for Postgres {
    fn stats(&self) -> MaybeReady<'_, Stats> {
        MaybeReady::Pending(Box::pin(async move {
            self.shared.answers()?;
            self.reads.stats(self.shared.duplicates()).await
        }))
    }
}

impl Health for Postgres {
    fn trouble(&self) -> Option<StoreError> {
        self.shared.reach.trouble.borrow().clone()
    }

    fn warnings(&self) -> Vec<String> {
        let shared = &self.shared;
        let standby = shared.known.lacks_standby();
        let settings = shared.known.promise().and_then(|promise| promise.broken_by());
        let loss = shared.loss.warning(shared.host_ms());
        let astray = shared.has_astray_days.load(Ordering::Relaxed).then(|| {
            "there are events of days without a partition of their own: retention deletes them one \
             by one, and their days get none while they are there"
                .to_owned()
        });
        let settings = settings.map(str::to_owned);
        let horizon = shared.held_horizon();
        let found = [shared.journal.trouble(), standby, settings, loss, astray, horizon];
        found.into_iter().flatten().collect()
    }

    fn space(&self) -> Pending<'_, Option<StoreSpace>> {
        Box::pin(async move {
            self.shared.answers()?;
            self.shared.size.ask(&self.listings).await.map(Some)
        })
    }

    fn stopped(&self) -> Pending<'_, ()> {
        let mut trouble = self.shared.reach.trouble.subscribe();
        Box::pin(async move {
            // An error means the store itself is gone, and so it has stopped.
            let _ =
                trouble.wait_for(|trouble| matches!(trouble, Some(StoreError::Stopped(_)))).await;
            Ok(())
        })
    }

    fn close(&self) -> Pending<'_, ()> {
        self.shared.closing.store(true, Ordering::Relaxed);
        let (reply, ended) = oneshot::channel();
        // A writer that is gone has ended.
        let _ = self.keyed.send(PostgresCommand::Close { reply, after: None });
        self.ask(|reply| PostgresCommand::Close { reply, after: Some(ended) })
    }
}
