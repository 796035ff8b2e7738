//! Open gatherings: their state, and a list of them.

use crate::event::{DeliveryId, PluginName, Why};

/// A gathering without its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatheringState {
    /// Its delivery, which is one of its first member.
    pub id: DeliveryId,
    /// The host's plugin that ends it: `joins/NAME` or `batches/NAME`.
    pub plugin: PluginName,
    /// Its key.
    pub key: String,
    /// When its first member came, by the wall clock, Unix ms.
    pub since_ms: i64,
    /// When it ends in any case, by the wall clock, Unix ms.
    pub until_ms: i64,
    /// Members that are counted.
    pub count: u32,
    /// How many complete it, if a member said so.
    pub need: Option<u32>,
    /// The bits of the types that have come.
    pub seen: u64,
    /// Whether it takes no more members, because its delivery was leased.
    pub frozen: bool,
    /// The cause of its completion.
    pub why: Option<Why>,
}

/// The filter of a list of open gatherings; absent fields do not filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GatheringFilter {
    /// Of this plugin of the host: `joins/NAME` or `batches/NAME`.
    pub plugin: Option<String>,
    /// With exactly this key.
    pub key: Option<String>,
}

/// The last row of a page of open gatherings. Opaque to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatheringCursor {
    /// Crashes that are held against its delivery.
    pub crashes: u32,
    /// Its plugin.
    pub plugin: String,
    /// When its delivery was due, by the store's own time.
    pub due_ms: i64,
    /// Its delivery.
    pub id: DeliveryId,
}
