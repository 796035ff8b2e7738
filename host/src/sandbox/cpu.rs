//! Guests that compute: the epoch interrupts them, and run slots bound how many do so at once.
//!
//! Once a guest has computed for longer than [`GRACE`], it is *CPU-bound*: it polls only while it
//! holds a run slot, and yields at each tick of the epoch. `docs/design/cpu.md` has the
//! measurements that this rests on.

use std::time::Duration;

mod epoch;
mod meter;
mod slots;

pub(super) use epoch::Epoch;
pub(super) use meter::GuestMeter;
pub(super) use slots::{PluginSlots, RunSlots};

/// How long a guest may compute without a run slot.
const GRACE: Duration = Duration::from_millis(2);
