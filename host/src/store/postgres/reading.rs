//! Queries of operators and of the dispatcher.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::{Postgres, gathered, refused, values};
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

    fn dead_notice(&self, _: DeliveryId) -> Pending<'_, Option<(DeliveryId, u32)>> {
        refused(StoreError::Unsupported("dead letters as events"))
    }

    fn gathering(&self, delivery: DeliveryId) -> Pending<'_, Option<GatheringView>> {
        Box::pin(async move {
            self.shared.answers()?;
            gathered::view(&self.reads.client, delivery, self.shared.at()).await
        })
    }

    fn gatherings(
        &self,
        filter: GatheringFilter,
        limit: usize,
        after: Option<GatheringCursor>,
    ) -> Pending<'_, (Vec<GatheringState>, Option<GatheringCursor>)> {
        Box::pin(async move {
            self.shared.answers()?;
            gathered::open(&self.reads.client, &filter, limit, after).await
        })
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

    fn steps(&self, delivery: DeliveryId) -> Pending<'_, BTreeMap<String, Vec<u8>>> {
        Box::pin(async move {
            self.shared.answers()?;
            self.reads.steps(delivery).await
        })
    }

    fn kv_get(&self, bucket: PluginName, key: String) -> Pending<'_, Option<KvValue>> {
        Box::pin(async move {
            self.shared.answers()?;
            values::value(&self.reads.client, &bucket, &key).await
        })
    }

    fn kv_keys(&self, bucket: PluginName, range: KvRange) -> Pending<'_, Vec<KvKey>> {
        Box::pin(async move {
            self.shared.answers()?;
            values::keys(&self.reads.client, &bucket, &range).await
        })
    }

    fn kv_buckets(&self) -> MaybeReady<'_, BTreeMap<PluginName, u64>> {
        MaybeReady::Pending(Box::pin(async move {
            self.shared.answers()?;
            values::bytes(&self.reads.client, None).await
        }))
    }

    fn approvals(&self) -> Pending<'_, Vec<StoredApproval>> {
        refused(StoreError::Unsupported("approvals"))
    }

    fn kv_bytes(&self, bucket: &str) -> MaybeReady<'_, u64> {
        let bucket = bucket.to_owned();
        MaybeReady::Pending(Box::pin(async move {
            self.shared.answers()?;
            let bytes = values::bytes(&self.reads.client, Some(&bucket)).await?;
            Ok(bytes.into_values().next().unwrap_or(0))
        }))
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
