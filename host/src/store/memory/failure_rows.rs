//! The groups of failures, as they are kept.

use std::collections::BTreeMap;

use crate::event::{AttemptRecord, FailureId, OTHER, PluginName, failure_text};
use crate::store::model::MAX_FAILURE_GROUPS;
use crate::store::{FailureView, FileCounts, Trend};

/// The groups, their deliveries not counted.
#[derive(Debug, Default)]
pub(super) struct FailureRows(pub(super) BTreeMap<FailureId, FailureView>);

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

    /// The group of a delivery whose attempt has left this record, if that failed.
    pub(super) fn after(
        &mut self,
        plugin: &PluginName,
        record: &AttemptRecord,
        now_ms: i64,
    ) -> Option<FailureId> {
        record.outcome.is_failure().then(|| self.meet(plugin, record, now_ms))
    }
}
