//! The trait that moves deliveries: append, lease, begin, settle.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::{
    Appended, InFlight, Lease, LeaseHolder, LeasePermit, LeaseQueue, Leased, MaybeReady,
    MemoryReservation, NewStep, Pending, Recorded, Settled, Settlement,
};
use crate::event::{NewEvent, PluginName};

/// Appends events, and leases and settles their deliveries.
pub trait Queue: Send + Sync + std::fmt::Debug {
    /// Hands the store its dispatcher. Until then nothing is leased on insert.
    fn attach(&self, dispatch: Arc<dyn DispatchHandle>);

    /// Stores an event and its deliveries. `Ok` means committed and fsynced.
    fn append(&self, event: NewEvent) -> Pending<'_, Appended>;

    /// Stores the events of one request, all in one commit or none of them; the answers are in
    /// their order. Each is deduplicated for itself, also against those before it in the list.
    fn append_all(&self, events: Vec<NewEvent>) -> Pending<'_, Vec<Appended>>;

    /// Whether an event still has a dedupe key of a host before schema version 5. Until all of
    /// these have expired, appends have to bring [`NewEvent::legacy_key`].
    fn has_legacy_keys(&self) -> bool;

    /// Leases due deliveries, at most one for each of `permits` of the lease budget. Unused permits
    /// are given back; if the call is dropped before it has answered, all of them are.
    fn lease(&self, queue: LeaseQueue, permits: OwnedSemaphorePermit) -> Pending<'_, Leased>;

    /// Notes that the attempt of `lease` runs, until the guard is dropped. If the host dies before
    /// that, the crash counts against the delivery. An attempt that cannot be noted must not run.
    fn begin(&self, lease: &Lease) -> MaybeReady<'_, InFlight>;

    /// Records the result of a step while its attempt runs. `Ok` means committed and fsynced. The
    /// attempt that holds the lease is the fence.
    fn record(&self, holder: &LeaseHolder, step: NewStep) -> Pending<'_, Recorded>;

    /// Settles a lease. A full disk delays it; only a stopped store fails it.
    fn settle(&self, lease: Lease, settlement: Settlement) -> Pending<'_, Settled>;

    /// Has the joins or batches of these plugins of the host end so long after their first members,
    /// also those that are open and not complete: some of them may be due at once. Of hosts that
    /// share a store the last call counts for all. Returns how many end at another time. After an
    /// error the same call goes on with the rest. A store that gathers nothing has none open.
    fn set_time_limits(&self, _: Vec<(PluginName, Duration)>) -> Pending<'_, u64> {
        Box::pin(async { Ok(0) })
    }

    /// Waits until the store has lost limits that were set by the calls before, and sets them
    /// again, unless another host has set others since. Returns how many end at another time. A
    /// store that loses nothing never answers.
    fn restore_time_limits(&self) -> Pending<'_, u64> {
        Box::pin(std::future::pending())
    }
}

/// The dispatcher as the store sees it: it gives permits for deliveries that are leased on insert,
/// and is notified of due deliveries.
///
/// All methods are called on the store's writer and must not block.
pub trait DispatchHandle: Send + Sync + std::fmt::Debug {
    /// Gives a permit for one more delivery of `plugin`, if the plugin is loaded, no older delivery
    /// waits, and its lease budget is not used up.
    fn permit(&self, plugin: &str, body_bytes: usize) -> Option<LeasePermit>;

    /// Reserves memory for the body of a delivery of `plugin` that is being leased.
    fn memory(&self, plugin: &str, body_bytes: usize) -> Option<MemoryReservation>;

    /// Takes deliveries that were leased on insert; their batch is durable.
    fn deliver(&self, leases: Vec<Lease>);

    /// Takes note that an unleased delivery of `plugin` is due in this time; its batch is durable.
    fn notify(&self, plugin: &PluginName, due_in: Duration);

    /// Takes note that a delivery of `plugin` is due that ran when a host died.
    fn notify_quarantine(&self, _plugin: &PluginName) {}

    /// Gives back what is leased now, running or not: others have it, or soon may.
    fn give_back_all(&self) {}
}
