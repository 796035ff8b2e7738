//! The configuration file, and the files of secrets and certificates that it names: read again when the content of one of
//! them is another, and not before it has come to rest.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{self, Config, Input, MakeSecrets, MissingPlugins};
use crate::plugins::SETTLE_MS;
use crate::{files, tasks};

/// The most that is read of the file: beyond it, [`Config::load`] refuses it.
const MAX_BYTES: u64 = 4 << 20;

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
    /// The last content that was good.
    taken: Option<Content>,
    /// The other files, as they were when they were read for that.
    inputs: Arc<Vec<Input>>,
    failed: bool,
}

/// All files at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    file: Content,
    inputs: Vec<config::Content>,
    /// Whether one of the other files is not what was read.
    is_another: bool,
}

impl ConfigFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, read: None, taken: None, inputs: Arc::default(), failed: false }
    }

    /// Every file whose change matters.
    pub(super) fn paths(&self) -> Vec<&Path> {
        std::iter::once(self.path.as_path()).chain(self.inputs.iter().map(Input::path)).collect()
    }

    /// Whether it has not been read yet.
    pub(super) fn is_new(&self) -> bool {
        self.read.is_none()
    }

    /// Whether what was read last was bad.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Reads the file if it or another that it names changed, or also if not with `again`. A secret that `running` has and
    /// that is gone from its file is a mistake.
    ///
    /// A file cut off in the middle can be valid TOML with half the routes, so only what was the same before and after
    /// a wait, and after it was read, counts.
    pub(super) async fn read(&mut self, again: bool, running: &Config) -> Answer {
        let before = self.look().await;
        if !again && self.read.as_ref() == Some(&before.file) && !before.is_another {
            return Answer::Unchanged;
        }
        tokio::time::sleep(Duration::from_millis(SETTLE_MS)).await;
        if self.look().await != before {
            return Answer::Unsettled;
        }
        // A host runs with a plugin that is missing since its start. The file that it runs with is no better or worse for
        // that when only a secret has changed.
        let is_running = self.taken.as_ref().is_none_or(|taken| *taken == before.file);
        let missing = if is_running { MissingPlugins::Wait } else { MissingPlugins::Refuse };
        let (path, its_running) = (self.path.clone(), running.clone());
        let loaded = tasks::blocking(move || {
            let mut result = Config::load_with(&path, MakeSecrets::Yes, missing);
            // Nor is another file that routes to it as before, and has a secret to change.
            if result.is_err()
                && let Ok(config) = Config::load_with(&path, MakeSecrets::Yes, MissingPlugins::Wait)
                && config.misses_no_more_than(&its_running)
            {
                result = Ok(config);
            }
            let inputs =
                result.as_ref().map_or_else(|problems| problems.inputs().to_vec(), |config| config.inputs.clone());
            let settled = !inputs.iter().any(Input::has_changed);
            (result, inputs, settled)
        });
        let (result, inputs, settled) = loaded.await;
        let after = self.look().await;
        if after.file != before.file || !settled {
            return Answer::Unsettled;
        }
        self.read = Some(before.file);
        self.inputs = Arc::new(inputs);
        let result = result.map_err(|problems| problems.summary());
        let result = result.and_then(|config| config.keeps_secrets_of(running).map(|()| config));
        self.failed = result.is_err();
        match result {
            Ok(config) => {
                self.taken = Some(after.file);
                Answer::Good(Box::new(config))
            }
            Err(problem) => Answer::Bad(problem),
        }
    }

    async fn look(&self) -> Look {
        let (path, inputs) = (self.path.clone(), Arc::clone(&self.inputs));
        tasks::blocking(move || {
            let file = files::read_regular(&path, MAX_BYTES).ok();
            let now: Vec<_> = inputs.iter().map(Input::content_now).collect();
            let is_another = inputs.iter().zip(&now).any(|(input, now)| !input.was(now));
            Look { file, inputs: now, is_another }
        })
        .await
    }
}
