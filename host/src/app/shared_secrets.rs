//! Shares secrets that hosts keep in files (registrations at providers, tokens of callbacks) by way
//! of the store that they share, where they are sealed.
//!
//! Each host looks at its folder and at the store, and decides for each secret which side has
//! changed (`decide`). The running configuration takes a file up as it does after a command has
//! written it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::AppError;
use crate::config::source::{Secrets, Source};
use crate::config::{Config, MakeSecrets, MissingPlugins, StorePlace};
use crate::providers::registered::{is_shared_file, is_whole};
use crate::seal::SealKey;
use crate::store::{Hosts, SealedSecret, SecretMark, StoreError};
use crate::tasks;

mod decide;
mod folder;

use decide::{SecretStep, SeenSecret, StoredVersion, decide};
use folder::{LocalSecrets, SecretFile, SecretFolder, digest};

/// How often a host asks for changes of others.
const COMPARE_EVERY: Duration = Duration::from_secs(2);

/// The name of the row by which a host with another key is known before there is any secret.
const CHECK: &str = "check";

/// The secrets of this host, and those of the store.
#[derive(Debug)]
pub(super) struct SharedSecrets {
    store: Arc<dyn Hosts>,
    key: SealKey,
    folder: SecretFolder,
    /// Secrets without a file at the last scan. A file that is gone at two scans was removed.
    gone: BTreeSet<String>,
    /// The last message about each secret.
    told: BTreeMap<String, String>,
}

/// Why secrets cannot be compared.
#[derive(Debug)]
enum SharingError {
    Store(StoreError),
    Folder(io::Error),
}

/// The content of a stored secret; none if it was removed.
type Opened = Option<Zeroizing<Vec<u8>>>;

impl SharedSecrets {
    /// Takes what the store has, so that it is in the configuration before requests come; `None`
    /// for a store of one host, or without a key.
    pub(super) async fn begin(
        config: &ArcSwap<Config>,
        store: Arc<dyn Hosts>,
    ) -> Result<Option<Self>, AppError> {
        let its = config.load_full();
        let StorePlace::Postgres(place) = &its.store.place else { return Ok(None) };
        let Some(key) = its.store.secret_key.clone() else {
            tell_of_own(&its);
            return Ok(None);
        };
        let mut shared = Self::new(store, key, its.server.secrets_dir());
        if let Some(name) = shared.unopened().await? {
            return Err(AppError::SecretKey { name, store: place.shown() });
        }
        let taken = shared.compare().await.map_err(|error| match error {
            SharingError::Store(error) => error.into(),
            SharingError::Folder(source) => {
                AppError::Secrets { folder: its.server.secrets_dir(), source }
            }
        });
        if taken? {
            read_again(config, &its).await;
        }
        Ok(Some(shared))
    }

    fn new(store: Arc<dyn Hosts>, key: SealKey, path: PathBuf) -> Self {
        let (gone, told) = (BTreeSet::new(), BTreeMap::new());
        Self { store, key, folder: SecretFolder { path }, gone, told }
    }

    /// The name of a stored row that this key does not open: the one that is there for that, or a
    /// secret if there is none yet. If it opens, the store knows the key afterwards.
    async fn unopened(&self) -> Result<Option<String>, StoreError> {
        loop {
            let stored = self.store.sealed_secrets(Vec::new()).await?;
            if let Some(check) = stored.iter().find(|secret| secret.name == CHECK) {
                // A secret that is damaged says nothing of the key then.
                return Ok(self.open(check).is_none().then(|| CHECK.to_owned()));
            }
            let mut secrets = stored.iter().filter(|secret| is_shared_file(&secret.name));
            if let Some(closed) = secrets.find(|secret| self.open(secret).is_none()) {
                return Ok(Some(closed.name.clone()));
            }
            // Another host may be faster, with another key.
            if self.store.keep_secret(self.sealed(CHECK, 1, Some(b"")), 0).await? {
                return Ok(None);
            }
        }
    }

    fn sealed(&self, name: &str, version: i64, content: Option<&[u8]>) -> SealedSecret {
        let deleted = content.is_none();
        let sealed = self.key.seal(&place(name, version, deleted), content.unwrap_or_default());
        SealedSecret { name: name.to_owned(), version, deleted, sealed }
    }

    /// The content of a stored secret; `None` if it was sealed with another key.
    fn open(&self, secret: &SealedSecret) -> Option<Opened> {
        let place = place(&secret.name, secret.version, secret.deleted);
        let content = self.key.open(&place, &secret.sealed)?;
        Some(if secret.deleted { None } else { Some(content) })
    }

