//! Which ticks of a schedule are due at a time, and which of them are emitted: arithmetic on the
//! wall clock alone.
//!
//! A tick is due a while after its nominal time if the schedule has a jitter. Of several that are
//! due at once only the last one is on time, and that one only if it is due for a minute at most;
//! the others are missed.

use std::collections::VecDeque;

use sha2::{Digest, Sha256};

use super::{MissedTicks, Schedule, Timing};
use crate::config::units::{DAY_MS, MINUTE_MS};

/// A nominal time that never comes.
pub const NO_TICK_MS: i64 = i64::MAX;

/// The most missed ticks that `missed = "all"` emits.
const MAX_CAUGHT_UP: usize = 1_000;

/// The most missed ticks that are counted one by one.
pub const MAX_COUNTED: u64 = 10_000;

/// The ticks between which the shortest time is looked for.
const COMPARED_TICKS: usize = 64;

/// A tick that is due for longer than this is missed.
const LATE_MS: i64 = MINUTE_MS as i64;

/// A clock that has gone on by more than this beyond the last tick was wrong.
const STRAYED_MS: i64 = DAY_MS as i64;

/// A step of a schedule: from one nominal time to a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedTick {
    /// The nominal time of the first tick that the step is about, Unix ms.
    pub from_ms: i64,
    /// The nominal time of the first tick after the step, or [`NO_TICK_MS`].
    pub next_ms: i64,
    /// The ticks that are missed and not emitted; `None` if the tick at `from_ms` is emitted.
    pub missed: Option<MissedRange>,
}

/// Ticks in a row that are missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissedRange {
    /// The nominal time of the last one, Unix ms.
    pub last_ms: i64,
    /// The number of them; [`MAX_COUNTED`] also stands for more.
    pub ticks: u64,
}

impl Schedule {
    /// The nominal time of the first tick after this time, Unix ms, or [`NO_TICK_MS`].
    pub fn next_after(&self, unix_ms: i64) -> i64 {
        let next = match &self.timing {
            Timing::Cron(times) => times.next_after(unix_ms),
            // Counted from 1970: every host comes to the same times.
            Timing::Every(every_ms) => {
                let every_ms = i64::try_from(*every_ms).unwrap_or(i64::MAX).max(1);
                unix_ms.div_euclid(every_ms).checked_add(1).and_then(|n| n.checked_mul(every_ms))
            }
        };
        next.unwrap_or(NO_TICK_MS)
    }

    /// The first tick of a schedule that begins now; `last_ms` is the nominal time of its last one,
    /// if it had one: no tick comes twice because the clock was set back.
    pub fn first_tick(&self, now_ms: i64, last_ms: Option<i64>) -> i64 {
        let last_ms = last_ms.filter(|last_ms| !has_strayed(*last_ms, now_ms));
        self.next_after(last_ms.map_or(now_ms, |last_ms| last_ms.max(now_ms)))
    }

    /// The shortest time between two of the next ticks, in milliseconds; `None` if there are not
    /// two.
    pub(super) fn shortest_gap_ms(&self, now_ms: i64) -> Option<u64> {
        let ticks =
            std::iter::successors(Some(self.next_after(now_ms)), |ms| Some(self.next_after(*ms)));
        let ticks: Vec<i64> =
            ticks.take(COMPARED_TICKS).take_while(|ms| *ms != NO_TICK_MS).collect();
        ticks.windows(2).map(|pair| pair[0].abs_diff(pair[1])).min()
    }

    /// Whether a schedule that has not been changed goes on with this tick. A tick that comes long
    /// after the first tick that can come now was found while the clock was ahead.
    pub fn goes_on_with(&self, next_ms: i64, now_ms: i64, last_ms: Option<i64>) -> bool {
        let late_ms = || next_ms.saturating_sub(self.first_tick(now_ms, last_ms));
        self.is_tick(next_ms) && late_ms() <= STRAYED_MS
    }

    /// Whether `next_ms` can be the time of a tick that is yet to come: the rules of its time zone
    /// may have changed.
    fn is_tick(&self, next_ms: i64) -> bool {
        next_ms == NO_TICK_MS || self.next_after(next_ms.saturating_sub(1)) == next_ms
    }

