//! What the store answers to questions.

use super::{
    Changes, Cursor, DeliveryFilter, DeliveryView, EventFilter, EventSummary, EventView, KvValue, MaybeReady, Page,
    Pending, Stats, StoredApproval,
};
use crate::event::{DeliveryId, EventId, PluginName};

/// What the store answers to questions.
pub trait Read: Send + Sync + std::fmt::Debug {
    /// One event with its deliveries and attempts.
    fn event(&self, id: EventId) -> Pending<'_, EventView>;

    /// One delivery with all its attempts.
    fn delivery(&self, id: DeliveryId) -> Pending<'_, DeliveryView>;

    /// A page of events, newest first.
    fn events(&self, filter: EventFilter, page: Page) -> Pending<'_, (Vec<EventSummary>, Option<Cursor>)>;

    /// A page of deliveries, newest first.
    fn deliveries(&self, filter: DeliveryFilter, page: Page) -> Pending<'_, (Vec<DeliveryView>, Option<Cursor>)>;

    /// Reads a key of a plugin.
    fn kv_get(&self, plugin: PluginName, key: String) -> Pending<'_, Option<KvValue>>;

    /// Every approval, by plugin, the admitted one first.
    fn approvals(&self) -> Pending<'_, Vec<StoredApproval>>;

    /// Bytes of keys and values a plugin keeps.
    fn kv_bytes(&self, plugin: &str) -> MaybeReady<'_, u64>;

    /// Counts, kept up to date with every batch: as cheap with a million rows as with one.
    fn stats(&self) -> MaybeReady<'_, Stats>;

    /// Hints of what changes from now on, each given after its commit is durable.
    fn changes(&self) -> Changes;
}
