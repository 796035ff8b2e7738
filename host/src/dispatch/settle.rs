//! Settles an attempt, and tells the log, the metrics and the plugin's health how it ended.

use std::sync::Arc;
use std::time::Duration;

use tracing::Level;

use super::health::{BreakerSignal, LogSubject};
use super::queue::PluginQueue;
use super::shared::Deps;
use crate::clock::{after_ms, rfc3339};
use crate::event::{AttemptRecord, LogLine, Outcome};
use crate::names::PluginName;
use crate::plugins::Loaded;
use crate::series::{Pair, PairKind};
use crate::store::{Lease, Next, Settled, Settlement};
use crate::text;

/// The length of a reason in a log line, in bytes. The attempt's record has all of it.
const MAX_REASON_BYTES: usize = 512;

/// Settles an attempt. Returns whether a key that it read was changed meanwhile.
pub(super) async fn settle(
    deps: &Deps,
    queue: &PluginQueue,
    lease: Lease,
    settlement: Settlement,
) -> bool {
    let (delivery, plugin, attempt) = (lease.delivery, lease.plugin.clone(), lease.attempt);
    let (event, root) = (lease.event.id, lease.event.tree());
    let dead = matches!(settlement.next, Next::Dead(_));
    let reason = settlement.record.as_ref().and_then(|record| record.error.as_deref()).map(shown);
    let emitted = emitted_pairs(deps, &plugin, &settlement);
    let settled = deps.store.settle(lease, settlement).await;
    count(queue, settled.as_ref().ok(), &plugin, dead, &emitted);
    match &settled {
        Ok(Settled::Kept) => {
            if dead && queue.health.may_log(LogSubject::DeadLetter) {
                tracing::warn!(
                    event.id = %event, delivery.id = %delivery, plugin.name = %plugin,
                    delivery.attempt = attempt,
                    reason = reason.as_deref().unwrap_or(""), "dead letter"
                );
            }
        }
        Ok(Settled::Conflict) => {
            tracing::debug!(
                event.id = %event, delivery.id = %delivery, plugin.name = %plugin,
                delivery.attempt = attempt,
                "a key that it read was changed meanwhile; it runs again"
            );
        }
        Ok(refused @ (Settled::OverBudget | Settled::NotANumber)) => {
            if queue.health.may_log(LogSubject::DeadLetter) {
                tracing::warn!(
                    event.id = %event, delivery.id = %delivery, plugin.name = %plugin,
                    delivery.attempt = attempt,
                    event.root = %root,
                    reason = reason_of(*refused), "dead letter"
                );
            }
        }
        Ok(Settled::Cancelled) => tracing::debug!(
            event.id = %event, delivery.id = %delivery, plugin.name = %plugin,
            delivery.attempt = attempt,
            "cancelled while it ran: only the attempt is stored"
        ),
        Ok(Settled::Lost) => {
            if queue.health.may_log(LogSubject::Lost) {
                tracing::warn!(
                    event.id = %event, delivery.id = %delivery, plugin.name = %plugin,
                    delivery.attempt = attempt,
                    "a late settlement is lost: another attempt has the delivery"
                );
            }
        }
        // The store itself logs once that it has stopped.
        Err(error) => tracing::debug!(delivery.id = %delivery, error = %error, "not settled"),
    }
    matches!(settled, Ok(Settled::Conflict))
}

/// The counts of the events that a settlement emits.
fn emitted_pairs(deps: &Deps, plugin: &str, settlement: &Settlement) -> Vec<Arc<Pair>> {
    let emitted = settlement.next.results().map_or(&[][..], |(emitted, _)| emitted);
    let pairs = deps.series.pairs();
    let of = |kind: &str| pairs.of(PairKind::Emitted, plugin, kind);
    emitted.iter().map(|event| of(&event.attributes.kind)).collect()
}

/// Counts an attempt by type and plugin.
fn count_pair(deps: &Deps, lease: &Lease, outcome: Outcome) {
    let has_failed = !matches!(outcome, Outcome::Ok | Outcome::Again);
    let kind = &lease.event.attributes.kind;
    deps.series.pairs().of(PairKind::Handled, kind, &lease.plugin).count(has_failed);
}

/// Why what an attempt left was not stored; for the log.
fn reason_of(refused: Settled) -> &'static str {
    match refused {
        Settled::NotANumber => "it adds to a key whose value is no number",
        _ => "its tree of events has reached `server.tree_events` or `server.tree_size`",
    }
}

