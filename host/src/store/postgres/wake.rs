//! NOTIFY as a hint: a host that leaves work due now tells the others of it, so that they need not
//! wait for their next poll. Nothing depends on it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_postgres::Error;

use super::client::SqlClient as Client;
use crate::event::PluginName;

/// The shortest time between two notifications of a host.
pub(super) const APART: Duration = Duration::from_millis(50);

/// The longest payload. A longer one names no plugin.
const MAX_PAYLOAD: usize = 4_096;

/// The most plugins and notifications that wait to be sent or looked at one by one.
const MAX_WAITING: usize = 256;

/// The plugins of which this host left work due now.
#[derive(Debug, Default)]
pub(super) struct WakesToSend {
    plugins: Mutex<BTreeSet<PluginName>>,
    added: Notify,
}

impl WakesToSend {
    /// Notes that a delivery of a plugin is due now and that this host has not leased it.
    pub(super) fn add(&self, plugin: &PluginName) {
        let mut plugins = self.plugins();
        if !plugins.contains(plugin) {
            plugins.insert(plugin.clone());
            self.added.notify_one();
        }
    }

    /// Returns once there is something to send, and not before this moment.
    pub(super) async fn due(&self, not_before: Instant) {
        while self.plugins().is_empty() {
            self.added.notified().await;
        }
        tokio::time::sleep_until(not_before).await;
    }

    fn plugins(&self) -> MutexGuard<'_, BTreeSet<PluginName>> {
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is to be sent, as the payload of a run's notification.
    pub(super) fn take(&self, run: i64) -> String {
        let plugins = std::mem::take(&mut *self.plugins());
        let mut payload = run.to_string();
        for plugin in &plugins {
            payload.push('\n');
            payload.push_str(plugin);
        }
        if payload.len() > MAX_PAYLOAD { run.to_string() } else { payload }
    }
}

/// Tells the other hosts of what this one has left. A payload without plugins, which is the number
/// of the run alone, stands for all.
pub(super) async fn send(client: &Client, payload: &str) -> Result<(), Error> {
    client.execute("SELECT hookbox.wake_v1($1)", &[&payload]).await.map(drop)
}

/// Listens from now on.
pub(super) async fn listen(client: &Client) -> Result<(), Error> {
    client.batch_execute("LISTEN hookbox_due").await
}

/// The notifications of other hosts that nobody has looked at yet.
#[derive(Debug, Default)]
pub(super) struct WakesHeard {
    heard: Mutex<Vec<Wake>>,
    added: Notify,
}

/// A notification.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wake {
    run: Option<i64>,
    /// The plugins; none if there were too many to name.
    plugins: Vec<PluginName>,
}

impl Wake {
    fn read(payload: &str) -> Self {
        let mut lines = payload.lines();
        let run = lines.next().and_then(|run| run.parse().ok());
        Self { run, plugins: lines.map(PluginName::from).collect() }
    }
}

/// The plugins that others told of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Woken {
    pub(super) plugins: BTreeSet<PluginName>,
    /// Whether there may be something of any other plugin as well.
    pub(super) any: bool,
}

impl WakesHeard {
    /// Notes a notification.
    pub(super) fn hear(&self, payload: &str) {
        let mut heard = self.heard();
        if heard.len() < MAX_WAITING {
            heard.push(Wake::read(payload));
        } else {
            // The last one stands for all.
            *heard.last_mut().expect("it is full") = Wake { run: None, plugins: Vec::new() };
        }
        self.added.notify_one();
    }

    /// Returns once there is something to look at.
    pub(super) async fn woken(&self) {
        while self.heard().is_empty() {
            self.added.notified().await;
        }
    }

    /// Takes what other runs than this one told of.
    pub(super) fn take(&self, me: i64) -> Woken {
        let mut woken = Woken::default();
        for wake in std::mem::take(&mut *self.heard()) {
            if wake.run != Some(me) {
                woken.any |= wake.plugins.is_empty();
                woken.plugins.extend(wake.plugins);
            }
        }
        woken
    }

    fn heard(&self) -> MutexGuard<'_, Vec<Wake>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_names_the_plugins_or_none_if_they_are_too_many() {
        let (sent, heard) = (WakesToSend::default(), WakesHeard::default());
        for name in ["b", "a", "b"] {
            sent.add(&name.into());
        }
        heard.hear(&sent.take(7));
        assert_eq!(sent.take(7), "7", "nothing is left");
        let plugins = ["a", "b"].map(PluginName::from).into();
        assert_eq!(heard.take(8), Woken { plugins, any: false });
        for number in 0..MAX_WAITING {
            sent.add(&format!("a-plugin-with-a-name-{number}").into());
        }
        heard.hear(&sent.take(7));
        assert_eq!(heard.take(8), Woken { plugins: BTreeSet::new(), any: true });
    }

    #[test]
    fn a_host_passes_over_its_own_notifications_and_keeps_a_bounded_number() {
        let heard = WakesHeard::default();
        heard.hear("7\na");
        assert_eq!(heard.take(7), Woken::default());
        for _ in 0..MAX_WAITING {
            heard.hear("8\na");
        }
        assert!(!heard.take(7).any);
        for _ in 0..=MAX_WAITING {
            heard.hear("8\na");
        }
        let plugins = ["a"].map(PluginName::from).into();
        assert_eq!(heard.take(7), Woken { plugins, any: true });
    }
}
