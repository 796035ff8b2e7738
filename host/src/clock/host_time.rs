//! The relation of host time to the wall clock, as pure functions: the jumps that were seen, those
//! that are followed, and how long deletion waits because of them. The reasons are in
//! `docs/design/time.md`.
//!
//! *Host time* runs beside the wall clock, in Unix milliseconds. It advances with a clock that
//! nobody can set, so it never goes back and never jumps while the host runs. It follows steps
//! forward of up to an hour at once. It follows longer ones when they have stood for a day or an
//! operator has accepted them. Steps back leave it ahead of the wall clock.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest step that is not a jump, in milliseconds.
pub const JUMP_MS: i64 = 60 * 60 * 1000;

/// The time after which a jump that has stood is accepted, in milliseconds of a running host.
pub const STANDS_AFTER_MS: i64 = 24 * JUMP_MS;

/// The longest time for which a host can have been off, in milliseconds: 366 days. A longer one is
/// a jump.
const LONGEST_STOP_MS: i64 = 366 * STANDS_AFTER_MS;

/// The most stops that are remembered one by one.
const MAX_HELD: usize = 64;

/// A difference of more than an hour between the wall clock and its expected value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jump {
    /// The host time at which it was seen, Unix ms.
    pub since_ms: i64,
    /// The difference, in milliseconds; negative if the clock went back.
    pub by_ms: i64,
}

impl fmt::Display for Jump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} by {}",
            if self.by_ms < 0 { "back" } else { "forward" },
            span(self.by_ms.unsigned_abs())
        )
    }
}

/// Formats a long duration for people, in its two largest units from minutes up.
pub fn span(ms: u64) -> String {
    let (minutes, hours, days) = (ms / 60_000, ms / 3_600_000, ms / 86_400_000);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {} min", minutes % 60),
        (1..=365, _) => format!("{days} d {} h", hours % 24),
        _ => format!("{} years {} d", days / 365, days % 365),
    }
}

/// The note of host time in the store, from which the next start continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeNote {
    /// Host time, Unix ms.
    pub host_ms: i64,
    /// The wall clock at the same moment, Unix ms.
    pub wall_ms: i64,
    /// The state of the clock.
    pub state: ClockState,
}

/// The jumps and stops that the host has seen and not yet accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockState {
    /// Milliseconds by which the wall clock is expected to be behind host time.
    pub behind_ms: i64,
    /// The jump that is neither over nor accepted.
    pub jump: Option<Jump>,
    /// Stops of the host, during which its clock may have been set. Nothing is deleted because of
    /// them yet.
    pub held: Vec<Jump>,
}

/// A change of the clock's state, to be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockChange {
    /// The clock jumped while the host ran, or by more than the longest stop.
    Jumped(Jump),
    /// The clock is where it was expected again.
    Over(Jump),
    /// A jump has stood for a day, and is accepted.
    Stood(Jump),
    /// The host was off for this many milliseconds, or its clock was set meanwhile.
    WasOff(i64),
    /// A day has passed since a stop: retention goes by the clock again.
    Released(i64),
}

impl TimeNote {
    /// The note of an empty store.
    pub fn fresh(wall_ms: i64) -> Self {
        Self { host_ms: wall_ms, wall_ms, state: ClockState::default() }
    }

    /// The note for a store that has none: its host ran when the newest id was given out.
    pub fn of_newest_id(newest_ms: i64, wall_ms: i64) -> Self {
        let behind_ms = newest_ms - wall_ms;
        if behind_ms <= JUMP_MS {
            return Self { host_ms: newest_ms, wall_ms: newest_ms, state: ClockState::default() };
        }
        Self {
            host_ms: newest_ms,
            wall_ms,
            state: ClockState { behind_ms, ..ClockState::default() },
        }
    }

    /// Host time and the clock's state at a start, with this wall clock.
    pub fn resume(self, wall_ms: i64) -> (i64, ClockState, Option<ClockChange>) {
        let Self { host_ms, wall_ms: last_ms, mut state } = self;
        let off_ms = wall_ms.saturating_sub(last_ms);
        // The clock went back, or too far forward for a stop: the next comparison finds a jump.
        if !(0..=LONGEST_STOP_MS).contains(&off_ms) {
            return (host_ms, state, None);
        }
        // Days are counted while the host runs: a stop does not make an earlier jump older.
        for jump in state.held.iter_mut().chain(&mut state.jump) {
            jump.since_ms += off_ms;
        }
        let host_ms = host_ms.saturating_add(off_ms);
        if off_ms <= JUMP_MS {
            return (host_ms, state, None);
        }
        // Beyond the bound the newest two become one, so that none of their time is lost.
        let joined = if state.held.len() < MAX_HELD { None } else { state.held.pop() };
        let by_ms = joined.map_or(0, |last| last.by_ms).saturating_add(off_ms);
        state.held.push(Jump { since_ms: host_ms, by_ms });
        (host_ms, state, Some(ClockChange::WasOff(off_ms)))
    }
}

