//! The questions of [`Read`], each answered beside the writer.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::time::gathering_by_wall_clock;
use super::{Sqlite, approvals, due, failures, gathered, kv, pages, read, steps, tree_view};
use crate::event::{DeliveryId, EventId, FailureId, PluginName};
use crate::store::{
    Changes, Count, Cursor, DeliveryFilter, DeliveryView, DueTimes, EventFilter, EventSummary,
    EventView, FailureCursor, FailureFilter, FailureView, FoundFacts, GatheringCursor,
    GatheringFilter, GatheringState, GatheringView, KvEntry, KvKey, KvRange, KvValue, MaybeReady,
    Page, Pauses, Pending, Read, ReadOne, Stats, StoreError, StoredApproval, TreeView,
};

impl ReadOne for Sqlite {
    fn event(&self, id: EventId) -> Pending<'_, EventView> {
        Box::pin(async move {
            let found = self.readers.ask(move |connection| read::event(connection, id)).await?;
            let mut found = found.ok_or_else(|| StoreError::NotFound(format!("event `{id}`")))?;
            self.by_wall_clock(&mut found.deliveries);
            Ok(found)
        })
    }

    fn facts(&self, id: EventId) -> Pending<'_, Option<FoundFacts>> {
        Box::pin(self.readers.ask(move |connection| read::facts(connection, id)))
    }

    fn delivery(&self, id: DeliveryId) -> Pending<'_, DeliveryView> {
        Box::pin(async move {
            let found =
                self.readers.ask(move |connection| read::whole_delivery(connection, id)).await?;
            let missing =
                || StoreError::NotFound(format!("delivery `{id}` of event `{}`", id.event));
            let mut found = found.ok_or_else(missing)?;
            self.by_wall_clock(std::slice::from_mut(&mut found));
            Ok(found)
        })
    }
}

impl Count for Sqlite {
    fn stats(&self) -> MaybeReady<'_, Stats> {
        MaybeReady::ready(Ok(self.counts().stats.clone()))
    }
}

