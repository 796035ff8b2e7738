//! Queries of operators and of the dispatcher.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::error::failed_query;
use super::{Postgres, approvals, due, failures, gathered, listing, tree_view, values};
use crate::event::{DeliveryId, EventId, FailureId, PluginName};
use crate::store::{
    Changes, Cursor, DeliveryFilter, DeliveryView, DueTimes, EventFilter, EventSummary,
    FailureCursor, FailureFilter, FailureView, GatheringCursor, GatheringFilter, GatheringState,
    GatheringView, KvEntry, KvKey, KvRange, KvValue, MaybeReady, Page, Pauses, Pending, Read,
    StoreError, StoredApproval, TreeView,
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

    fn dead_notice(&self, delivery: DeliveryId) -> Pending<'_, Option<(DeliveryId, u32)>> {
        Box::pin(async move {
            self.shared.answers()?;
            self.reads.dead_notice(delivery).await
        })
    }

    fn gathering(&self, delivery: DeliveryId) -> Pending<'_, Option<GatheringView>> {
        Box::pin(async move {
            self.shared.answers()?;
            let client = self.reads.client().await?;
            gathered::view(&client, delivery, self.shared.at()).await
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
            let client = self.reads.client().await?;
            gathered::open(&client, &filter, limit, after).await
        })
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

    fn tree_mark(&self, event: EventId) -> Pending<'_, u64> {
        Box::pin(async move {
            self.shared.answers()?;
            let client = self.reads.client().await?;
            Ok(tree_view::mark(&client, event).await?)
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
            let client = self.reads.client().await?;
            let found = failures::failures(&client, &filter, limit, after).await;
            found.map_err(|error| failed_query(&error))
        })
    }

    fn failure(&self, id: FailureId) -> Pending<'_, FailureView> {
        Box::pin(async move {
            self.shared.answers()?;
            let client = self.reads.client().await?;
            let found = failures::failure(&client, id).await;
            let found = found.map_err(|error| failed_query(&error))?;
            found.ok_or_else(|| StoreError::NotFound(format!("failure group `{id}`")))
        })
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
            let client = self.reads.client().await?;
            values::value(&client, &bucket, &key).await
        })
    }

    fn kv_keys(&self, bucket: PluginName, range: KvRange) -> Pending<'_, Vec<KvKey>> {
        Box::pin(async move {
            self.shared.answers()?;
            let client = self.reads.client().await?;
            values::keys(&client, &bucket, &range).await
        })
    }

    fn kv_entries(&self, bucket: PluginName, range: KvRange) -> Pending<'_, Vec<KvEntry>> {
        Box::pin(async move {
            self.shared.answers()?;
            let client = self.reads.client().await?;
            values::entries(&client, &bucket, &range).await
        })
    }

    fn kv_buckets(&self) -> MaybeReady<'_, BTreeMap<PluginName, u64>> {
        MaybeReady::Pending(Box::pin(async move {
            self.shared.answers()?;
            let client = self.reads.client().await?;
            values::bytes(&client, None).await
        }))
    }

    fn approvals(&self) -> Pending<'_, Vec<StoredApproval>> {
        Box::pin(async move {
            self.shared.answers()?;
            let client = self.reads.client().await?;
            approvals::read(&client).await
        })
    }

    fn kv_bytes(&self, bucket: &str) -> MaybeReady<'_, u64> {
        let bucket = bucket.to_owned();
        MaybeReady::Pending(Box::pin(async move {
            self.shared.answers()?;
            let client = self.reads.client().await?;
            let bytes = values::bytes(&client, Some(&bucket)).await?;
            Ok(bytes.into_values().next().unwrap_or(0))
        }))
    }

    fn due_times(&self, plugins: Vec<PluginName>) -> Pending<'_, BTreeMap<PluginName, DueTimes>> {
        Box::pin(async move {
            self.shared.answers()?;
            let client = self.reads.client().await?;
            let found = due::times(&client, &plugins, self.shared.at()).await;
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
