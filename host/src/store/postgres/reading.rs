//! Queries of operators and of the dispatcher.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::error::failed_query;
use super::{Postgres, approvals, due, failures, listing, refused, tree_view};
use crate::event::{DeliveryId, EventId, FailureId, PluginName};
use crate::store::{
    Changes, Cursor, DeliveryFilter, DeliveryView, DueTimes, EventFilter, EventSummary,
    FailureCursor, FailureFilter, FailureView, GatheringCursor, GatheringFilter, GatheringState,
    GatheringView, KvKey, KvRange, KvValue, MaybeReady, Page, Pauses, Pending, Read, StoreError,
    StoredApproval, TreeView,
};

impl Read for Postgres {
    fn events(
        &self,
        filter: EventFilter,
        page: Page,
    ) -> Pending<'_, (Vec<EventSummary>, Option<Cursor>)> {
        Box::pin(async move {
            self.shared.answers()?;
            let moment = self.listings.read().await?;
            let found = listing::events(&moment, &filter, page).await;
            moment.commit().await?;
            Ok(found?)
        })
    }

    fn deliveries(
        &self,
        filter: DeliveryFilter,
        page: Page,
    ) -> Pending<'_, (Vec<DeliveryView>, Option<Cursor>)> {
        Box::pin(async move {
            self.shared.answers()?;
            let moment = self.listings.read().await?;
            let found = listing::deliveries(&moment, &filter, page).await;
            moment.commit().await?;
            Ok(found?)
        })
    }

    fn dead_notice(&self, _: DeliveryId) -> Pending<'_, Option<(DeliveryId, u32)>> {
        refused(StoreError::Unsupported("dead letters as events"))
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

    fn tree(&self, event: EventId, limit: usize, after: Option<EventId>) -> Pending<'_, TreeView> {
        Box::pin(async move {
            self.shared.answers()?;
            let moment = self.listings.read().await?;
            let found = tree_view::tree(&moment, event, limit, after).await;
            moment.commit().await?;
            found?.ok_or_else(|| StoreError::NotFound(format!("event `{event}`")))
        })
    }

    fn failures(
        &self,
        filter: FailureFilter,
        limit: usize,
        after: Option<FailureCursor>,
    ) -> Pending<'_, (Vec<FailureView>, Option<FailureCursor>)> {
        Box::pin(async move {
            self.shared.answers()?;
            let found = failures::failures(&self.reads.client, &filter, limit, after).await;
            found.map_err(|error| failed_query(&error))
        })
    }

    fn failure(&self, id: FailureId) -> Pending<'_, FailureView> {
        Box::pin(async move {
            self.shared.answers()?;
            let found = failures::failure(&self.reads.client, id).await;
            let found = found.map_err(|error| failed_query(&error))?;
            found.ok_or_else(|| StoreError::NotFound(format!("failure group `{id}`")))
        })
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
        Box::pin(async move {
            self.shared.answers()?;
            approvals::read(&self.reads.client).await
        })
    }

    fn kv_bytes(&self, _: &str) -> MaybeReady<'_, u64> {
        MaybeReady::ready(Err(StoreError::Unsupported("values of plugins")))
    }

    fn due_times(&self, plugins: Vec<PluginName>) -> Pending<'_, BTreeMap<PluginName, DueTimes>> {
        Box::pin(async move {
            self.shared.answers()?;
            let found = due::times(&self.reads.client, &plugins, self.shared.at()).await;
            found.map_err(|error| failed_query(&error))
        })
    }

    fn pauses(&self) -> watch::Receiver<Arc<Pauses>> {
        self.shared.pauses.subscribe()
    }

    fn changes(&self) -> Changes {
        self.shared.changes.listen()
    }
}
