//! Queries of operators and of the dispatcher.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::{Postgres, refused};
use crate::event::{DeliveryId, EventId, FailureId, PluginName};
use crate::store::{
    Changes, Cursor, DeliveryFilter, DeliveryView, DueTimes, EventFilter, EventSummary,
    FailureCursor, FailureFilter, FailureView, GatheringCursor, GatheringFilter, GatheringState,
    GatheringView, KvKey, KvRange, KvValue, MaybeReady, Page, Pauses, Pending, Read, StoreError,
    StoredApproval, TreeView,
};

impl Read for Postgres {
    fn events(&self, _: EventFilter, _: Page) -> Pending<'_, (Vec<EventSummary>, Option<Cursor>)> {
        refused(StoreError::Unsupported("listings"))
    }

    fn deliveries(
        &self,
        _: DeliveryFilter,
        _: Page,
    ) -> Pending<'_, (Vec<DeliveryView>, Option<Cursor>)> {
        refused(StoreError::Unsupported("listings"))
    }

    fn dead_notice(&self, delivery: DeliveryId) -> Pending<'_, Option<(DeliveryId, u32)>> {
        Box::pin(async move {
            self.shared.answers()?;
            self.reads.dead_notice(delivery).await
        })
    }

    fn gathering(&self, _: DeliveryId) -> Pending<'_, Option<GatheringView>> {
        refused(StoreError::Unsupported("joins and batches"))
    }

    fn gatherings(
        &self,
        _: GatheringFilter,
        _: usize,
        _: Option<GatheringCursor>,
    ) -> Pending<'_, (Vec<GatheringState>, Option<GatheringCursor>)> {
        refused(StoreError::Unsupported("joins and batches"))
    }

    fn tree(&self, _: EventId, _: usize, _: Option<EventId>) -> Pending<'_, TreeView> {
        refused(StoreError::Unsupported("trees"))
    }

    fn failures(
        &self,
        _: FailureFilter,
        _: usize,
        _: Option<FailureCursor>,
    ) -> Pending<'_, (Vec<FailureView>, Option<FailureCursor>)> {
        refused(StoreError::Unsupported("groups of failures"))
    }

    fn failure(&self, _: FailureId) -> Pending<'_, FailureView> {
        refused(StoreError::Unsupported("groups of failures"))
    }

    fn steps(&self, _: DeliveryId) -> Pending<'_, BTreeMap<String, Vec<u8>>> {
        refused(StoreError::Unsupported("steps"))
    }

    fn kv_get(&self, _: PluginName, _: String) -> Pending<'_, Option<KvValue>> {
        refused(StoreError::Unsupported("values of plugins"))
    }

    fn kv_keys(&self, _: PluginName, _: KvRange) -> Pending<'_, Vec<KvKey>> {
        refused(StoreError::Unsupported("values of plugins"))
    }

    fn kv_buckets(&self) -> MaybeReady<'_, BTreeMap<PluginName, u64>> {
        MaybeReady::ready(Err(StoreError::Unsupported("values of plugins")))
    }

    fn approvals(&self) -> Pending<'_, Vec<StoredApproval>> {
        refused(StoreError::Unsupported("approvals"))
    }

    fn kv_bytes(&self, _: &str) -> MaybeReady<'_, u64> {
        MaybeReady::ready(Err(StoreError::Unsupported("values of plugins")))
    }

    fn due_times(&self, _: Vec<PluginName>) -> Pending<'_, BTreeMap<PluginName, DueTimes>> {
        refused(StoreError::Unsupported("due times"))
    }

    fn pauses(&self) -> watch::Receiver<Arc<Pauses>> {
        self.shared.pauses.subscribe()
    }

    fn changes(&self) -> Changes {
        self.shared.changes.listen()
    }
}
