//! The reason why an open delivery waits, in a sentence for people: what the store knows, joined
//! with plugins, circuit breakers and queues.
//!
//! Nothing is stored for this: it is derived when somebody looks. A further reason is a function
//! that gives a [`WaitJson`], and a line in [`WaitFacts::waits_for`] or [`WaitFacts::of_due`].

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::needs::needs;
use super::sees::Sees;
use super::state::Admin;
use crate::clock::rfc3339;
use crate::config::Config;
use crate::dispatch::{BreakerView, Breakers, QueueView, QueueViews};
use crate::event::{DEAD_LETTERS, DeliveryId, Outcome, State};
use crate::names::is_built_in;
use crate::plugins::{Entry, Registry};
use crate::store::{DeliveryView, GatheringState, Pausable, Pauses, Waits};
use crate::text::plain;

/// The longest key in a sentence, in bytes.
const MAX_KEY_BYTES: usize = 80;

/// The longest reason of a pause in a sentence, in bytes.
const MAX_REASON_BYTES: usize = 600;

/// The reason why an open delivery waits.
#[derive(Debug, Serialize, ToSchema, PartialEq, Eq)]
#[schema(as = WaitsFor)]
pub(super) struct WaitJson {
    /// `time`; `key`: another delivery of its key; `rate`: its turn by the rate of its plugin;
    /// `breaker`. `plugin`: it is missing, held or being compiled; `paused`: an operator has paused
    /// its plugin; `capacity`: a permit to run. `members` of its join or batch; `again`: the time
    /// for which its handler asked; `host`: the attempt that it is leased for.
    pub(super) kind: &'static str,
    /// A sentence that goes on from "waits for".
    pub(super) text: String,
    /// Until when at most, if that is known; RFC 3339 with milliseconds.
    pub(super) until: Option<String>,
    /// The delivery that it waits behind.
    pub(super) delivery_id: Option<String>,
    /// Members that have come.
    pub(super) count: Option<u32>,
    /// Members that there are to be, if that is known.
    pub(super) need: Option<u32>,
}

/// The state of the host at one moment.
#[derive(Debug)]
pub(super) struct WaitFacts {
    /// The wall clock, Unix ms.
    now_ms: i64,
    registry: Arc<Registry>,
    config: Arc<Config>,
    breakers: Breakers,
    queues: QueueViews,
    pauses: Arc<Pauses>,
}

impl WaitJson {
    fn new(kind: &'static str, text: String) -> Self {
        Self { kind, text, until: None, delivery_id: None, count: None, need: None }
    }

    fn until(self, until_ms: i64) -> Self {
        Self { until: Some(rfc3339(until_ms)), ..self }
    }
}

impl WaitFacts {
    pub(super) fn of(admin: &Admin) -> Self {
        Self {
            now_ms: admin.clock.now_ms(),
            registry: admin.registry.load_full(),
            config: admin.config.load_full(),
            breakers: admin.breakers.clone(),
            queues: admin.queues.clone(),
            pauses: Arc::clone(&admin.store.pauses().borrow()),
        }
    }

    /// Hides the keys of a delivery from a client that is not to read them.
    pub(super) fn hide_keys(&self, view: &mut DeliveryView, sees: Sees) {
        let policy = self.config.plugin(&view.plugin).key.clone();
        let source = policy.as_ref().map(|policy| &policy.source);
        view.key = view.key.take().map(|key| sees.key(source, key));
        if let Some(gathering) = &mut view.gathering {
            let section = self.config.routes.gatherings.get(&gathering.plugin);
            let source = section.map(|section| &section.key);
            gathering.key = sees.key(source, std::mem::take(&mut gathering.key));
        }
    }

    /// The reason why a delivery waits; nothing if it is settled.
    pub(super) fn waits_for(&self, view: &DeliveryView) -> Option<WaitJson> {
        Some(match view.waits(self.now_ms)? {
            Waits::Until(until_ms) => time(view, until_ms),
            Waits::Behind(other) => behind(view, other),
            Waits::Held(other) => held(view, other),
            Waits::Members(gathering) => {
                self.plugin(view).unwrap_or_else(|| self.members(gathering))
            }
            Waits::Due => self.of_due(view),
            Waits::Leased => self.leased(view),
        })
    }

