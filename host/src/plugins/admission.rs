//! Admission: decides which plugin files may run.
//!
//! A plugin may use the capabilities of its last file, those that the configuration grants, and
//! those of a file that an operator approved. A file that asks for more is held. An approval is for
//! one file, by its digest. It is over when that file is admitted or another one takes its place;
//! then it counts for nothing, and every refresh tries to withdraw it until the store has done so.
//!
//! Invariant: a plugin's capabilities never grow without its owner or an operator. They are stored,
//! durably, before a file is admitted. A row that cannot be read allows nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, Notify};

use super::directory::MAX_PLUGINS;
use crate::config::{Config, PluginSettings};
use crate::event::{Digest, PluginName};
use crate::sandbox::Cache;
use crate::store::{Approval, ApprovalChange, AuditNote, Store, StoreError, StoredApproval};
use crate::{fail, tasks};

mod migration;
mod record;

use migration::{FormerApprovals, Note};
pub use record::Admission;
pub(super) use record::{AskedCapabilities, Decision};
use record::{Record, decide};

/// Stands in the store for whoever has approved a file by hand.
const OPERATOR: &str = "operator";

/// The plugin files that may run. A host has one, shared by `refresh`, which admits, and the admin
/// API, which approves.
#[derive(Debug, Default)]
pub struct Approvals {
    /// Keeps the changes; without it they end with this value.
    store: Option<Arc<dyn Store>>,
    /// Without it, every plugin has the default settings.
    config: Option<Arc<ArcSwap<Config>>>,
    records: Mutex<BTreeMap<PluginName, Record>>,
    wake: Arc<Notify>,
}

/// The reason why a file was not approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotApproved {
    /// No file waits.
    NothingHeld,
    /// Another file waits.
    OtherHeld(Digest),
    /// The approval could not be stored. It does not count, or the text says that it may after a
    /// restart.
    Failed(String),
}

/// A change that the store did not confirm.
struct NotStored {
    why: String,
    /// Whether the store may have made it all the same.
    may_be_there: bool,
}

impl Approvals {
    /// Opens the approvals in `store`. Approvals that an older hookbox has left in the folder
    /// `former` are moved into the store first, and the plugin files there to `files`.
    ///
    /// # Errors
    /// The approvals cannot be read, or strangers may write the folder.
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

    /// Makes approvals of what a host has stored, to answer questions with: changes nothing.
    /// Blocks.
    ///
    /// # Errors
    /// As for [`Approvals::open`].
    pub fn peek(
        stored: Vec<StoredApproval>,
        former: &Path,
        config: Arc<ArcSwap<Config>>,
    ) -> Result<Self, String> {
        let mut approvals = Self::of(stored, config);
        if let Some(former) = FormerApprovals::read(former.to_owned())? {
            let records = approvals.records.get_mut();
            former
                .notes
                .into_iter()
                .for_each(|(name, note)| records.entry(name).or_default().complete(note));
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

    /// Moves the notes of an older hookbox into the store. All of them count at once; those that
    /// cannot be moved are tried again at the next start.
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
            Some(NotStored { why, .. }) => {
                tracing::error!(error = why, "approvals cannot be moved into the store yet")
            }
            None => tasks::blocking(move || former.finish(&moved, &files)).await,
        }
    }