impl ClockState {
    /// Compares the clocks. Returns by how much host time is to be raised, and the changes.
    pub fn compare(&mut self, wall_ms: i64, host_ms: i64) -> (i64, Vec<ClockChange>) {
        let mut changes = Vec::new();
        let by_ms = wall_ms.saturating_sub(host_ms).saturating_add(self.behind_ms);
        let raise_ms = match self.jump {
            seen if by_ms.saturating_abs() <= JUMP_MS => {
                changes.extend(seen.map(ClockChange::Over));
                self.jump = None;
                self.follow(wall_ms, host_ms)
            }
            Some(seen) if by_ms.abs_diff(seen.by_ms) <= JUMP_MS.unsigned_abs() => {
                if host_ms - seen.since_ms < STANDS_AFTER_MS {
                    0
                } else {
                    changes.push(ClockChange::Stood(seen));
                    self.jump = None;
                    self.follow(wall_ms, host_ms)
                }
            }
            _ => {
                let jump = Jump { since_ms: host_ms, by_ms };
                changes.push(ClockChange::Jumped(jump));
                self.jump = Some(jump);
                0
            }
        };
        self.held.retain(|held| {
            let stays = host_ms - held.since_ms < STANDS_AFTER_MS;
            if !stays {
                changes.push(ClockChange::Released(held.by_ms));
            }
            stays
        });
        (raise_ms, changes)
    }

    /// Accepts the wall clock. Returns by how much host time is to be raised.
    pub fn accept(&mut self, wall_ms: i64, host_ms: i64) -> i64 {
        self.jump = None;
        self.held.clear();
        self.follow(wall_ms, host_ms)
    }

    /// Follows the wall clock: host time catches up, or stays ahead.
    fn follow(&mut self, wall_ms: i64, host_ms: i64) -> i64 {
        self.behind_ms = host_ms.saturating_sub(wall_ms).max(0);
        wall_ms.saturating_sub(host_ms).max(0)
    }

