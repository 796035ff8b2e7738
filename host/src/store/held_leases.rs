//! The leases that this host holds, in whatever part of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::event::DeliveryId;

/// The leases that this host holds: deliveries and attempts, each with the number of its holders.
/// A lease that is given back and taken again in one commit has two holders for a moment.
#[derive(Debug, Default)]
pub(super) struct HeldLeases(Mutex<HashMap<(DeliveryId, u32), u32>>);

/// Marks a lease as held by a run of this host until it is dropped.
#[derive(Debug)]
pub(super) struct HeldLease {
    list: Arc<HeldLeases>,
    delivery: DeliveryId,
    attempt: u32,
    /// The run of the host that leased it.
    pub(super) run: i64,
}

impl HeldLeases {
    /// Notes that a run of this host has a lease.
    pub(super) fn hold(
        self: &Arc<Self>,
        (delivery, attempt): (DeliveryId, u32),
        run: i64,
    ) -> HeldLease {
        *self.list().entry((delivery, attempt)).or_default() += 1;
        HeldLease { list: Arc::clone(self), delivery, attempt, run }
    }

    /// Whether somebody has this lease.
    pub(super) fn has(&self, delivery: DeliveryId, attempt: u32) -> bool {
        self.list().contains_key(&(delivery, attempt))
    }

    fn list(&self) -> MutexGuard<'_, HashMap<(DeliveryId, u32), u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        let (key, mut list) = ((self.delivery, self.attempt), self.list.list());
        if let Some(times) = list.get_mut(&key) {
            *times -= 1;
            if *times == 0 {
                list.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventId;

    #[test]
    fn a_lease_is_held_until_the_last_that_has_it_lets_go() {
        let leases = Arc::new(HeldLeases::default());
        let delivery = DeliveryId { event: EventId::from_row(7), ordinal: 1 };
        let first = leases.hold((delivery, 1), 1);
        let again = leases.hold((delivery, 1), 1);
        let other = leases.hold((delivery, 2), 1);
        drop(first);
        assert!(leases.has(delivery, 1));
        drop(again);
        assert!(!leases.has(delivery, 1));
        assert!(leases.has(delivery, 2));
        drop(other);
        assert_eq!(leases.list().len(), 0, "nothing is kept of what nobody has");
    }
}
