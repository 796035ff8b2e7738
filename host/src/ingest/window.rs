//! Windows in which the secret of a handshake is taken.
//!
//! Anybody may post a handshake, so a secret in one counts only while an operator waits for it, and
//! only the first. It is in its file before the handshake is answered. Windows are in memory: a
//! restart closes them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::config::Config;
use crate::config::source::{Secrets, Source};
use crate::files::private::{self, IfThere};
use crate::files::read_regular;
use crate::providers::registered::{MAX_BYTES, Registration, file_name};
use crate::tasks;

/// How long a secret that was taken can be shown, in milliseconds.
const SHOWN_FOR_MS: i64 = 10 * 60_000;

/// The time in which the running configuration takes up the file before the handshake is answered.
const ACTIVE_WITHIN: Duration = Duration::from_secs(2);

/// The pause between two checks of the configuration.
const CHECK_EVERY: Duration = Duration::from_millis(5);

/// The lengths that a secret of a handshake can have, in bytes.
pub(super) const OFFER_BYTES: std::ops::RangeInclusive<usize> = 16..=512;

/// The windows of the sources, by their names.
#[derive(Debug, Default)]
pub struct SecretWindows(Mutex<BTreeMap<String, SourceWindow>>);

#[derive(Debug)]
struct SourceWindow {
    until_ms: i64,
    state: WindowState,
}

#[derive(Debug)]
enum WindowState {
    Open,
    /// The secret of a handshake is being written.
    Taking,
    Taken(Taken),
}

#[derive(Debug)]
struct Taken {
    at_ms: i64,
    client: String,
    /// The secret, until it was shown.
    secret: Option<SecretString>,
}

/// A window, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowView {
    /// When it ends, Unix ms.
    pub until_ms: i64,
    /// When its secret came, Unix ms, and from which client.
    pub taken: Option<(i64, String)>,
    /// Whether the secret can be shown, once.
    pub can_show: bool,
}

/// The reason why the secret of a handshake is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotTaken {
    #[error("no operator waits for a secret of this source")]
    Closed,
    #[error("its secret cannot be kept: {0}")]
    Unkept(io::Error),
}

impl SecretWindows {
    /// Opens the window of a source until then, or closes it if that is over.
    pub fn open(&self, source: &str, until_ms: i64, now_ms: i64) {
        let mut windows = self.lock();
        windows.retain(|_, window| !window.is_over(now_ms));
        match windows.get_mut(source) {
            // Its secret was not shown yet, and nobody else has it.
            Some(SourceWindow { state: WindowState::Taking, .. }) => {}
            Some(window) if window.can_show() => {}
            _ if until_ms <= now_ms => drop(windows.remove(source)),
            _ => {
                windows
                    .insert(source.to_owned(), SourceWindow { until_ms, state: WindowState::Open });
            }
        }
    }

    /// The window of a source, if there is one that is open, or was a moment ago.
    pub fn view(&self, source: &str, now_ms: i64) -> Option<WindowView> {
        let windows = self.lock();
        let window = windows.get(source).filter(|window| !window.is_over(now_ms))?;
        let taken = match &window.state {
            WindowState::Taken(taken) => Some((taken.at_ms, taken.client.clone())),
            WindowState::Open | WindowState::Taking => None,
        };
        Some(WindowView { until_ms: window.until_ms, taken, can_show: window.can_show() })
    }

    /// The secret that was taken, once.
    pub fn reveal(&self, source: &str, now_ms: i64) -> Option<SecretString> {
        let mut windows = self.lock();
        let window = windows.get_mut(source).filter(|window| !window.is_over(now_ms))?;
        match &mut window.state {
            WindowState::Taken(taken) => taken.secret.take(),
            WindowState::Open | WindowState::Taking => None,
        }
    }

    /// Keeps the secret of a handshake, if an operator waits for one. A secret that is active needs
    /// no window: a provider may ask twice.
    pub(super) async fn take(
        &self,
        (source, secret): (&Source, SecretString),
        config: &ArcSwap<Config>,
        client: String,
        (now_ms, shows): (i64, bool),
    ) -> Result<(), NotTaken> {
        if is_active(source, &secret) {
            return Ok(());
        }
        if !source.provider.names_registration || !self.begin(&source.name, now_ms) {
            return Err(NotTaken::Closed);
        }
        let (folder, name) = (config.load().server.secrets_dir(), Arc::clone(&source.name));
        let (provider, kept) = (source.preset.clone(), secret.clone());
        let written =
            tasks::blocking(move || keep(&folder, &name, provider.as_deref(), &kept)).await;
        let name = &source.name;
        if let Err(error) = written {
            self.end(name, WindowState::Open);
            return Err(NotTaken::Unkept(error));
        }
        tracing::info!(source.name = %name, client, "the secret of a handshake is kept");
        until_active(config, name, &secret).await;
        let secret = shows.then_some(secret);
        self.end(name, WindowState::Taken(Taken { at_ms: now_ms, client, secret }));
        Ok(())
    }