    /// Milliseconds by which deletion is behind the wall clock, because the host was off or its
    /// clock was set meanwhile.
    pub fn held_ms(&self) -> i64 {
        self.held.iter().fold(0, |sum, held| sum.saturating_add(held.by_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_770_000_000_000;
    const DAY_MS: i64 = STANDS_AFTER_MS;

    fn compare(state: &mut ClockState, wall_ms: i64, host_ms: i64) -> (i64, Vec<ClockChange>) {
        state.compare(wall_ms, host_ms)
    }

    #[test]
    fn small_steps_are_followed_forward_and_leave_host_time_ahead_when_they_go_back() {
        let mut state = ClockState::default();
        assert_eq!(compare(&mut state, NOW_MS + 5_000, NOW_MS), (5_000, Vec::new()));
        assert_eq!(compare(&mut state, NOW_MS - JUMP_MS, NOW_MS), (0, Vec::new()));
        assert_eq!(state.behind_ms, JUMP_MS);
        assert_eq!(compare(&mut state, NOW_MS - 1_000, NOW_MS), (0, Vec::new()));
        assert_eq!(compare(&mut state, NOW_MS, NOW_MS), (0, Vec::new()));
        assert_eq!(state, ClockState::default(), "a step of seconds leaves no trace");
    }

    #[test]
    fn a_jump_that_is_over_changes_nothing() {
        for by_ms in [-DAY_MS, -2 * JUMP_MS, 30 * DAY_MS, 34 * 365 * DAY_MS] {
            let mut state = ClockState::default();
            let jump = Jump { since_ms: NOW_MS, by_ms };
            assert_eq!(
                compare(&mut state, NOW_MS + by_ms, NOW_MS),
                (0, vec![ClockChange::Jumped(jump)])
            );
            assert_eq!(
                compare(&mut state, NOW_MS + by_ms + 5, NOW_MS + 5),
                (0, Vec::new()),
                "it is told once"
            );
            assert_eq!(
                compare(&mut state, NOW_MS + 9, NOW_MS + 9),
                (0, vec![ClockChange::Over(jump)])
            );
            assert_eq!(state, ClockState::default());
        }
    }

    #[test]
    fn a_jump_that_stands_for_a_day_or_is_accepted_is_followed() {
        for by_ms in [-DAY_MS, 30 * DAY_MS] {
            let mut state = ClockState::default();
            let jump = Jump { since_ms: NOW_MS, by_ms };
            compare(&mut state, NOW_MS + by_ms, NOW_MS);
            let (mut accepted, later_ms) = (state.clone(), NOW_MS + DAY_MS);
            assert_eq!(compare(&mut state, later_ms - 1 + by_ms, later_ms - 1), (0, Vec::new()));
            let stood = compare(&mut state, later_ms + by_ms, later_ms);
            assert_eq!(stood, (by_ms.max(0), vec![ClockChange::Stood(jump)]));
            assert_eq!(state, ClockState { behind_ms: (-by_ms).max(0), ..ClockState::default() });
            assert_eq!(accepted.accept(NOW_MS + by_ms, NOW_MS), by_ms.max(0));
            assert_eq!(accepted, state);
        }
    }

    #[test]
    fn a_jump_to_another_time_begins_its_day_anew() {
        let mut state = ClockState::default();
        compare(&mut state, NOW_MS + 30 * DAY_MS, NOW_MS);
        let later_ms = NOW_MS + DAY_MS;
        let other = Jump { since_ms: later_ms, by_ms: 60 * DAY_MS };
        assert_eq!(
            compare(&mut state, later_ms + 60 * DAY_MS, later_ms),
            (0, vec![ClockChange::Jumped(other)])
        );
    }

    #[test]
    fn a_stop_is_followed_and_held_back_from_deletion_for_a_day_of_running() {
        let off_ms = 40 * DAY_MS;
        let (host_ms, mut state, changes) = TimeNote::fresh(NOW_MS).resume(NOW_MS + off_ms);
        assert_eq!((host_ms, changes), (NOW_MS + off_ms, Some(ClockChange::WasOff(off_ms))));
        assert_eq!(
            (state.held_ms(), compare(&mut state, host_ms, host_ms)),
            (off_ms, (0, Vec::new()))
        );
        // Another stop of a day does not count towards the day.
        let note = TimeNote { host_ms, wall_ms: host_ms, state };
        let (host_ms, mut state, _) = note.resume(host_ms + DAY_MS);
        assert_eq!(compare(&mut state, host_ms, host_ms), (0, Vec::new()));
        assert_eq!(state.held_ms(), off_ms + DAY_MS);
        let later_ms = host_ms + DAY_MS;
        let released = vec![ClockChange::Released(off_ms), ClockChange::Released(DAY_MS)];
        assert_eq!(compare(&mut state, later_ms, later_ms), (0, released));
        assert_eq!(state, ClockState::default());
    }

    #[test]
    fn a_start_at_once_is_no_news() {
        let (host_ms, state, changes) = TimeNote::fresh(NOW_MS).resume(NOW_MS + JUMP_MS);
        assert_eq!((host_ms, state, changes), (NOW_MS + JUMP_MS, ClockState::default(), None));
    }

    #[test]
    fn a_start_in_the_past_or_after_more_than_a_year_is_a_jump_and_not_followed() {
        for by_ms in [-DAY_MS, -2 * JUMP_MS, 34 * 365 * DAY_MS] {
            let (host_ms, mut state, changes) = TimeNote::fresh(NOW_MS).resume(NOW_MS + by_ms);
            assert_eq!((host_ms, changes), (NOW_MS, None));
            let jump = Jump { since_ms: NOW_MS, by_ms };
            assert_eq!(
                compare(&mut state, NOW_MS + by_ms, host_ms),
                (0, vec![ClockChange::Jumped(jump)])
            );
        }
    }

    #[test]
    fn a_store_without_a_note_ran_when_its_newest_id_was_given_out() {
        let (host_ms, _, changes) =
            TimeNote::of_newest_id(NOW_MS, NOW_MS + 2 * DAY_MS).resume(NOW_MS + 2 * DAY_MS);
        assert_eq!(
            (host_ms, changes),
            (NOW_MS + 2 * DAY_MS, Some(ClockChange::WasOff(2 * DAY_MS)))
        );
        // Its ids are of a time to come: they go on from there.
        let ahead_ms = 34 * 365 * DAY_MS;
        let (host_ms, mut state, changes) =
            TimeNote::of_newest_id(NOW_MS + ahead_ms, NOW_MS).resume(NOW_MS);
        assert_eq!((host_ms, changes), (NOW_MS + ahead_ms, None));
        assert_eq!(compare(&mut state, NOW_MS, host_ms), (0, Vec::new()));
    }

    #[test]
    fn steps_beyond_the_number_that_is_remembered_are_held_together() {
        let (mut wall_ms, mut note) = (NOW_MS, TimeNote::fresh(NOW_MS));
        for _ in 0..MAX_HELD + 5 {
            wall_ms += 2 * JUMP_MS;
            let (host_ms, state, _) = note.resume(wall_ms);
            note = TimeNote { host_ms, wall_ms, state };
        }
        assert_eq!(note.state.held.len(), MAX_HELD);
        assert_eq!(note.state.held_ms(), 2 * JUMP_MS * (MAX_HELD as i64 + 5));
    }

    #[test]
    fn a_jump_is_told_in_its_largest_units() {
        let told = |by_ms| Jump { since_ms: 0, by_ms }.to_string();
        assert_eq!(told(-JUMP_MS - 59_000), "back by 1 h 0 min");
        assert_eq!(told(30 * DAY_MS + 2 * JUMP_MS), "forward by 30 d 2 h");
        assert_eq!(told(34 * 365 * DAY_MS), "forward by 34 years 0 d");
        assert_eq!(span(59 * 60_000), "59 min");
    }

    #[test]
    fn no_clock_is_too_wrong() {
        for wall_ms in [i64::MIN, 0, i64::MAX] {
            let (host_ms, mut state, _) = TimeNote::fresh(NOW_MS).resume(wall_ms);
            let (raise_ms, _) = compare(&mut state, wall_ms, host_ms);
            assert_eq!((host_ms, raise_ms), (NOW_MS, 0));
        }
    }
}
