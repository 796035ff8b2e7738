//! Counts, and when deliveries are due.

use std::collections::BTreeMap;

use super::data::{MemoryData, StoredDelivery};
use crate::event::PluginName;
use crate::store::{DueTimes, Stats};

impl MemoryData {
    pub(super) fn stats(&self) -> Stats {
        let (events, duplicates) = (self.events.len() as u64, self.duplicates);
        let mut stats = Stats { events, duplicates, ..Stats::default() };
        for StoredDelivery { view, .. } in self.deliveries.values() {
            stats.plugins.entry(view.plugin.clone()).or_default().0
                [usize::from(view.state.code())] += 1;
        }
        stats
    }

    /// When deliveries of plugins are due, by a clock that the host's time is so far ahead of.
    pub(super) fn due_times(
        &self,
        plugins: &[PluginName],
        now_ms: i64,
        ahead_ms: i64,
    ) -> BTreeMap<PluginName, DueTimes> {
        let mut found = BTreeMap::<_, DueTimes>::new();
        let waits = |it: &&StoredDelivery| {
            it.is_open() && it.due_ms() < i64::MAX && plugins.contains(&it.view.plugin)
        };
        for delivery in self.deliveries.values().filter(waits) {
            let times = found.entry(delivery.view.plugin.clone()).or_default();
            let is_ready = delivery.due_ms() <= now_ms;
            let first = if is_ready { &mut times.oldest_ready_ms } else { &mut times.next_due_ms };
            let due_ms = delivery.due_ms().saturating_sub(ahead_ms);
            *first = Some(first.map_or(due_ms, |other| other.min(due_ms)));
        }
        found
    }
}
