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

/// A secret that hosts share, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// Its name.
    pub name: String,
    /// The number of this version, from 1.
    pub version: i64,
    /// Whether it was removed.
    pub deleted: bool,
    /// The sealed content.
    pub sealed: Vec<u8>,
}

/// A version of a sealed secret that a host has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretMark {
    /// The secret's name.
    pub name: String,
    /// The number of the version.
    pub version: i64,
    /// SHA-256 of the sealed content, in hex digits: a failover may give a number again.
    pub digest: String,
}
