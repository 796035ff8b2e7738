//! One attempt: from a lease to its settlement.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use super::Hub;
use super::breaker::Sign;
use super::failure_log::Line;
use super::forward;
use super::health::Probe;
use super::lane::Lane;
use super::verdict::{self, Facts};
use super::weight;
use crate::clock::{after_ms, rfc3339};
use crate::config::{PluginLog, PluginSettings};
use crate::event::{AttemptRecord, Outcome, PluginName};
use crate::fair::FairPermit;
use crate::plugins::Loaded;
use crate::sandbox::{Call, KvRead, KvReader, Verdict};
use crate::store::{Lease, Next, Read, Settled, Settlement};
use crate::{fail, retry, tasks, text};

/// The most of a reason that a log line has, in bytes; all of it is in the record of the attempt.
const MAX_REASON_BYTES: usize = 512;

/// Runs `lease` and settles it; with `probe` also while the circuit breaker of its plugin is open.
pub(super) async fn run(hub: Arc<Hub>, lane: Arc<Lane>, lease: Lease, probe: Option<Probe>) {
    let _ = fail::point("dispatch.leased");
    // Kept until the settlement is durable: who reads a key then sees it, and what the verdict holds in memory is freed.
    let mut kept = Kept::default();
    let settlement = {
        // Pinned here and lent, so that it is not copied from layer to layer.
        let attempt = pin!(attempt(&hub, &lane, &lease, &mut kept, probe.as_ref()));
        tokio::select! {
            // The usual attempt ends when it is first polled, and is never put on the list of those to be told.
            biased;
            settlement = tasks::unwound(attempt) => {
                settlement.unwrap_or_else(|panic| host_fault(&hub, &lane, &lease, &panic))
            }
            () = hub.aborting.cancelled() => give_back(Duration::ZERO),
        }
    };
    if let Some(probe) = probe.filter(|_| !matches!(settlement.next, Next::GiveBack(_))) {
        probe.ran();
    }
    let conflict = settle(&hub, &lane, lease, settlement).await;
    lane.settled(conflict);
    drop(kept);
}

/// Held by an attempt until its settlement is durable.
#[derive(Debug, Default)]
struct Kept {
    /// Its turn, if the attempts of its plugin take turns.
    turn: Option<OwnedSemaphorePermit>,
    /// Memory for its verdict.
    verdict: Option<FairPermit>,
}

async fn attempt(hub: &Arc<Hub>, lane: &Lane, lease: &Lease, kept: &mut Kept, probe: Option<&Probe>) -> Settlement {
    if hub.stopping.is_cancelled() {
        return give_back(Duration::ZERO);
    }
    let permits = tokio::select! {
        biased;
        permits = permits(hub, lane, &lease.plugin, &mut kept.turn) => permits,
        () = hub.stopping.cancelled() => return give_back(Duration::ZERO),
        () = lane.health.opened(), if probe.is_none() => return give_back(Duration::ZERO),
    };
    let Some(permits) = permits.filter(|_| lane.health.begin(probe)) else { return give_back(Duration::ZERO) };
    let Some(loaded) = hub.parts.shelf.load().loaded(&lease.plugin).cloned() else {
        return give_back(Duration::ZERO);
    };
    let config = hub.parts.config.load_full();
    let settings = config.plugin(&lease.plugin);
    let in_flight = match hub.parts.store.begin(lease).await {
        Ok(in_flight) => in_flight,
        Err(error) => {
            tracing::debug!(delivery.id = %lease.delivery, error = %error, "not begun");
            return give_back(Duration::from_millis(retry::GIVE_BACK_DELAY_MS));
        }
    };
    let _ = fail::point("dispatch.before_invoke");
    let started_at_ms = hub.parts.clock.now_ms();
    let started = Instant::now();
    let invocation = loaded.plugin.invoke(call(hub, lease, &settings)).await;
    let _ = fail::point("dispatch.invoked");
    let taken = started.elapsed();
    let asked_for_time = matches!(invocation.verdict, Verdict::Retry { after_ms: Some(_), .. });
    loaded.usage.count(&invocation);
    // Asked only for what is compared with it. What cannot be counted is no reason to run the attempt again.
    let kv_bytes = match invocation.kv_writes.is_empty() {
        true => 0,
        false => hub.parts.reads.kv_bytes(&lease.plugin).await.unwrap_or(0),
    };
    let facts = Facts {
        event: &lease.event,
        plugin: &lease.plugin,
        attempt: lease.counted_attempt(),
        digest: loaded.digest,
        started_at_ms,
        now_ms: hub.parts.clock.now_ms(),
        kv_bytes,
        random,
    };
    let mut settlement = verdict::settlement(&facts, invocation, &settings.retry, &config.routes);
    let record = settlement.record.as_ref().filter(|_| settings.log == PluginLog::Forward);
    record.iter().for_each(|record| forward::write(&lane.health, lease, &record.logs));
    observe(lane, &loaded, lease, &settlement, asked_for_time, taken);
    lane.health.bound(&mut settlement);
    // Only now: what is made of a verdict also comes from the event.
    drop(in_flight);
    // Before the permits are given back: otherwise the next attempt would add its verdict to those that nobody counts, and
    // begin without knowing how this one ended.
    kept.verdict = Some(hub.verdicts.acquire(&lease.plugin, weight::kib(&settlement)).await);
    drop(permits);
    settlement
}

