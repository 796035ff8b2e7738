//! What each plugin may do without being asked: what its last file did, what its owner grants, what
//! an operator approved.
//!
//! A file that asks for a capability beyond that is held. An approval is for one file, by its
//! digest. It is over when that file is admitted or another one takes its place. Then it counts for
//! nothing, and every scan tries to withdraw it until the store has done so.
//!
//! Invariant: what a plugin may do never grows without its owner or an operator. It is stored,
//! durably, before a file is admitted; a row that cannot be read allows nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, Notify};

use super::directory::MAX_PLUGINS;
use crate::config::{Config, PluginSettings};
use crate::event::{Digest, PluginName};
use crate::sandbox::Cache;
use crate::store::{Approval, ApprovalChange, Store, StoreError, StoredApproval};
use crate::{fail, tasks};

mod former;
mod record;

use former::{FormerApprovals, Note};
pub use record::Admission;
pub(super) use record::{Asked, Decision};
use record::{Record, decide};

/// Which files of plugins may run. One for the host, shared by those who admit and those who
/// approve.
#[derive(Debug, Default)]
pub struct Approvals {
    /// Where changes are stored; without a store they are forgotten with this value.
    store: Option<Arc<dyn Store>>,
    /// Without it, every plugin has the default settings.
    config: Option<Arc<ArcSwap<Config>>>,
    records: Mutex<BTreeMap<PluginName, Record>>,
    wake: Arc<Notify>,
}

/// Why there is nothing to approve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotApproved {
    /// No file waits.
    NothingHeld,
    /// Another file waits.
    OtherHeld(Digest),
    /// It could not be stored. It does not count, or the text says that it may after a restart.
    Failed(String),
}

/// A change that the store did not confirm.
struct NotStored {
    why: String,
    /// The store may have made it all the same.
    may_be_there: bool,
}

impl Approvals {
    /// Those in `store`, to which those are moved first that an older hookbox has left in `former`,
    /// and the files there to `files`.
    ///
    /// # Errors
    /// They cannot be read, or strangers may write the folder: it is not known what was approved.
    pub async fn open(
        store: Arc<dyn Store>,
        former: &Path,
        files: Cache,
        config: Arc<ArcSwap<Config>>,
    ) -> Result<Self, String> {
        let stored = store.approvals().await.map_err(|error| error.to_string())?;
        let approvals = Self { store: Some(store), ..Self::of(stored, config) };
        let dir = former.to_owned();
        if let Some(former) = tasks::blocking(move || FormerApprovals::read(dir)).await? {
            approvals.take_over(former, files).await;
        }
        Ok(approvals)
    }

    /// Those that a host has stored, to answer questions with: nothing is changed. Blocks.
    ///
    /// # Errors
    /// As for [`Approvals::open`].
    pub fn peek(stored: Vec<StoredApproval>, former: &Path, config: Arc<ArcSwap<Config>>) -> Result<Self, String> {
        let mut approvals = Self::of(stored, config);
        if let Some(former) = FormerApprovals::read(former.to_owned())? {
            let records = approvals.records.get_mut();
            former.notes.into_iter().for_each(|(name, note)| records.entry(name).or_default().complete(note));
        }
        Ok(approvals)
    }

    fn of(stored: Vec<StoredApproval>, config: Arc<ArcSwap<Config>>) -> Self {
        let mut records: BTreeMap<PluginName, Record> = BTreeMap::new();
        for row in stored {
            records.entry(row.approval.plugin.clone()).or_default().take_row(row);
        }
        Self { config: Some(config), records: Mutex::new(records), ..Self::default() }
    }

