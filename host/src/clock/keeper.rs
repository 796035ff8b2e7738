//! What the host believes of its clock, as pure functions: which jumps it has seen, which of them it follows, and what is
//! not deleted because of them. `docs/design/time.md` has the reasons.
//!
//! *Host time* runs beside the wall clock, in Unix milliseconds. It never goes back and never jumps while the host runs:
//! it goes by the clock that nobody can set. It follows steps forward of up to an hour at once, and longer ones when they
//! have stood for a day or an operator has accepted them. Steps back leave it ahead of the wall clock.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A longer step than this is a jump, in milliseconds.
pub const JUMP_MS: i64 = 60 * 60 * 1000;

/// A jump that has stood for so long is accepted, in milliseconds of a running host.
pub const STANDS_AFTER_MS: i64 = 24 * JUMP_MS;

/// The longest time that a host is believed to have been off, in milliseconds: 366 days.
const LONGEST_STOP_MS: i64 = 366 * STANDS_AFTER_MS;

/// The most steps that are remembered one by one.
const MAX_HELD: usize = 64;

/// The wall clock differs from what was expected by more than an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jump {
    /// Host time at which it was seen, Unix ms.
    pub since_ms: i64,
    /// By how much, in milliseconds; negative if the clock went back.
    pub by_ms: i64,
}

impl fmt::Display for Jump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", if self.by_ms < 0 { "back" } else { "forward" }, span(self.by_ms.unsigned_abs()))
    }
}

/// A long time for people, in its two largest units from minutes up.
pub fn span(ms: u64) -> String {
    let (minutes, hours, days) = (ms / 60_000, ms / 3_600_000, ms / 86_400_000);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {} min", minutes % 60),
        (1..=365, _) => format!("{days} d {} h", hours % 24),
        _ => format!("{} years {} d", days / 365, days % 365),
    }
}

/// What is stored of the host's time, so that the next start finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeNote {
    /// Host time, Unix ms.
    pub host_ms: i64,
    /// The wall clock at the same moment, Unix ms.
    pub wall_ms: i64,
    /// What is believed.
    pub belief: Belief,
}

/// What the host believes of its clock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Belief {
    /// By how much the wall clock is expected to be behind host time, in milliseconds.
    pub behind_ms: i64,
    /// The jump that is neither over nor accepted.
    pub jump: Option<Jump>,
    /// Times for which the host was off, or its clock was set while it was: nothing is deleted because of them yet.
    pub held: Vec<Jump>,
}

/// Something that was noticed, to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The clock jumped while the host ran, or further than a host is off.
    Jumped(Jump),
    /// It is where it was expected again.
    Over(Jump),
    /// A jump has stood for a day, and is accepted.
    Stood(Jump),
    /// The host was off for so long, in milliseconds, or its clock was set meanwhile.
    WasOff(i64),
    /// A day later: retention goes by the clock again.
    Released(i64),
}

impl TimeNote {
    /// What an empty store begins with.
    pub fn fresh(wall_ms: i64) -> Self {
        Self { host_ms: wall_ms, wall_ms, belief: Belief::default() }
    }

    /// The note of a store that has none: it ran when its newest id was given out.
    pub fn of_newest_id(newest_ms: i64, wall_ms: i64) -> Self {
        let behind_ms = newest_ms - wall_ms;
        if behind_ms <= JUMP_MS {
            return Self { host_ms: newest_ms, wall_ms: newest_ms, belief: Belief::default() };
        }
        Self { host_ms: newest_ms, wall_ms, belief: Belief { behind_ms, ..Belief::default() } }
    }

    /// Host time and what is believed at a start, by this wall clock.
    pub fn resume(self, wall_ms: i64) -> (i64, Belief, Option<News>) {
        let Self { host_ms, wall_ms: last_ms, mut belief } = self;
        let off_ms = wall_ms.saturating_sub(last_ms);
        if !(0..=LONGEST_STOP_MS).contains(&off_ms) {
            return (host_ms, belief, None);
        }
        // Days are counted while the host runs, so that no stop lets an earlier jump stand for longer than it was seen.
        for jump in belief.held.iter_mut().chain(&mut belief.jump) {
            jump.since_ms += off_ms;
        }
        let host_ms = host_ms.saturating_add(off_ms);
        if off_ms <= JUMP_MS {
            return (host_ms, belief, None);
        }
        let joined = if belief.held.len() < MAX_HELD { None } else { belief.held.pop() };
        let by_ms = joined.map_or(0, |last| last.by_ms).saturating_add(off_ms);
        belief.held.push(Jump { since_ms: host_ms, by_ms });
        (host_ms, belief, Some(News::WasOff(off_ms)))
    }
}

