//! Groups of failures that are alike.

use crate::event::{DeliveryId, Digest, FailureId, Outcome, PluginName};

/// The most groups of one plugin; what exceeds them is in one group more.
pub(in crate::store) const MAX_FAILURE_GROUPS: usize = if cfg!(test) { 4 } else { 1_000 };

/// Hours of a trend.
pub const TREND_HOURS: usize = 24;

/// The most files that a group names.
const MAX_FILES: usize = 8;

const HOUR_MS: i64 = 3_600_000;

/// The filter of a list of groups; absent fields do not filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FailureFilter {
    /// Only those that have dead or open deliveries.
    pub open: bool,
    /// Of this plugin.
    pub plugin: Option<String>,
    /// With this outcome.
    pub outcome: Option<Outcome>,
    /// That were met at or after, Unix ms.
    pub since_ms: Option<i64>,
    /// That were met first before, Unix ms.
    pub until_ms: Option<i64>,
}

/// The last group of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FailureCursor {
    /// When it was met first, Unix ms.
    pub first_ms: i64,
    /// Its id.
    pub id: FailureId,
}

/// A group of failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureView {
    /// Its id.
    pub id: FailureId,
    /// The plugin that failed.
    pub plugin: PluginName,
    /// The outcome; absent for the group of what exceeds the number of groups.
    pub outcome: Option<Outcome>,
    /// The text of the error without what differs each time.
    pub text: String,
    /// When it was met first, Unix ms.
    pub first_ms: i64,
    /// When it was met last, Unix ms.
    pub last_ms: i64,
    /// Dead deliveries whose last attempt failed so.
    pub dead: u64,
    /// Open ones.
    pub waiting: u64,
    /// Failed attempts by hour, the last one the hour of [`FailureView::last_ms`].
    pub trend: Trend,
    /// The files it was met on.
    pub files: FileCounts,
    /// The newest delivery whose last attempt failed so.
    pub sample: Option<DeliveryId>,
}

/// How often something happened in each of the last hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trend {
    /// The last hour, in hours since 1970.
    hour: i64,
    counts: [u32; TREND_HOURS],
}

impl Trend {
    /// Counts once more.
    pub(in crate::store) fn count(&mut self, now_ms: i64, more: u32) {
        let hour = now_ms.div_euclid(HOUR_MS);
        // A clock that was set back counts in the last hour.
        if hour > self.hour {
            (self.counts, self.hour) = (self.at(now_ms), hour);
        }
        let last = &mut self.counts[TREND_HOURS - 1];
        *last = last.saturating_add(more);
    }

    /// The counts of the hours up to the one of this time.
    pub fn at(&self, now_ms: i64) -> [u32; TREND_HOURS] {
        let passed = now_ms.div_euclid(HOUR_MS).saturating_sub(self.hour).max(0);
        let passed = usize::try_from(passed).unwrap_or(usize::MAX).min(TREND_HOURS);
        let mut counts = [0; TREND_HOURS];
        counts[..TREND_HOURS - passed].copy_from_slice(&self.counts[passed..]);
        counts
    }

    /// The hours in which anything was counted, in hours since 1970.
    pub(in crate::store) fn hours(self) -> impl Iterator<Item = (i64, u32)> {
        let first = self.hour - TREND_HOURS as i64 + 1;
        (first..).zip(self.counts).filter(|(_, count)| *count > 0)
    }

    /// The stored form.
    pub(in crate::store) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.hour.to_le_bytes().to_vec();
        bytes.extend(self.counts.iter().flat_map(|count| count.to_le_bytes()));
        bytes
    }

    /// Reads the stored form.
    pub(in crate::store) fn from_bytes(bytes: &[u8]) -> Self {
        let Some((hour, rest)) = bytes.split_first_chunk() else { return Self::default() };
        let mut counts = [0; TREND_HOURS];
        for (count, bytes) in counts.iter_mut().zip(rest.as_chunks().0) {
            *count = u32::from_le_bytes(*bytes);
        }
        Self { hour: i64::from_le_bytes(*hour), counts }
    }
}

/// How often something happened on which file: the files it was met on last, the last one at the
/// end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileCounts(pub Vec<(Digest, u32)>);

impl FileCounts {
    /// Counts once more.
    pub(in crate::store) fn count(&mut self, file: Digest, more: u32) {
        let known = self.0.iter().position(|(digest, _)| *digest == file);
        let before = known.map_or(0, |at| self.0.remove(at).1);
        self.0.push((file, before.saturating_add(more)));
        if self.0.len() > MAX_FILES {
            self.0.remove(0);
        }
    }

    /// The stored form.
    pub(in crate::store) fn bytes(&self) -> Vec<u8> {
        let parts = self
            .0
            .iter()
            .flat_map(|(digest, count)| [&digest.0[..], &count.to_le_bytes()].concat());
        parts.collect()
    }

    /// Reads the stored form.
    pub(in crate::store) fn from_bytes(bytes: &[u8]) -> Self {
        let read = |part: &[u8; 36]| {
            let (digest, count) = part.split_first_chunk::<32>()?;
            Some((Digest(*digest), u32::from_le_bytes(count.try_into().ok()?)))
        };
        Self(bytes.as_chunks().0.iter().filter_map(read).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trend_has_the_last_hours_and_forgets_older_ones() {
        let mut trend = Trend::default();
        let at = |hour: i64| hour * HOUR_MS + 5;
        trend.count(at(100), 3);
        trend.count(at(101), 1);
        trend.count(at(99), 1);
        let shown = trend.at(at(101));
        assert_eq!(shown[TREND_HOURS - 2..], [3, 2], "a clock that was set back loses nothing");
        assert_eq!(trend.at(at(103))[TREND_HOURS - 4..], [3, 2, 0, 0]);
        assert_eq!(trend.at(at(101 + TREND_HOURS as i64)), [0; TREND_HOURS]);
        trend.count(at(124), 7);
        let shown = trend.at(at(124));
        assert_eq!((shown[0], shown[TREND_HOURS - 1]), (2, 7));
        assert_eq!(Trend::from_bytes(&trend.bytes()), trend);
    }

    #[test]
    fn files_are_counted_and_the_one_met_longest_ago_is_forgotten() {
        let mut files = FileCounts::default();
        for file in 0..=8 {
            files.count(Digest([file; 32]), 1);
            files.count(Digest([0; 32]), 1);
        }
        assert_eq!(files.0.len(), MAX_FILES);
        assert_eq!(files.0.last(), Some(&(Digest([0; 32]), 10)));
        assert!(!files.0.iter().any(|(file, _)| *file == Digest([1; 32])));
        assert_eq!(FileCounts::from_bytes(&files.bytes()), files);
    }
}
