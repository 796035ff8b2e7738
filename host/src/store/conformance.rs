//! The laws every store keeps, one file a verb; `laws!` makes a test of each for one kind of store,
//! and `disk_laws!` of those that ask for a disk.
//!
//! A case gets a [`Harness`], opens the store as often as it wants, and moves the clock by hand. A
//! store that is dropped without being closed is a killed host: its deliveries stay leased.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Count, DeliveryView, Keep, KvTransaction, Lease, LeaseQueue, Next, Queue, ReadOne, Settled,
    Settlement, Store, StoreError,
};
use crate::clock::Clock;
use crate::event::{
    AttemptRecord, Attributes, DedupeKey, DeliveryId, Digest, EventId, GuestUse, HttpCall, LogLine,
    NewEvent, Outcome, State, Target,
};

pub(super) mod append;
pub(super) mod append_all;
pub(super) mod approvals;
pub(super) mod audit;
pub(super) mod bulk;
pub(super) mod cancel;
pub(super) mod changes;
pub(super) mod client_keys;
pub(super) mod clock;
pub(super) mod close;
pub(super) mod copied;
pub(super) mod counts;
pub(super) mod deaths;
pub(super) mod disk;
mod dispatch;
pub(super) mod due;
pub(super) mod edits;
pub(super) mod erase;
mod failure_laws;
pub(super) mod failures;
pub(super) mod filters;
pub(super) mod gathered_events;
pub(super) mod gathering_bounds;
mod gathering_model;
pub(super) mod gatherings;
pub(super) mod history;
mod key_model;
pub(in crate::store) mod key_order;
pub(super) mod key_starts;
pub(super) mod kv;
mod laws;
pub(super) mod lease;
pub(super) mod log_positions;
mod model;
pub(super) mod on_insert;
pub(super) mod operations;
pub(super) mod operator;
mod operator_laws;
pub(super) mod pauses;
pub(super) mod payloads;
pub(super) mod policies;
pub(super) mod properties;
pub(super) mod queries;
pub(super) mod recover;
pub(super) mod schedules;
pub(super) mod searches;
pub(super) mod seeing;
pub(super) mod seeing_workflows;
pub(super) mod settle;
pub(super) mod steps;
pub(super) mod sweep;
pub(super) mod time_limits;
pub(super) mod traces;
pub(super) mod tree;
pub(super) mod unreadable;
mod workflow_laws;

/// When every case begins, Unix ms.
pub(super) const START_MS: i64 = 1_770_000_000_000;

/// A day in milliseconds.
const DAY_MS: i64 = 24 * 3600 * 1000;

/// The behaviour of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Disk {
    /// It works.
    #[default]
    Sound,
    /// It takes nothing that needs more room than there is.
    Full,
    /// It refuses every write, as a file system that became read-only or a used-up quota does.
    Refusing,
    /// It fails to sync.
    Broken,
}

/// One kind of store, on data of its own. A law asks of the store only the traits that it needs, so
/// that a store that is not whole keeps it as well.
pub(super) trait StoreHarness: Send + Sync {
    /// The store, or the traits of it that the law asks for.
    type Store: ?Sized + Send + Sync;

    /// The clock of every store this opens; it begins at [`START_MS`].
    fn clock(&self) -> &Clock;

    /// Opens a store on the same data, once the one before it has ended.
    fn open(&self) -> impl Future<Output = Arc<Self::Store>> + Send;

    /// Tells the disk of the store that was opened last what to do.
    fn set_disk(&self, disk: Disk);
}

/// One kind of store that is whole.
pub(super) trait Harness: StoreHarness<Store = dyn Store> {}

impl<T: StoreHarness<Store = dyn Store>> Harness for T {}

/// Moves the clock on.
fn pass(harness: &impl StoreHarness, ms: i64) {
    harness.clock().set(harness.clock().now_ms() + ms);
}

/// An event of `kind` for these plugins, from source `acme`.
pub(super) fn event(kind: &str, targets: &[&str]) -> NewEvent {
    NewEvent {
        deliveries: targets.iter().map(|target| Target::to(*target).into()).collect(),
        ..NewEvent::from(Attributes {
            source: "acme".into(),
            kind: kind.to_owned(),
            subject: None,
            content_type: None,
            time_ms: START_MS,
            body: Bytes::from_static(b"{}"),
        })
    }
}

/// An event that is recognised by these keys.
fn keyed(keys: &[u8]) -> NewEvent {
    NewEvent { dedupe: keys.iter().map(|key| key_of(*key)).collect(), ..event("order.paid", &[]) }
}

fn key_of(key: u8) -> DedupeKey {
    // Small numbers differ in the upper bits, by which a store may divide its keys.
    [key.reverse_bits(); 16]
}