impl Read for Sqlite {
    fn events(
        &self,
        filter: EventFilter,
        page: Page,
    ) -> Pending<'_, (Vec<EventSummary>, Option<Cursor>)> {
        let span = self.span(filter.since_ms, filter.until_ms);
        Box::pin(
            self.listings.ask(move |connection| pages::events(connection, &filter, &span, page)),
        )
    }

    fn deliveries(
        &self,
        filter: DeliveryFilter,
        page: Page,
    ) -> Pending<'_, (Vec<DeliveryView>, Option<Cursor>)> {
        let span = self.span(filter.since_ms, filter.until_ms);
        Box::pin(async move {
            let found = self
                .listings
                .ask(move |connection| pages::deliveries(connection, &filter, &span, page))
                .await;
            let (mut found, next) = found?;
            self.by_wall_clock(&mut found);
            Ok((found, next))
        })
    }

    fn pauses(&self) -> watch::Receiver<Arc<Pauses>> {
        self.published.pauses.subscribe()
    }

    fn approvals(&self) -> Pending<'_, Vec<StoredApproval>> {
        Box::pin(self.readers.ask(approvals::read))
    }

    fn dead_notice(&self, delivery: DeliveryId) -> Pending<'_, Option<(DeliveryId, u32)>> {
        Box::pin(self.readers.ask(move |connection| read::dead_notice(connection, delivery)))
    }

    fn gathering(&self, delivery: DeliveryId) -> Pending<'_, Option<GatheringView>> {
        let now_ms = self.clock.host_ms();
        Box::pin(self.readers.ask(move |connection| gathered::view(connection, delivery, now_ms)))
    }

    fn failures(
        &self,
        filter: FailureFilter,
        limit: usize,
        after: Option<FailureCursor>,
    ) -> Pending<'_, (Vec<FailureView>, Option<FailureCursor>)> {
        let list = move |connection: &_| failures::failures(connection, &filter, limit, after);
        Box::pin(self.listings.ask(list))
    }

    fn failure(&self, id: FailureId) -> Pending<'_, FailureView> {
        Box::pin(async move {
            let found =
                self.readers.ask(move |connection| failures::failure(connection, id)).await?;
            found.ok_or_else(|| StoreError::NotFound(format!("failure group `{id}`")))
        })
    }

    fn gatherings(
        &self,
        filter: GatheringFilter,
        limit: usize,
        after: Option<GatheringCursor>,
    ) -> Pending<'_, (Vec<GatheringState>, Option<GatheringCursor>)> {
        Box::pin(async move {
            let found = self
                .listings
                .ask(move |connection| gathered::open(connection, &filter, limit, after))
                .await;
            let (mut found, next) = found?;
            let ahead_ms = self.clock.ahead_ms();
            found.iter_mut().for_each(|state| gathering_by_wall_clock(state, ahead_ms));
            Ok((found, next))
        })
    }

    fn tree(&self, event: EventId, limit: usize, after: Option<EventId>) -> Pending<'_, TreeView> {
        Box::pin(async move {
            let found = self
                .listings
                .ask(move |connection| tree_view::tree(connection, event, limit, after))
                .await?;
            let missing = || StoreError::NotFound(format!("event `{event}`"));
            let mut found = found.ok_or_else(missing)?;
            for delivery in found.events.iter_mut().flat_map(|event| &mut event.deliveries) {
                self.by_wall_clock(std::slice::from_mut(&mut delivery.view));
            }
            Ok(found)
        })
    }

    fn tree_mark(&self, event: EventId) -> Pending<'_, u64> {
        Box::pin(self.readers.ask(move |connection| tree_view::mark(connection, event)))
    }

    fn steps(&self, delivery: DeliveryId) -> Pending<'_, BTreeMap<String, Vec<u8>>> {
        Box::pin(self.kv_readers.ask(move |connection| steps::values(connection, delivery)))
    }

    fn kv_get(&self, bucket: PluginName, key: String) -> Pending<'_, Option<KvValue>> {
        Box::pin(async move {
            let asking = bucket.clone();
            self.kv_readers
                .ask_for(&asking, move |connection| kv::kv_get(connection, &bucket, &key))
                .await
        })
    }

    fn kv_keys(&self, bucket: PluginName, range: KvRange) -> Pending<'_, Vec<KvKey>> {
        Box::pin(async move {
            let asking = bucket.clone();
            self.kv_readers
                .ask_for(&asking, move |connection| kv::keys(connection, &bucket, &range))
                .await
        })
    }

    fn kv_entries(&self, bucket: PluginName, range: KvRange) -> Pending<'_, Vec<KvEntry>> {
        Box::pin(async move {
            let asking = bucket.clone();
            let mut found = self
                .kv_readers
                .ask_for(&asking, move |connection| kv::entries(connection, &bucket, &range))
                .await?;
            let ahead_ms = self.clock.ahead_ms();
            for expires_ms in found.iter_mut().filter_map(|entry| entry.expires_ms.as_mut()) {
                *expires_ms = expires_ms.saturating_sub(ahead_ms);
            }
            Ok(found)
        })
    }

    fn kv_buckets(&self) -> MaybeReady<'_, BTreeMap<PluginName, u64>> {
        MaybeReady::ready(Ok(self.counts().kv_buckets()))
    }

    fn kv_bytes(&self, bucket: &str) -> MaybeReady<'_, u64> {
        MaybeReady::ready(Ok(self.counts().kv_bytes(bucket)))
    }

    fn due_times(&self, plugins: Vec<PluginName>) -> Pending<'_, BTreeMap<PluginName, DueTimes>> {
        let (now_ms, ahead_ms) = (self.clock.host_ms(), self.clock.ahead_ms());
        Box::pin(self.readers.ask(move |connection| {
            due::times(connection, &plugins, now_ms).map(|mut found| {
                for time in found.values_mut() {
                    for ms in [&mut time.oldest_ready_ms, &mut time.next_due_ms] {
                        *ms = ms.map(|ms| ms.saturating_sub(ahead_ms));
                    }
                }
                found
            })
        }))
    }

    fn changes(&self) -> Changes {
        self.published.changes.listen()
    }
}
