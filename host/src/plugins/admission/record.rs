//! What is known of one plugin, and the rule that decides on its files.

use std::collections::BTreeSet;

use super::former::Note;
use crate::config::{Approve, PluginSettings};
use crate::event::Digest;
use crate::sandbox::Capability;
use crate::store::StoredApproval;

/// What a plugin asks for.
pub(in crate::plugins) type Asked = BTreeSet<Capability>;

/// What is known of one plugin. One without a record has never run.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// The file that was admitted last.
    pub(super) admitted: Option<Digest>,
    /// What the plugin may do: what that file asked for.
    pub(super) capabilities: Asked,
    /// The file that an operator has approved.
    pub(super) approved: Option<Digest>,
    /// The approval is over, and the store does not say so yet.
    pub(super) over: bool,
    /// Why it is not known what the plugin may do.
    pub(super) trouble: Option<String>,
    /// What waits for an approval, and what it asks for.
    pub(super) held: Option<(Digest, Asked)>,
}

/// What is to be done with a file that can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plugins) enum Decision {
    /// It is admitted; if it asks for more than the last one, this is why it may.
    Admit(Option<Admission>),
    /// It waits.
    Hold {
        /// What it asks for beyond what the last one did.
        added: Asked,
        /// Why nothing is known of the last one.
        trouble: Option<String>,
    },
}

/// Why a file that asks for more is admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// What it asks for beyond what the last one did.
    pub added: BTreeSet<Capability>,
    /// `approved` by an operator, `granted` by the configuration, or `auto`.
    pub reason: &'static str,
}

impl Record {
    pub(super) fn take_row(&mut self, StoredApproval { approval, admitted, .. }: StoredApproval) {
        if !admitted {
            self.approved = Some(approval.digest);
            return;
        }
        match approval.capabilities.iter().map(|name| Capability::from_name(name).ok_or(name)).collect() {
            Ok(capabilities) => (self.admitted, self.capabilities) = (Some(approval.digest), capabilities),
            Err(name) => self.is_unknown(format!(
                "the store's note of what plugin `{}` may do cannot be read (`{name}` is no capability that this host \
                 knows): approve what the plugin asks for",
                approval.plugin
            )),
        }
    }

    /// Whether the store has said what the plugin may do, or that this cannot be read.
    pub(super) fn is_complete(&self) -> bool {
        self.admitted.is_some() || self.trouble.is_some()
    }

    /// Takes what an older hookbox has noted, unless the store has said more.
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
        tracing::error!(error = trouble, "it is not known what a plugin may do, so it may do nothing");
        self.trouble = Some(trouble);
    }

    /// Whether it says that this file, which asks for this, was admitted last, and nothing else.
    pub(super) fn says(&self, digest: Digest, asked: &Asked) -> bool {
        let same = self.admitted == Some(digest) && self.capabilities == *asked;
        same && self.approved.is_none() && self.trouble.is_none()
    }
}

/// The rule.
pub(super) fn decide(record: Option<&Record>, settings: &PluginSettings, digest: Digest, asked: &Asked) -> Decision {
    // The first file of a plugin is what its owner put there.
    let Some(record) = record else { return Decision::Admit(None) };
    let added: Asked = asked.difference(&record.capabilities).copied().collect();
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
