//! How far the log of a provider has been read.
//!
//! Times of events are compared with each other, because they are all the provider's. The clock of
//! this host says how long ago a pass was, and how far the first one goes back.

use serde::{Deserialize, Serialize};

use crate::providers::LoggedPage;

/// Events may appear in a log a while after their time.
const MARGIN_MS: i64 = 10 * 60 * 1000;

/// How far the first pass of a source goes back.
const FIRST_LOOK_MS: i64 = 24 * 60 * 60 * 1000;

/// How long a gap is shown.
const GAP_SHOWN_MS: i64 = 24 * 60 * 60 * 1000;

/// How far the log of a source has been read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct LogPosition {
    /// Every event before this time of the provider is known, Unix ms.
    pub(super) complete_ms: Option<i64>,
    /// When the last complete pass began by this host's clock, Unix ms.
    last_ms: Option<i64>,
    /// The newest event that a complete pass has seen.
    newest: Option<Seen>,
    /// The pass that is not complete.
    pub(super) going: Option<Pass>,
    /// The last gap, and when it was found.
    gap: Option<(i64, i64, i64)>,
}

/// An event in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    id: String,
    at_ms: i64,
    /// When the first pass that saw it began by this host's clock, Unix ms.
    first_ms: i64,
}

/// A pass from the newest event back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pass {
    begun_ms: i64,
    /// Where its next page begins.
    pub(super) cursor: Option<String>,
    newest: Option<Seen>,
    oldest_ms: Option<i64>,
    /// Whether it has seen what was known before.
    #[serde(default)]
    reached: bool,
}

impl LogPosition {
    /// Reads what is stored; what cannot be read is as good as nothing.
    pub(super) fn read(stored: Option<&str>) -> Self {
        stored.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// The text that is stored.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers are JSON")
    }

    /// The pass to go on with.
    pub(super) fn resume(&self, now_ms: i64) -> Pass {
        self.going.clone().unwrap_or(Pass {
            begun_ms: now_ms,
            cursor: None,
            newest: None,
            oldest_ms: None,
            reached: false,
        })
    }

    /// Takes a pass as complete. Returns the time in which events may be missing, if there is one:
    /// the log has ended, and does not hold any more what was its newest event.
    pub(super) fn end(
        &mut self,
        pass: Pass,
        keeps_ms: Option<i64>,
        period_ms: u64,
        now_ms: i64,
    ) -> Option<(i64, i64)> {
        let before = self.last_ms.replace(pass.begun_ms);
        let knew_one = self.newest.is_some();
        if let Some(newest) = pass.newest {
            // A clock that is ahead would otherwise have later events pass as old ones.
            self.complete_ms = Some(newest.at_ms.min(pass.begun_ms));
            self.newest = Some(newest);
        }
        self.going = None;
        // A provider that says nothing of it keeps events at least from one pass to the next.
        let usual = i64::try_from(period_ms).unwrap_or(i64::MAX).saturating_mul(3);
        if !knew_one || pass.reached {
            return None;
        }
        let from_ms = before?;
        let is_long = pass.begun_ms.saturating_sub(from_ms) > keeps_ms.unwrap_or(usual);
        let gap = (from_ms, pass.oldest_ms.unwrap_or(pass.begun_ms).max(from_ms));
        if is_long {
            self.gap = Some((gap.0, gap.1, now_ms));
        }
        is_long.then_some(gap)
    }

    /// The last gap, for as long as it is shown.
    pub(super) fn shown_gap(&self, now_ms: i64) -> Option<(i64, i64)> {
        let (from_ms, to_ms, found_ms) = self.gap?;
        (now_ms.saturating_sub(found_ms) < GAP_SHOWN_MS).then_some((from_ms, to_ms))
    }

