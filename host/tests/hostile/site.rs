//! Resources of the process, and the files of the gallery's folder.

use std::collections::BTreeSet;

use super::gallery;
use crate::support::{wait_for, written_kib};

/// Resources that the process holds at a moment.
#[derive(Debug)]
pub(super) struct Held {
    written_kib: u64,
    files: usize,
    threads: usize,
}

impl Held {
    pub(super) fn now() -> Self {
        let count = |folder: &str| std::fs::read_dir(folder).unwrap().count();
        Self {
            written_kib: written_kib(std::process::id()),
            files: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
        }
    }

    /// Waits until no more files and threads are held than these (one that has ended is listed for
    /// a moment), and asserts that memory is within what an allocator may keep. Returns what is
    /// held then.
    pub(super) fn assert_kept(&self, max_growth_kib: u64) -> Self {
        let after = wait_for(&format!("no more files and threads than in {self:?}"), || {
            let now = Self::now();
            (now.files <= self.files && now.threads <= self.threads).then_some(now)
        });
        let grown_kib = after.written_kib.saturating_sub(self.written_kib);
        assert!(grown_kib <= max_growth_kib, "it holds {grown_kib} KiB more than before");
        after
    }
}

/// Names of the files in the gallery.
pub(super) fn guests_on_disk() -> BTreeSet<String> {
    let entries = std::fs::read_dir(gallery::folder()).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|extension| extension == "wat"));
    files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
}
