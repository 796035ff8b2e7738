//! Plugin files in the folder of machine code, named `SHA256.plugin`: a start runs one while a
//! newer file is held.
//!
//! A file is used only if its content is what its name says. So a folder that a group could write
//! loses its machine code, and keeps these files. They do not expire: [`Cache::keep_only`] says
//! which ones stay.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, statat, unlinkat};
use sha2::{Digest as _, Sha256};

use super::cache::{Cache, FILE_ENDING, names};
use crate::event::Digest;
use crate::files::private::{self, IfThere};
use crate::files::read_regular;
use crate::sandbox::MAX_FILE_BYTES;

impl Cache {
    /// Keeps a plugin's file; it is on disk afterwards. A read-only cache does nothing. Blocks.
    ///
    /// # Errors
    /// The folder cannot be used, or the file cannot be written.
    pub fn keep_file(&self, digest: Digest, file: &[u8]) -> io::Result<()> {
        if !self.writes {
            return Ok(());
        }
        let dir = self.open().map_err(io::Error::other)?.ok_or(io::ErrorKind::NotFound)?;
        let name = file_name(digest);
        // The size is enough here: a damaged file is found when it is read, by its digest.
        if let Ok(found) = statat(&dir, name.as_str(), AtFlags::SYMLINK_NOFOLLOW)
            && FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
            && u64::try_from(found.st_size) == Ok(file.len() as u64)
        {
            return Ok(());
        }
        private::write(&dir, &name, file, IfThere::Replace)
    }

    /// Reads a kept file; returns its path and content if it is whole. Blocks.
    pub fn file(&self, digest: Digest) -> Option<(PathBuf, Vec<u8>)> {
        let path = self.dir.join(file_name(digest));
        let file = read_regular(&path, MAX_FILE_BYTES as u64).ok()?;
        let whole = Digest(Sha256::digest(&file).into()) == digest;
        if !whole {
            tracing::warn!(path = %path.display(), "a kept plugin is damaged, and not used");
        }
        whole.then_some((path, file))
    }

    /// Removes all kept files but these. Blocks.
    pub fn keep_only(&self, wanted: &BTreeSet<Digest>) {
        let Ok(Some(dir)) = self.open() else { return };
        for name in names(&dir).unwrap_or_default() {
            let digest = name.strip_suffix(FILE_ENDING).and_then(|digest| digest.parse().ok());
            if self.writes && digest.is_some_and(|digest| !wanted.contains(&digest)) {
                // The next call tries again.
                let _ = unlinkat(&dir, name.as_str(), AtFlags::empty());
            }
        }
    }
}

fn file_name(digest: Digest) -> String {
    format!("{digest}{FILE_ENDING}")
}