    /// Moves what an older hookbox has left into the store. What cannot be moved now is tried again
    /// at the next start; it counts already.
    async fn take_over(&self, former: FormerApprovals, files: Cache) {
        let mut records = self.records.lock().await;
        let (mut moved, mut failed) = (BTreeSet::new(), None);
        for (name, note) in &former.notes {
            let record = records.entry(name.clone()).or_default();
            if let (false, Ok(note)) = (record.is_complete(), note) {
                for change in changes(name, note) {
                    failed = failed.or(self.store(change).await.err());
                }
            }
            if record.is_complete() || matches!(note, Ok(Note { digest: Some(_), .. })) {
                moved.insert(name.clone());
            }
            record.complete(note.clone());
        }
        drop(records);
        match failed {
            Some(NotStored { why, .. }) => tracing::error!(error = why, "approvals cannot be moved into the store yet"),
            None => tasks::blocking(move || former.finish(&moved, &files)).await,
        }
    }

    /// Notified after an approval: the registry is to be looked at again.
    pub fn wake(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    /// Approves the file that is held, if it is `digest` or none is given; says which one. It is
    /// admitted by the next refresh, also of the next host. A file that was admitted already needs
    /// no more. Goes on when its caller is gone.
    pub async fn approve(self: &Arc<Self>, name: PluginName, digest: Option<Digest>) -> Result<Digest, NotApproved> {
        let approvals = Arc::clone(self);
        let approved = tasks::spawn(async move { approvals.approve_to_the_end(&name, digest).await });
        approved.await.unwrap_or_else(|error| Err(NotApproved::Failed(error.to_string())))
    }

    async fn approve_to_the_end(&self, name: &PluginName, digest: Option<Digest>) -> Result<Digest, NotApproved> {
        let mut records = self.records.lock().await;
        let record = records.get_mut(name).ok_or(NotApproved::NothingHeld)?;
        if let Some(digest) = digest.filter(|digest| record.admitted == Some(*digest)) {
            // Somebody else was faster.
            return Ok(digest);
        }
        let (held, asked) = record.held.clone().ok_or(NotApproved::NothingHeld)?;
        if digest.is_some_and(|digest| digest != held) {
            return Err(NotApproved::OtherHeld(held));
        }
        if record.approved != Some(held) || record.over {
            let approval = approval(name, held, &asked, "operator");
            self.store_approval(name, record, approval).await.map_err(NotApproved::Failed)?;
        }
        let _ = fail::point("plugins.approved");
        self.wake.notify_one();
        Ok(held)
    }

    /// An approval that is not stored for sure is none, also for the next host.
    async fn store_approval(&self, name: &PluginName, record: &mut Record, approval: Approval) -> Result<(), String> {
        let digest = approval.digest;
        let Err(NotStored { mut why, may_be_there }) = self.store(ApprovalChange::Approve(approval)).await else {
            (record.approved, record.over) = (Some(digest), false);
            return Ok(());
        };
        if may_be_there && !self.withdraw(name, record).await {
            why.push_str("; nor is it certain yet that it is taken back, so that it may count after a restart");
        }
        Err(why)
    }

    /// Whether [`Approvals::admit`] would have it wait now.
    pub(super) async fn holds(&self, name: &str, digest: Digest, asked: &Asked) -> bool {
        let records = self.records.lock().await;
        matches!(decide(records.get(name), &self.settings(name), digest, asked), Decision::Hold { .. })
    }

    /// Decides on a file, and stores that it is admitted.
    ///
    /// # Errors
    /// It may be, and that cannot be stored.
    pub(super) async fn admit(&self, name: &PluginName, digest: Digest, asked: &Asked) -> Result<Decision, String> {
        let mut records = self.records.lock().await;
        let decision = decide(records.get(name), &self.settings(name), digest, asked);
        let Decision::Admit(admission) = &decision else { return Ok(decision) };
        if records.get(name).is_some_and(|record| record.says(digest, asked)) {
            return Ok(decision);
        }
        let by = match admission.as_ref().map(|admission| admission.reason) {
            Some("approved") => "operator",
            Some("granted") => "configuration",
            Some(reason) => reason,
            None => "owner",
        };
        let change = ApprovalChange::Admit(approval(name, digest, asked, by));
        self.store(change).await.map_err(|error| error.why)?;
        let record = Record { admitted: Some(digest), capabilities: asked.clone(), ..Record::default() };
        records.insert(name.clone(), record);
        drop(records);
        let _ = fail::point("plugins.noted");
        Ok(decision)
    }

    /// Notes what is held now. An approval of anything else is over if it is `known` what the
    /// plugin's newest file is.
    pub(super) async fn holding(&self, mut held: BTreeMap<PluginName, (Digest, Asked)>, known: &BTreeSet<PluginName>) {
        for (name, record) in self.records.lock().await.iter_mut() {
            record.held = held.remove(name);
            let is_other = record.approved != record.held.as_ref().map(|(digest, _)| *digest);
            if record.over || record.approved.is_some() && is_other && known.contains(name) {
                self.withdraw(name, record).await;
            }
        }
    }

    /// Ends an approval; says whether that is stored. If not, the next refresh tries again.
    async fn withdraw(&self, name: &PluginName, record: &mut Record) -> bool {
        let stored = self.store(ApprovalChange::Withdraw(name.clone())).await;
        match &stored {
            Ok(()) => record.approved = None,
            Err(_) if record.over => {}
            Err(NotStored { why, .. }) => {
                tracing::error!(plugin.name = %name, error = why, "an approval is over, which cannot be stored yet");
            }
        }
        record.over = stored.is_err();
        !record.over
    }

    /// The files that were admitted last, of these plugins.
    pub(super) async fn admitted(&self, names: &BTreeSet<PluginName>) -> BTreeSet<Digest> {
        let records = self.records.lock().await;
        names.iter().filter_map(|name| records.get(name)?.admitted).collect()
    }

    /// Forgets the plugins that are not among `names` when there are too many. Otherwise what a
    /// plugin may do is remembered: one whose file is removed and put back asks for no less.
    pub(super) async fn forget_all_but(&self, names: &BTreeSet<PluginName>) {
        let mut records = self.records.lock().await;
        if records.len() <= 2 * MAX_PLUGINS {
            return;
        }
        let gone: Vec<_> = records.keys().filter(|name| !names.contains(*name)).cloned().collect();
        for name in gone {
            if self.store(ApprovalChange::Forget(name.clone())).await.is_ok() {
                records.remove(&name);
            }
        }
    }

    fn settings(&self, name: &str) -> Arc<PluginSettings> {
        self.config.as_ref().map(|config| config.load().plugin(name)).unwrap_or_default()
    }

    async fn store(&self, change: ApprovalChange) -> Result<(), NotStored> {
        let Some(store) = &self.store else { return Ok(()) };
        let not_stored = |error: &dyn std::fmt::Display, may_be_there| NotStored {
            why: format!("what the plugin may do cannot be stored: {error}"),
            may_be_there,
        };
        match store.approve(change).await {
            Err(error @ StoreError::Stopped(_)) => Err(not_stored(&error, true)),
            Err(error) => Err(not_stored(&error, false)),
            Ok(()) => match fail::point("plugins.note_placed") {
                Some(fault) => Err(not_stored(&format_args!("injected: {fault:?}"), true)),
                None => Ok(()),
            },
        }
    }

    /// As while an approval is being stored: everybody else waits.
    #[cfg(test)]
    pub(super) fn storing(&self) -> impl Sized + '_ {
        self.records.blocking_lock()
    }
}

fn approval(plugin: &PluginName, digest: Digest, asked: &Asked, by: &str) -> Approval {
    let capabilities = asked.iter().map(|capability| capability.name().to_owned()).collect();
    Approval { plugin: plugin.clone(), digest, capabilities, approved_by: by.to_owned() }
}

/// The changes that bring a note of an older hookbox into the store.
fn changes(plugin: &PluginName, note: &Note) -> Vec<ApprovalChange> {
    let admitted = note.digest.map(|digest| approval(plugin, digest, &note.capabilities, "owner"));
    // What it asks for was not noted, and is written when it is admitted.
    let approved = note.approved.map(|digest| approval(plugin, digest, &Asked::new(), "operator"));
    let admitted = admitted.map(ApprovalChange::Admit);
    admitted.into_iter().chain(approved.map(ApprovalChange::Approve)).collect()
}
