//! Losses by failovers while this host ran, for metrics and operators.

use std::sync::{Mutex, PoisonError};

use crate::clock::rfc3339;

/// For how long it is told that everything was sent again.
const TOLD_FOR_MS: i64 = 3_600_000;

/// Losses by failovers while this host ran.
#[derive(Debug, Default)]
pub(super) struct LossLog(Mutex<LossCounts>);

#[derive(Debug, Default, Clone, Copy)]
struct LossCounts {
    /// When it was found last.
    at_ms: i64,
    /// Batches that were acknowledged and were not on the new primary, at most.
    batches: u64,
    /// Those of them that were sent again.
    again: u64,
    /// Commands of them that did not hold any more.
    refused: u64,
    /// The last batches that were counted, if not all of them are mended.
    counted: Option<[i64; 2]>,
}

impl LossLog {
    fn with<T>(&self, change: impl FnOnce(&mut LossCounts) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts what is lost, each batch once, and says so. `kept` batches are sent again.
    pub(super) fn count(&self, newest: [i64; 2], acked: [i64; 2], kept: usize, now_ms: i64) {
        let (lost, again) = self.with(|counts| {
            let before = counts.counted.unwrap_or_default();
            let lost =
                |at: usize| u64::try_from(acked[at] - newest[at].max(before[at])).unwrap_or(0);
            let lost = lost(0) + lost(1);
            let again = u64::try_from(kept).unwrap_or(u64::MAX).min(lost);
            counts.at_ms = now_ms;
            counts.batches += lost;
            counts.again += again;
            counts.counted = Some(acked);
            (lost, again)
        });
        for (sent_again, count) in [("true", again), ("false", lost - again)] {
            metrics::counter!("hookbox_store_lost_batches_total", "sent_again" => sent_again)
                .increment(count);
        }
        tracing::error!(
            batches = lost,
            sent_again = again,
            lost = lost - again,
            "this primary does not have the last batches that were acknowledged"
        );
    }

    /// Counts commands that did not hold any more.
    pub(super) fn refuse(&self, commands: u64) {
        self.with(|counts| counts.refused += commands);
    }

    /// Notes that all was sent again that could be.
    pub(super) fn mended(&self) {
        self.with(|counts| counts.counted = None);
    }

    /// The batches that were found to be lost.
    #[cfg(test)]
    pub(super) fn batches(&self) -> u64 {
        self.with(|counts| counts.batches)
    }

    /// The matter for an operator, if there is one. A loss that was mended is told for an hour.
    pub(super) fn warning(&self, now_ms: i64) -> Option<String> {
        let LossCounts { at_ms, batches, again, refused, .. } = self.with(|counts| *counts);
        let gone = batches.saturating_sub(again);
        let is_told = batches > 0 && (gone > 0 || now_ms < at_ms.saturating_add(TOLD_FOR_MS));
        is_told.then(|| {
            let at = rfc3339(at_ms);
            let rest = match gone {
                0 => "so nothing that was acknowledged is lost".to_owned(),
                _ => format!(
                    "and {gone} are lost: have senders repeat what they sent right before; shown \
                     until this host starts again"
                ),
            };
            format!(
                "at {at} a server without the last {batches} batches that this host had \
                 acknowledged was the primary: {again} were sent again ({refused} of their \
                 commands did not hold any more), {rest}. A synchronous standby loses none"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lost_batch_is_counted_once_and_a_loss_that_stays_is_told_until_the_end() {
        let log = LossLog::default();
        assert_eq!(log.warning(0), None);
        log.count([4, 0], [6, 1], 3, 1_000);
        // The connection was lost in the middle, when one had been sent.
        log.count([5, 0], [6, 1], 2, 2_000);
        log.mended();
        assert_eq!(log.batches(), 3);
        let told = log.warning(2_000 + TOLD_FOR_MS - 1).unwrap();
        assert!(told.contains("last 3 batches") && told.contains("3 were sent again"), "{told}");
        assert_eq!(log.warning(2_000 + TOLD_FOR_MS), None);
        log.count([6, 1], [9, 1], 1, 3_000);
        let told = log.warning(i64::MAX).unwrap();
        assert!(told.contains("4 were sent again") && told.contains("2 are lost"), "{told}");
    }
}
