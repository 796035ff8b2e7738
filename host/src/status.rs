//! The result of the last reload: whether the newest configuration is the one that runs.
//!
//! `reload` writes it; `/readyz`, the API and the dashboard show it. It is on the lowest floor
//! because its readers must not depend on its writer.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

/// The condition of the host, shared by its writer and its readers.
#[derive(Debug)]
pub struct Status(watch::Sender<Condition>);

/// The result of the last reload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// How often the configuration or the plugins were replaced since the start.
    pub generation: u64,
    /// When the configuration that is in force was read, Unix ms.
    pub read_ms: Option<i64>,
    /// Why the newest configuration file was not accepted; the last good one runs.
    pub config: Option<Trouble>,
    /// Keys whose new value takes effect at a restart, like `server.listen`.
    pub restart_needed: Vec<&'static str>,
    /// Sources whose provider's log cannot be read, or has a gap, by name.
    pub logs: BTreeMap<Arc<str>, Trouble>,
    /// Why files are not watched but polled every few seconds.
    pub watch: Option<Trouble>,
}

/// A problem, and since when it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The problem, for people.
    pub text: String,
    /// Since when, Unix ms.
    pub since_ms: i64,
}

impl Trouble {
    /// Sets `current` to `text`. Returns whether the text is new; otherwise its start time stays.
    pub fn note(current: &mut Option<Self>, text: &str, now_ms: i64) -> bool {
        if current.as_ref().is_some_and(|trouble| trouble.text == text) {
            return false;
        }
        *current = Some(Self { text: text.to_owned(), since_ms: now_ms });
        true
    }
}

impl Default for Status {
    fn default() -> Self {
        Self(watch::channel(Condition::default()).0)
    }
}

impl Status {
    /// The condition at this moment.
    pub fn get(&self) -> Condition {
        self.0.borrow().clone()
    }

    /// Changes the condition. Subscribers are notified if it differs afterwards.
    pub fn update<T>(&self, change: impl FnOnce(&mut Condition) -> T) -> T {
        let mut result = None;
        self.0.send_if_modified(|condition| {
            let before = condition.clone();
            result = Some(change(condition));
            *condition != before
        });
        result.expect("the closure is always called")
    }

    /// Subscribes to changes.
    pub fn subscribe(&self) -> watch::Receiver<Condition> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_that_stays_keeps_its_beginning() {
        let status = Status::default();
        let mut follower = status.subscribe();
        let note = |text: &str, now_ms| {
            status.update(|condition| Trouble::note(&mut condition.config, text, now_ms))
        };
        assert!(note("bad", 1));
        assert!(follower.has_changed().unwrap());
        follower.mark_unchanged();
        assert!(!note("bad", 2));
        assert!(!follower.has_changed().unwrap());
        assert_eq!(status.get().config, Some(Trouble { text: "bad".to_owned(), since_ms: 1 }));
        assert!(note("worse", 3));
        assert_eq!(status.get().config.map(|trouble| trouble.since_ms), Some(3));
    }
}
