//! The folder beside the store that remembers what each plugin may do: `NAME.json` says it, `NAME.SHA256` is the file that
//! ran last, and one that is held beside it.
//!
//! The folder belongs to the host's user alone. It is not believed if everybody may write it. It is if a group of the host
//! may, because that is the work of whoever mounts volumes, and its mode is set right at every start.
//!
//! A note appears whole, by renaming, and is on disk when it has been written. A kept file is held against its name when it
//! is read: a torn one is none.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::fstat;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::event::{Digest, PluginName};
use crate::fail;
use crate::files::private::{self, Writers};
use crate::files::{open_folder, read_regular};
use crate::plugins::{MAX_FILE_BYTES, is_name};
use crate::sandbox::Capability;

/// The longest note, in bytes.
const MAX_NOTE_BYTES: u64 = 4 << 10;

/// What the name of a file ends with that is not whole yet.
const DRAFT: &str = ".draft";

/// What is remembered of a plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Note {
    /// The file that ran last.
    pub(super) digest: Option<Digest>,
    /// What it asked for.
    pub(super) capabilities: BTreeSet<Capability>,
    /// The file that may ask for more.
    pub(super) approved: Option<Digest>,
}

/// A note as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    digest: Option<String>,
    capabilities: Vec<String>,
    approved: Option<String>,
}

/// The folder.
#[derive(Debug)]
pub(super) struct Notes {
    dir: PathBuf,
}

/// Every plugin of which there is a note, and the note or what is wrong with it.
pub(super) type Found = BTreeMap<PluginName, Result<Note, String>>;

impl Notes {
    /// Reads every note in `dir`, which need not be there. Its mode is set right if it is this host's `own`.
    pub(super) fn read(dir: PathBuf, own: bool) -> Result<(Self, Found), String> {
        let mut found = Found::new();
        let Some(folder) = open_folder(&dir).map_err(|error| unreadable(&dir, &error))? else {
            return Ok((Self { dir }, found));
        };
        keep_private(&folder, &dir, own)?;
        for entry in fs::read_dir(&dir).map_err(|error| unreadable(&dir, &error))? {
            let path = entry.map_err(|error| unreadable(&dir, &error))?.path();
            let Some((name, ending)) = parts(&path) else { continue };
            if ending == "json" {
                found.insert(name.into(), read(&path));
            }
        }
        Ok((Self { dir }, found))
    }

