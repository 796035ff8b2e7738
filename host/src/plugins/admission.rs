//! What each plugin may do without being asked: what its last file did, what its owner grants, what an operator approved.
//!
//! A file that asks for a capability beyond that is held (see [`super::held`]); `notes` keeps what has to outlive the
//! host. An approval is for one file, by its digest, and is over when that file is taken up or another one comes. One that is
//! over counts for nothing from then on, and is struck out of the note at every look until that has been written.
//!
//! Invariant: what a plugin may do never grows without its owner or an operator. It is noted, durably, before a file is
//! taken up; a note that cannot be read counts as one that allows nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::MAX_PLUGINS;
use crate::config::{Approve, Config, PluginSettings};
use crate::event::{Digest, PluginName};
use crate::fail;
use crate::sandbox::Capability;

mod notes;

use notes::{Note, Notes};

/// What a plugin asks for.
pub(super) type Asked = BTreeSet<Capability>;

/// Who may do what. One for the host, shared by those who take files up and those who approve.
#[derive(Debug, Default)]
pub struct Approvals {
    memory: Memory,
    /// Without it, every plugin has the default settings.
    config: Option<Arc<ArcSwap<Config>>>,
    book: Mutex<BTreeMap<PluginName, Entry>>,
    wake: Arc<Notify>,
}

/// What outlives this process.
#[derive(Debug, Default)]
enum Memory {
    #[default]
    Nothing,
    /// Notes that another process keeps, which are only read.
    Foreign(Notes),
    Own(Notes),
}

/// What is known of one plugin. One without an entry has never been loaded.
#[derive(Debug, Default)]
struct Entry {
    note: Note,
    /// Why there is no better note.
    trouble: Option<String>,
    /// What waits for an approval.
    held: Option<Digest>,
    /// The approval in the note is over, and the note does not say so yet.
    over: bool,
}

/// What is to be done with a file that can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ruling {
    /// It is taken up; if it asks for more than the last one, this is why it may.
    Take(Option<LetIn>),
    /// It waits.
    Hold {
        /// What it asks for beyond what the last one did.
        added: Asked,
        /// Why nothing is known of the last one.
        trouble: Option<String>,
    },
}

/// Why a file that asks for more is taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetIn {
    /// What it asks for beyond what the last one did.
    pub added: BTreeSet<Capability>,
    /// `approved` by an operator, `granted` by the configuration, or `auto`.
    pub why: &'static str,
}

/// Why there is nothing to approve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotApproved {
    /// No file waits.
    NothingHeld,
    /// Another file waits.
    OtherHeld(Digest),
    /// It could not be noted. It does not count, or the text says that it may after a restart.
    Failed(String),
}

impl Approvals {
    /// Those of a host with this configuration, which are kept in `dir`, made when it is needed. Blocks.
    ///
    /// # Errors
    /// The folder cannot be read, or strangers may write it: nothing is known of what was approved.
    pub fn open(dir: PathBuf, config: Arc<ArcSwap<Config>>) -> Result<Self, String> {
        Self::read(dir, config, true)
    }

    /// The same to answer questions with: nothing in `dir` is changed, where a host may be running. Blocks.
    ///
    /// # Errors
    /// As for [`Approvals::open`].
    pub fn look(dir: PathBuf, config: Arc<ArcSwap<Config>>) -> Result<Self, String> {
        Self::read(dir, config, false)
    }

    fn read(dir: PathBuf, config: Arc<ArcSwap<Config>>, own: bool) -> Result<Self, String> {
        let (notes, found) = Notes::read(dir, own)?;
        let entry = |found: Result<Note, String>| match found {
            Ok(note) => Entry { note, ..Entry::default() },
            Err(trouble) => {
                tracing::error!(error = trouble, "a note of what a plugin may do cannot be used, so it may do nothing");
                Entry { trouble: Some(trouble), ..Entry::default() }
            }
        };
        let book = found.into_iter().map(|(name, found)| (name, entry(found))).collect();
        let memory = if own {
            notes.drop_drafts();
            Memory::Own(notes)
        } else {
            Memory::Foreign(notes)
        };
        let (config, book) = (Some(config), Mutex::new(book));
        Ok(Self { memory, config, book, wake: Arc::default() })
    }

