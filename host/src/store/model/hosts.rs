//! The hosts that share a store, as lists show them.

use std::collections::BTreeMap;

use crate::event::{Digest, PluginName};

/// A host that shares a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostView {
    /// Its place among the hosts, from 0 to 255.
    pub slot: u8,
    /// The name that people know it by.
    pub name: String,
    /// The version of its program.
    pub version: String,
    /// When it registered, Unix ms.
    pub since_ms: i64,
    /// When it was heard of last, Unix ms.
    pub seen_ms: i64,
    /// The deliveries that it has leased.
    pub leases: u64,
    /// The files that run there, by plugin.
    pub plugins: BTreeMap<PluginName, Digest>,
    /// Whether it is the host that was asked.
    pub is_this: bool,
}
