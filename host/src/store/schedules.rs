//! The trait for ticks of schedules.

use std::sync::Arc;

use super::{Pending, ScheduleChange, SkippedTicks, StoredSchedule, Tick, Ticked};

/// Keeps how far each schedule has come.
///
/// The nominal times of ticks are times of the wall clock (Unix ms), unlike all other times that
/// the store is told: a cron expression means the clock on the wall. The store compares them with
/// each other and never with a clock.
pub trait Schedules: Send + Sync + std::fmt::Debug {
    /// The milliseconds by which the wall clock of a store that hosts share is ahead of this
    /// host's. Ticks go by it, so that a host whose clock is wrong makes none too early.
    fn ahead_of_wall_ms(&self) -> i64 {
        0
    }

    /// Every schedule that is stored, by name.
    fn schedules(&self) -> Pending<'_, Vec<StoredSchedule>>;

    /// The ticks of a schedule that were skipped lately, the newest first.
    fn skipped_ticks(&self, name: Arc<str>) -> Pending<'_, Vec<SkippedTicks>>;

    /// Changes a schedule. Returns whether its row was as the caller had seen it.
    fn change_schedule(&self, change: ScheduleChange) -> Pending<'_, bool>;

    /// Makes a step: compares the next tick with that of the step, and stores the event with its
    /// deliveries, or the reason for which there is none, with the tick after it. All of this
    /// commits together or not at all.
    fn tick(&self, tick: Tick) -> Pending<'_, Ticked>;
}
