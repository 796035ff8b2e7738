//! The folder `approved/` of a hookbox with schema version 5 or older: moved into the store, once.
//!
//! `NAME.json` is a note of what a plugin may do. `NAME.SHA256` is the file that ran last or one
//! that was held. A start moves notes into rows of the store, and files into the folder of compiled
//! plugins.
//!
//! The folder is refused if strangers may write it. A note stays until the store has a row of what
//! its plugin may do, so a note that cannot be read allows nothing for as long as it is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::fstat;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::event::{Digest, PluginName};
use crate::files::{open_folder, private, read_regular};
use crate::names::is_plugin_name;
use crate::plugins::directory::MAX_FILE_BYTES;
use crate::sandbox::{Cache, Capability};

/// The longest note, in bytes.
const MAX_NOTE_BYTES: u64 = 4 << 10;

/// The note of a plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Note {
    /// The file that ran last.
    pub(super) digest: Option<Digest>,
    /// The capabilities it asked for.
    pub(super) capabilities: BTreeSet<Capability>,
    /// The file that may ask for more.
    pub(super) approved: Option<Digest>,
}

/// A note as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenNote {
    digest: Option<String>,
    capabilities: Vec<String>,
    approved: Option<String>,
}

/// The folder and its notes.
#[derive(Debug)]
pub(super) struct FormerApprovals {
    dir: PathBuf,
    /// The notes by plugin, or why they cannot be used.
    pub(super) notes: BTreeMap<PluginName, Result<Note, String>>,
}

impl FormerApprovals {
    /// Reads every note in `dir`; `None` without the folder. Blocks.
    ///
    /// # Errors
    /// The folder cannot be read, or strangers may write it.
    pub(super) fn read(dir: PathBuf) -> Result<Option<Self>, String> {
        let unreadable = |error: io::Error| format!("failed to read {}: {error}", dir.display());
        let Some(folder) = open_folder(&dir).map_err(unreadable)? else { return Ok(None) };
        let stat = fstat(folder).map_err(|errno| unreadable(errno.into()))?;
        private::writers(&stat).map_err(|why| {
            format!("others may write {}: {why}, and make it this user's own", dir.display())
        })?;
        let mut notes = BTreeMap::new();
        for entry in fs::read_dir(&dir).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if let Some((name, "json")) = parts(&path) {
                notes.insert(name.into(), read_note(&path));
            }
        }
        Ok(Some(Self { dir, notes }))
    }

    /// Moves the plugin files to `files`, removes the notes of the `moved` plugins, and then the
    /// folder if it is empty. Blocks.
    pub(super) fn finish(self, moved: &BTreeSet<PluginName>, files: &Cache) {
        let is_done = |name: &str| moved.contains(name) || !self.notes.contains_key(name);
        let mut paths: Vec<_> = fs::read_dir(&self.dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        // Files before notes: a start that is killed in between is repeated.
        paths.sort_by_key(|path| path.extension().is_some_and(|ending| ending == "json"));
        for path in paths {
            let Some((name, ending)) = parts(&path).filter(|(name, _)| is_done(name)) else {
                continue;
            };
            if let Ok(digest) = ending.parse()
                && let Err(error) = move_file(&path, digest, files)
            {
                tracing::warn!(plugin.name = name, error = %error, "a plugin's file could not be moved yet");
                continue;
            }
            let _ = fs::remove_file(&path);
        }
        let (dir, left) = (self.dir.display(), fs::remove_dir(&self.dir));
        match left {
            Ok(()) => tracing::info!("what plugins may do has moved from {dir} into the store"),
            Err(error) => {
                tracing::warn!(error = %error, "{dir} stays, because not all in it could be moved")
            }
        }
    }
}

/// Splits a file's name into the plugin's name and the ending.
fn parts(path: &Path) -> Option<(&str, &str)> {
    path.file_name()?.to_str()?.split_once('.').filter(|(name, _)| is_plugin_name(name))
}

/// Keeps a file in `files`, if its content is what its name says.
fn move_file(path: &Path, digest: Digest, files: &Cache) -> io::Result<()> {
    let file = read_regular(path, MAX_FILE_BYTES)?;
    if Digest(Sha256::digest(&file).into()) == digest {
        files.keep_file(digest, &file)
    } else {
        Ok(())
    }
}

fn read_note(path: &Path) -> Result<Note, String> {
    let unusable = |why: &dyn std::fmt::Display| {
        format!(
            "{} is no note of what a plugin may do ({why}): approve what the plugin asks for",
            path.display()
        )
    };
    let text = read_regular(path, MAX_NOTE_BYTES).map_err(|error| unusable(&error))?;
    let written: WrittenNote = serde_json::from_slice(&text).map_err(|error| unusable(&error))?;
    let digest = |text: Option<String>| {
        text.map(|text| text.parse().map_err(|error| unusable(&error))).transpose()
    };
    let capability = |name: &String| {
        Capability::from_name(name).ok_or_else(|| {
            unusable(&format_args!("`{name}` is no capability that this host knows"))
        })
    };
    let capabilities = written.capabilities.iter().map(capability).collect::<Result<_, _>>()?;
    Ok(Note { digest: digest(written.digest)?, capabilities, approved: digest(written.approved)? })
}