/// What the plugin is invoked with.
fn call(hub: &Hub, lease: &Lease, settings: &PluginSettings) -> Call {
    Call {
        plugin: lease.plugin.clone(),
        event: lease.event.clone(),
        attempt: lease.counted_attempt(),
        max_attempts: settings.retry.max_attempts,
        idempotency_key: lease.delivery.to_string(),
        limits: settings.limits,
        grants: settings.grants.clone(),
        config: settings.config.clone(),
        kv: Arc::new(StoredKv { reads: hub.parts.reads.clone(), plugin: lease.plugin.clone() }),
        path: settings.path.clone(),
        reuse: settings.reuse,
    }
}

/// Leave to run: the lane's, its turn if attempts take turns, and one of the instances that all plugins share. `None`
/// if the plugin has gone.
async fn permits(
    hub: &Hub,
    lane: &Lane,
    plugin: &PluginName,
    turn: &mut Option<OwnedSemaphorePermit>,
) -> Option<(OwnedSemaphorePermit, FairPermit)> {
    let lanes = lane.permit().await?;
    *turn = lane.turn().await;
    let instance = hub.running.acquire(plugin, 1).await;
    // Verdicts of this plugin that wait for memory are held beyond what is counted, so no attempt adds another one.
    hub.verdicts.acquire(plugin, 0).await;
    Some((lanes, instance))
}

/// The attempt is not spent, and the delivery is due again after this time.
fn give_back(time: Duration) -> Settlement {
    Settlement { next: Next::GiveBack(time), record: None }
}

/// The host itself failed at it: retried by the plugin's policy, because whoever holds a lease settles it.
fn host_fault(hub: &Hub, lane: &Lane, lease: &Lease, panic: &str) -> Settlement {
    if lane.health.writes(Line::HostFault) {
        tracing::error!(
            event.id = %lease.event.id, delivery.id = %lease.delivery, plugin.name = %lease.plugin, panic,
            "an attempt panicked in the host"
        );
    }
    let error = format!("host fault: {panic}");
    lane.health.ended(None, Sign::Fails, Some(&error));
    let policy = &hub.parts.config.load().plugin(&lease.plugin).retry;
    let next = match retry::after_failure(Outcome::Error, lease.counted_attempt(), None, policy, random()) {
        retry::AfterFailure::RetryInMs(delay_ms) => Next::RetryIn(Duration::from_millis(delay_ms)),
        retry::AfterFailure::Dead => Next::Dead,
    };
    let record = AttemptRecord {
        started_at_ms: hub.parts.clock.now_ms(),
        duration_us: 0,
        outcome: Outcome::Error,
        error: Some(error),
        logs: Vec::new(),
        calls: Vec::new(),
        plugin_digest: None,
    };
    let mut settlement = Settlement { next, record: Some(record) };
    lane.health.bound(&mut settlement);
    settlement
}

