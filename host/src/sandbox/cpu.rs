//! Guests that compute: the epoch interrupts them, and a pool of threads of lower priority runs them.
//!
//! An attempt begins on the worker that took it up. Once its guest has computed for longer than [`GRACE`], it is *CPU-bound*
//! and goes on in the [`Pool`], whose threads give way to every other thread of the host. There it yields at each tick of
//! the epoch, and polls only while it holds a run slot of its plugin. `docs/design/cpu.md` has the measurements.

use std::time::Duration;

mod epoch;
mod meter;
mod pool;

pub(super) use epoch::Epoch;
pub(super) use meter::Meter;
pub(super) use pool::{Pool, Slots};

/// How long a guest may compute on a worker.
const GRACE: Duration = Duration::from_millis(2);
