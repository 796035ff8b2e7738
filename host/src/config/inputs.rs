//! The other files that a configuration names and that were read for it: secrets, credentials,
//! certificates.
//!
//! They are remembered by their hashes, so that a reload knows when one of them is another.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::files;

/// SHA-256 of a file; `None` if there is none that can be read.
pub type ContentDigest = Option<[u8; 32]>;

/// A file that was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Input {
    path: PathBuf,
    max_bytes: u64,
    content: ContentDigest,
    /// Whether what was looked for in it was there: an empty file holds no secret.
    held: bool,
    /// Whether there was no file.
    gone: bool,
    /// The key that names it, with all sections.
    key: String,
}

impl Input {
    /// Reads a file of at most `max_bytes` that `key` names; `holds` says whether what it is read
    /// for is in it.
    pub(super) fn read(
        key: &str,
        path: &Path,
        max_bytes: u64,
        holds: impl FnOnce(&[u8]) -> bool,
    ) -> (Self, io::Result<Vec<u8>>) {
        let read = files::read_regular(path, max_bytes);
        let held = read.as_ref().is_ok_and(|bytes| holds(bytes));
        let gone = read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let (path, content, key) = (path.to_owned(), digest(read.as_deref()), key.to_owned());
        (Self { path, max_bytes, content, held, gone, key }, read)
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
    pub fn was(&self, content: &ContentDigest) -> bool {
        self.content == *content
    }

    /// SHA-256 of the file as it is now. Blocks.
    pub fn content_now(&self) -> ContentDigest {
        let read = files::read_regular(&self.path, self.max_bytes).map(Zeroizing::new);
        digest(read.as_ref().map(|bytes| bytes.as_slice()))
    }
}

fn digest(read: Result<&[u8], &io::Error>) -> ContentDigest {
    read.ok().map(|bytes| Sha256::digest(bytes).into())
}

/// Never shows the digest: of a weak secret it would be as good as the secret.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("path", &self.path)
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

/// Says which files held a secret in `before` and hold none any more, for people. A file that
/// is gone was taken away on purpose if its source has another secret: `has_others` says so of a
/// source's name.
pub(super) fn lost(
    before: &[Input],
    after: &[Input],
    has_others: impl Fn(&str) -> bool,
) -> Vec<String> {
    let held: BTreeSet<&Path> = before.iter().filter(|input| input.held).map(Input::path).collect();
    let is_taken_away = |input: &Input| {
        // A registration that is removed has ended at the provider.
        if input.key.ends_with(".registered") {
            return input.gone;
        }
        let source =
            input.key.strip_prefix("sources.").and_then(|key| key.strip_suffix(".secrets.file"));
        input.gone && source.is_some_and(&has_others)
    };
    let lost = after
        .iter()
        .filter(|input| !input.held && held.contains(input.path()) && !is_taken_away(input));
    let paths: BTreeSet<String> = lost.map(|input| input.path.display().to_string()).collect();
    paths.into_iter().collect()
}