/// Counts dead letters, emitted events, and settlements by what came of them.
fn count(
    queue: &PluginQueue,
    settled: Option<&Settled>,
    plugin: &PluginName,
    dead: bool,
    emitted: &[Arc<Pair>],
) {
    if settled == Some(&Settled::Kept) {
        emitted.iter().for_each(|pair| pair.count(false));
        queue.metrics.emitted(emitted.len());
    }
    let has_died = match settled {
        Some(Settled::Kept) => dead,
        Some(Settled::OverBudget | Settled::NotANumber) => true,
        _ => false,
    };
    if has_died {
        metrics::counter!("hookbox_dead_letters_total", "plugin" => plugin.to_string())
            .increment(1);
    }
    let result = match settled {
        Some(Settled::Conflict) => "conflict",
        Some(Settled::Lost) => "lost",
        Some(Settled::OverBudget) => {
            metrics::counter!("hookbox_tree_budget_exceeded_total", "plugin" => plugin.to_string())
                .increment(1);
            return;
        }
        Some(_) => return queue.metrics.kept(),
        None => return,
    };
    let plugin = plugin.to_string();
    metrics::counter!("hookbox_settlements_total", "plugin" => plugin, "result" => result)
        .increment(1);
}

/// Counts an attempt, and tells the plugin's health how it ended.
pub(super) fn observe(
    deps: &Deps,
    queue: &PluginQueue,
    loaded: &Loaded,
    lease: &Lease,
    settlement: &Settlement,
    asked_for_delay: bool,
    duration: Duration,
) {
    // An attempt without a record did not run: there was no instance.
    let Some(AttemptRecord { outcome, error, .. }) = &settlement.record else { return };
    count_pair(deps, lease, *outcome);
    queue.metrics.took(duration);
    queue.health.ended(
        Some(loaded.digest),
        BreakerSignal::of(*outcome, asked_for_delay),
        error.as_deref(),
    );
    let (event, plugin) = (lease.event.id, &lease.plugin);
    if matches!(outcome, Outcome::Ok | Outcome::Again) {
        if *outcome == Outcome::Ok {
            queue.metrics.succeeded();
        } else {
            metrics::counter!("hookbox_attempts_total", "plugin" => plugin.clone(), "outcome" => outcome.name())
                .increment(1);
        }
        let emitted = settlement.next.results().map_or(0, |(emitted, _)| emitted.len());
        tracing::debug!(
            event.id = %event, delivery.id = %lease.delivery, plugin.name = %plugin,
            delivery.attempt = lease.attempt, duration_ms = duration.as_secs_f64() * 1e3,
            events.emitted = emitted,
            outcome = outcome.name(), "attempt ok"
        );
        return;
    }
    metrics::counter!("hookbox_attempts_total", "plugin" => plugin.clone(), "outcome" => outcome.name()).increment(1);
    if queue.health.may_log(LogSubject::Attempt(*outcome)) {
        // Without a next attempt it is a dead letter, which has its own line.
        let next = match settlement.next {
            Next::RetryIn(delay) => Some(rfc3339(after_ms(queue.health.host_ms(), delay))),
            _ => None,
        };
        tracing::info!(
            event.id = %event, delivery.id = %lease.delivery, plugin.name = %plugin,
            plugin.digest = loaded.digest.short(), delivery.attempt = lease.attempt,
            delivery.next_attempt = next,
            outcome = outcome.name(), reason = error.as_deref().map(shown), "attempt failed"
        );
    }
}

/// Writes an attempt's log lines to the host's log, with the target `plugin`. Their control
/// characters are escaped already.
pub(super) fn forward_logs(queue: &PluginQueue, lease: &Lease, lines: &[LogLine]) {
    macro_rules! line {
        ($level:ident, $line:expr) => {
            // A line that the filter drops does not count against the plugin's bound.
            if tracing::enabled!(target: "plugin", Level::$level)
                && queue.health.may_forward($line.message.len()) {
                tracing::event!(
                    target: "plugin", Level::$level,
                    plugin.name = %lease.plugin, event.id = %lease.event.id,
                    delivery.id = %lease.delivery,
                    delivery.attempt = lease.attempt, "{}", $line.message
                );
            }
        };
    }
    for line in lines {
        match line.level.as_str() {
            "error" => line!(ERROR, line),
            "warn" => line!(WARN, line),
            "debug" => line!(DEBUG, line),
            "trace" => line!(TRACE, line),
            _ => line!(INFO, line),
        }
    }
}

/// An error as a log line shows it.
fn shown(error: &str) -> String {
    text::plain(error, MAX_REASON_BYTES)
}