    /// Notified after an approval: the shelf is to be looked at again.
    pub fn wake(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    /// Lets the file in that is held, if it is `digest` or none is given; says which one. It is taken up by the next
    /// refresh, also of the next host. What was taken up already needs no more. Blocks.
    pub fn approve(&self, name: &str, digest: Option<Digest>) -> Result<Digest, NotApproved> {
        let mut book = self.book();
        let (name, entry) = book.iter_mut().find(|(known, _)| ***known == *name).ok_or(NotApproved::NothingHeld)?;
        if let Some(digest) = digest.filter(|digest| entry.note.digest == Some(*digest)) {
            // Somebody else was faster, and it has been taken up.
            return Ok(digest);
        }
        let held = entry.held.ok_or(NotApproved::NothingHeld)?;
        if digest.is_some_and(|digest| digest != held) {
            return Err(NotApproved::OtherHeld(held));
        }
        if entry.note.approved != Some(held) || entry.over {
            self.note_approval(name, entry, held).map_err(NotApproved::Failed)?;
        }
        let _ = fail::point("plugins.approved");
        self.wake.notify_one();
        Ok(held)
    }

    /// An approval that is not noted for sure is none, also for the next host.
    fn note_approval(&self, name: &PluginName, entry: &mut Entry, held: Digest) -> Result<(), String> {
        let note = Note { approved: Some(held), ..entry.note.clone() };
        let Err(mut why) = self.write(name, &note) else {
            (entry.note, entry.over) = (note, false);
            return Ok(());
        };
        // One that cannot be read may be there.
        let may_be_there = |notes: &Notes| notes.note(name).map_or(true, |found| found.approved == Some(held));
        if self.own_notes().is_some_and(may_be_there) && !self.strike_out(name, entry) {
            why.push_str("; nor is it certain yet that it is taken back, so that it may count after a restart");
        }
        Err(why)
    }

    /// Whether [`Approvals::admit`] would have it wait now. Blocks.
    pub(super) fn holds(&self, name: &str, digest: Digest, asked: &Asked) -> bool {
        matches!(judge(self.book().get(name), &self.settings(name), digest, asked), Ruling::Hold { .. })
    }

    /// Judges a file that is to be taken up, and notes that it is. Blocks.
    ///
    /// # Errors
    /// It may be, and that cannot be noted.
    pub(super) fn admit(&self, name: &PluginName, digest: Digest, asked: &Asked) -> Result<Ruling, String> {
        let settings = self.settings(name);
        let mut book = self.book();
        let ruling = judge(book.get(name), &settings, digest, asked);
        if let Ruling::Hold { .. } = ruling {
            return Ok(ruling);
        }
        let note = Note { digest: Some(digest), capabilities: asked.clone(), approved: None };
        if book.get(name).is_some_and(|entry| entry.note == note && entry.trouble.is_none()) {
            return Ok(ruling);
        }
        self.write(name, &note)?;
        book.insert(name.clone(), Entry { note, ..Entry::default() });
        drop(book);
        let _ = fail::point("plugins.noted");
        if let Some(notes) = self.own_notes() {
            notes.keep_only(name, &[digest]);
        }
        Ok(ruling)
    }

    /// Notes what is held now. An approval of anything else is over if it is `known` what the plugin's newest file is.
    /// Blocks.
    pub(super) fn holding(&self, held: &BTreeMap<PluginName, Digest>, known: &BTreeSet<PluginName>) {
        for (name, entry) in self.book().iter_mut() {
            entry.held = held.get(name).copied();
            let approved = entry.note.approved;
            if entry.over || approved.is_some() && approved != entry.held && known.contains(name) {
                self.strike_out(name, entry);
            }
        }
    }

    /// Strikes an approval that is over out of the note; says whether that is written. If not, the next look tries again.
    fn strike_out(&self, name: &PluginName, entry: &mut Entry) -> bool {
        let note = Note { approved: None, ..entry.note.clone() };
        let written = self.write(name, &note);
        match &written {
            Ok(()) => entry.note = note,
            Err(_) if entry.over => {}
            Err(error) => tracing::error!(plugin.name = %name, error, "that an approval is over cannot be noted yet"),
        }
        entry.over = written.is_err();
        !entry.over
    }

    /// Keeps a file that can run, for a start that finds only one on disk that is held. Blocks.
    pub(super) fn keep(&self, name: &PluginName, digest: Digest, file: &[u8]) {
        let Some(notes) = self.own_notes() else { return };
        match notes.keep(name, digest, file) {
            Ok(true) => {}
            Ok(false) => return,
            // It is only missed if the next start finds a file that is held.
            Err(error) => tracing::warn!(plugin.name = %name, error = %error, "a plugin's file could not be kept"),
        }
        let runs = self.book().get(name).and_then(|entry| entry.note.digest);
        notes.keep_only(name, &[Some(digest), runs].into_iter().flatten().collect::<Vec<_>>());
    }

    /// The file that ran last, where it is kept, if it is still whole. Blocks.
    pub(super) fn kept(&self, name: &PluginName) -> Option<(PathBuf, Vec<u8>, Digest)> {
        let digest = self.book().get(name)?.note.digest?;
        let (Memory::Own(notes) | Memory::Foreign(notes)) = &self.memory else { return None };
        let (path, file) = notes.kept(name, digest)?;
        Some((path, file, digest))
    }

    /// Forgets the files of plugins that are not among `names`, and all of those when there are too many. What a plugin may
    /// do is remembered: one whose file is removed and put back asks for no less. Blocks.
    pub(super) fn keep_files_of(&self, names: &BTreeSet<PluginName>) {
        let Some(notes) = self.own_notes() else { return };
        notes.drop_files(|name| !names.contains(name));
        let mut book = self.book();
        if book.len() > 2 * MAX_PLUGINS {
            book.retain(|name, _| names.contains(name) || !notes.remove(name));
        }
    }

    fn settings(&self, name: &str) -> Arc<PluginSettings> {
        self.config.as_ref().map(|config| config.load().plugin(name)).unwrap_or_default()
    }

    fn write(&self, name: &PluginName, note: &Note) -> Result<(), String> {
        self.own_notes().map_or(Ok(()), |notes| notes.write(name, note))
    }

    /// Those that may be changed.
    fn own_notes(&self) -> Option<&Notes> {
        match &self.memory {
            Memory::Own(notes) => Some(notes),
            Memory::Foreign(_) | Memory::Nothing => None,
        }
    }

    /// As while a note is being written: everybody else waits.
    #[cfg(test)]
    pub(super) fn writing(&self) -> impl Sized + '_ {
        self.book()
    }

    fn book(&self) -> MutexGuard<'_, BTreeMap<PluginName, Entry>> {
        // No change of it is made in parts.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rule.
fn judge(entry: Option<&Entry>, settings: &PluginSettings, digest: Digest, asked: &Asked) -> Ruling {
    // The first file of a plugin is what its owner put there.
    let Some(Entry { note, trouble, over, .. }) = entry else { return Ruling::Take(None) };
    let added: Asked = asked.difference(&note.capabilities).copied().collect();
    if added.is_empty() || note.digest == Some(digest) {
        return Ruling::Take(None);
    }
    let why = match settings.approve {
        _ if note.approved == Some(digest) && !over => "approved",
        _ if added.iter().all(|capability| capability.is_granted(settings)) => "granted",
        Approve::Auto => "auto",
        Approve::Ask => return Ruling::Hold { added, trouble: trouble.clone() },
    };
    Ruling::Take(Some(LetIn { added, why }))
}
