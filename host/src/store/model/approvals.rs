//! Approvals of plugin files: the file that ran last, and the file that an operator has approved.
//!
//! A store holds at most two rows of a plugin: the file that was admitted last, whose capabilities
//! are those of the plugin, and a file that was approved and is not admitted yet.

use std::collections::BTreeSet;

use crate::event::{Digest, PluginName};

/// A file of a plugin that may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// The plugin.
    pub plugin: PluginName,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// The capabilities it asks for, by name.
    pub capabilities: BTreeSet<String>,
    /// The origin of the approval: `operator`, `configuration`, `auto`, or `owner` for a file that
    /// asks for no more than the plugin has.
    pub approved_by: String,
}

/// An approval as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredApproval {
    /// The approval.
    pub approval: Approval,
    /// The time of storing, Unix ms by the wall clock.
    pub at_ms: i64,
    /// Whether the file was admitted.
    pub admitted: bool,
}

/// A change of what is stored of one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApprovalChange {
    /// The file may be admitted. Replaces another approval that was not used.
    Approve(Approval),
    /// The file was admitted. Replaces everything else that is stored of the plugin.
    Admit(Approval),
    /// An approval that was not used is over.
    Withdraw(PluginName),
    /// Everything stored of the plugin goes.
    Forget(PluginName),
}
