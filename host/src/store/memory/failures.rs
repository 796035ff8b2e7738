//! Groups of failures; their deliveries are counted when somebody asks.

use std::collections::BTreeMap;

use super::data::{MemoryData, StoredDelivery};
use crate::event::{AttemptRecord, FailureId, OTHER, Outcome, PluginName, State, failure_text};
use crate::store::model::MAX_FAILURE_GROUPS;
use crate::store::{FailureCursor, FailureFilter, FailureView, FileCounts, Trend};

/// The groups, their deliveries not counted.
#[derive(Debug, Default)]
pub(super) struct FailureRows(BTreeMap<FailureId, FailureView>);

impl FailureRows {
    /// Counts a failure in its group.
    pub(super) fn meet(
        &mut self,
        plugin: &PluginName,
        record: &AttemptRecord,
        now_ms: i64,
    ) -> FailureId {
        let text = failure_text(record.outcome, record.error.as_deref());
        let id = FailureId::of(plugin, record.outcome, &text);
        let of_plugin = |row: &&FailureView| row.plugin == *plugin && row.outcome.is_some();
        let is_full = self.0.values().filter(of_plugin).count() >= MAX_FAILURE_GROUPS;
        let (id, outcome, text) = if is_full && !self.0.contains_key(&id) {
            (FailureId::other(plugin), None, OTHER.to_owned())
        } else {
            (id, Some(record.outcome), text)
        };
        let group = self.0.entry(id).or_insert_with(|| FailureView {
            id,
            plugin: plugin.clone(),
            outcome,
            text,
            first_ms: now_ms,
            last_ms: now_ms,
            dead: 0,
            waiting: 0,
            trend: Trend::default(),
            files: FileCounts::default(),
            sample: None,
        });
        group.last_ms = group.last_ms.max(now_ms);
        group.trend.count(now_ms, 1);
        if let Some(digest) = record.plugin_digest {
            group.files.count(digest, 1);
        }
        id
    }
}

/// The group of a delivery whose attempt has left this record, if that failed.
pub(super) fn group_after(
    rows: &mut FailureRows,
    plugin: &PluginName,
    record: &AttemptRecord,
    now_ms: i64,
) -> Option<FailureId> {
    let failed = record.outcome != Outcome::Ok && record.outcome != Outcome::Again;
    failed.then(|| rows.meet(plugin, record, now_ms))
}

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
        let next = found.last().filter(|_| found.len() == limit).map(place);
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