    /// The reason why a due delivery waits. The first that applies is what has to change
    /// first.
    fn of_due(&self, view: &DeliveryView) -> WaitJson {
        let breaker = || breaker(&view.plugin, &self.breakers.of(&view.plugin)?);
        self.plugin(view)
            .or_else(|| self.paused(view))
            .or_else(breaker)
            .or_else(|| self.rate(view, "so many of its deliveries wait before it"))
            .unwrap_or_else(|| capacity(view, self.queues.of(&view.plugin)))
    }

    /// Its plugin, if that cannot run.
    fn plugin(&self, view: &DeliveryView) -> Option<WaitJson> {
        let name = &*view.plugin;
        if is_built_in(name) {
            let is_there =
                name == DEAD_LETTERS || self.config.routes.gatherings.get(name).is_some();
            return (!is_there).then(|| {
                let section = name.replace('/', ".");
                let text = format!(
                    "the section [{section}], which is gone from the configuration: put it back, \
                     or cancel the delivery"
                );
                WaitJson::new("plugin", text)
            });
        }
        match self.registry.entry(name) {
            None => {
                let text = format!(
                    "the plugin `{name}`, which is missing: put its file into the plugins folder"
                );
                Some(WaitJson::new("plugin", text))
            }
            Some(entry) if entry.loaded.is_some() => None,
            Some(entry) => Some(WaitJson::new("plugin", of_entry(name, entry))),
        }
    }

    /// An operator, who has paused its plugin.
    fn paused(&self, view: &DeliveryView) -> Option<WaitJson> {
        let plugin = &view.plugin;
        let pause = self.pauses.of(Pausable::Plugin, plugin)?;
        let said = plain(&pause.text(), MAX_REASON_BYTES);
        let text = format!("`{plugin}`, which is {said}: `hookbox plugins resume {plugin}`");
        Some(WaitJson::new("paused", text))
    }

    /// More members of its gathering.
    fn members(&self, gathering: &GatheringState) -> WaitJson {
        let section = self.config.routes.gatherings.get(&gathering.plugin);
        let needs = needs(section.map(AsRef::as_ref), gathering);
        let until = rfc3339(gathering.until_ms);
        let text = format!("{}, until {until}", needs.text);
        let wait = WaitJson::new("members", text).until(gathering.until_ms);
        WaitJson { count: Some(gathering.count), need: needs.need, ..wait }
    }

    /// Its turn by the rate of its plugin, if it waits for that: leased, or due behind as many
    /// leased ones as may be. `place` tells which.
    fn rate(&self, view: &DeliveryView, place: &str) -> Option<WaitJson> {
        let plugin = &view.plugin;
        let waits = match view.state {
            State::Leased => self.queues.waits_for_rate(plugin, view.id),
            _ => !view.quarantined && self.queues.of(plugin)?.is_full_of_paced,
        };
        if !waits {
            return None;
        }
        let rate = self.config.plugin(plugin).rate?;
        let text = format!(
            "its turn by the rate of `{plugin}`, which starts {rate} at most on this host; {place}"
        );
        Some(WaitJson::new("rate", text))
    }

    /// The attempt that it is leased for.
    fn leased(&self, view: &DeliveryView) -> WaitJson {
        if let Some(rate) = self.rate(view, "this host has leased it") {
            return rate;
        }
        let (plugin, attempt) = (&view.plugin, view.attempt);
        let full = self.queues.of(plugin).filter(QueueView::is_full);
        let runs = match full {
            Some(queue) => format!(
                "runs or waits for one of the {} permits of `{plugin}`, which are all taken",
                queue.concurrency
            ),
            None => "runs".to_owned(),
        };
        let cancelled = if view.cancelling { "; it is cancelled and ends with it" } else { "" };
        WaitJson::new(
            "host",
            format!("this host, which has leased it: attempt {attempt} {runs}{cancelled}"),
        )
    }
}