    /// The time before which events are known, for a pass over a log with this newest event.
    fn since_ms(&self, begun_ms: i64, newest: &Seen) -> i64 {
        let Some(complete_ms) = self.complete_ms else {
            return begun_ms.saturating_sub(FIRST_LOOK_MS);
        };
        // The same event has been the newest for so long that nothing enters before it any more.
        let is_quiet = self.newest.as_ref().is_some_and(|known| {
            known.id == newest.id && begun_ms.saturating_sub(known.first_ms) > MARGIN_MS
        });
        if is_quiet { complete_ms } else { complete_ms.saturating_sub(MARGIN_MS) }
    }
}

impl Pass {
    /// Takes note of a page, and leaves in it what is not known. Returns whether the pass ends with
    /// it: everything in it is known, and the pages after it are older.
    pub(super) fn see(&mut self, page: &mut LoggedPage, position: &LogPosition) -> bool {
        let known = position.newest.as_ref();
        for event in &page.events {
            let is_newer = self.newest.as_ref().is_none_or(|newest| newest.at_ms < event.at_ms);
            if is_newer {
                let (id, at_ms) = (event.id.clone(), event.at_ms);
                let known = known.filter(|known| known.id == id);
                let first_ms = known.map_or(self.begun_ms, |known| known.first_ms);
                self.newest = Some(Seen { id, at_ms, first_ms });
            }
            let oldest_ms = self.oldest_ms.unwrap_or(event.at_ms);
            self.oldest_ms = Some(oldest_ms.min(event.at_ms));
            self.reached |= known.is_some_and(|known| known.id == event.id);
        }
        let Some(newest) = &self.newest else { return false };
        let since_ms = position.since_ms(self.begun_ms, newest);
        // Pages after it may be newer.
        let may_rise = match page.events.as_slice() {
            [first, .., last] => first.at_ms <= last.at_ms,
            _ => false,
        };
        let all = page.events.len();
        page.events.retain(|event| event.at_ms >= since_ms);
        self.reached |= page.events.len() < all;
        page.events.is_empty() && !may_rise
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::LoggedEvent;

    const MINUTE_MS: i64 = 60_000;

    fn page(times: &[i64]) -> LoggedPage {
        let event = |at_ms: &i64| LoggedEvent {
            id: format!("e{at_ms}"),
            kind: "x".to_owned(),
            at_ms: *at_ms,
            headers: Vec::new(),
            body: Vec::new(),
        };
        LoggedPage { events: times.iter().map(event).collect(), next: None }
    }

    /// A pass over one page that is the whole log.
    fn pass(position: &mut LogPosition, now_ms: i64, times: &[i64]) -> Option<(i64, i64)> {
        let mut pass = position.resume(now_ms);
        pass.see(&mut page(times), position);
        position.end(pass, None, 10 * MINUTE_MS as u64, now_ms)
    }

    #[test]
    fn a_log_that_no_longer_reaches_back_is_a_gap_and_a_quiet_one_is_none() {
        let mut position = LogPosition::default();
        let day_ms = 24 * 60 * MINUTE_MS;
        assert_eq!(pass(&mut position, day_ms, &[]), None, "nothing is known yet");
        let first = day_ms + 20 * MINUTE_MS;
        assert_eq!(pass(&mut position, first, &[first - 5]), None);
        assert_eq!(pass(&mut position, first + 10 * MINUTE_MS, &[first - 5]), None);
        let late = first + 10 * day_ms;
        assert_eq!(
            pass(&mut position, late, &[late - 9, first - 20 * MINUTE_MS]),
            None,
            "it reaches"
        );
        let later = late + 10 * day_ms;
        assert_eq!(pass(&mut position, later, &[later - 3, later - 7]), Some((late, later - 7)));
        assert_eq!(position.shown_gap(later), Some((late, later - 7)));
        assert_eq!(position.shown_gap(later + day_ms), None);
        assert_eq!(LogPosition::read(Some(&position.text())), position);
        assert_eq!(LogPosition::read(Some("{")), LogPosition::default());
    }

    #[test]
    fn a_pass_ends_where_the_last_one_began_less_the_margin() {
        let position = LogPosition { complete_ms: Some(100 * MINUTE_MS), ..LogPosition::default() };
        let see = |at: i64| position.resume(200 * MINUTE_MS).see(&mut page(&[at]), &position);
        assert!(see(89 * MINUTE_MS) && !see(91 * MINUTE_MS));
        let first = LogPosition::default();
        let now_ms = 48 * 60 * MINUTE_MS;
        let see = |at: i64| first.resume(now_ms).see(&mut page(&[at]), &first);
        assert!(see(now_ms - FIRST_LOOK_MS - 1) && !see(now_ms - FIRST_LOOK_MS));
    }

    /// The times in a page that a new pass at `now_ms` would append, and whether it ends there.
    fn fresh(position: &LogPosition, now_ms: i64, times: &[i64]) -> (Vec<i64>, bool) {
        let mut page = page(times);
        let ends = position.resume(now_ms).see(&mut page, position);
        (page.events.iter().map(|event| event.at_ms).collect(), ends)
    }

    #[test]
    fn a_clock_that_is_ahead_does_not_make_later_events_old() {
        let day_ms = 24 * 60 * MINUTE_MS;
        for ahead_ms in [11 * MINUTE_MS, 2 * day_ms] {
            let mut position = LogPosition::default();
            let real_ms = 10 * day_ms;
            pass(&mut position, real_ms + ahead_ms, &[]);
            pass(&mut position, real_ms + ahead_ms, &[real_ms - MINUTE_MS]);
            let now_ms = real_ms + ahead_ms + 10 * MINUTE_MS;
            let late = real_ms - 30_000;
            assert_eq!(fresh(&position, now_ms, &[late]), (vec![late], false));
        }
    }

    #[test]
    fn a_clock_that_was_ahead_and_an_event_from_the_future_lose_nothing() {
        let mut position = LogPosition::default();
        let now_ms = 100 * 60 * MINUTE_MS;
        pass(&mut position, now_ms, &[now_ms + 60 * MINUTE_MS, now_ms - MINUTE_MS]);
        let next = now_ms + MINUTE_MS;
        let times = [now_ms + 60 * MINUTE_MS, next];
        assert_eq!(fresh(&position, now_ms + 10 * MINUTE_MS, &times), (times.to_vec(), false));
    }

    #[test]
    fn old_events_among_new_ones_do_not_end_a_pass_and_a_page_of_old_ones_does() {
        let now_ms = 100 * 60 * MINUTE_MS;
        let complete_ms = Some(now_ms - 20 * MINUTE_MS);
        let position = LogPosition { complete_ms, ..LogPosition::default() };
        let (old, new) = (now_ms - 40 * MINUTE_MS, now_ms - MINUTE_MS);
        assert_eq!(fresh(&position, now_ms, &[new, old, new - 1]), (vec![new, new - 1], false));
        assert_eq!(fresh(&position, now_ms, &[old, old - 1]), (vec![], true));
        // A log whose oldest events come first goes on to the new ones.
        assert_eq!(fresh(&position, now_ms, &[old - 1, old]), (vec![], false));
        assert_eq!(fresh(&position, now_ms, &[old, old]), (vec![], false));
        assert_eq!(fresh(&position, now_ms, &[]), (vec![], false));
    }

    #[test]
    fn a_quiet_log_is_not_read_back_by_the_margin_with_every_pass() {
        let mut position = LogPosition::default();
        let now_ms = 100 * 60 * MINUTE_MS;
        let times = [now_ms - 2, now_ms - 3];
        pass(&mut position, now_ms, &times);
        let soon = now_ms + 5 * MINUTE_MS;
        assert_eq!(fresh(&position, soon, &times).0, times, "one may still come between them");
        pass(&mut position, soon, &times);
        assert_eq!(fresh(&position, now_ms + 11 * MINUTE_MS, &times).0, times[..1]);
        let later = [now_ms + 12 * MINUTE_MS, now_ms - 2, now_ms - 3];
        assert_eq!(fresh(&position, now_ms + 13 * MINUTE_MS, &later).0, later);
    }
}
