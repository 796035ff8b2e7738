//! Events whose type cannot be read. The sender got 200 and will not send them again, so operators
//! are told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::event::EventId;
use crate::server::LineLimit;
use crate::text;

/// How long after the last such event of a source it is shown as a problem.
const SHOWN: Duration = Duration::from_secs(60 * 60);

/// At most one line a source in this time.
const LINE_PERIOD: Duration = Duration::from_secs(60);

/// The longest reason that is kept, in bytes.
const MAX_REASON_BYTES: usize = 300;

/// The sources that sent events without a type lately. The intake writes it, the admin API shows
/// it.
#[derive(Debug, Default)]
pub struct Unidentified(Mutex<BTreeMap<Arc<str>, UntypedEvents>>);

#[derive(Debug)]
struct UntypedEvents {
    lately: Lately,
    at: Instant,
    lines: LineLimit,
}

/// The events of one source that have no type. Between two of them is never more than an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lately {
    /// How many.
    pub events: u64,
    /// When the first came, Unix ms.
    pub since_ms: i64,
    /// When the last came, Unix ms.
    pub last_ms: i64,
    /// Why the last one has no type.
    pub reason: String,
}

impl Unidentified {
    /// Notes an event, and writes it to the log unless that was done within the last minute.
    pub(super) fn note(&self, source: &Arc<str>, id: EventId, reason: &str, now_ms: i64) {
        let reason = text::plain(reason, MAX_REASON_BYTES);
        if let Some(suppressed) = self.note_at(source, &reason, now_ms, Instant::now()) {
            tracing::warn!(
                source.name = &**source,
                event.id = %id,
                reason,
                suppressed,
                "the type of an event cannot be read: it is stored as hookbox.unidentified"
            );
        }
    }

    /// Whether a line is to be written, and how many were not before it.
    fn note_at(&self, source: &Arc<str>, reason: &str, now_ms: i64, now: Instant) -> Option<u64> {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sources.retain(|_, seen| now.saturating_duration_since(seen.at) < SHOWN);
        let seen = sources.entry(Arc::clone(source)).or_insert_with(|| UntypedEvents {
            lately: Lately { events: 0, since_ms: now_ms, last_ms: now_ms, reason: String::new() },
            at: now,
            lines: LineLimit::new(1, LINE_PERIOD),
        });
        seen.at = now;
        seen.lately.events += 1;
        seen.lately.last_ms = now_ms;
        reason.clone_into(&mut seen.lately.reason);
        seen.lines.admit(now)
    }

    /// The sources whose last event without a type is not older than an hour.
    pub fn lately(&self) -> Vec<(Arc<str>, Lately)> {
        self.lately_at(Instant::now())
    }

    fn lately_at(&self, now: Instant) -> Vec<(Arc<str>, Lately)> {
        let sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent =
            sources.iter().filter(|(_, seen)| now.saturating_duration_since(seen.at) < SHOWN);
        recent.map(|(source, seen)| (Arc::clone(source), seen.lately.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_one_line_a_minute_and_the_rest_is_counted() {
        let (unidentified, start) = (Unidentified::default(), Instant::now());
        let note = |source: &str, seconds| {
            unidentified.note_at(
                &source.into(),
                "the body is empty",
                0,
                start + Duration::from_secs(seconds),
            )
        };
        assert_eq!(note("a", 0), Some(0));
        assert_eq!(note("b", 1), Some(0));
        assert_eq!((note("a", 2), note("a", 59)), (None, None));
        assert_eq!(note("a", 61), Some(2));
    }

    #[test]
    fn a_source_is_shown_for_an_hour_after_its_last_event_without_a_type() {
        let (unidentified, start) = (Unidentified::default(), Instant::now());
        let source: Arc<str> = "a".into();
        let minutes = |minutes: u64| start + Duration::from_secs(60 * minutes);
        unidentified.note_at(&source, "first", 1, minutes(0));
        unidentified.note_at(&source, "second", 2, minutes(59));
        let lately = Lately { events: 2, since_ms: 1, last_ms: 2, reason: "second".to_owned() };
        assert_eq!(unidentified.lately_at(minutes(118)), [(Arc::clone(&source), lately)]);
        assert_eq!(unidentified.lately_at(minutes(119)), []);
        unidentified.note_at(&source, "third", 3, minutes(120));
        let lately = Lately { events: 1, since_ms: 3, last_ms: 3, reason: "third".to_owned() };
        assert_eq!(unidentified.lately_at(minutes(121)), [(source, lately)]);
    }
}
