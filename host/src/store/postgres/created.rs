//! The deliveries that a batch has created, once it is durable.

use std::time::Duration;

use super::shared::PostgresShared;
use crate::event::{EventId, PluginName};
use crate::store::Lease;

/// The result of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AppendedAs {
    /// It is stored under this id.
    New(EventId),
    /// It repeats this one.
    DuplicateOf(EventId),
    /// It has to be appended again, because another event with one of its keys was faster.
    Later,
    /// The settlement that emits it was not kept.
    Dropped,
}

/// The deliveries that a batch has created or opened, once it is durable.
#[derive(Default)]
pub(super) struct CreatedDeliveries {
    /// Those that are leased.
    pub(super) leases: Vec<Lease>,
    /// Those that are not, with the time until they are due.
    pub(super) waiting: Vec<(PluginName, Duration)>,
    /// Those that are leased and for whose bodies there is no memory.
    pub(super) refused: Vec<Lease>,
}

/// Notes that this host has these leases of a run.
pub(super) fn hold(shared: &PostgresShared, run: i64, leases: &mut [Lease]) {
    for lease in leases {
        lease.held = Some(Box::new(shared.held.hold((lease.delivery, lease.attempt), run)));
    }
}

/// Tells the dispatcher what a durable batch of a run has created, and the other hosts what is due
/// now and not leased.
pub(super) fn tell(shared: &PostgresShared, run: i64, mut created: CreatedDeliveries) {
    hold(shared, run, &mut created.leases);
    let dispatch = shared.dispatch.get();
    if let Some(dispatch) = dispatch
        && !created.leases.is_empty()
    {
        dispatch.deliver(created.leases);
    }
    for (plugin, due_in) in created.waiting {
        if due_in.is_zero() {
            shared.wakes.add(&plugin);
        }
        if let Some(dispatch) = dispatch {
            dispatch.notify(&plugin, due_in);
        }
    }
}
