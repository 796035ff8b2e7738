//! How many bytes the failing attempts of one plugin may write to the store: a token bucket.
//!
//! A row counts as at least one page, because rows of different deliveries alternate and share
//! none. A record that exceeds the bucket is not stored but counted. The attempt that makes a dead
//! letter keeps a short record, because people will ask why the delivery died.

use crate::event::{AttemptRecord, HttpCall, LogLine};
use crate::text;

/// Bytes a second for the records of one plugin's failed attempts.
pub const RECORD_BYTES_PER_SECOND: u64 = 1 << 20;

/// Bytes at once, after a time without failures.
const RECORD_BURST_BYTES: u64 = 4 << 20;

/// The least that a row counts.
const PAGE_BYTES: u64 = 4 << 10;

/// The length of a short record's error, in bytes.
const SHORT_ERROR_BYTES: usize = 256;

/// The JSON of a line or a call beside its texts, roughly, in bytes.
const MEMBERS_BYTES: usize = 192;

/// The bucket of one plugin.
#[derive(Debug)]
pub(super) struct RecordBudget {
    left_bytes: u64,
    at_ms: u64,
}

impl RecordBudget {
    /// A full bucket.
    pub(super) fn new(now_ms: u64) -> Self {
        Self { left_bytes: RECORD_BURST_BYTES, at_ms: now_ms }
    }

    /// Reduces the record of a failed attempt: to itself if it fits, to a short one for a dead
    /// letter, to `None` otherwise.
    pub(super) fn reduce(
        &mut self,
        record: AttemptRecord,
        dead: bool,
        now_ms: u64,
    ) -> Option<AttemptRecord> {
        if self.take(stored_bytes(&record), now_ms) {
            return Some(record);
        }
        if !dead {
            return None;
        }
        // Allowed beyond the budget: there is at most one dead letter a delivery.
        self.left_bytes = self.left_bytes.saturating_sub(PAGE_BYTES);
        let error = record.error.map(|error| text::plain(&error, SHORT_ERROR_BYTES));
        Some(AttemptRecord { error, logs: Vec::new(), calls: Vec::new(), ..record })
    }

    fn take(&mut self, bytes: u64, now_ms: u64) -> bool {
        let passed_ms = now_ms.saturating_sub(self.at_ms);
        let earned_bytes = passed_ms.saturating_mul(RECORD_BYTES_PER_SECOND) / 1_000;
        self.left_bytes = self.left_bytes.saturating_add(earned_bytes).min(RECORD_BURST_BYTES);
        self.at_ms = self.at_ms.max(now_ms);
        let fits = bytes <= self.left_bytes;
        if fits {
            self.left_bytes -= bytes;
        }
        fits
    }
}

/// The size of a record in the store, in bytes: its texts as JSON, rounded up to pages.
fn stored_bytes(record: &AttemptRecord) -> u64 {
    let logs = record
        .logs
        .iter()
        .map(|LogLine { level, message }| MEMBERS_BYTES + level.len() + escaped(message));
    let calls = record.calls.iter().map(|HttpCall { method, url, error, .. }| {
        MEMBERS_BYTES + method.len() + escaped(url) + error.as_deref().map_or(0, escaped)
    });
    let steps = record.steps.iter().map(|step| MEMBERS_BYTES + escaped(&step.name));
    let error = record.error.as_ref().map_or(0, String::len);
    let bytes: usize = logs.chain(calls).chain(steps).sum::<usize>() + error + MEMBERS_BYTES;
    (bytes as u64).next_multiple_of(PAGE_BYTES)
}

/// The length of a text in JSON. The text has no control characters.
fn escaped(text: &str) -> usize {
    text.len() + text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::Outcome;

    fn record(log: &str) -> AttemptRecord {
        AttemptRecord {
            started_at_ms: 0,
            duration_us: 1,
            used: None,
            outcome: Outcome::Retry,
            error: Some("e".repeat(2_000)),
            logs: vec![LogLine { level: "info".to_owned(), message: log.to_owned() }],
            calls: vec![HttpCall {
                method: "GET".to_owned(),
                url: "https://api.example.com/".to_owned(),
                status: None,
                error: Some("no".to_owned()),
                refused: false,
                sent_bytes: 0,
                received_bytes: 0,
                duration_ms: 1,
                offset_ms: None,
            }],
            steps: Vec::new(),
            plugin_digest: None,
        }
    }

    fn kept(budget: &mut RecordBudget, count: usize, now_ms: u64) -> usize {
        (0..count).filter(|_| budget.reduce(record(""), false, now_ms).is_some()).count()
    }

    #[test]
    fn a_burst_is_kept_and_then_a_mebibyte_a_second_a_page_each_at_least() {
        let mut budget = RecordBudget::new(0);
        assert_eq!(kept(&mut budget, 5_000, 0), 1_024);
        assert_eq!(kept(&mut budget, 5_000, 1_000), 256);
        assert_eq!(kept(&mut budget, 5_000, 1_500), 128);
        assert_eq!(kept(&mut budget, 5_000, 3_600_000), 1_024, "it is never more than a burst");
    }

    #[test]
    fn a_long_log_takes_as_much_as_it_is_long() {
        let mut budget = RecordBudget::new(0);
        let long = "\"".repeat(32 << 10);
        let kept = (0..1_000).filter(|_| budget.reduce(record(&long), false, 0).is_some()).count();
        assert_eq!(kept, 60, "64 KiB with its backslashes, and a page for the rest");
    }

    #[test]
    fn a_dead_letter_always_keeps_a_short_record() {
        let mut budget = RecordBudget::new(0);
        let full = budget.reduce(record("a"), true, 0);
        assert_eq!(full, Some(record("a")), "within the budget it keeps all");
        kept(&mut budget, 5_000, 0);
        for _ in 0..1_000 {
            let short = budget.reduce(record("a"), true, 0).expect("a record");
            assert!(short.logs.is_empty() && short.calls.is_empty(), "{short:?}");
            assert!(
                short
                    .error
                    .is_some_and(|error| error.len() <= SHORT_ERROR_BYTES && error.ends_with('…'))
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_never_exceeds_the_burst_and_what_was_earned(
            takes in proptest::collection::vec((0u64..2_000, 0u64..2_000_000), 0..200),
        ) {
            let mut budget = RecordBudget::new(0);
            let (mut now_ms, mut taken_bytes) = (0, 0);
            for (passed_ms, bytes) in takes {
                now_ms += passed_ms;
                if budget.take(bytes, now_ms) {
                    taken_bytes += bytes;
                }
                let allowed_bytes = RECORD_BURST_BYTES + now_ms * RECORD_BYTES_PER_SECOND / 1_000;
                prop_assert!(taken_bytes <= allowed_bytes);
            }
        }

        #[test]
        fn the_weight_is_no_less_than_what_the_store_writes(log in "[^\\p{Cc}]{0,500}") {
            let record = record(&log);
            let written = serde_json::to_string(&record.logs).unwrap().len()
                + serde_json::to_string(&record.calls).unwrap().len()
                + record.error.as_ref().map_or(0, String::len);
            prop_assert!(stored_bytes(&record) >= written as u64);
        }
    }
}