    /// Compares this host's files with the store. Returns whether it has changed a file.
    async fn compare(&mut self) -> Result<bool, SharingError> {
        let LocalSecrets { files, mut seen } = self.in_folder(SecretFolder::read).await?;
        let mark = |(name, seen): (&String, &SeenSecret)| SecretMark {
            name: name.clone(),
            version: seen.version,
            digest: seen.sealed.clone(),
        };
        let stored = self.store.sealed_secrets(seen.iter().map(mark).collect()).await;
        let stored = stored.map_err(SharingError::Store)?.into_iter();
        let stored: BTreeMap<_, _> = stored.map(|secret| (secret.name.clone(), secret)).collect();
        let names: BTreeSet<&String> =
            files.keys().chain(seen.keys()).chain(stored.keys()).collect();
        // Names come from the store too, and only those of secrets may become files.
        let names: Vec<String> =
            names.into_iter().filter(|it| is_shared_file(it)).cloned().collect();
        let (mut is_noted, mut has_taken, mut failed) = (false, false, None);
        for name in names {
            let (file, last) = (files.get(&name), seen.get(&name));
            match self.settle(&name, file, last, stored.get(&name)).await {
                Ok(None) => {}
                Ok(Some((now, taken))) => {
                    (is_noted, has_taken) = (true, has_taken || taken);
                    seen.insert(name, now);
                }
                // The secrets that were settled before this one are noted all the same.
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        self.gone = seen.keys().filter(|name| !files.contains_key(*name)).cloned().collect();
        if is_noted {
            self.in_folder(move |folder| folder.note(&seen)).await?;
        }
        if let Some(error) = failed {
            return Err(error);
        }
        Ok(has_taken)
    }

    /// Does what is to be done about one secret. Returns what this host has seen of it then, and
    /// whether its file was changed; `None` if there was nothing to do.
    async fn settle(
        &mut self,
        name: &str,
        file: Option<&SecretFile>,
        seen: Option<&SeenSecret>,
        stored: Option<&SealedSecret>,
    ) -> Result<Option<(SeenSecret, bool)>, SharingError> {
        let content = match file {
            Some(Err(error)) => {
                self.tell(name, format!("is not shared, because it cannot be read: {error}"));
                return Ok(None);
            }
            Some(Ok(content)) => Some(content.as_slice()),
            None => None,
        };
        let own = content.map(digest);
        let (mut other, mut version) = (None, StoredVersion::Absent);
        let theirs;
        match stored {
            Some(secret) if is_seen(secret, seen) => version = StoredVersion::Seen,
            Some(secret) => {
                let Some(opened) = self.open(secret) else {
                    let why = "is damaged in the store, or was sealed with another key than `store.secret_key`";
                    self.tell(name, why.to_owned());
                    return Ok(None);
                };
                theirs = opened.as_deref().map(|content| digest(content));
                version = StoredVersion::Other(secret.version, theirs.as_deref());
                other = Some((secret, opened));
            }
            None => {}
        }
        let step = decide(own.as_deref(), seen, version);
        match (step, other) {
            (SecretStep::Put, _) => {
                let before = stored.map_or(0, |secret| secret.version);
                let next = before.max(seen.map_or(0, |seen| seen.version)).saturating_add(1);
                let put = self.put(name, content, (before, next)).await?;
                Ok(put.map(|secret| (seen_of(&secret, own), false)))
            }
            (SecretStep::Note, Some((secret, _))) => Ok(Some((seen_of(secret, own), false))),
            (SecretStep::Take | SecretStep::TakeBeside, Some((secret, opened))) => {
                let beside = step == SecretStep::TakeBeside;
                let taken = self.take(name, own, opened, beside).await?;
                Ok(taken.map(|file| (seen_of(secret, file), true)))
            }
            _ => Ok(None),
        }
    }

    /// Puts this host's version into the store; `None` if another host was faster, or if it is not
    /// to be shared yet.
    async fn put(
        &mut self,
        name: &str,
        content: Option<&[u8]>,
        (before, next): (i64, i64),
    ) -> Result<Option<SealedSecret>, SharingError> {
        if content.is_some_and(|content| !is_whole(name, content)) {
            self.tell(name, "is damaged, and is not shared".to_owned());
            return Ok(None);
        }
        // A file that is written in place of another may be gone for a moment.
        if content.is_none() && !self.gone.contains(name) {
            return Ok(None);
        }
        let secret = self.sealed(name, next, content);
        let kept = self.store.keep_secret(secret.clone(), before).await;
        if !kept.map_err(SharingError::Store)? {
            return Ok(None);
        }
        // A fault that comes again is told again.
        self.told.remove(name);
        let what = if content.is_some() { "shared with" } else { "removed from" };
        tracing::info!(secret = name, version = next, "a secret is {what} the other hosts");
        Ok(Some(secret))
    }

    /// Puts the stored version into this host's file. Returns its digest, if it has one; `None` if
    /// somebody has changed the file meanwhile.
    async fn take(
        &mut self,
        name: &str,
        own: Option<String>,
        content: Opened,
        beside: bool,
    ) -> Result<Option<Option<String>>, SharingError> {
        let file = content.as_deref().map(|content| digest(content));
        let is_there = file.is_some();
        let of = name.to_owned();
        let put = move |folder: &SecretFolder| {
            let content = content.as_deref().map(Vec::as_slice);
            folder.put(&of, own.as_deref(), content, beside)
        };
        if !self.in_folder(put).await? {
            return Ok(None);
        }
        self.told.remove(name);
        let what = if is_there { "changed" } else { "removed" };
        tracing::info!(secret = name, "another host has {what} a secret");
        if beside {
            tracing::warn!(
                secret = name, file = %self.folder.beside(name).display(),
                "this host and another one have changed a secret: that of the other one is used, and this host's is kept"
            );
        }
        Ok(Some(file))
    }

    /// Does something in the folder, on a thread that may block.
    async fn in_folder<T: Send + 'static>(
        &self,
        task: impl FnOnce(&SecretFolder) -> io::Result<T> + Send + 'static,
    ) -> Result<T, SharingError> {
        let folder = self.folder.clone();
        tasks::blocking(move || task(&folder)).await.map_err(SharingError::Folder)
    }

    /// Tells what is wrong about a secret, once.
    fn tell(&mut self, name: &str, what: String) {
        if self.told.get(name) != Some(&what) {
            tracing::error!(secret = name, "the secret {name} {what}");
            self.told.insert(name.to_owned(), what);
        }
    }
}

/// The place that a version is sealed for.
fn place(name: &str, version: i64, deleted: bool) -> String {
    format!("hookbox secret {name} {version} {deleted}")
}

/// Whether a stored version is the one that this host has seen last.
fn is_seen(secret: &SealedSecret, seen: Option<&SeenSecret>) -> bool {
    seen.is_some_and(|seen| {
        secret.version == seen.version
            && (secret.sealed.is_empty() || digest(&secret.sealed) == seen.sealed)
    })
}

fn seen_of(secret: &SealedSecret, file: Option<String>) -> SeenSecret {
    SeenSecret { version: secret.version, sealed: digest(&secret.sealed), file }
}

/// Reads the configuration again, with the secrets that have come.
async fn read_again(config: &ArcSwap<Config>, before: &Config) {
    let path = before.path.clone();
    let load = move || Config::load_with(&path, MakeSecrets::Yes, MissingPlugins::Wait);
    // A file that has become invalid meanwhile is told of by the first reload.
    if let Ok(now) = tasks::blocking(load).await
        && before.restart_needed(&now).is_empty()
    {
        config.store(Arc::new(now));
    }
}

/// Tells that a host of a shared store has secrets that the others lack.
fn tell_of_own(config: &Config) {
    let own = config.sources.values().filter(|source| keeps_secrets(source));
    let sources: Vec<&str> = own.map(|source| &*source.name).collect();
    if !sources.is_empty() {
        tracing::warn!(
            ?sources,
            "secrets of registrations stay on the host that has them: `store.secret_key`, the same on each host, shares \
             them"
        );
    }
}

/// Whether a source uses a file that a command writes, or waits for one.
fn keeps_secrets(source: &Source) -> bool {
    let provider = &source.provider;
    provider.registration.is_some()
        || provider.callback.as_ref().is_some_and(|callback| callback.token.is_some())
        || provider.names_registration && !matches!(source.secrets, Secrets::Set(_))
}

/// Compares regularly, and once the configuration has changed, until `closing`.
pub(super) async fn run(
    shared: Option<SharedSecrets>,
    changed: Arc<Notify>,
    closing: CancellationToken,
) {
    let Some(mut shared) = shared else { return };
    let mut folder_told = None;
    loop {
        tokio::select! {
            () = closing.cancelled() => return,
            () = changed.notified() => {}
            () = tokio::time::sleep(COMPARE_EVERY) => {}
        }
        let compared = tokio::select! {
            () = closing.cancelled() => return,
            compared = shared.compare() => compared,
        };
        match compared {
            Ok(_) => folder_told = None,
            Err(SharingError::Store(error)) => {
                tracing::debug!(error = %error, "secrets are not compared with the store");
            }
            Err(SharingError::Folder(error)) => {
                let folder = shared.folder.path.display().to_string();
                let error = error.to_string();
                if folder_told.as_ref() != Some(&error) {
                    tracing::error!(folder, error, "secrets cannot be shared with other hosts");
                }
                folder_told = Some(error);
            }
        }
    }
}

#[cfg(test)]
mod tests;
