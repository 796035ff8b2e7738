//! The configuration file: read again when its content is another, and not before it has come to rest.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{Config, MakeSecrets};
use crate::plugins::SETTLE_MS;
use crate::tasks;

/// The content of the file, or `None` if it could not be read: [`Config::load`] says why.
type Content = Option<Vec<u8>>;

/// What came of looking at the file.
pub(super) enum Answer {
    /// It is what was read last.
    Unchanged,
    /// It is being written: to be looked at again.
    Unsettled,
    /// It is another, and good.
    Good(Box<Config>),
    /// It is another, and bad; why, for people.
    Bad(String),
}

/// The configuration file and what is known of it.
#[derive(Debug)]
pub(super) struct ConfigFile {
    path: PathBuf,
    /// What was read last, good or bad; `None` before the first time.
    read: Option<Content>,
    failed: bool,
}

impl ConfigFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, read: None, failed: false }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it has not been read yet.
    pub(super) fn is_new(&self) -> bool {
        self.read.is_none()
    }

    /// Whether what was read last was bad.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Reads the file if it changed, or also if not with `again`.
    ///
    /// A file cut off in the middle can be valid TOML with half the routes, so only what was the same before and after
    /// a wait, and after it was read, counts.
    pub(super) async fn read(&mut self, again: bool) -> Answer {
        let before = self.content().await;
        if !again && self.read.as_ref() == Some(&before) {
            return Answer::Unchanged;
        }
        tokio::time::sleep(Duration::from_millis(SETTLE_MS)).await;
        if self.content().await != before {
            return Answer::Unsettled;
        }
        let path = self.path.clone();
        let result = tasks::blocking(move || Config::load(&path, MakeSecrets::Yes)).await;
        if self.content().await != before {
            return Answer::Unsettled;
        }
        self.read = Some(before);
        self.failed = result.is_err();
        match result {
            Ok(config) => Answer::Good(Box::new(config)),
            Err(problems) => Answer::Bad(problems.summary()),
        }
    }

    async fn content(&self) -> Content {
        let path = self.path.clone();
        tasks::blocking(move || std::fs::read(path).ok()).await
    }
}
