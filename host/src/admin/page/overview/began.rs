//! When a trouble began, whether it is over, and what was changed shortly before it.

use crate::admin::page::parts::html::Html;
use crate::admin::page::parts::when::{clock, relative, when};
use crate::admin::state::Admin;
use crate::series::{MAX_MARKS, Mark, Point, QUIET_MS, STEP_MS, Sampled};
use crate::store::{AuditEntry, AuditFilter};

/// A trouble that has not been seen for this long is over, in milliseconds.
const OVER_MS: i64 = 60_000;

/// A change is near a beginning if it was at most this long before it, in milliseconds.
const NEAR_MS: i64 = 600_000;

/// Entries of the audit log that are looked at.
const LOOKED_AT: usize = 50;

/// The subject of a trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TroubleKind {
    /// A part of the host.
    Host,
    /// Attempts of a plugin that fail.
    Attempts,
    /// Dead letters of a plugin, which stay until somebody decides.
    DeadLetters,
    /// A file that waits to be approved.
    Approval,
    /// Refused requests of a source.
    Refusals,
    /// Events that no plugin gets.
    Unrouted,
}

/// The time of a trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TroubleSpan {
    pub(super) from_ms: i64,
    /// Whether it may have begun before, in a time that is not known any more.
    pub(super) is_older: bool,
    /// When it was seen last, if it is over.
    pub(super) to_ms: Option<i64>,
}

impl TroubleSpan {
    /// A trouble that goes on.
    pub(super) fn since(from_ms: i64) -> Self {
        Self { from_ms, is_older: false, to_ms: None }
    }

    /// The newest trouble in samples, the oldest of which is first.
    pub(super) fn of(
        samples: &[Sampled],
        is_bad: impl Fn(&Point) -> bool,
        now_ms: i64,
    ) -> Option<Self> {
        let bad = samples.iter().enumerate().filter(|(_, sampled)| is_bad(&sampled.point));
        let mut newest_first = bad.rev();
        let (mut at, last) = newest_first.next()?;
        for (earlier, sampled) in newest_first {
            if samples[at].at_ms - sampled.at_ms > QUIET_MS {
                break;
            }
            at = earlier;
        }
        // A sample may be of more than its usual time.
        let begun_ms = match at.checked_sub(1) {
            Some(before) => samples[before].at_ms,
            None => samples[at].at_ms - STEP_MS,
        };
        let is_over = now_ms - last.at_ms >= OVER_MS;
        Some(Self {
            from_ms: begun_ms,
            is_older: begun_ms - samples[0].at_ms < QUIET_MS
                && samples[0].at_ms < now_ms - 10 * QUIET_MS,
            to_ms: is_over.then_some(last.at_ms),
        })
    }

    /// The time in words: `since 14:02 UTC, 2 h ago`. Dead letters stay when nothing fails now.
    pub(super) fn words(self, about: TroubleKind, now_ms: i64) -> Html {
        let mut html = Html::default();
        let older = if self.is_older { " or before" } else { "" };
        match self.to_ms {
            None => {
                html.text(&format!("since {} UTC{older}, ", clock(self.from_ms, now_ms)));
                html.raw(when(self.from_ms, now_ms))
            }
            Some(to_ms) => {
                let (from, to) = (clock(self.from_ms, now_ms), clock(to_ms, now_ms));
                html.text(&match about {
                    TroubleKind::DeadLetters => {
                        format!("attempts failed from {from}{older} to {to} UTC, the last one ")
                    }
                    TroubleKind::Unrouted => format!("since {from} UTC{older}, the last one "),
                    _ => format!("from {from}{older} to {to} UTC, over: the last one "),
                });
                html.raw(when(to_ms, now_ms))
            }
        };
        html
    }
}

/// Changes that may be the cause of a trouble.
#[derive(Debug, Default)]
pub(super) struct NearbyChanges {
    /// Each with its time, the thing that was changed, and the change in words.
    found: Vec<(i64, String, String)>,
    /// Since when all changes are known.
    known_ms: i64,
}

impl NearbyChanges {
    /// The changes from shortly before the first of some times on.
    pub(super) async fn since(admin: &Admin, first_ms: i64) -> Self {
        let (since_ms, started_ms) = (first_ms - NEAR_MS, admin.started_ms);
        let marks = admin.series.marks(since_ms);
        let filter = AuditFilter { since_ms: Some(since_ms), ..AuditFilter::default() };
        let noted = admin.store.audit(filter, LOOKED_AT, None).await;
        let is_known = noted.is_ok() && marks.len() < MAX_MARKS;
        let (entries, more) = noted.unwrap_or_default();
        // The newest entries are looked at: what was before the last of them is not known.
        let oldest_ms = entries.last().filter(|_| more.is_some()).map(|entry| entry.at_ms);
        let start = (started_ms, String::new(), "the host was started".to_owned());
        let found = marks.into_iter().map(of_mark).chain(entries.into_iter().map(of_entry));
        Self {
            found: found.chain([start]).collect(),
            known_ms: match is_known {
                true => oldest_ms.map_or(started_ms, |oldest_ms| oldest_ms.max(started_ms)),
                false => i64::MAX,
            },
        }
    }

    /// Whether it is known that nothing was changed shortly before a trouble.
    pub(super) fn none_before(&self, name: &str, span: TroubleSpan) -> bool {
        let is_known = !span.is_older && self.known_ms <= span.from_ms - NEAR_MS;
        is_known && self.before(name, span).is_none()
    }

