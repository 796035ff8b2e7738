//! A linked plugin, which its attempts share.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::sandbox::Core;
use super::warm::PluginInstances;
use crate::sandbox::Contract;
use crate::sandbox::cpu::PluginSlots;
use crate::sandbox::host::Capability;
use crate::sandbox::kinds::EntryPoint;

/// A linked plugin, which its attempts share.
pub(super) struct LinkedPlugin {
    pub(super) core: Arc<Core>,
    pub(super) slots: PluginSlots,
    pub(super) warm: Arc<PluginInstances>,
    pub(super) entry: EntryPoint,
    pub(super) facts: PluginFacts,
}

/// Facts about a plugin from its file.
#[derive(Debug)]
pub(in crate::sandbox) struct PluginFacts {
    pub(in crate::sandbox) contract: Contract,
    /// The version of the interface that it exports.
    pub(in crate::sandbox) version: String,
    /// The interfaces that it imports, sorted.
    pub(in crate::sandbox) imports: Vec<String>,
    pub(in crate::sandbox) capabilities: BTreeSet<Capability>,
}
