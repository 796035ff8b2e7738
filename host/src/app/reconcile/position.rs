//! How far the log of a provider has been read. Times are those of the provider's and this host's
//! wall clocks, with a margin for their difference.

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
    /// Every event before this time is known, Unix ms.
    pub(super) complete_ms: Option<i64>,
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
    at_ms: Option<i64>,
}

/// A pass from the newest event back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pass {
    begun_ms: i64,
    /// Where its next page begins.
    pub(super) cursor: Option<String>,
    newest: Option<Seen>,
    oldest_ms: Option<i64>,
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
        let fresh = || Pass { begun_ms: now_ms, cursor: None, newest: None, oldest_ms: None };
        self.going.clone().unwrap_or_else(fresh)
    }

    /// Takes a pass as complete. Returns the time in which events may be missing, if there is one:
    /// the log has ended, and does not hold any more what was its newest event.
    pub(super) fn end(
        &mut self,
        pass: Pass,
        reached: bool,
        keeps_ms: Option<i64>,
        period_ms: u64,
        now_ms: i64,
    ) -> Option<(i64, i64)> {
        let before = self.complete_ms.replace(pass.begun_ms);
        let knew_one = self.newest.is_some();
        self.newest = pass.newest.or(self.newest.take());
        self.going = None;
        // A provider that says nothing of it keeps events at least from one pass to the next.
        let usual = i64::try_from(period_ms).unwrap_or(i64::MAX).saturating_mul(3);
        let from_ms = before.filter(|_| knew_one && !reached)?;
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
}

impl Pass {
    /// Takes note of a page, and leaves in it what is not known. Returns whether it reaches back to
    /// what is.
    pub(super) fn see(&mut self, page: &mut LoggedPage, position: &LogPosition) -> bool {
        let since_ms = match position.complete_ms {
            Some(complete_ms) => complete_ms.saturating_sub(MARGIN_MS),
            None => self.begun_ms.saturating_sub(FIRST_LOOK_MS),
        };
        for (index, event) in page.events.iter().enumerate() {
            if self.newest.is_none() {
                self.newest = Some(Seen { id: event.id.clone(), at_ms: event.at_ms });
            }
            self.oldest_ms = event.at_ms.or(self.oldest_ms);
            let is_old = match event.at_ms {
                Some(at_ms) => at_ms < since_ms,
                None => position.newest.as_ref().is_some_and(|newest| newest.id == event.id),
            };
            if is_old {
                page.events.truncate(index);
                return true;
            }
        }
        false
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
            at_ms: Some(*at_ms),
            headers: Vec::new(),
            body: Vec::new(),
        };
        LoggedPage { events: times.iter().map(event).collect(), next: None }
    }

    /// A pass over one page that is the whole log.
    fn pass(position: &mut LogPosition, now_ms: i64, times: &[i64]) -> Option<(i64, i64)> {
        let mut pass = position.resume(now_ms);
        let reached = pass.see(&mut page(times), position);
        position.end(pass, reached, None, 10 * MINUTE_MS as u64, now_ms)
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
}
