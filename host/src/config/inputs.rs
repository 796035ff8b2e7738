//! The other files that a configuration names and that were read for it: secrets, credentials, certificates.
//!
//! They are remembered as they were when they were read, so that a reload knows when one of them is another.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::files;

/// SHA-256 of a file; `None` if there is none that can be read.
pub type Content = Option<[u8; 32]>;

/// A file that was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Input {
    path: PathBuf,
    max_bytes: u64,
    content: Content,
    /// Whether what was looked for in it was there: an empty file holds no secret.
    held: bool,
}

impl Input {
    /// Reads a file of at most `max_bytes`; `holds` says whether what it is read for is in it.
    pub(super) fn read(path: &Path, max_bytes: u64, holds: impl FnOnce(&[u8]) -> bool) -> (Self, io::Result<Vec<u8>>) {
        let read = files::read_regular(path, max_bytes);
        let content = read.as_ref().ok().map(|bytes| Sha256::digest(bytes).into());
        let held = read.as_ref().is_ok_and(|bytes| holds(bytes));
        (Self { path: path.to_owned(), max_bytes, content, held }, read)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is another by now. Blocks.
    pub fn has_changed(&self) -> bool {
        !self.was(&self.content_now())
    }

    /// Whether this is what was read.
    pub fn was(&self, content: &Content) -> bool {
        self.content == *content
    }

    /// SHA-256 of the file as it is now. Blocks.
    pub fn content_now(&self) -> Content {
        Self::read(&self.path, self.max_bytes, |_| true).0.content
    }
}

/// Never shows the digest: of a weak secret it would be as good as the secret.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("path", &self.path).field("held", &self.held).finish_non_exhaustive()
    }
}

/// Says which files held something in `before` and hold nothing any more, for people.
pub(super) fn lost<'a>(before: &'a [Input], after: &'a [Input]) -> Vec<String> {
    let held: BTreeSet<&Path> = before.iter().filter(|input| input.held).map(Input::path).collect();
    let lost: BTreeSet<&Path> = after.iter().filter(|input| !input.held).map(Input::path).collect();
    held.intersection(&lost).map(|path| path.display().to_string()).collect()
}
