//! Follows a few files that somebody edits, and tells when one has changed.
//!
//! As in a host, events only make it scan sooner, and a file that is still being written counts
//! when it has settled. A file or its folder may be missing; both are looked for until they exist.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::timing::ReloadTiming;
use super::watch::{self, Watch};
use crate::plugins::SETTLE_MS;

/// The metadata that tells one state of a file from another; `None` if there is no file.
type FileMetadata = Option<(u64, u64, u64, i64, i64)>;

/// Files, and how they were at the last scan.
pub struct Follow {
    files: Vec<PathBuf>,
    observed: Vec<FileMetadata>,
    timing: ReloadTiming,
    watch: Option<Watch>,
    wake: Arc<Notify>,
}

impl Follow {
    /// Follows these files from now on. Call it before they are read, so that no change is missed.
    pub fn new(files: &[&Path]) -> Self {
        // Somebody waits for it, and a scan costs one system call a file.
        let poll_ms = ReloadTiming::default().unwatched_poll_ms;
        Self::with_timing(files, ReloadTiming { poll_ms, ..ReloadTiming::default() })
    }

    fn with_timing(files: &[&Path], timing: ReloadTiming) -> Self {
        let absolute =
            |file: &&Path| std::path::absolute(file).unwrap_or_else(|_| (*file).to_owned());
        let files: Vec<PathBuf> = files.iter().map(absolute).collect();
        let mut follow = Self {
            observed: scan(&files),
            files,
            timing,
            watch: None,
            wake: Arc::new(Notify::new()),
        };
        follow.arm();
        follow
    }

    /// Waits until files have changed and settled; returns their indices.
    pub async fn changed(&mut self) -> Vec<usize> {
        loop {
            // Before the scan, so that no change between the scan and the watch is missed.
            self.arm();
            let now = scan(&self.files);
            if now == self.observed {
                let pause_ms = if self.watch.is_some() {
                    self.timing.poll_ms
                } else {
                    self.timing.unwatched_poll_ms
                };
                tokio::select! {
                    () = watch::woken(&self.wake, self.timing.debounce_ms) => {}
                    () = tokio::time::sleep(Duration::from_millis(pause_ms)) => {}
                }
                continue;
            }
            tokio::time::sleep(Duration::from_millis(SETTLE_MS)).await;
            if scan(&self.files) == now {
                let changed =
                    (0..now.len()).filter(|index| now[*index] != self.observed[*index]).collect();
                self.observed = now;
                return changed;
            }
        }
    }

    /// Starts watching, or starts again if a folder was replaced by another, as a build does.
    fn arm(&mut self) {
        let files: Vec<&Path> = self.files.iter().map(PathBuf::as_path).collect();
        let folders = watch::folders(&[], &files);
        if self.watch.as_ref().is_some_and(|watch| watch.covers(&folders)) {
            return;
        }
        self.watch = None;
        match folders.and_then(|folders| Watch::start(folders, Arc::clone(&self.wake))) {
            Ok(watch) => self.watch = Some(watch),
            Err(error) => tracing::debug!(error, "cannot watch files, polling them instead"),
        }
    }
}

impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow")
            .field("files", &self.files)
            .field("observed", &self.observed)
            .finish_non_exhaustive()
    }
}

fn scan(files: &[PathBuf]) -> Vec<FileMetadata> {
    let metadata = |file: &PathBuf| {
        let found = fs::metadata(file).ok()?;
        Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    };
    files.iter().map(metadata).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than a test has patience: only an event makes it look.
    const NEVER_MS: u64 = 3_600_000;

    async fn next(follow: &mut Follow) -> Vec<usize> {
        tokio::time::timeout(Duration::from_secs(60), follow.changed())
            .await
            .expect("a change is noticed")
    }

    #[tokio::test]
    async fn a_file_that_is_written_replaced_removed_or_made_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
        fs::write(&first, "1").unwrap();
        let timing =
            ReloadTiming { debounce_ms: 10, poll_ms: NEVER_MS, unwatched_poll_ms: NEVER_MS };
        let mut follow = Follow::with_timing(&[&first, &second], timing);
        fs::write(&first, "12").unwrap();
        assert_eq!(next(&mut follow).await, [0]);
        fs::write(dir.path().join("new"), "22").unwrap();
        fs::rename(dir.path().join("new"), &first).unwrap();
        assert_eq!(next(&mut follow).await, [0]);
        fs::remove_file(&first).unwrap();
        assert_eq!(next(&mut follow).await, [0]);
        fs::write(&second, "1").unwrap();
        assert_eq!(next(&mut follow).await, [1]);
    }

    #[tokio::test]
    async fn a_folder_that_is_made_later_or_replaced_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("target/plugin.wasm");
        let timing = ReloadTiming { debounce_ms: 10, poll_ms: 10, unwatched_poll_ms: 10 };
        let mut follow = Follow::with_timing(&[&file], timing);
        for round in 1..3 {
            fs::create_dir(file.parent().unwrap()).unwrap();
            fs::write(&file, "x".repeat(round)).unwrap();
            assert_eq!(next(&mut follow).await, [0]);
            fs::remove_dir_all(file.parent().unwrap()).unwrap();
            assert_eq!(next(&mut follow).await, [0]);
        }
    }
}
