//! The last batches that were acknowledged, kept in memory: a standby that becomes the primary may
//! not have them. `mend` sends them again then.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::size_of;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio_postgres::{Error, Row};

use super::client::{SqlClient as Client, SqlStatement as Statement};
use super::command::CommandRef;
use crate::event::{Attributes, Event, NewEvent};
use crate::store::{
    Lease, LeaseHolder, LeasePermit, NewStep, Next, Settled, Settlement, Tick, TickStep,
};

/// Calls `lease_again_v1`.
pub(super) const LEASE_AGAIN: &str = "SELECT hookbox.lease_again_v1($1, $2, $3, $4)";

/// The newest marker of each writer of some runs.
const NEWEST: &str = "SELECT incarnation, writer, max(seq) FROM hookbox.commits
    WHERE incarnation = ANY ($1) GROUP BY incarnation, writer";

/// A command that was acknowledged, without what waited for its answer.
#[derive(Debug)]
pub(super) enum TailCommand {
    Append(Box<NewEvent>),
    AppendAll(Vec<NewEvent>),
    Record(Box<(LeaseHolder, NewStep)>),
    Tick(Box<Tick>),
    Settle(Box<Lease>, Box<Settlement>),
}

impl<'c> From<&'c TailCommand> for CommandRef<'c> {
    fn from(command: &'c TailCommand) -> Self {
        match command {
            TailCommand::Append(event) => Self::Append(event),
            TailCommand::AppendAll(events) => Self::AppendAll(events),
            TailCommand::Record(work) => Self::Record(work),
            TailCommand::Tick(tick) => Self::Tick(tick),
            TailCommand::Settle(lease, settlement) => {
                Self::Settle { lease, settlement, is_told: false }
            }
        }
    }
}

/// The deliveries that a batch has leased, in whichever way, with the numbers of the attempts.
#[derive(Debug, Default)]
pub(super) struct TailLeases {
    events: Vec<i64>,
    ordinals: Vec<i32>,
    attempts: Vec<i32>,
}

impl TailLeases {
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Adds a lease.
    pub(super) fn add(&mut self, lease: &Lease) {
        let small = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        self.events.push(lease.delivery.event.row());
        self.ordinals.push(small(lease.delivery.ordinal));
        self.attempts.push(small(lease.attempt));
    }

    /// Calls the function for the run `me`.
    pub(super) async fn call(
        &self,
        client: &Client,
        statement: &Statement,
        me: i64,
    ) -> Result<Vec<Row>, Error> {
        client.query(statement, &[&me, &self.events, &self.ordinals, &self.attempts]).await
    }
}

/// A batch that was acknowledged.
#[derive(Debug)]
pub(super) struct TailBatch {
    /// The run of this host that sent it.
    pub(super) run: i64,
    pub(super) writer: usize,
    pub(super) seq: i64,
    commands: Vec<TailCommand>,
    /// The ids of the events of all commands.
    ids: Vec<i64>,
    pub(super) leases: TailLeases,
    bytes: usize,
}

impl TailBatch {
    pub(super) fn new(run: i64, writer: usize, seq: i64) -> Self {
        let (leases, bytes) = (TailLeases::default(), size_of::<Self>());
        Self { run, writer, seq, commands: Vec::new(), ids: Vec::new(), leases, bytes }
    }

    /// Adds a command, whose events have these ids.
    pub(super) fn add(&mut self, command: TailCommand, ids: &[i64]) {
        // One whose settlement was not kept has stored no event.
        let ids = &ids[..CommandRef::from(&command).events()];
        self.bytes += weight(&command) + size_of_val(ids);
        self.commands.push(command);
        self.ids.extend_from_slice(ids);
    }

    /// Whether nothing came of it.
    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.leases.is_empty()
    }

    /// The commands, each with the ids of its events.
    pub(super) fn commands(&self) -> Vec<(&TailCommand, &[i64])> {
        let mut at = 0;
        let with_ids = |command| {
            let begins = at;
            at += CommandRef::from(command).events();
            (command, &self.ids[begins..at])
        };
        self.commands.iter().map(with_ids).collect()
    }

    pub(super) fn ids(&self) -> &[i64] {
        &self.ids
    }
}

/// The newest markers that a server has, of both writers of each run.
#[derive(Debug, Default)]
pub(super) struct NewestMarkers(BTreeMap<i64, [i64; 2]>);

impl NewestMarkers {
    /// Reads those of some runs.
    pub(super) async fn read(client: &Client, runs: &[i64]) -> Result<Self, Error> {
        let mut newest = Self::default();
        for row in client.query(NEWEST, &[&runs]).await? {
            let writer = usize::try_from(row.get::<_, i16>(1)).unwrap_or(usize::MAX);
            let of_run = newest.0.entry(row.get(0)).or_default();
            if let Some(newest) = of_run.get_mut(writer) {
                *newest = row.get(2);
            }
        }
        Ok(newest)
    }

    /// Those of a run; 0 where there is none.
    pub(super) fn of(&self, run: i64) -> [i64; 2] {
        self.0.get(&run).copied().unwrap_or_default()
    }
}