/// Evenly from [0, 1).
fn random() -> f64 {
    let bits = getrandom::u64().expect("the operating system gives random numbers");
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// Says whether it was a conflict over a key.
async fn settle(hub: &Hub, lane: &Lane, lease: Lease, settlement: Settlement) -> bool {
    let (delivery, plugin, attempt) = (lease.delivery, lease.plugin.clone(), lease.attempt);
    let event = lease.event.id;
    let root = lease.event.tree();
    let dead = matches!(settlement.next, Next::Dead);
    let reason = settlement.record.as_ref().and_then(|record| record.error.as_deref()).map(shown);
    let settled = hub.parts.store.settle(lease, settlement).await;
    match &settled {
        Ok(Settled::Kept) => {
            if dead && lane.health.writes(Line::DeadLetter) {
                tracing::warn!(
                    event.id = %event, delivery.id = %delivery, plugin.name = %plugin, delivery.attempt = attempt,
                    reason = reason.as_deref().unwrap_or(""), "dead letter"
                );
            }
        }
        Ok(Settled::Conflict) => {
            metrics::counter!("hookbox_kv_conflicts_total", "plugin" => plugin.to_string()).increment(1);
            tracing::debug!(
                event.id = %event, delivery.id = %delivery, plugin.name = %plugin, delivery.attempt = attempt,
                "a key it read was changed meanwhile; it runs again"
            );
        }
        Ok(Settled::OverBudget) => {
            metrics::counter!("hookbox_tree_budget_exceeded_total", "plugin" => plugin.to_string()).increment(1);
            if lane.health.writes(Line::DeadLetter) {
                tracing::warn!(
                    event.id = %event, delivery.id = %delivery, plugin.name = %plugin, delivery.attempt = attempt,
                    event.root = %root,
                    reason = "its tree of events has reached `server.tree_events` or `server.tree_size`",
                    "dead letter"
                );
            }
        }
        Ok(Settled::Cancelled) => tracing::debug!(
            event.id = %event, delivery.id = %delivery, plugin.name = %plugin, delivery.attempt = attempt,
            "cancelled while it ran: only the attempt is stored"
        ),
        Ok(Settled::Lost) => {
            metrics::counter!("hookbox_settlements_lost_total").increment(1);
            if lane.health.writes(Line::Lost) {
                tracing::warn!(
                    event.id = %event, delivery.id = %delivery, plugin.name = %plugin, delivery.attempt = attempt,
                    "a late settlement is lost: the delivery is in other hands"
                );
            }
        }
        // The store says once, loudly, that it has stopped.
        Err(error) => tracing::debug!(delivery.id = %delivery, error = %error, "not settled"),
    }
    matches!(settled, Ok(Settled::Conflict))
}

/// An error as a log line has it.
fn shown(error: &str) -> String {
    text::plain(error, MAX_REASON_BYTES)
}

/// Counts an attempt, and tells the plugin's health how it ended.
fn observe(
    lane: &Lane,
    loaded: &Loaded,
    lease: &Lease,
    settlement: &Settlement,
    asked_for_time: bool,
    taken: Duration,
) {
    // Without a record it has not run: the instance was not there after all.
    let Some(AttemptRecord { outcome, error, .. }) = &settlement.record else { return };
    lane.seconds.record(taken.as_secs_f64());
    lane.health.ended(Some(loaded.digest), Sign::of(*outcome, asked_for_time), error.as_deref());
    let event = lease.event.id;
    if *outcome == Outcome::Ok {
        lane.succeeded.increment(1);
        let emitted = if let Next::Done { emitted, .. } = &settlement.next { emitted.len() } else { 0 };
        tracing::debug!(
            event.id = %event, delivery.id = %lease.delivery, plugin.name = %lease.plugin,
            delivery.attempt = lease.attempt, duration_ms = taken.as_secs_f64() * 1e3, events.emitted = emitted,
            "attempt ok"
        );
        return;
    }
    let plugin: &PluginName = &lease.plugin;
    metrics::counter!("hookbox_attempts_total", "plugin" => plugin.clone(), "outcome" => outcome.name()).increment(1);
    if lane.health.writes(Line::Attempt(*outcome)) {
        // Without one it is a dead letter, which has a line of its own.
        let next = match settlement.next {
            Next::RetryIn(time) => Some(rfc3339(after_ms(lane.health.host_ms(), time))),
            _ => None,
        };
        tracing::info!(
            event.id = %event, delivery.id = %lease.delivery, plugin.name = %plugin,
            plugin.digest = loaded.digest.short(), delivery.attempt = lease.attempt, delivery.next_attempt = next,
            outcome = outcome.name(), reason = error.as_deref().map(shown), "attempt failed"
        );
    }
}

/// The store as the sandbox reads it: one plugin's keys.
#[derive(Debug)]
struct StoredKv {
    reads: Arc<dyn Read>,
    plugin: PluginName,
}

impl KvReader for StoredKv {
    fn get<'a>(&'a self, key: &'a str) -> KvRead<'a> {
        Box::pin(async move {
            let found = self.reads.kv_get(self.plugin.clone(), key.to_owned()).await;
            found.map(|found| found.map(|kv| (kv.value, kv.version))).map_err(|error| error.to_string())
        })
    }
}