    /// Removes what a host that was killed has left unfinished.
    pub(super) fn drop_drafts(&self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if parts(&path).is_some_and(|(_, ending)| ending.ends_with(DRAFT)) {
                // Whoever writes that draft anew begins it anew.
                let _ = fs::remove_file(&path);
            }
        }
    }

    /// The note of a plugin, as the next start would find it.
    pub(super) fn note(&self, name: &PluginName) -> Result<Note, String> {
        read(&self.path(name))
    }

    /// Writes a note; it is on disk afterwards. One that could not be written may be in its place all the same.
    pub(super) fn write(&self, name: &PluginName, note: &Note) -> Result<(), String> {
        let written = Written {
            digest: note.digest.map(|digest| digest.to_string()),
            capabilities: note.capabilities.iter().map(|capability| capability.name().to_owned()).collect(),
            approved: note.approved.map(|digest| digest.to_string()),
        };
        let path = self.path(name);
        let text = serde_json::to_vec(&written).map_err(io::Error::from);
        let placed = text.and_then(|text| self.place(&path, &text));
        let synced = placed.and_then(|()| match fail::point("plugins.note_placed") {
            Some(fault) => Err(io::Error::other(format!("injected: {fault:?}"))),
            None => self.sync(),
        });
        synced.map_err(|error| format!("what the plugin may do cannot be noted in {}: {error}", path.display()))
    }

    /// Removes a note; says whether it is gone.
    pub(super) fn remove(&self, name: &PluginName) -> bool {
        let removed = fs::remove_file(self.path(name));
        removed.is_ok_and(|()| self.sync().is_ok())
    }

    /// Keeps a plugin's file; says whether it was not there.
    pub(super) fn keep(&self, name: &PluginName, digest: Digest, file: &[u8]) -> io::Result<bool> {
        let path = self.dir.join(format!("{name}.{digest}"));
        match fs::symlink_metadata(&path) {
            Ok(there) if there.is_file() && there.len() == file.len() as u64 => Ok(false),
            _ => self.place(&path, file).and_then(|()| self.sync()).map(|()| true),
        }
    }

    /// A file that was kept, if it is what it was.
    pub(super) fn kept(&self, name: &PluginName, digest: Digest) -> Option<(PathBuf, Vec<u8>)> {
        let path = self.dir.join(format!("{name}.{digest}"));
        let file = read_regular(&path, MAX_FILE_BYTES).ok()?;
        let whole = Digest(Sha256::digest(&file).into()) == digest;
        if !whole {
            tracing::warn!(path = %path.display(), "a kept plugin is damaged, and not used");
        }
        whole.then_some((path, file))
    }

    /// Removes the kept files of a plugin, but these.
    pub(super) fn keep_only(&self, name: &PluginName, wanted: &[Digest]) {
        self.drop_files_if(|its, digest| its == &**name && !wanted.contains(&digest));
    }

    /// Removes the kept files of plugins.
    pub(super) fn drop_files(&self, unwanted: impl Fn(&str) -> bool) {
        self.drop_files_if(|name, _| unwanted(name));
    }

    fn drop_files_if(&self, unwanted: impl Fn(&str, Digest) -> bool) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if let Some((name, ending)) = parts(&path)
                && ending.parse().is_ok_and(|digest| unwanted(name, digest))
            {
                // The next one that is kept tries again.
                let _ = fs::remove_file(&path);
            }
        }
    }

    fn path(&self, name: &PluginName) -> PathBuf {
        self.dir.join(format!("{name}.json"))
    }

    /// Puts a file in its place, whole. That it is there is on disk after a [`Notes::sync`].
    fn place(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let draft = PathBuf::from([path.as_os_str(), OsStr::new(DRAFT)].join(OsStr::new("")));
        // Whatever stands there is not opened: it could be a pipe.
        let _ = fs::remove_file(&draft);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft);
        let mut file = made.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", draft.display())))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    }

    fn sync(&self) -> io::Result<()> {
        let folder = open_folder(&self.dir)?.ok_or(io::ErrorKind::NotFound)?;
        File::from(folder).sync_all()
    }
}

/// Refuses a folder that strangers may write, and takes it back from a group of this process where it can.
fn keep_private(folder: &OwnedFd, dir: &Path, own: bool) -> Result<(), String> {
    let stat = fstat(folder).map_err(|errno| unreadable(dir, &errno.into()))?;
    let writers = private::writers(&stat)
        .map_err(|why| format!("others may write {}: {why}, and make it this user's own", dir.display()))?;
    if writers == Writers::Us || !own {
        return Ok(());
    }
    let path = dir.display();
    match private::mend(folder) {
        Ok(true) => tracing::warn!("a group could write {path}, where approvals are kept: its mode is 0700 again"),
        Ok(false) => {
            tracing::warn!("a group may write {path}, where approvals are kept, and it is not this user's own")
        }
        Err(error) => {
            tracing::warn!(error = %error, "a group may write {path}, where approvals are kept, and its mode cannot be set");
        }
    }
    Ok(())
}

/// The plugin's name in that of a file, and what stands behind the point.
fn parts(path: &Path) -> Option<(&str, &str)> {
    path.file_name()?.to_str()?.split_once('.').filter(|(name, _)| is_name(name))
}

fn read(path: &Path) -> Result<Note, String> {
    let unusable = |why: &dyn std::fmt::Display| {
        format!("{} is no note of what a plugin may do ({why}): approve what the plugin asks for", path.display())
    };
    let text = read_regular(path, MAX_NOTE_BYTES).map_err(|error| unusable(&error))?;
    let written: Written = serde_json::from_slice(&text).map_err(|error| unusable(&error))?;
    let digest = |text: Option<String>| text.map(|text| text.parse().map_err(|error| unusable(&error))).transpose();
    let capability = |name: &String| {
        Capability::from_name(name)
            .ok_or_else(|| unusable(&format_args!("`{name}` is no capability that this host knows")))
    };
    let capabilities = written.capabilities.iter().map(capability).collect::<Result<_, _>>()?;
    Ok(Note { digest: digest(written.digest)?, capabilities, approved: digest(written.approved)? })
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("failed to read {}: {error}", path.display())
}