    /// Begins to take a secret: nobody else does.
    fn begin(&self, source: &str, now_ms: i64) -> bool {
        let mut windows = self.lock();
        let open = windows
            .get_mut(source)
            .filter(|window| matches!(window.state, WindowState::Open) && now_ms < window.until_ms);
        let Some(window) = open else { return false };
        window.state = WindowState::Taking;
        true
    }

    fn end(&self, source: &str, state: WindowState) {
        if let Some(window) = self.lock().get_mut(source) {
            window.state = state;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, SourceWindow>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SourceWindow {
    fn is_over(&self, now_ms: i64) -> bool {
        match &self.state {
            WindowState::Open => self.until_ms <= now_ms,
            WindowState::Taking => false,
            WindowState::Taken(taken) => taken.at_ms.saturating_add(SHOWN_FOR_MS) <= now_ms,
        }
    }

    fn can_show(&self) -> bool {
        matches!(&self.state, WindowState::Taken(taken) if taken.secret.is_some())
    }
}

/// Whether requests may be signed with it already.
fn is_active(source: &Source, secret: &SecretString) -> bool {
    let wanted = secret.expose_secret().as_bytes();
    let is_same = |key: &[u8]| bool::from(key.ct_eq(wanted));
    if let Secrets::Set(all) = &source.secrets
        && all.iter().any(|key| is_same(key.expose_secret()))
    {
        return true;
    }
    let registration = source.provider.registration.as_ref();
    registration.is_some_and(|it| it.secrets.iter().any(|kept| is_same(kept.secret.as_bytes())))
}

/// Adds a secret to the file of a source, which appears whole. Blocks.
fn keep(
    folder: &Path,
    source: &str,
    provider: Option<&str>,
    secret: &SecretString,
) -> io::Result<()> {
    let open = private::own_folder(folder)?;
    let name = file_name(source);
    let mut registration = match read_regular(&folder.join(&name), MAX_BYTES) {
        Ok(text) => Registration::read(&text).map_err(io::Error::other)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Registration::of_handshake(provider.unwrap_or("handshake"))
        }
        Err(error) => return Err(error),
    };
    registration.add(secret.expose_secret()).map_err(io::Error::other)?;
    private::write(&open, &name, &registration.text(), IfThere::Replace)
}

/// Waits until requests may be signed with the secret, or for a while: the file is read at once.
async fn until_active(config: &ArcSwap<Config>, source: &str, secret: &SecretString) {
    let active = async {
        while !config.load().sources.get(source).is_some_and(|source| is_active(source, secret)) {
            tokio::time::sleep(CHECK_EVERY).await;
        }
    };
    if tokio::time::timeout(ACTIVE_WITHIN, active).await.is_err() {
        tracing::warn!(
            source.name = source,
            "the secret of a handshake is kept, but not active yet"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(at_ms: i64) -> WindowState {
        let (client, secret) = ("192.0.2.1".to_owned(), Some("a secret".into()));
        WindowState::Taken(Taken { at_ms, client, secret })
    }

    #[test]
    fn a_window_takes_one_secret_and_only_in_its_time() {
        let windows = SecretWindows::default();
        assert!(!windows.begin("asana", 0), "nobody has opened it");
        windows.open("asana", 100, 0);
        assert!(!windows.begin("asana", 100), "it is over");
        assert!(!windows.begin("notion", 1), "it is that of another source");
        windows.open("asana", 100, 0);
        assert!(windows.begin("asana", 99));
        assert!(!windows.begin("asana", 99), "one is being taken");
        windows.end("asana", WindowState::Open);
        assert!(windows.begin("asana", 99), "it could not be kept");
        windows.end("asana", taken(99));
        assert!(!windows.begin("asana", 99));
        windows.open("notion", 100, 0);
        windows.open("notion", 0, 0);
        assert_eq!(windows.view("notion", 0), None, "it was closed");
    }

    #[test]
    fn a_secret_is_shown_once_and_not_for_ever() {
        let windows = SecretWindows::default();
        windows.open("notion", 100, 0);
        assert!(windows.reveal("notion", 1).is_none());
        windows.end("notion", taken(5));
        windows.open("notion", 200, 6);
        let view = windows.view("notion", 6).unwrap();
        assert!(view.can_show, "it is not lost by another window");
        assert_eq!(windows.reveal("notion", 7).unwrap().expose_secret(), "a secret");
        assert!(windows.reveal("notion", 7).is_none());
        assert!(!format!("{windows:?}").contains("a secret"));
        windows.open("notion", 200, 8);
        windows.end("notion", taken(9));
        assert!(windows.reveal("notion", 9 + SHOWN_FOR_MS).is_none());
    }
}
