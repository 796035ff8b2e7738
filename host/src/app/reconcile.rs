//! Asks the logs of providers for events that never came, and appends those that are missing.
//!
//! A pass reads a log from its newest event back to where the last complete pass began, a page at a
//! time. A known event is recognised by its dedupe keys, like a repeated delivery. The position is
//! stored after each page, so a host that ends in the middle goes on there. Several hosts may do
//! this side by side: each event is stored once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::App;
use crate::clock::{Clock, rfc3339};
use crate::config::{Config, Source};
use crate::egress::Egress;
use crate::ingest::{Intake, SourceActivity, SourceRuntime};
use crate::providers::{ApiError, LoggedPage};
use crate::status::{Status, Trouble};
use crate::store::{Store, StoreError};

mod ask;
mod position;

use position::{LogPosition, Pass};

/// Failures in a row after which one that may pass is a trouble.
const PATIENCE: u32 = 3;

/// The first pause after a failure, in milliseconds; it doubles.
const FIRST_PAUSE_MS: i64 = 30_000;

/// The most pages of one pass; the next one goes on after them.
const MAX_PAGES: u32 = 1_000;

/// The longest pause after a failure, in milliseconds.
const LONGEST_PAUSE_MS: i64 = 60 * 60 * 1000;

/// The parts that reconciling works with.
pub(super) struct Reconciler {
    store: Arc<dyn Store>,
    config: Arc<ArcSwap<Config>>,
    clock: Clock,
    status: Arc<Status>,
    activity: Arc<SourceActivity>,
    egress: Egress,
}

/// Why a pass did not end.
#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// When a source is asked next.
#[derive(Debug, Clone, Copy, Default)]
struct Turn {
    due_ms: i64,
    failures: u32,
}

impl Reconciler {
    /// With the parts of a host.
    pub(super) fn of(app: &App, intake: &Intake) -> Self {
        Self {
            store: app.store.clone(),
            config: app.config.clone(),
            clock: app.clock.clone(),
            status: app.status.clone(),
            activity: intake.activity.clone(),
            egress: Egress::system(),
        }
    }

    /// Asks the log of each source that wants it, at the start and then regularly, until `closing`;
    /// `reloaded` tells of another configuration.
    pub(super) async fn run(self, reloaded: Arc<Notify>, closing: CancellationToken) {
        let mut turns: BTreeMap<Arc<str>, Turn> = BTreeMap::new();
        loop {
            let config = self.config.load_full();
            self.forget(&config, &mut turns);
            let mut next_ms = i64::MAX;
            for (source, period_ms) in wanted(&config) {
                let turn = turns.get(&source.name).copied().unwrap_or_default();
                let mut due_ms = turn.due_ms;
                if due_ms <= self.clock.host_ms() {
                    let ended = tokio::select! {
                        () = closing.cancelled() => return,
                        ended = self.pass(&config, source) => ended,
                    };
                    let turn = self.after(source, period_ms, turn, ended);
                    due_ms = turn.due_ms;
                    turns.insert(Arc::clone(&source.name), turn);
                }
                next_ms = next_ms.min(due_ms);
            }
            tokio::select! {
                () = closing.cancelled() => return,
                () = reloaded.notified() => {}
                () = self.clock.sleep_until_host(next_ms), if next_ms < i64::MAX => {}
            }
        }
    }

    /// Forgets sources that are not asked any more.
    fn forget(&self, config: &Config, turns: &mut BTreeMap<Arc<str>, Turn>) {
        let names: BTreeSet<_> = wanted(config).map(|(source, _)| &source.name).collect();
        turns.retain(|name, _| names.contains(name));
        self.status.update(|condition| condition.logs.retain(|name, _| names.contains(name)));
    }

    /// Notes how a pass ended, and when the next one begins.
    fn after(
        &self,
        source: &Source,
        period_ms: i64,
        turn: Turn,
        ended: Result<(), PassError>,
    ) -> Turn {
        let (name, now_ms) = (&source.name, self.clock.host_ms());
        let result = if ended.is_ok() { "ok" } else { "error" };
        let labels = [("source", name.to_string()), ("result", result.to_owned())];
        metrics::counter!("hookbox_reconcile_passes_total", &labels).increment(1);
        let Err(error) = ended else {
            return Turn { due_ms: now_ms.saturating_add(period_ms), failures: 0 };
        };
        let failures = turn.failures.saturating_add(1);
        let passes = matches!(&error, PassError::Api(error) if error.passes());
        // Once for failures in a row; the status shows those that last.
        if failures == 1 {
            tracing::warn!(source.name = %name, error = %error, "the log of a provider cannot be read");
        }
        if !passes || failures >= PATIENCE {
            let text = format!(
                "the log of its provider cannot be read, so events that never came are not fetched: {error}"
            );
            self.trouble(name, &text);
        }
        let asked = match &error {
            PassError::Api(ApiError::Limited { retry_after_ms, .. }) => *retry_after_ms,
            _ => None,
        };
        let pause = FIRST_PAUSE_MS.saturating_mul(1 << (failures - 1).min(10));
        let pause = pause.max(asked.and_then(|ms| i64::try_from(ms).ok()).unwrap_or(0));
        Turn { due_ms: now_ms.saturating_add(pause.min(LONGEST_PAUSE_MS)), failures }
    }