    /// The time at which the tick of this nominal time is due: later by a part of the jitter that
    /// is always the same for this tick.
    pub fn due_ms(&self, nominal_ms: i64) -> i64 {
        let Some(choices) = self.jitter_ms.checked_add(1).filter(|choices| *choices > 1) else {
            return nominal_ms;
        };
        let hash = Sha256::new_with_prefix("hookbox.schedule.jitter")
            .chain_update(&*self.name)
            .chain_update(nominal_ms.to_le_bytes())
            .finalize();
        let number = hash.iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        nominal_ms.saturating_add_unsigned(number % choices)
    }

    /// The steps that are due, in their order, if the next tick is that of `next_ms`.
    pub fn plan(&self, next_ms: i64, now_ms: i64) -> Vec<PlannedTick> {
        if self.due_ms(next_ms) > now_ms {
            return Vec::new();
        }
        let most = match self.missed {
            MissedTicks::All => MAX_CAUGHT_UP,
            MissedTicks::Once | MissedTicks::Skip => 1,
        };
        // One tick more: the last one that is not emitted.
        let mut due = self.last_due(next_ms, now_ms, most + 1);
        let mut skipped = if due.len() > most { due.pop_front() } else { None };
        let last_ms = due.back().copied().unwrap_or(next_ms);
        let is_late = now_ms.saturating_sub(self.due_ms(last_ms)) > LATE_MS;
        if self.missed == MissedTicks::Skip && is_late {
            skipped = due.pop_back();
        }
        let after_ms = self.next_after(last_ms);
        let mut steps = Vec::with_capacity(due.len() + 1);
        if let Some(last_ms) = skipped {
            let ticks = self.count(next_ms, last_ms);
            let missed = Some(MissedRange { last_ms, ticks });
            let next = due.front().copied().unwrap_or(after_ms);
            steps.push(PlannedTick { from_ms: next_ms, next_ms: next, missed });
        }
        for (at, from_ms) in due.iter().enumerate() {
            let next_ms = due.get(at + 1).copied().unwrap_or(after_ms);
            steps.push(PlannedTick { from_ms: *from_ms, next_ms, missed: None });
        }
        steps
    }

    /// The last `most` ticks from `next_ms` on that are due. Looks at a short time first, so that
    /// it costs the same after a second and after a year.
    fn last_due(&self, next_ms: i64, now_ms: i64, most: usize) -> VecDeque<i64> {
        let shortest_ms = match &self.timing {
            Timing::Cron(_) => MINUTE_MS,
            Timing::Every(every_ms) => *every_ms,
        };
        let mut back_ms = shortest_ms.saturating_mul(most as u64 + 1);
        loop {
            // A tick that is older than the longest jitter is due for certain.
            let since_ms = now_ms.saturating_sub_unsigned(back_ms.saturating_add(self.jitter_ms));
            let whole = since_ms < next_ms;
            let mut tick_ms = if whole { next_ms } else { self.next_after(since_ms) };
            let mut found = VecDeque::new();
            while tick_ms <= now_ms && self.due_ms(tick_ms) <= now_ms {
                if found.len() == most {
                    found.pop_front();
                }
                found.push_back(tick_ms);
                tick_ms = self.next_after(tick_ms);
            }
            if whole || found.len() == most {
                return found;
            }
            back_ms = back_ms.saturating_mul(4);
        }
    }

    /// The number of ticks from one to another.
    fn count(&self, first_ms: i64, last_ms: i64) -> u64 {
        if let Timing::Every(every_ms) = &self.timing {
            return (last_ms.abs_diff(first_ms) / every_ms + 1).min(MAX_COUNTED);
        }
        let (mut tick_ms, mut count) = (first_ms, 1);
        while tick_ms < last_ms && count < MAX_COUNTED {
            tick_ms = self.next_after(tick_ms);
            count += 1;
        }
        count
    }
}

/// Whether the last tick lies so far in the future that the clock must have been wrong then.
fn has_strayed(last_ms: i64, now_ms: i64) -> bool {
    last_ms.saturating_sub(now_ms) > STRAYED_MS
}

#[cfg(test)]
mod tests;