impl Belief {
    /// Compares the clocks. Returns by how much host time is to be raised, and what is new.
    pub fn look(&mut self, wall_ms: i64, host_ms: i64) -> (i64, Vec<News>) {
        let mut news = Vec::new();
        let by_ms = wall_ms.saturating_sub(host_ms).saturating_add(self.behind_ms);
        let raise_ms = match self.jump {
            seen if by_ms.saturating_abs() <= JUMP_MS => {
                news.extend(seen.map(News::Over));
                self.jump = None;
                self.follow(wall_ms, host_ms)
            }
            Some(seen) if by_ms.abs_diff(seen.by_ms) <= JUMP_MS.unsigned_abs() => {
                if host_ms - seen.since_ms < STANDS_AFTER_MS {
                    0
                } else {
                    news.push(News::Stood(seen));
                    self.jump = None;
                    self.follow(wall_ms, host_ms)
                }
            }
            _ => {
                let jump = Jump { since_ms: host_ms, by_ms };
                news.push(News::Jumped(jump));
                self.jump = Some(jump);
                0
            }
        };
        self.held.retain(|held| {
            let stays = host_ms - held.since_ms < STANDS_AFTER_MS;
            if !stays {
                news.push(News::Released(held.by_ms));
            }
            stays
        });
        (raise_ms, news)
    }

    /// An operator says that the wall clock is right. Returns by how much host time is to be raised.
    pub fn accept(&mut self, wall_ms: i64, host_ms: i64) -> i64 {
        self.jump = None;
        self.held.clear();
        self.follow(wall_ms, host_ms)
    }

    /// The wall clock is right: host time catches up, or stays ahead.
    fn follow(&mut self, wall_ms: i64, host_ms: i64) -> i64 {
        self.behind_ms = host_ms.saturating_sub(wall_ms).max(0);
        wall_ms.saturating_sub(host_ms).max(0)
    }