fn time(view: &DeliveryView, until_ms: i64) -> WaitJson {
    let last = view.attempts.last().map(|attempt| attempt.record.outcome);
    if last == Some(Outcome::Again) {
        let text = format!("the time for which its handler asked, {}", rfc3339(until_ms));
        return WaitJson::new("again", text).until(until_ms);
    }
    let what =
        if view.attempt > 0 { "the time of its next attempt" } else { "the end of its delay" };
    WaitJson::new("time", format!("{what}, {}", rfc3339(until_ms))).until(until_ms)
}

/// Its key, for people.
fn key(view: &DeliveryView) -> String {
    plain(view.key.as_deref().unwrap_or_default(), MAX_KEY_BYTES)
}

fn behind(view: &DeliveryView, other: DeliveryId) -> WaitJson {
    let text = format!("{other}, which comes before it for the key `{}`", key(view));
    WaitJson { delivery_id: Some(other.to_string()), ..WaitJson::new("key", text) }
}

fn held(view: &DeliveryView, other: DeliveryId) -> WaitJson {
    let text = format!(
        "the dead letter {other}, which holds the key `{}`: retry or discard it",
        key(view)
    );
    WaitJson { delivery_id: Some(other.to_string()), ..WaitJson::new("key", text) }
}

/// A plugin of which nothing runs.
fn of_entry(name: &str, entry: &Entry) -> String {
    if let Some(held) = entry.held() {
        let (asks_for, command) = (held.asks_for(), held.command());
        return format!("an approval of `{name}`, which asks for {asks_for}: `{command}`");
    }
    match (entry.state(), entry.problem()) {
        ("compiling", _) => format!("`{name}`, which is being compiled"),
        (state, Some(problem)) => format!("the plugin `{name}`, which is {state}: {problem}"),
        (state, None) => format!("the plugin `{name}`, which is {state}"),
    }
}

fn breaker(plugin: &str, view: &BreakerView) -> Option<WaitJson> {
    let open = view.open?;
    let (since, next) = (rfc3339(open.since_ms), rfc3339(open.next_attempt_ms));
    let text = format!(
        "the circuit breaker of `{plugin}`, which is open since {since}: the next attempt of the \
         plugin begins at {next}"
    );
    Some(WaitJson::new("breaker", text).until(open.next_attempt_ms))
}

/// A permit to run.
fn capacity(view: &DeliveryView, queue: Option<QueueView>) -> WaitJson {
    let plugin = &view.plugin;
    let text = match queue {
        _ if view.quarantined => {
            "its turn: it ran when a host died, and such deliveries run one at a time".to_owned()
        }
        Some(queue) if queue.is_full() => format!(
            "a permit of `{plugin}`, which runs {} attempts at once at most",
            queue.concurrency
        ),
        Some(_) => format!("a worker of `{plugin}`: it is due and starts in a moment"),
        None => "the dispatcher, which starts or stops with the host".to_owned(),
    };
    WaitJson::new("capacity", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BreakerPolicy;
    use crate::dispatch::OpenView;

    const NOW_MS: i64 = 1_770_000_000_000;

    #[test]
    fn an_open_breaker_is_waited_for_until_its_next_attempt() {
        let closed = BreakerView {
            policy: Some(BreakerPolicy { failures: 20, pause_ms: 30_000 }),
            failures_in_a_row: 20,
            last_error: None,
            open: None,
        };
        assert_eq!(breaker("audit", &closed), None);
        let open = Some(OpenView { since_ms: NOW_MS, next_attempt_ms: NOW_MS + 30_000 });
        let wait = breaker("audit", &BreakerView { open, ..closed }).unwrap();
        assert_eq!(
            (wait.kind, wait.until.as_deref()),
            ("breaker", Some("2026-02-02T02:40:30.000Z"))
        );
        assert!(wait.text.contains("`audit`") && wait.text.contains("02:40:30"), "{}", wait.text);
    }
}
