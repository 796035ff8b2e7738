//! The files of secrets that hosts share, and the note of what this host has seen of each.
//!
//! The note lies in the same folder, so that a folder that is lost is like that of a new host, and
//! not like one whose files somebody has removed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::decide::SeenSecret;
use crate::files::private::{self, IfThere};
use crate::files::read_regular;
use crate::providers::registered::{MAX_BYTES, is_shared_file, replaced_file_name};

/// The note's name. No source's name has a dot, so that no secret is called so.
const NOTE: &str = "shared.json";

/// The longest note that is read, in bytes.
const MAX_NOTE_BYTES: u64 = 4 << 20;

/// The content of a file, or the reason why it cannot be read.
pub(super) type SecretFile = io::Result<Zeroizing<Vec<u8>>>;

/// The folder of secrets of this host.
#[derive(Debug, Clone)]
pub(super) struct SecretFolder {
    pub(super) path: PathBuf,
}

/// The files of the folder, and what was seen of each.
#[derive(Debug)]
pub(super) struct LocalSecrets {
    pub(super) files: BTreeMap<String, SecretFile>,
    pub(super) seen: BTreeMap<String, SeenSecret>,
}

/// SHA-256 of a content, in hex digits.
pub(super) fn digest(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

impl SecretFolder {
    /// The files that hosts share, and the note. Blocks.
    pub(super) fn read(&self) -> io::Result<LocalSecrets> {
        private::own_folder(&self.path)?;
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(&self.path)? {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            if is_shared_file(&name)
                && let Some(file) = self.file(&name)
            {
                files.insert(name, file);
            }
        }
        // After the files: if the folder goes meanwhile, none of them counts as removed.
        Ok(LocalSecrets { files, seen: self.seen()? })
    }

    /// A file; none if there is none.
    fn file(&self, name: &str) -> Option<SecretFile> {
        match read_regular(&self.path.join(name), MAX_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            read => Some(read.map(Zeroizing::new)),
        }
    }

    fn seen(&self) -> io::Result<BTreeMap<String, SeenSecret>> {
        let path = self.path.join(NOTE);
        let text = match read_regular(&path, MAX_NOTE_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            read => read?,
        };
        Ok(serde_json::from_slice(&text).unwrap_or_else(|error| {
            let file = path.display();
            tracing::warn!(%file, %error, "this file is damaged: secrets are compared as if it were not there");
            BTreeMap::new()
        }))
    }

    /// Writes the note. Blocks.
    pub(super) fn note(&self, seen: &BTreeMap<String, SeenSecret>) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(seen).expect("texts and numbers are JSON");
        private::write(&private::own_folder(&self.path)?, NOTE, &text, IfThere::Replace)
    }

    /// Puts a content into a file, or removes the file, unless it is not the one with this digest
    /// any more. Keeps the file beside it if `beside`; otherwise the one beside it is removed with
    /// it. Returns whether it was done. Blocks.
    pub(super) fn put(
        &self,
        name: &str,
        was: Option<&str>,
        content: Option<&[u8]>,
        beside: bool,
    ) -> io::Result<bool> {
        let folder = private::own_folder(&self.path)?;
        let present = self.file(name).transpose()?;
        let is = |present: Option<&Zeroizing<Vec<u8>>>| {
            present.map(|content| digest(content)).as_deref() == was
        };
        if !is(present.as_ref()) {
            return Ok(false);
        }
        if let Some(present) = present
            && beside
        {
            private::write(&folder, &replaced_file_name(name), &present, IfThere::Replace)?;
        }
        // A command may have written it while other files were put on disk.
        let still = || Ok(is(self.file(name).transpose()?.as_ref()));
        match content {
            Some(content) => {
                return private::write_if(&folder, name, content, IfThere::Replace, still);
            }
            None if !still()? => return Ok(false),
            None => remove(&self.path.join(name))?,
        }
        if !beside {
            remove(&self.beside(name))?;
        }
        Ok(true)
    }

    /// The file beside one that was replaced.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.path.join(replaced_file_name(name))
    }
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