    /// The last change before a trouble of a thing: one of the thing itself before all others.
    pub(super) fn before(&self, name: &str, span: TroubleSpan) -> Option<Html> {
        let from_ms = span.from_ms;
        let is_near = |at_ms: i64| (from_ms - NEAR_MS..=from_ms + STEP_MS).contains(&at_ms);
        let near = self.found.iter().filter(|(at_ms, ..)| is_near(*at_ms));
        let (at_ms, _, says) = near.max_by_key(|(at_ms, of, _)| (of == name, *at_ms))?;
        let before = relative(*at_ms, from_ms.max(*at_ms)).replace("ago", "before");
        let before = if before == "now" { "just then".to_owned() } else { before };
        let mut html = Html::default();
        html.text(&format!("{before}: {says}"));
        Some(html)
    }
}

fn of_mark(mark: Mark) -> (i64, String, String) {
    let says = match (mark.what, mark.result) {
        ("config", "taken") => "a new configuration was taken".to_owned(),
        ("config", result) => format!("a new configuration was {result}"),
        (_, "loaded") => format!("a new file of {} was loaded", mark.name),
        (_, "held") => format!("a new file of {} came and waits for approval", mark.name),
        (_, "kept") => format!("a new file of {} was not taken", mark.name),
        (_, "removed") => format!("the file of {} was removed", mark.name),
        (what, result) => format!("{what} {} {result}", mark.name),
    };
    (mark.at_ms, mark.name, says)
}

/// The details of an entry may be hidden from the client, and are left out.
fn of_entry(entry: AuditEntry) -> (i64, String, String) {
    let says = match entry.action.starts_with("plugins.") || entry.action.starts_with("schedules.")
    {
        true => format!("{} {} by {}", entry.action, entry.target, entry.actor),
        false => format!("{} by {}", entry.action, entry.actor),
    };
    (entry.at_ms, entry.target, says)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_770_000_000_000;

    /// An hour of samples, bad in these steps.
    fn samples(bad: impl Fn(i64) -> bool) -> Vec<Sampled> {
        let sampled = |step: i64| {
            let mut point = Point::default();
            point.counts[1] = u32::from(bad(step));
            Sampled { at_ms: NOW_MS - (359 - step) * STEP_MS, point }
        };
        (0..360).map(sampled).collect()
    }

    fn span(bad: impl Fn(i64) -> bool) -> Option<TroubleSpan> {
        TroubleSpan::of(&samples(bad), |point| point.counts[1] > 0, NOW_MS)
    }

    #[test]
    fn a_trouble_begins_after_a_quiet_time_and_is_over_when_it_is_not_seen_for_a_minute() {
        assert_eq!(span(|_| false), None);
        let now = span(|step| step == 20 || (300..).contains(&step)).unwrap();
        assert_eq!((now.from_ms, now.to_ms), (NOW_MS - 60 * STEP_MS, None));
        assert!(!now.is_older);
        let over = span(|step| (100..=200).contains(&step) && step % 3 == 1).unwrap();
        let at = |step: i64| NOW_MS - (359 - step) * STEP_MS;
        assert_eq!((over.from_ms, over.to_ms), (at(99), Some(at(199))));
        assert!(span(|_| true).unwrap().is_older, "it may have begun before the hour");
    }

    #[test]
    fn the_words_say_when_it_began_and_when_it_was_seen_last() {
        let now = TroubleSpan::since(NOW_MS - 7_200_000)
            .words(TroubleKind::DeadLetters, NOW_MS)
            .to_string();
        assert!(now.starts_with("since 00:40 UTC, ") && now.contains("2 h ago"), "{now}");
        let over =
            TroubleSpan { to_ms: Some(NOW_MS - 600_000), ..TroubleSpan::since(NOW_MS - 900_000) };
        let says = over.words(TroubleKind::Refusals, NOW_MS).to_string();
        assert!(says.starts_with("from 02:25 to 02:30 UTC, over: the last one "), "{says}");
        let says = over.words(TroubleKind::DeadLetters, NOW_MS).to_string();
        let begin = "attempts failed from 02:25 to 02:30 UTC, the last one ";
        assert!(says.starts_with(begin) && !says.contains("over"), "{says}");
    }

    #[test]
    fn the_last_change_of_the_thing_itself_is_named_before_others() {
        let change = |at_ms, of: &str, says: &str| (at_ms, of.to_owned(), says.to_owned());
        let changes = NearbyChanges {
            found: vec![
                change(NOW_MS - 700_000, "a", "too early"),
                change(NOW_MS - 240_000, "a", "a new <file>"),
                change(NOW_MS - 60_000, "", "a new configuration"),
                change(NOW_MS + 60_000, "a", "too late"),
            ],
            known_ms: NOW_MS - 3_600_000,
        };
        let before = |name| changes.before(name, TroubleSpan::since(NOW_MS)).unwrap().to_string();
        assert_eq!(before("a"), "4 min before: a new &lt;file&gt;");
        assert_eq!(before("b"), "1 min before: a new configuration");
        let later = TroubleSpan::since(NOW_MS + 3_600_000);
        assert_eq!(changes.before("a", later), None);
        assert!(changes.none_before("a", later));
        assert!(!changes.none_before("a", TroubleSpan { is_older: true, ..later }));
        assert!(!changes.none_before("a", TroubleSpan::since(NOW_MS)));
        let long_ago = TroubleSpan::since(NOW_MS - 3_100_000);
        assert!(!changes.none_before("a", long_ago), "earlier changes are not known");
    }
}
