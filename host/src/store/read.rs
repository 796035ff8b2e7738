//! The trait for queries.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::{
    Changes, Cursor, DeliveryFilter, DeliveryView, DueTimes, EventFilter, EventSummary, EventView,
    FailureCursor, FailureFilter, FailureView, FoundFacts, GatheringCursor, GatheringFilter,
    GatheringState, GatheringView, KvEntry, KvKey, KvRange, KvValue, MaybeReady, Page, Pauses,
    Pending, Stats, StoredApproval, TreeView,
};
use crate::event::{DeliveryId, EventId, FailureId, PluginName};

/// Shows one event or one delivery.
pub trait ReadOne: Send + Sync + std::fmt::Debug {
    /// One event with its deliveries and attempts.
    fn event(&self, id: EventId) -> Pending<'_, EventView>;

    /// The parts of an event that routes look at; `None` if it is gone. It costs less than the
    /// event: none of its deliveries is read.
    fn facts(&self, id: EventId) -> Pending<'_, Option<FoundFacts>>;

    /// One delivery with all its attempts.
    fn delivery(&self, id: DeliveryId) -> Pending<'_, DeliveryView>;
}

/// Counts what is stored.
pub trait Count: Send + Sync + std::fmt::Debug {
    /// The counts. They are updated with every batch, so a call costs the same with a million rows
    /// as with one.
    fn stats(&self) -> MaybeReady<'_, Stats>;
}

/// Answers queries.
pub trait Read: ReadOne + Count {
    /// A page of events, newest first.
    fn events(
        &self,
        filter: EventFilter,
        page: Page,
    ) -> Pending<'_, (Vec<EventSummary>, Option<Cursor>)>;

    /// A page of deliveries, newest first.
    fn deliveries(
        &self,
        filter: DeliveryFilter,
        page: Page,
    ) -> Pending<'_, (Vec<DeliveryView>, Option<Cursor>)>;

    /// The dead letter that a delivery to [`DEAD_LETTERS`](crate::event::DEAD_LETTERS) is to tell
    /// of, and how often that has been one.
    fn dead_notice(&self, delivery: DeliveryId) -> Pending<'_, Option<(DeliveryId, u32)>>;

    /// The gathering that a delivery to `joins/NAME` or `batches/NAME` is to end, with its members.
    fn gathering(&self, delivery: DeliveryId) -> Pending<'_, Option<GatheringView>>;

    /// A page of open gatherings, by plugin, the one that ends first before the others.
    fn gatherings(
        &self,
        filter: GatheringFilter,
        limit: usize,
        after: Option<GatheringCursor>,
    ) -> Pending<'_, (Vec<GatheringState>, Option<GatheringCursor>)>;

    /// The tree that an event is in, the same from each of its events: at most `limit` events,
    /// those after `after`.
    fn tree(&self, event: EventId, limit: usize, after: Option<EventId>) -> Pending<'_, TreeView>;

    /// A number that is another one once an event of the tree that this event is in has come or
    /// gone, or a delivery of the tree stands otherwise. It costs less than the tree, and is of its
    /// first [`MAX_PAGE`](super::MAX_PAGE) events.
    fn tree_mark(&self, event: EventId) -> Pending<'_, u64>;

    /// A page of groups of failures that are alike: the one that began last before the others.
    fn failures(
        &self,
        filter: FailureFilter,
        limit: usize,
        after: Option<FailureCursor>,
    ) -> Pending<'_, (Vec<FailureView>, Option<FailureCursor>)>;

    /// One group of failures.
    fn failure(&self, id: FailureId) -> Pending<'_, FailureView>;

    /// The results that a delivery has recorded, by the names of their steps.
    fn steps(&self, delivery: DeliveryId) -> Pending<'_, BTreeMap<String, Vec<u8>>>;

    /// Reads a key of a bucket.
    fn kv_get(&self, bucket: PluginName, key: String) -> Pending<'_, Option<KvValue>>;

    /// Lists keys of a bucket.
    fn kv_keys(&self, bucket: PluginName, range: KvRange) -> Pending<'_, Vec<KvKey>>;

    /// Lists keys of a bucket with what is known of the last write of each.
    fn kv_entries(&self, bucket: PluginName, range: KvRange) -> Pending<'_, Vec<KvEntry>>;

    /// The buckets that hold anything, each with the bytes of its keys and values.
    fn kv_buckets(&self) -> MaybeReady<'_, BTreeMap<PluginName, u64>>;

    /// All approvals, by plugin, the admitted one first.
    fn approvals(&self) -> Pending<'_, Vec<StoredApproval>>;

    /// The bytes of a bucket's keys and values.
    fn kv_bytes(&self, bucket: &str) -> MaybeReady<'_, u64>;

    /// When the deliveries of these plugins are due; of those that have one to come.
    fn due_times(&self, plugins: Vec<PluginName>) -> Pending<'_, BTreeMap<PluginName, DueTimes>>;

    /// The pauses, now and from now on: known before the change is answered.
    fn pauses(&self) -> watch::Receiver<Arc<Pauses>>;

    /// Hints of changes from now on, each sent after its commit is durable.
    fn changes(&self) -> Changes;
}
