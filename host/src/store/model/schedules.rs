//! Ticks of schedules: the row of each schedule, and the steps from one tick to the next.

use std::sync::Arc;

use crate::event::{EventId, NewEvent};

/// The most records of skipped ticks that are kept of a schedule.
pub const MAX_SKIP_RECORDS: usize = 100;

/// The part of a schedule's row that a host compares before it changes the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleMark {
    /// A number for the times of the schedule: another number means other times.
    pub spec: i64,
    /// The nominal time of the next tick, Unix ms by the wall clock.
    pub next_ms: i64,
    /// Whether it ticks.
    pub active: bool,
}

/// A schedule as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSchedule {
    /// Its name.
    pub name: Arc<str>,
    /// How far it has come.
    pub mark: ScheduleMark,
    /// The nominal time of the last tick, Unix ms.
    pub last_ms: Option<i64>,
    /// The reason for which the last tick was skipped, if it was.
    pub skipped: Option<SkipReason>,
    /// The event of the last tick that was emitted, and its nominal time.
    pub emitted: Option<(EventId, i64)>,
}

/// The reason for which a tick emitted nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// No host was there in time.
    Missed,
    /// A delivery of the tick before was open.
    Overlap,
}

impl SkipReason {
    /// Every reason, in the order of [`SkipReason::code`].
    pub const ALL: [Self; 2] = [Self::Missed, Self::Overlap];

    /// The stored form.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Reads the stored form.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The name people see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::Overlap => "overlap",
        }
    }
}

/// Ticks in a row that were skipped for the same reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedTicks {
    /// The nominal time of the first one, Unix ms.
    pub first_ms: i64,
    /// The nominal time of the last one.
    pub last_ms: i64,
    /// The number of them, as far as they were counted.
    pub ticks: u64,
    /// The reason.
    pub reason: SkipReason,
}

/// A change of a schedule by its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScheduleChange {
    /// It ticks from `to` on, if its row is still as in `from`; `None` stands for no row. A last
    /// tick that is not before the next one is forgotten: the clock was wrong then.
    Begin {
        /// The schedule.
        name: Arc<str>,
        /// The mark that the caller has seen.
        from: Option<ScheduleMark>,
        /// How it goes on.
        to: ScheduleMark,
    },
    /// It ticks no more, and what is known of it stays.
    Pause(Arc<str>),
    /// It is gone.
    Forget(Arc<str>),
}

/// A step from one tick of a schedule to a later one.
#[derive(Debug, Clone)]
pub struct Tick {
    /// The schedule.
    pub name: Arc<str>,
    /// The times that the step was planned by.
    pub spec: i64,
    /// The nominal time of the tick, Unix ms. The step is made only if that is the next one.
    pub from_ms: i64,
    /// The nominal time of the tick after the step.
    pub next_ms: i64,
    /// The step of the tick.
    pub step: TickStep,
}

/// The step of a tick: it is emitted, or was missed.
#[derive(Debug, Clone)]
pub enum TickStep {
    /// It is emitted.
    Emit {
        /// The event, with its way.
        event: Box<NewEvent>,
        /// Whether it is skipped while a delivery of the last event is open.
        skips_overlap: bool,
    },
    /// It and those after it were missed.
    Missed {
        /// The nominal time of the last one.
        last_ms: i64,
        /// The number of them, as far as they were counted.
        ticks: u64,
    },
}

/// The result of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ticked {
    /// The event is stored.
    Emitted(EventId),
    /// Nothing was emitted, and the reason is recorded.
    Skipped(SkipReason),
    /// It was not the next tick: another host was faster, or the schedule has changed.
    Lost,
}
