//! The configuration file, and the secrets and certificates that it names. It is read again when
//! the content of one of these files has changed and settled.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{self, Config, Input, MakeSecrets, MissingPlugins};
use crate::plugins::SETTLE_MS;
use crate::{files, tasks};

/// The most bytes that are read of the file. [`Config::load`] refuses a longer one.
const MAX_BYTES: u64 = 4 << 20;

/// The content of the file; `None` if it could not be read ([`Config::load`] says why).
type FileContent = Option<Vec<u8>>;

/// The result of looking for a changed configuration.
pub(super) enum ConfigChange {
    /// Nothing has changed.
    Unchanged,
    /// A file is being written; look again soon.
    Unsettled,
    /// The configuration has changed, and is valid.
    Good(Box<Config>),
    /// The configuration has changed, and is invalid; why, for people.
    Bad(String),
}

/// The configuration file and what was read of it.
#[derive(Debug)]
pub(super) struct ConfigFile {
    path: PathBuf,
    /// The content that was read last, valid or not; `None` before the first time.
    read: Option<FileContent>,
    /// The last valid content.
    accepted: Option<FileContent>,
    /// The other files, as they were when `read` was read.
    inputs: Arc<Vec<Input>>,
    failed: bool,
}

/// All files at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ConfigScan {
    file: FileContent,
    inputs: Vec<config::ContentDigest>,
    /// Whether one of the other files has changed since it was read.
    inputs_changed: bool,
}

impl ConfigFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, read: None, accepted: None, inputs: Arc::default(), failed: false }
    }

    /// Every file whose change matters.
    pub(super) fn paths(&self) -> Vec<&Path> {
        std::iter::once(self.path.as_path()).chain(self.inputs.iter().map(Input::path)).collect()
    }

    /// Whether it has not been read yet.
    pub(super) fn is_new(&self) -> bool {
        self.read.is_none()
    }

    /// Whether the last configuration was invalid.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Reads the configuration if a file has changed, or in any case with `again`. A secret that
    /// `running` has and whose file no longer has it is an error.
    ///
    /// A truncated file can be valid TOML with half the routes. So a file counts only if it was the
    /// same before and after a wait, and after it was read.
    pub(super) async fn read(&mut self, again: bool, running: &Config) -> ConfigChange {
        let before = self.scan().await;
        if !again && self.read.as_ref() == Some(&before.file) && !before.inputs_changed {
            return ConfigChange::Unchanged;
        }
        tokio::time::sleep(Duration::from_millis(SETTLE_MS)).await;
        if self.scan().await != before {
            return ConfigChange::Unsettled;
        }
        // A host may run with a missing plugin since its start. If only a secret has changed, the
        // plugin may still be missing.
        let is_running = self.accepted.as_ref().is_none_or(|accepted| *accepted == before.file);
        let missing = if is_running { MissingPlugins::Wait } else { MissingPlugins::Refuse };
        let (path, its_running) = (self.path.clone(), running.clone());
        let loaded = tasks::blocking(move || {
            let mut result = Config::load_with(&path, MakeSecrets::Yes, missing);
            // The same holds for another file that misses no further plugin.
            if result.is_err()
                && let Ok(config) = Config::load_with(&path, MakeSecrets::Yes, MissingPlugins::Wait)
                && config.misses_no_more_than(&its_running)
            {
                result = Ok(config);
            }
            let inputs = result
                .as_ref()
                .map_or_else(|problems| problems.inputs().to_vec(), |config| config.inputs.clone());
            let settled = !inputs.iter().any(Input::has_changed);
            (result, inputs, settled)
        });
        let (result, inputs, settled) = loaded.await;
        let after = self.scan().await;
        if after.file != before.file || !settled {
            return ConfigChange::Unsettled;
        }
        self.read = Some(before.file);
        self.inputs = Arc::new(inputs);
        let result = result.map_err(|problems| problems.summary());
        let result = result.and_then(|config| config.keeps_secrets_of(running).map(|()| config));
        self.failed = result.is_err();
        match result {
            Ok(config) => {
                self.accepted = Some(after.file);
                ConfigChange::Good(Box::new(config))
            }
            Err(problem) => ConfigChange::Bad(problem),
        }
    }

    async fn scan(&self) -> ConfigScan {
        let (path, inputs) = (self.path.clone(), Arc::clone(&self.inputs));
        tasks::blocking(move || {
            let file = files::read_regular(&path, MAX_BYTES).ok();
            let now: Vec<_> = inputs.iter().map(Input::content_now).collect();
            let inputs_changed = inputs.iter().zip(&now).any(|(input, now)| !input.was(now));
            ConfigScan { file, inputs: now, inputs_changed }
        })
        .await
    }
}