    /// Notified after an approval: the registry is to be refreshed.
    pub fn wake(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    /// Approves the held file, if it is `digest` or no digest is given; returns its digest. The
    /// next refresh admits it, even after a restart. A file that was admitted already is no error.
    /// Goes on when the caller is gone.
    pub async fn approve(
        self: &Arc<Self>,
        note: Option<AuditNote>,
        name: PluginName,
        digest: Option<Digest>,
    ) -> Result<Digest, NotApproved> {
        let approvals = Arc::clone(self);
        let approved =
            tasks::spawn(async move { approvals.approve_to_the_end(note, &name, digest).await });
        approved.await.unwrap_or_else(|error| Err(NotApproved::Failed(error.to_string())))
    }

    async fn approve_to_the_end(
        &self,
        note: Option<AuditNote>,
        name: &PluginName,
        digest: Option<Digest>,
    ) -> Result<Digest, NotApproved> {
        let mut records = self.records.lock().await;
        let record = records.get_mut(name).ok_or(NotApproved::NothingHeld)?;
        if let Some(digest) = digest.filter(|digest| record.admitted == Some(*digest)) {
            // Another operator was faster.
            return Ok(digest);
        }
        let (held, asked) = record.held.clone().ok_or(NotApproved::NothingHeld)?;
        if digest.is_some_and(|digest| digest != held) {
            return Err(NotApproved::OtherHeld(held));
        }
        if record.approved != Some(held) || record.over {
            let approval = approval(name, held, &asked, OPERATOR);
            self.store_approval(note, name, record, approval).await.map_err(NotApproved::Failed)?;
        }
        let _ = fail::point("plugins.approved");
        self.wake.notify_one();
        Ok(held)
    }

    /// Stores an approval, or withdraws it if the store does not confirm it.
    async fn store_approval(
        &self,
        note: Option<AuditNote>,
        name: &PluginName,
        record: &mut Record,
        approval: Approval,
    ) -> Result<(), String> {
        let digest = approval.digest;
        let Err(NotStored { mut why, may_be_there }) =
            self.store_noted(note, ApprovalChange::Approve(approval)).await
        else {
            (record.approved, record.over) = (Some(digest), false);
            return Ok(());
        };
        if may_be_there && !self.withdraw(name, record).await {
            why.push_str("; nor is it certain yet that it is taken back, so that it may count after a restart");
        }
        Err(why)
    }

    /// Whether [`Approvals::admit`] would hold the file now.
    pub(super) async fn holds(
        &self,
        name: &str,
        digest: Digest,
        asked: &AskedCapabilities,
    ) -> bool {
        let records = self.records.lock().await;
        matches!(
            decide(records.get(name), &self.settings(name), digest, asked),
            Decision::Hold { .. }
        )
    }

    /// Learns which held files an operator has approved at another host of the same store. An
    /// approval that cannot be learned now is asked for again by the next refresh.
    pub(super) async fn learn(&self) {
        let mut records = self.records.lock().await;
        if records.values().all(|record| record.held.is_none()) {
            return;
        }
        let Some(store) = &self.store else { return };
        let Ok(rows) = store.approvals().await else { return };
        for Approval { plugin, digest, approved_by, .. } in rows.into_iter().map(|row| row.approval)
        {
            let Some(record) = records.get_mut(&plugin) else { continue };
            let is_held = record.held.as_ref().is_some_and(|(held, _)| *held == digest);
            if is_held && approved_by == OPERATOR && !record.over {
                record.approved = Some(digest);
            }
        }
    }

    /// Decides on a file, and stores its admission.
    ///
    /// # Errors
    /// The file may run, but its admission cannot be stored.
    pub(super) async fn admit(
        &self,
        name: &PluginName,
        digest: Digest,
        asked: &AskedCapabilities,
    ) -> Result<Decision, String> {
        // Locked until the admission is stored, so that an approval comes before or after it.
        let mut records = self.records.lock().await;
        let decision = decide(records.get(name), &self.settings(name), digest, asked);
        let Decision::Admit(admission) = &decision else { return Ok(decision) };
        if records.get(name).is_some_and(|record| record.says(digest, asked)) {
            return Ok(decision);
        }
        let by = match admission.as_ref().map(|admission| admission.reason) {
            Some("approved") => OPERATOR,
            Some("granted") => "configuration",
            Some(reason) => reason,
            None => "owner",
        };
        let change = ApprovalChange::Admit(approval(name, digest, asked, by));
        self.store(change).await.map_err(|error| error.why)?;
        let record =
            Record { admitted: Some(digest), capabilities: asked.clone(), ..Record::default() };
        records.insert(name.clone(), record);
        drop(records);
        let _ = fail::point("plugins.noted");
        Ok(decision)
    }

    /// Takes the files that are held now. An approval of another file is over if the newest file of
    /// its plugin is `known`.
    pub(super) async fn holding(
        &self,
        mut held: BTreeMap<PluginName, (Digest, AskedCapabilities)>,
        known: &BTreeSet<PluginName>,
    ) {
        for (name, record) in self.records.lock().await.iter_mut() {
            record.held = held.remove(name);
            let is_other = record.approved != record.held.as_ref().map(|(digest, _)| *digest);
            if record.over || record.approved.is_some() && is_other && known.contains(name) {
                self.withdraw(name, record).await;
            }
        }
    }

    /// Withdraws an approval; returns whether that is stored. If not, the next refresh tries again.
    async fn withdraw(&self, name: &PluginName, record: &mut Record) -> bool {
        let stored = self.store(ApprovalChange::Withdraw(name.clone())).await;
        match &stored {
            Ok(()) => record.approved = None,
            // It was logged when it failed first.
            Err(_) if record.over => {}
            Err(NotStored { why, .. }) => {
                tracing::error!(plugin.name = %name, error = why, "an approval is over, which cannot be stored yet");
            }
        }
        record.over = stored.is_err();
        !record.over
    }

    /// The files of these plugins that were admitted last.
    pub(super) async fn admitted(&self, names: &BTreeSet<PluginName>) -> BTreeSet<Digest> {
        let records = self.records.lock().await;
        names.iter().filter_map(|name| records.get(name)?.admitted).collect()
    }

    /// Forgets plugins that are not among `names` when there are too many. Until then a plugin
    /// whose file is removed keeps its capabilities, so putting a file back admits no more.
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
        self.store_noted(None, change).await
    }

    async fn store_noted(
        &self,
        note: Option<AuditNote>,
        change: ApprovalChange,
    ) -> Result<(), NotStored> {
        let Some(store) = &self.store else { return Ok(()) };
        let not_stored = |error: &dyn std::fmt::Display, may_be_there| NotStored {
            why: format!("what the plugin may do cannot be stored: {error}"),
            may_be_there,
        };
        match store.approve(note, change).await {
            Err(error @ StoreError::Stopped(_)) => Err(not_stored(&error, true)),
            Err(error) => Err(not_stored(&error, false)),
            Ok(()) => match fail::point("plugins.note_placed") {
                Some(fault) => Err(not_stored(&format_args!("injected: {fault:?}"), true)),
                None => Ok(()),
            },
        }
    }

    /// Keeps all other callers waiting, as a store does that takes long.
    #[cfg(test)]
    pub(super) fn storing(&self) -> impl Sized + '_ {
        self.records.blocking_lock()
    }
}

fn approval(plugin: &PluginName, digest: Digest, asked: &AskedCapabilities, by: &str) -> Approval {
    let capabilities = asked.iter().map(|capability| capability.name().to_owned()).collect();
    Approval { plugin: plugin.clone(), digest, capabilities, approved_by: by.to_owned() }
}

/// The changes that move a note of an older hookbox into the store.
fn changes(plugin: &PluginName, note: &Note) -> Vec<ApprovalChange> {
    let admitted = note.digest.map(|digest| approval(plugin, digest, &note.capabilities, "owner"));
    // The note does not have its capabilities; they are stored when it is admitted.
    let approved =
        note.approved.map(|digest| approval(plugin, digest, &AskedCapabilities::new(), OPERATOR));
    let admitted = admitted.map(ApprovalChange::Admit);
    admitted.into_iter().chain(approved.map(ApprovalChange::Approve)).collect()
}
