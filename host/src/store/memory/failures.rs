//! Groups of failures; their deliveries are counted when somebody asks.

use super::data::{MemoryData, StoredDelivery};
use crate::event::{FailureId, State};
use crate::store::{FailureCursor, FailureFilter, FailureView};

impl MemoryData {
    pub(super) fn failures(
        &self,
        filter: &FailureFilter,
        limit: usize,
        after: Option<FailureCursor>,
    ) -> (Vec<FailureView>, Option<FailureCursor>) {
        let place = |view: &FailureView| FailureCursor { first_ms: view.first_ms, id: view.id };
        let mut found: Vec<_> = self.failures.0.keys().filter_map(|id| self.failure(*id)).collect();
        found.retain(|view| {
            (!filter.open || view.dead + view.waiting > 0)
                && filter.plugin.as_ref().is_none_or(|plugin| **plugin == *view.plugin)
                && (filter.outcome.is_none() || filter.outcome == view.outcome)
                && filter.since_ms.is_none_or(|since| view.last_ms >= since)
                && filter.until_ms.is_none_or(|until| view.first_ms < until)
                && after.is_none_or(|after| place(view) < after)
        });
        found.sort_by_key(|view| std::cmp::Reverse(place(view)));
        found.truncate(limit);
        let next = if found.len() == limit { found.last().map(place) } else { None };
        (found, next)
    }

    pub(super) fn failure(&self, id: FailureId) -> Option<FailureView> {
        let mut view = self.failures.0.get(&id)?.clone();
        let of_group = |delivery: &&StoredDelivery| delivery.view.failure == Some(id);
        for delivery in self.deliveries.values().filter(of_group) {
            view.dead += u64::from(delivery.view.state == State::Dead);
            view.waiting += u64::from(delivery.is_open());
            view.sample = Some(delivery.view.id);
        }
        Some(view)
    }

    /// Deletes groups that were met last before this time, and that no delivery is in.
    pub(super) fn sweep_failures(&mut self, before_ms: i64) {
        let deliveries = &self.deliveries;
        self.failures.0.retain(|id, view| {
            view.last_ms >= before_ms
                || deliveries.values().any(|delivery| delivery.view.failure == Some(*id))
        });
    }
}