/// The last batches that were acknowledged, up to so many bytes.
#[derive(Debug)]
pub(super) struct AckedTail {
    most_bytes: usize,
    queue: Mutex<TailQueue>,
    /// Gives the permits of leases that are only kept here.
    nobody: Arc<Semaphore>,
    /// Held while the batches are compared with what a server has.
    pub(super) turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct TailQueue {
    batches: BTreeMap<u64, Arc<TailBatch>>,
    next: u64,
    bytes: usize,
}

impl AckedTail {
    /// A tail of so many bytes; 0 keeps nothing.
    pub(super) fn new(most_bytes: usize) -> Self {
        Self {
            most_bytes,
            queue: Mutex::default(),
            nobody: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            turn: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn is_kept(&self) -> bool {
        self.most_bytes > 0
    }

    fn queue(&self) -> MutexGuard<'_, TailQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place of a batch of which nobody was told yet: whatever follows from its answers comes
    /// after it.
    pub(super) fn place(&self) -> u64 {
        let mut queue = self.queue();
        queue.next += 1;
        queue.next
    }

    /// Keeps a batch at its place, and lets go of the oldest.
    pub(super) fn keep(&self, place: u64, batch: TailBatch) {
        if !self.is_kept() {
            return;
        }
        let mut queue = self.queue();
        queue.bytes += batch.bytes;
        queue.batches.insert(place, Arc::new(batch));
        while queue.bytes > self.most_bytes {
            let Some((_, oldest)) = queue.batches.pop_first() else { break };
            queue.bytes -= oldest.bytes;
        }
    }

    /// The batches that come after these, in their order.
    pub(super) fn after(&self, newest: &NewestMarkers) -> Vec<Arc<TailBatch>> {
        let queue = self.queue();
        let lost = |batch: &&Arc<TailBatch>| batch.seq > newest.of(batch.run)[batch.writer];
        queue.batches.values().filter(lost).cloned().collect()
    }

    /// The runs of which there are batches.
    pub(super) fn runs(&self) -> BTreeSet<i64> {
        self.queue().batches.values().map(|batch| batch.run).collect()
    }

    /// Lets go of what other runs have sent: the server has it.
    pub(super) fn keep_of(&self, run: i64) {
        let mut queue = self.queue();
        queue.batches.retain(|_, batch| batch.run == run);
        queue.bytes = queue.batches.values().map(|batch| batch.bytes).sum();
    }

    /// A settlement as it is kept, whose lease has no permit of a plugin and no body any more.
    /// Nothing is kept of one that came to nothing. A value that was read may have changed: then
    /// the lease was given back.
    pub(super) fn settlement(
        &self,
        lease: Lease,
        settlement: Settlement,
        settled: Settled,
    ) -> Option<TailCommand> {
        let next = match settled {
            Settled::Lost => return None,
            Settled::Conflict => Next::GiveBack(std::time::Duration::ZERO),
            _ => settlement.next,
        };
        let settlement = Settlement { next, record: settlement.record };
        let budget = Arc::clone(&self.nobody).try_acquire_owned().ok()?;
        let Event { id, parent, root, hops, trace, .. } = *lease.event;
        let attributes = Attributes { body: Bytes::new(), ..lease.event.attributes.clone() };
        let event = Arc::new(Event { id, attributes, parent, root, hops, trace });
        let permit = LeasePermit { budget, memory: None };
        let lease = Lease { event, permit, held: None, ..lease };
        Some(TailCommand::Settle(Box::new(lease), Box::new(settlement)))
    }

    /// The bytes that are kept.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.queue().bytes
    }
}

/// The bytes that a command takes beside its parts: what the allocator adds to a dozen of them.
/// Measured with bodies of 100 bytes, whose memory was 1.35 times the sum of their parts.
const ALLOCATED: usize = 256;

/// The bytes that a command keeps in memory, roughly, and rather too many.
fn weight(command: &TailCommand) -> usize {
    ALLOCATED
        + size_of::<TailCommand>()
        + match command {
            TailCommand::Append(event) => weight_of_event(event),
            TailCommand::AppendAll(events) => events.iter().map(weight_of_event).sum(),
            TailCommand::Record(work) => {
                size_of::<(LeaseHolder, NewStep)>() + work.1.name.len() + work.1.value.len()
            }
            TailCommand::Tick(tick) => {
                size_of::<Tick>()
                    + match &tick.step {
                        TickStep::Emit { event, .. } => weight_of_event(event),
                        TickStep::Missed { .. } => 0,
                    }
            }
            TailCommand::Settle(lease, settlement) => {
                let event = weight_of_attributes(&lease.event.attributes) + size_of::<Event>();
                size_of::<Lease>() + event + weight_of_settlement(settlement)
            }
        }
}

fn weight_of_attributes(attributes: &Attributes) -> usize {
    let texts = [&attributes.subject, &attributes.content_type];
    let texts: usize = texts.into_iter().flatten().map(String::capacity).sum();
    attributes.body.len() + attributes.kind.capacity() + texts
}

fn weight_of_event(event: &NewEvent) -> usize {
    let pair = |(name, value): &(String, String)| {
        size_of::<(String, String)>() + name.capacity() + value.capacity()
    };
    size_of::<NewEvent>()
        + weight_of_attributes(&event.attributes)
        + event.headers.iter().map(pair).sum::<usize>()
        + size_of_val(&*event.deliveries)
        + size_of_val(&*event.dedupe)
        + size_of_val(&*event.members)
        + [&event.provider_id, &event.note].into_iter().flatten().map(String::len).sum::<usize>()
}

fn weight_of_settlement(settlement: &Settlement) -> usize {
    let results = settlement.next.results().map_or(0, |(emitted, kv)| {
        let values = kv.writes.iter();
        let values = values.map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len));
        let reads: usize = kv.reads.iter().map(|(key, _)| size_of::<String>() + key.len()).sum();
        emitted.iter().map(weight_of_event).sum::<usize>() + values.sum::<usize>() + reads
    });
    let record = settlement.record.as_ref().map_or(0, |record| {
        record.error.as_ref().map_or(0, String::len)
            + record.logs.iter().map(|line| size_of_val(line) + line.message.len()).sum::<usize>()
            + size_of_val(&*record.calls)
            + size_of_val(&*record.steps)
    });
    size_of::<Settlement>() + results + record
}