async fn append(store: &Arc<impl Queue + ?Sized>, event: NewEvent) -> EventId {
    let appended = store.append(event).await.unwrap();
    assert!(!appended.duplicate);
    appended.id
}

/// The first delivery of a new event for `plugin`.
async fn deliver(store: &Arc<impl Queue + ?Sized>, plugin: &str) -> DeliveryId {
    DeliveryId { event: append(store, event("order.paid", &[plugin])).await, ordinal: 0 }
}

/// So many permits.
fn permits(count: u32) -> OwnedSemaphorePermit {
    Arc::new(Semaphore::new(count as usize)).try_acquire_many_owned(count).unwrap()
}

fn queue(plugin: &str) -> LeaseQueue {
    LeaseQueue::Plugin(plugin.into())
}

fn quarantine(plugins: &[&str]) -> LeaseQueue {
    LeaseQueue::Quarantine(plugins.iter().map(|plugin| (*plugin).into()).collect())
}

/// Leases up to `count` deliveries of `plugin`.
async fn lease(store: &Arc<impl Queue + ?Sized>, plugin: &str, count: u32) -> Vec<Lease> {
    store.lease(queue(plugin), permits(count)).await.unwrap().leases
}

/// Leases the only delivery of `plugin` that is due.
async fn lease_one(store: &Arc<impl Queue + ?Sized>, plugin: &str) -> Lease {
    let mut leases = lease(store, plugin, 2).await;
    assert_eq!(leases.len(), 1, "deliveries of {plugin} that are due");
    leases.remove(0)
}

pub(super) fn record(outcome: Outcome) -> AttemptRecord {
    AttemptRecord {
        started_at_ms: START_MS,
        duration_us: 1_234,
        used: Some(GuestUse { cpu_us: 987, memory_kib: 1_152 }),
        outcome,
        error: (outcome != Outcome::Ok).then(|| format!("it was {}", outcome.name())),
        logs: vec![LogLine { level: "info".to_owned(), message: "a \"line\"".to_owned() }],
        calls: vec![HttpCall {
            method: "GET".to_owned(),
            url: "https://api.example.com/v1/videos?id=*".to_owned(),
            status: Some(200),
            error: None,
            refused: false,
            sent_bytes: 0,
            received_bytes: 165,
            duration_ms: 31,
            offset_ms: Some(4),
        }],
        steps: Vec::new(),
        plugin_digest: Some(Digest([7; 32])),
    }
}

fn done_with(emitted: Vec<NewEvent>, kv: KvTransaction) -> Settlement {
    Settlement { next: Next::Done { emitted, kv }, record: Some(record(Outcome::Ok)) }
}

fn done() -> Settlement {
    done_with(Vec::new(), KvTransaction::default())
}

fn dead() -> Settlement {
    Settlement { next: Next::Dead(None), record: Some(record(Outcome::Reject)) }
}

fn retry_in(ms: i64) -> Settlement {
    Settlement { next: Next::RetryIn(time(ms)), record: Some(record(Outcome::Retry)) }
}

fn give_back(ms: i64) -> Settlement {
    Settlement { next: Next::GiveBack(time(ms)), record: None }
}

/// So many milliseconds.
fn time(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}

/// Nothing is too old.
const ALL: Keep = Keep {
    events: Duration::MAX,
    payloads: Duration::MAX,
    dedupe_keys: Duration::MAX,
    audit: Duration::MAX,
};

/// Runs `lease` until the host dies.
async fn run_on(store: &Arc<impl Queue + ?Sized>, lease: &Lease) {
    std::mem::forget(store.begin(lease).await.unwrap());
}

async fn settle(store: &Arc<impl Queue + ?Sized>, lease: Lease, settlement: Settlement) -> Settled {
    store.settle(lease, settlement).await.unwrap()
}

async fn delivery(store: &Arc<impl ReadOne + ?Sized>, id: DeliveryId) -> DeliveryView {
    store.delivery(id).await.unwrap()
}

async fn state(store: &Arc<impl ReadOne + ?Sized>, id: DeliveryId) -> State {
    delivery(store, id).await.state
}

/// A dead delivery of `plugin`.
async fn dead_letter(store: &Arc<impl Queue + ?Sized>, plugin: &str) -> DeliveryId {
    let id = deliver(store, plugin).await;
    let lease = lease_one(store, plugin).await;
    assert_eq!(lease.delivery, id);
    assert_eq!(settle(store, lease, dead()).await, Settled::Kept);
    id
}

pub(super) use failure_laws::failure_laws;
pub(super) use laws::{cases, disk_laws, laws};
pub(super) use operator_laws::operator_laws;
pub(super) use workflow_laws::workflow_laws;
