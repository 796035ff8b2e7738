//! The record of one plugin, and the rule that decides on its files.

use std::collections::BTreeSet;

use super::migration::Note;
use crate::config::{Approve, PluginSettings};
use crate::event::Digest;
use crate::sandbox::Capability;
use crate::store::StoredApproval;

/// The capabilities that a file asks for.
pub(in crate::plugins) type AskedCapabilities = BTreeSet<Capability>;

/// The admitted, approved and held file of one plugin. A plugin that never ran has no record.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// The file that was admitted last.
    pub(super) admitted: Option<Digest>,
    /// The capabilities of that file: those of the plugin.
    pub(super) capabilities: AskedCapabilities,
    /// The file that an operator has approved.
    pub(super) approved: Option<Digest>,
    /// Whether the approval is over, but the store does not say so yet.
    pub(super) over: bool,
    /// The reason why the plugin's capabilities are not known.
    pub(super) trouble: Option<String>,
    /// The held file, and the capabilities it asks for.
    pub(super) held: Option<(Digest, AskedCapabilities)>,
}

/// The decision on a file that can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plugins) enum Decision {
    /// Admit the file; the admission says why it may ask for more than the last one.
    Admit(Option<Admission>),
    /// Hold the file.
    Hold {
        /// The capabilities that the plugin does not have.
        added: AskedCapabilities,
        /// The reason why the plugin's capabilities are not known.
        trouble: Option<String>,
    },
}

/// The reason why a file that asks for more is admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The capabilities that the last file did not ask for.
    pub added: BTreeSet<Capability>,
    /// `approved` by an operator, `granted` by the configuration, or `auto`.
    pub reason: &'static str,
}

impl Record {
    /// Takes what the store has.
    pub(super) fn take_row(&mut self, StoredApproval { approval, admitted, .. }: StoredApproval) {
        if !admitted {
            self.approved = Some(approval.digest);
            return;
        }
        let names = approval.capabilities.iter();
        match names.map(|name| Capability::from_name(name).ok_or(name)).collect() {
            Ok(capabilities) => (self.admitted, self.capabilities) = (Some(approval.digest),
                capabilities),
            Err(name) => self.is_unknown(format!(
                "the store's note of what plugin `{}` may do cannot be read (`{name}` is no capability that this host \
                 knows): approve what the plugin asks for",
                approval.plugin
            )),
        }
    }

    /// Whether the plugin's capabilities are known, or known to be unreadable.
    pub(super) fn is_complete(&self) -> bool {
        self.admitted.is_some() || self.trouble.is_some()
    }

    /// Takes the note of an older hookbox, unless the store is newer.
    pub(super) fn complete(&mut self, note: Result<Note, String>) {
        match note {
            _ if self.is_complete() => {}
            Ok(note) => {
                (self.admitted, self.capabilities) = (note.digest, note.capabilities);
                self.approved = self.approved.or(note.approved);
            }
            Err(trouble) => self.is_unknown(trouble),
        }
    }

    fn is_unknown(&mut self, trouble: String) {
        tracing::error!(
            error = trouble,
            "it is not known what a plugin may do, so it may do nothing"
        );
        self.trouble = Some(trouble);
    }

    /// Whether the store says exactly that this file was admitted last.
    pub(super) fn says(&self, digest: Digest, asked: &AskedCapabilities) -> bool {
        let same = self.admitted == Some(digest) && self.capabilities == *asked;
        same && self.approved.is_none() && self.trouble.is_none()
    }
}

/// Decides whether a file may run.
pub(super) fn decide(
    record: Option<&Record>,
    settings: &PluginSettings,
    digest: Digest,
    asked: &AskedCapabilities,
) -> Decision {
    // The first file of a plugin is what its owner put there.
    let Some(record) = record else { return Decision::Admit(None) };
    let added: AskedCapabilities = asked.difference(&record.capabilities).copied().collect();
    if added.is_empty() || record.admitted == Some(digest) {
        return Decision::Admit(None);
    }
    let reason = match settings.approve {
        _ if record.approved == Some(digest) && !record.over => "approved",
        _ if added.iter().all(|capability| capability.is_granted(settings)) => "granted",
        Approve::Auto => "auto",
        Approve::Ask => return Decision::Hold { added, trouble: record.trouble.clone() },
    };
    Decision::Admit(Some(Admission { added, reason }))
}
