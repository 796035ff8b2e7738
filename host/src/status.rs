//! What the host says of its own last change: whether the newest configuration is the one that runs.
//!
//! `reload` writes it, `/readyz`, the API and the dashboard show it. It stands on the lowest floor because those who
//! show it must not depend on those who write it.

use tokio::sync::watch;

/// The last word on the configuration, shared by everyone who shows it.
#[derive(Debug)]
pub struct Status(watch::Sender<Condition>);

/// What is known of the last reload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// How often the configuration or the shelf of plugins was swapped since the start.
    pub generation: u64,
    /// Why the newest configuration file was not taken; the last good one runs.
    pub config: Option<Trouble>,
    /// Keys whose new value waits for a restart, like `server.listen`.
    pub restart_needed: Vec<&'static str>,
    /// Why files are not watched but looked at every few seconds.
    pub watch: Option<Trouble>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong, for people.
    pub text: String,
    /// Since when, Unix ms.
    pub since_ms: i64,
}

impl Trouble {
    /// Notes `text` in `place`, and since when. Says whether that is news.
    pub fn note(place: &mut Option<Self>, text: &str, now_ms: i64) -> bool {
        if place.as_ref().is_some_and(|trouble| trouble.text == text) {
            return false;
        }
        *place = Some(Self { text: text.to_owned(), since_ms: now_ms });
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

    /// Changes the condition; whoever follows it is told if it is another one afterwards.
    pub fn update<T>(&self, change: impl FnOnce(&mut Condition) -> T) -> T {
        let mut answer = None;
        self.0.send_if_modified(|condition| {
            let before = condition.clone();
            answer = Some(change(condition));
            *condition != before
        });
        answer.expect("the closure is always called")
    }

    /// Follows the condition.
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
        let note = |text: &str, now_ms| status.update(|condition| Trouble::note(&mut condition.config, text, now_ms));
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