    /// Nothing is deleted because of so many milliseconds that the host was off, or its clock was set meanwhile.
    pub fn held_ms(&self) -> i64 {
        self.held.iter().fold(0, |sum, held| sum.saturating_add(held.by_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_770_000_000_000;
    const DAY_MS: i64 = STANDS_AFTER_MS;

    fn look(belief: &mut Belief, wall_ms: i64, host_ms: i64) -> (i64, Vec<News>) {
        belief.look(wall_ms, host_ms)
    }

    #[test]
    fn small_steps_are_followed_forward_and_leave_host_time_ahead_when_they_go_back() {
        let mut belief = Belief::default();
        assert_eq!(look(&mut belief, NOW_MS + 5_000, NOW_MS), (5_000, Vec::new()));
        assert_eq!(look(&mut belief, NOW_MS - JUMP_MS, NOW_MS), (0, Vec::new()));
        assert_eq!(belief.behind_ms, JUMP_MS);
        assert_eq!(look(&mut belief, NOW_MS - 1_000, NOW_MS), (0, Vec::new()));
        assert_eq!(look(&mut belief, NOW_MS, NOW_MS), (0, Vec::new()));
        assert_eq!(belief, Belief::default(), "a step of seconds leaves no trace");
    }

    #[test]
    fn a_jump_that_is_over_changes_nothing() {
        for by_ms in [-DAY_MS, -2 * JUMP_MS, 30 * DAY_MS, 34 * 365 * DAY_MS] {
            let mut belief = Belief::default();
            let jump = Jump { since_ms: NOW_MS, by_ms };
            assert_eq!(look(&mut belief, NOW_MS + by_ms, NOW_MS), (0, vec![News::Jumped(jump)]));
            assert_eq!(look(&mut belief, NOW_MS + by_ms + 5, NOW_MS + 5), (0, Vec::new()), "it is told once");
            assert_eq!(look(&mut belief, NOW_MS + 9, NOW_MS + 9), (0, vec![News::Over(jump)]));
            assert_eq!(belief, Belief::default());
        }
    }

    #[test]
    fn a_jump_that_stands_for_a_day_or_is_accepted_is_followed() {
        for by_ms in [-DAY_MS, 30 * DAY_MS] {
            let mut belief = Belief::default();
            let jump = Jump { since_ms: NOW_MS, by_ms };
            look(&mut belief, NOW_MS + by_ms, NOW_MS);
            let (mut accepted, later_ms) = (belief.clone(), NOW_MS + DAY_MS);
            assert_eq!(look(&mut belief, later_ms - 1 + by_ms, later_ms - 1), (0, Vec::new()));
            let stood = look(&mut belief, later_ms + by_ms, later_ms);
            assert_eq!(stood, (by_ms.max(0), vec![News::Stood(jump)]));
            assert_eq!(belief, Belief { behind_ms: (-by_ms).max(0), ..Belief::default() });
            assert_eq!(accepted.accept(NOW_MS + by_ms, NOW_MS), by_ms.max(0));
            assert_eq!(accepted, belief);
        }
    }

    #[test]
    fn a_jump_to_another_time_begins_its_day_anew() {
        let mut belief = Belief::default();
        look(&mut belief, NOW_MS + 30 * DAY_MS, NOW_MS);
        let later_ms = NOW_MS + DAY_MS;
        let other = Jump { since_ms: later_ms, by_ms: 60 * DAY_MS };
        assert_eq!(look(&mut belief, later_ms + 60 * DAY_MS, later_ms), (0, vec![News::Jumped(other)]));
    }

    #[test]
    fn a_stop_is_followed_and_held_back_from_deletion_for_a_day_of_running() {
        let off_ms = 40 * DAY_MS;
        let (host_ms, mut belief, news) = TimeNote::fresh(NOW_MS).resume(NOW_MS + off_ms);
        assert_eq!((host_ms, news), (NOW_MS + off_ms, Some(News::WasOff(off_ms))));
        assert_eq!((belief.held_ms(), look(&mut belief, host_ms, host_ms)), (off_ms, (0, Vec::new())));
        // Another stop of a day does not count towards the day.
        let note = TimeNote { host_ms, wall_ms: host_ms, belief };
        let (host_ms, mut belief, _) = note.resume(host_ms + DAY_MS);
        assert_eq!(look(&mut belief, host_ms, host_ms), (0, Vec::new()));
        assert_eq!(belief.held_ms(), off_ms + DAY_MS);
        let later_ms = host_ms + DAY_MS;
        let released = vec![News::Released(off_ms), News::Released(DAY_MS)];
        assert_eq!(look(&mut belief, later_ms, later_ms), (0, released));
        assert_eq!(belief, Belief::default());
    }

    #[test]
    fn a_start_at_once_is_no_news() {
        let (host_ms, belief, news) = TimeNote::fresh(NOW_MS).resume(NOW_MS + JUMP_MS);
        assert_eq!((host_ms, belief, news), (NOW_MS + JUMP_MS, Belief::default(), None));
    }

    #[test]
    fn a_start_in_the_past_or_after_more_than_a_year_is_a_jump_and_not_followed() {
        for by_ms in [-DAY_MS, -2 * JUMP_MS, 34 * 365 * DAY_MS] {
            let (host_ms, mut belief, news) = TimeNote::fresh(NOW_MS).resume(NOW_MS + by_ms);
            assert_eq!((host_ms, news), (NOW_MS, None));
            let jump = Jump { since_ms: NOW_MS, by_ms };
            assert_eq!(look(&mut belief, NOW_MS + by_ms, host_ms), (0, vec![News::Jumped(jump)]));
        }
    }

    #[test]
    fn a_store_without_a_note_ran_when_its_newest_id_was_given_out() {
        let (host_ms, _, news) = TimeNote::of_newest_id(NOW_MS, NOW_MS + 2 * DAY_MS).resume(NOW_MS + 2 * DAY_MS);
        assert_eq!((host_ms, news), (NOW_MS + 2 * DAY_MS, Some(News::WasOff(2 * DAY_MS))));
        // Its ids are of a time to come: they go on from there.
        let ahead_ms = 34 * 365 * DAY_MS;
        let (host_ms, mut belief, news) = TimeNote::of_newest_id(NOW_MS + ahead_ms, NOW_MS).resume(NOW_MS);
        assert_eq!((host_ms, news), (NOW_MS + ahead_ms, None));
        assert_eq!(look(&mut belief, NOW_MS, host_ms), (0, Vec::new()));
    }

    #[test]
    fn steps_beyond_the_number_that_is_remembered_are_held_together() {
        let (mut wall_ms, mut note) = (NOW_MS, TimeNote::fresh(NOW_MS));
        for _ in 0..MAX_HELD + 5 {
            wall_ms += 2 * JUMP_MS;
            let (host_ms, belief, _) = note.resume(wall_ms);
            note = TimeNote { host_ms, wall_ms, belief };
        }
        assert_eq!(note.belief.held.len(), MAX_HELD);
        assert_eq!(note.belief.held_ms(), 2 * JUMP_MS * (MAX_HELD as i64 + 5));
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
            let (host_ms, mut belief, _) = TimeNote::fresh(NOW_MS).resume(wall_ms);
            let (raise_ms, _) = look(&mut belief, wall_ms, host_ms);
            assert_eq!((host_ms, raise_ms), (NOW_MS, 0));
        }
    }
}
