//! The deliveries that a batch has created, once it is durable.

use std::sync::Arc;
use std::time::Duration;

use crate::event::{EventId, PluginName};
use crate::store::{DispatchHandle, Lease};

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

/// Tells the dispatcher what a durable batch has created.
pub(super) fn tell(dispatch: &Arc<dyn DispatchHandle>, created: CreatedDeliveries) {
    if !created.leases.is_empty() {
        dispatch.deliver(created.leases);
    }
    for (plugin, due_in) in created.waiting {
        dispatch.notify(&plugin, due_in);
    }
}