    fn trouble(&self, name: &Arc<str>, text: &str) {
        let now_ms = self.clock.now_ms();
        self.status.update(|condition| {
            let mut current = condition.logs.remove(name);
            Trouble::note(&mut current, text, now_ms);
            condition.logs.extend(current.map(|trouble| (Arc::clone(name), trouble)));
        });
    }

    /// Reads a log back to what is known, and appends what is missing. A cursor that was stored may
    /// be unknown by now, and is forgotten; one of this pass that is refused is an error.
    async fn pass(&self, config: &Config, source: &Arc<Source>) -> Result<(), PassError> {
        let Some(provider) = source.provider.provider() else { return Ok(()) };
        let stored = self.store.log_position(Arc::clone(&source.name)).await?;
        let mut position = LogPosition::read(stored.as_deref());
        let runtime = SourceRuntime::new(Arc::clone(source));
        let mut is_stored = true;
        for _ in 0..MAX_PAGES {
            let mut pass = position.resume(self.clock.now_ms());
            let cursor = pass.cursor.clone();
            let mut page = match ask::page(&self.egress, provider, source, cursor.as_deref()).await
            {
                Err(ApiError::Refused(_) | ApiError::Absent(_))
                    if is_stored && cursor.is_some() =>
                {
                    position.going = None;
                    is_stored = false;
                    continue;
                }
                page => page?,
            };
            is_stored = false;
            // A log that names the same page again would be read without an end.
            let next = page.next.clone().filter(|next| Some(next) != cursor.as_ref());
            let is_empty = page.events.is_empty();
            let ends = pass.see(&mut page, &position);
            self.append(config, &runtime, page).await?;
            // An empty page ends the log, even if it names a next one.
            match next {
                Some(next) if !ends && !is_empty => {
                    pass.cursor = Some(next);
                    position.going = Some(pass);
                    self.keep(source, &position).await?;
                }
                _ => {
                    self.end(source, &mut position, pass);
                    return Ok(self.keep(source, &position).await?);
                }
            }
        }
        Err(ApiError::Strange(format!("the log goes on after {MAX_PAGES} pages")).into())
    }

    /// Ends a pass: tells of a gap if the log does not reach back to what is known.
    fn end(&self, source: &Source, position: &mut LogPosition, pass: Pass) {
        let now_ms = self.clock.now_ms();
        let provider = source.provider.provider();
        let keeps_ms = provider.and_then(|provider| provider.keeps_ms());
        let period_ms = source.provider.reconcile_ms.unwrap_or_default();
        if let Some((from_ms, to_ms)) = position.end(pass, keeps_ms, period_ms, now_ms) {
            let (from, to) = (rfc3339(from_ms), rfc3339(to_ms));
            tracing::error!(source.name = %source.name, from, to, "the log of a provider has a gap");
        }
        match position.shown_gap(now_ms) {
            Some((from_ms, to_ms)) => {
                let (from, to) = (rfc3339(from_ms), rfc3339(to_ms));
                let text = format!(
                    "its provider's log does not reach back far enough: events between {from} and {to} that did not \
                     come are lost, unless the provider has them elsewhere (shown for a day)"
                );
                self.trouble(&source.name, &text);
            }
            None => self.status.update(|condition| {
                condition.logs.remove(&source.name);
            }),
        }
    }

    async fn keep(&self, source: &Source, position: &LogPosition) -> Result<(), StoreError> {
        self.store.keep_log_position(Arc::clone(&source.name), position.text()).await
    }

    /// Appends the events of a page, the oldest first; those that are known change nothing.
    async fn append(
        &self,
        config: &Config,
        runtime: &SourceRuntime,
        mut page: LoggedPage,
    ) -> Result<(), StoreError> {
        let source = runtime.source();
        let registration = source.provider.registration.as_ref();
        // Pages have the newest first. Among events of one time, the sort keeps the reversed order.
        page.events.reverse();
        page.events.sort_by_key(|logged| logged.at_ms);
        for logged in page.events {
            let id = logged.id.clone();
            // The provider was not to send it, so it is not missing.
            if registration.is_some_and(|registration| !registration.gets(&logged.kind)) {
                count(source, "other_type");
                continue;
            }
            if logged.body.len() > config.max_body_bytes(source) {
                tracing::warn!(source.name = %source.name, id, "an event of the log is larger than `max_body`");
                count(source, "too_large");
                continue;
            }
            let now_ms = self.clock.now_ms();
            let has_legacy_keys = self.store.has_legacy_keys();
            let event = runtime.logged(logged, &config.routes, now_ms, has_legacy_keys);
            if event.dedupe.is_empty() {
                // It would be stored again with every pass.
                count(source, "no_key");
                continue;
            }
            let appended = self.store.append(event).await?;
            if appended.duplicate {
                count(source, "known");
                continue;
            }
            tracing::info!(source.name = %source.name, event.id = %appended.id, id, "an event that never came");
            self.activity.reconciled(source, now_ms);
            count(source, "appended");
        }
        Ok(())
    }
}

/// The sources whose logs are asked for, and how often.
fn wanted(config: &Config) -> impl Iterator<Item = (&Arc<Source>, i64)> {
    let period = |source: &Source| i64::try_from(source.provider.reconcile_ms?).ok();
    config.sources.values().filter_map(move |source| Some((source, period(source)?)))
}

fn count(source: &Source, result: &'static str) {
    let labels = [("source", source.name.to_string()), ("result", result.to_owned())];
    metrics::counter!("hookbox_reconciled_events_total", &labels).increment(1);
}
