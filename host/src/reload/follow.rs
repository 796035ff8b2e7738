//! A few files that someone works on: tells when one of them is another.
//!
//! As in a host, events only make it look sooner, and what is still being written is left alone until it has come to
//! rest. A file may be missing, and so may its folder: both are looked for until they are there.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::Pace;
use super::watch::{self, Watch};
use crate::plugins::SETTLE_MS;

/// What tells one state of a file from another; `None` for a file that cannot be found.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// Files and what was seen of them last.
pub struct Follow {
    files: Vec<PathBuf>,
    seen: Vec<Stamp>,
    pace: Pace,
    watch: Option<Watch>,
    wake: Arc<Notify>,
}

impl Follow {
    /// Follows these files from what they are now. To be called before they are read, so that no change is missed.
    pub fn new(files: &[&Path]) -> Self {
        // Someone waits for it; and to look costs one call a file.
        let poll_ms = Pace::default().unwatched_poll_ms;
        Self::with_pace(files, Pace { poll_ms, ..Pace::default() })
    }

    fn with_pace(files: &[&Path], pace: Pace) -> Self {
        let absolute = |file: &&Path| std::path::absolute(file).unwrap_or_else(|_| (*file).to_owned());
        let files: Vec<PathBuf> = files.iter().map(absolute).collect();
        let mut follow = Self { seen: look(&files), files, pace, watch: None, wake: Arc::new(Notify::new()) };
        follow.arm();
        follow
    }

    /// Waits until something changed and has come to rest; returns the places in the list of the files it was.
    pub async fn changed(&mut self) -> Vec<usize> {
        loop {
            // Before looking, so that nothing can change unseen between the look and the watch.
            self.arm();
            let now = look(&self.files);
            if now == self.seen {
                let pause_ms = if self.watch.is_some() { self.pace.poll_ms } else { self.pace.unwatched_poll_ms };
                tokio::select! {
                    () = self.wake.notified() => {}
                    () = tokio::time::sleep(Duration::from_millis(pause_ms)) => {}
                }
                continue;
            }
            tokio::time::sleep(Duration::from_millis(SETTLE_MS)).await;
            if look(&self.files) == now {
                let changed = (0..now.len()).filter(|index| now[*index] != self.seen[*index]).collect();
                self.seen = now;
                return changed;
            }
        }
    }

    /// Starts watching, or starts again if a folder was replaced by another, as a build does.
    fn arm(&mut self) {
        let files: Vec<&Path> = self.files.iter().map(PathBuf::as_path).collect();
        let places = watch::places(&[], &files);
        if self.watch.as_ref().is_some_and(|watch| watch.is_at(&places)) {
            return;
        }
        self.watch = None;
        match places.and_then(|places| Watch::start(places, self.pace.debounce_ms, Arc::clone(&self.wake))) {
            Ok(watch) => self.watch = Some(watch),
            Err(error) => tracing::debug!(error, "cannot watch files, looking at them regularly instead"),
        }
    }
}

impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow").field("files", &self.files).field("seen", &self.seen).finish_non_exhaustive()
    }
}

fn look(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |file: &PathBuf| {
        let found = fs::metadata(file).ok()?;
        Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    };
    files.iter().map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than a test has patience: only an event makes it look.
    const NEVER_MS: u64 = 3_600_000;

    async fn next(follow: &mut Follow) -> Vec<usize> {
        tokio::time::timeout(Duration::from_secs(60), follow.changed()).await.expect("a change is noticed")
    }

    #[tokio::test]
    async fn a_file_that_is_written_replaced_removed_or_made_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
        fs::write(&first, "1").unwrap();
        let pace = Pace { debounce_ms: 10, poll_ms: NEVER_MS, unwatched_poll_ms: NEVER_MS };
        let mut follow = Follow::with_pace(&[&first, &second], pace);
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
        let pace = Pace { debounce_ms: 10, poll_ms: 10, unwatched_poll_ms: 10 };
        let mut follow = Follow::with_pace(&[&file], pace);
        for round in 1..3 {
            fs::create_dir(file.parent().unwrap()).unwrap();
            fs::write(&file, "x".repeat(round)).unwrap();
            assert_eq!(next(&mut follow).await, [0]);
            fs::remove_dir_all(file.parent().unwrap()).unwrap();
            assert_eq!(next(&mut follow).await, [0]);
        }
    }
}
