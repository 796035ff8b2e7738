//! One attempt: from a lease to its settlement.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use super::bucket_reader::BucketReader;
use super::built_in::BuiltIn;
use super::dead_letter::DeadLetter;
use super::health::{BreakerSignal, LogSubject, Probe};
use super::leased_steps::LeasedSteps;
use super::outcome::{self, AttemptFacts};
use super::queue::PluginQueue;
use super::rate::StartTurn;
use super::shared::Shared;
use super::spans::AttemptSpans;
use super::{result_size, settle};
use crate::clock::until;
use crate::config::{PluginLog, PluginSettings};
use crate::event::{AttemptRecord, DeliveryId, Digest, Outcome};
use crate::fair::FairPermit;
use crate::plugins::Loaded;
use crate::sandbox::{Call, Invocation, Verdict};
use crate::store::{Lease, Next, Settled, Settlement};
use crate::{fail, retry, tasks, trace};

/// Held by an attempt until its settlement is durable. The next attempt then sees its writes, and
/// the memory of its result is free.
#[derive(Debug, Default)]
struct HeldUntilDurable {
    /// The attempt's turn, if the attempts of its plugin are serial.
    turn: Option<OwnedSemaphorePermit>,
    /// Memory for its result.
    result: Option<FairPermit>,
    /// The turn to start, if the plugin has a rate: until it starts.
    start: Option<StartTurn>,
    /// The attempt's spans, if it is traced.
    spans: Option<Box<AttemptSpans>>,
}

impl HeldUntilDurable {
    /// The attempt begins, so long after it was due.
    fn begin(&mut self, late: Duration) {
        if let Some(spans) = &mut self.spans {
            spans.begin(late);
        }
    }

    /// The plugin has run.
    fn invoked(&mut self, invocation: &mut Invocation) {
        if let Some(spans) = &mut self.spans {
            spans.invoked(invocation);
        }
    }

    /// The attempt has ended.
    fn ended(&mut self, lease: &Lease, settlement: &mut Settlement) {
        if let Some(spans) = &mut self.spans {
            spans.ended(lease, settlement);
        }
    }
}

/// Starts an attempt. Its lease holds a permit of the lease budget, so the number of tasks is
/// bounded.
pub(super) fn start(
    shared: &Arc<Shared>,
    queue: Arc<PluginQueue>,
    lease: Lease,
    probe: Option<Probe>,
) {
    match AttemptSpans::of(&shared.deps, &lease) {
        None => shared.spawn(run(shared.clone(), queue, lease, probe, None)),
        Some(spans) => {
            let context = spans.context();
            let spans = Some(Box::new(spans));
            let run = run(shared.clone(), queue, lease, probe, spans);
            shared.spawn(trace::within(context, run));
        }
    }
}

/// Runs an attempt and settles it; with a probe also while the circuit breaker is open.
async fn run(
    shared: Arc<Shared>,
    queue: Arc<PluginQueue>,
    mut lease: Lease,
    probe: Option<Probe>,
    spans: Option<Box<AttemptSpans>>,
) {
    let _ = fail::point("dispatch.leased");
    let aborted = shared.present();
    let mut held = HeldUntilDurable { spans, ..HeldUntilDurable::default() };
    let is_paced = queue.is_paced();
    if is_paced {
        held.start = start_turn(&shared, &queue, lease.delivery, probe.is_none()).await;
        // The budget bounds what waits for the rate, and in quarantine what runs.
        if held.start.is_some() && !queue.is_quarantine {
            lease.release_budget();
        }
    }
    let mut settlement = if is_paced && held.start.is_none() {
        give_back(Duration::ZERO)
    } else {
        // Pinned here and lent, so that it is not copied from layer to layer.
        let attempt = pin!(attempt(&shared, &queue, &lease, &mut held, probe.as_ref()));
        tokio::select! {
            // Most attempts end when they are first polled, and never register for cancellation.
            biased;
            settlement = tasks::unwound(attempt) => {
                settlement.unwrap_or_else(|panic| host_fault(&shared, &queue, &lease, &panic))
            }
            () = aborted.cancelled() => give_back(Duration::ZERO),
        }
    };
    // An attempt that is given back has tried nothing, and leaves its probe to another.
    if let Some(probe) = probe
        && !matches!(settlement.next, Next::GiveBack(_))
    {
        probe.ran();
    }
    held.ended(&lease, &mut settlement);
    let spans = held.spans.take().map(AttemptSpans::settling);
    let settled = settle::settle(&shared.deps, &queue, lease, settlement).await;
    queue.conflicts.settled(matches!(settled, Ok(Settled::Conflict)));
    if let Some(spans) = spans {
        spans.end(&settled);
    }
    drop(held);
}

async fn attempt(
    shared: &Shared,
    queue: &PluginQueue,
    lease: &Lease,
    held: &mut HeldUntilDurable,
    probe: Option<&Probe>,
) -> Settlement {
    if let Some(built_in) = BuiltIn::of(&lease.plugin) {
        return built_in_attempt(shared, queue, lease, held, built_in).await;
    }
    let Some((permits, loaded)) = admit(shared, queue, held, probe).await else {
        return give_back(Duration::ZERO);
    };
    let config = shared.deps.config.load_full();
    let settings = config.plugin(&lease.plugin);
    let call = call(shared, lease, &settings, loaded.digest, held);
    let in_flight = match shared.deps.store.begin(lease).await {
        Ok(in_flight) => in_flight,
        Err(error) => {
            tracing::debug!(delivery.id = %lease.delivery, error = %error, "not begun");
            return give_back(Duration::from_millis(retry::GIVE_BACK_DELAY_MS));
        }
    };
    let _ = fail::point("dispatch.before_invoke");
    let started_at_ms = begin(shared, queue, lease, held);
    let started = Instant::now();
    let mut invocation = loaded.plugin.invoke(call).await;
    let _ = fail::point("dispatch.invoked");
    let duration = started.elapsed();
    count(queue, &loaded, &invocation);
    held.invoked(&mut invocation);
    let asked_for_delay = matches!(invocation.verdict, Verdict::Retry { after_ms: Some(_), .. });
    let facts = AttemptFacts {
        event: &lease.event,
        plugin: &lease.plugin,
        attempt: lease.counted_attempt(),
        digest: loaded.digest,
        started_at_ms,
        now_ms: shared.deps.clock.now_ms(),
        kv_bytes: kv_bytes(shared, lease, &settings, &invocation).await,
        again: lease.again(),
        random,
    };
    let mut settlement = outcome::settlement(&facts, invocation, &settings, &config.routes);
    tell_of_death(shared, lease, &mut settlement);
    if settings.log == PluginLog::Forward {
        settle::forward_logs(queue, lease, &settlement);
    }
    settle::observe(&shared.deps, queue, &loaded, lease, &settlement, asked_for_delay, duration);
    held.ended(lease, &mut settlement);
    queue.health.reduce_record(&mut settlement);
    // Only now, because the attempt's result also derives from the event.
    drop(in_flight);
    // Before the permits are released: the next attempt then finds this one's result counted, and
    // knows how it ended.
    let kib = result_size::kib(&settlement);
    held.result = Some(shared.pending_results.acquire(&lease.plugin, kib).await);
    drop(permits);
    settlement
}

/// An attempt of a plugin of the host itself.
async fn built_in_attempt(
    shared: &Shared,
    queue: &PluginQueue,
    lease: &Lease,
    held: &mut HeldUntilDurable,
    built_in: BuiltIn,
) -> Settlement {
    if shared.stopping.is_cancelled() {
        return give_back(Duration::ZERO);
    }
    let Some(_permit) = queue.run_permit().await else { return give_back(Duration::ZERO) };
    let memory = shared.pending_results.acquire(&lease.plugin, built_in.memory_kib()).await;
    held.result = Some(memory);
    held.begin(until(lease.due_ms, shared.deps.clock.host_ms()));
    let mut settlement = built_in.run(shared, lease).await;
    tell_of_death(shared, lease, &mut settlement);
    if settlement.record.is_some() {
        queue.metrics.succeeded();
    }
    settlement
}

/// Returns when an attempt begins, by the wall clock, and notes by how much it is late.
fn begin(shared: &Shared, queue: &PluginQueue, lease: &Lease, held: &mut HeldUntilDurable) -> i64 {
    let clock = &shared.deps.clock;
    let late = until(lease.due_ms, clock.host_ms());
    queue.metrics.begun(late);
    held.begin(late);
    clock.now_ms()
}

/// Counts what a guest used.
fn count(queue: &PluginQueue, loaded: &Loaded, invocation: &Invocation) {
    loaded.usage.count(invocation);
    queue.metrics.ran(invocation);
}

fn call(
    shared: &Shared,
    lease: &Lease,
    settings: &PluginSettings,
    digest: Digest,
    held: &HeldUntilDurable,
) -> Call {
    let reads = shared.deps.reads.clone();
    let kv = BucketReader { reads: reads.clone(), bucket: settings.kv.bucket_of(&lease.plugin) };
    let steps = LeasedSteps {
        reads,
        queue: shared.deps.store.clone(),
        holder: lease.holder(),
        has_steps: lease.has_steps(),
        digest,
    };
    Call {
        plugin: lease.plugin.clone(),
        event: lease.event.clone(),
        attempt: lease.counted_attempt(),
        max_attempts: settings.retry.max_attempts,
        idempotency_key: lease.delivery.to_string(),
        limits: settings.limits,
        grants: settings.grants.clone(),
        config: settings.config.clone(),
        kv: Arc::new(kv),
        steps: Arc::new(steps),
        path: settings.path.clone(),
        reuse: settings.reuse,
        trace: held.spans.as_ref().map(|spans| spans.parent()),
        is_apart: false,
    }
}

/// The size of the plugin's bucket, in bytes; 0 if the attempt writes nothing, because
/// only writes are compared with it. A count that fails is no reason to run the attempt again.
async fn kv_bytes(
    shared: &Shared,
    lease: &Lease,
    settings: &PluginSettings,
    invocation: &Invocation,
) -> u64 {
    if invocation.kv_writes.is_empty() && invocation.kv_adds.is_empty() {
        return 0;
    }
    shared.deps.reads.kv_bytes(&settings.kv.bucket_of(&lease.plugin)).await.unwrap_or(0)
}

/// Waits until the attempt may begin; `None` if the host stops, the breaker opens or the plugin is
/// gone or paused.
async fn admit(
    shared: &Shared,
    queue: &PluginQueue,
    held: &mut HeldUntilDurable,
    probe: Option<&Probe>,
) -> Option<((OwnedSemaphorePermit, FairPermit), Arc<Loaded>)> {
    // The next attempt starts after this one, or in its place if it is not admitted.
    let start = held.start.take();
    if shared.stopping.is_cancelled() {
        return None;
    }
    let permits = tokio::select! {
        biased;
        permits = permits(shared, queue, &mut held.turn) => permits?,
        () = shared.stopping.cancelled() => return None,
        () = queue.health.opened(), if probe.is_none() => return None,
        () = queue.until_paused(true) => return None,
    };
    // Both may have changed while it waited for its permits.
    if queue.is_paused() || !queue.health.begin(probe) {
        return None;
    }
    let loaded = shared.deps.registry.load().loaded(queue.plugin()).cloned()?;
    if let Some(start) = start {
        // Last, because an attempt that is not admitted takes no start.
        start.start();
    }
    Some((permits, loaded))
}

/// Waits until an attempt may start by its plugin's rate; `None` if the host stops, the plugin is
/// gone or paused, or the breaker opens and counts. The attempt is not admitted then.
async fn start_turn(
    shared: &Shared,
    queue: &PluginQueue,
    delivery: DeliveryId,
    breaker_counts: bool,
) -> Option<StartTurn> {
    tokio::select! {
        biased;
        () = shared.stopping.cancelled() => None,
        turn = queue.start_turn(delivery) => turn,
        () = queue.health.opened(), if breaker_counts => None,
        () = queue.until_paused(true) => None,
    }
}

/// Waits for the permits to run: the queue's, the attempt's turn if attempts are serial, and one of
/// the instances that all plugins share. `None` if the plugin is gone.
async fn permits(
    shared: &Shared,
    queue: &PluginQueue,
    turn: &mut Option<OwnedSemaphorePermit>,
) -> Option<(OwnedSemaphorePermit, FairPermit)> {
    let run_permit = queue.run_permit().await?;
    *turn = queue.conflicts.turn().await;
    // After the others, because all plugins share the instances.
    let instance = shared.running.acquire(queue.plugin(), 1).await;
    // While a result of this plugin waits for memory, no attempt adds another one.
    shared.pending_results.acquire(queue.plugin(), 0).await;
    Some((run_permit, instance))
}

/// Gives the delivery back without spending the attempt; it is due again after `delay`.
fn give_back(delay: Duration) -> Settlement {
    Settlement { next: Next::GiveBack(delay), record: None }
}

/// The settlement of an attempt that panicked in the host. It follows the plugin's retry policy,
/// because every lease has to be settled.
fn host_fault(shared: &Shared, queue: &PluginQueue, lease: &Lease, panic: &str) -> Settlement {
    if queue.health.may_log(LogSubject::HostFault) {
        tracing::error!(
            event.id = %lease.event.id, delivery.id = %lease.delivery, plugin.name = %lease.plugin,
            panic,
            "an attempt panicked in the host"
        );
    }
    let error = format!("host fault: {panic}");
    queue.health.ended(None, BreakerSignal::Failure, Some(&error));
    let policy = &shared.deps.config.load().plugin(&lease.plugin).retry;
    let next =
        outcome::after_failure(Outcome::Error, lease.counted_attempt(), None, policy, random());
    let record = AttemptRecord::of_host(shared.deps.clock.now_ms(), Outcome::Error, Some(error));
    let mut settlement = Settlement { next, record: Some(record) };
    tell_of_death(shared, lease, &mut settlement);
    queue.health.reduce_record(&mut settlement);
    settlement
}

/// Adds the event that tells of a dead letter, if it becomes one and a route takes that.
fn tell_of_death(shared: &Shared, lease: &Lease, settlement: &mut Settlement) {
    let Settlement { next: Next::Dead(told), record: Some(record) } = settlement else { return };
    let letter = DeadLetter {
        id: lease.delivery,
        plugin: &lease.plugin,
        death: lease.deaths + 1,
        outcome: record.outcome,
        error: record.error.as_deref(),
        attempts: lease.counted_attempt(),
        event: &lease.event,
    };
    let config = shared.deps.config.load();
    *told = letter.event(&config.routes, shared.deps.clock.now_ms()).map(Box::new);
}

/// A number drawn evenly from [0, 1).
fn random() -> f64 {
    let bits = getrandom::u64().expect("the operating system gives random numbers");
    (bits >> 11) as f64 / (1u64 << 53) as f64
}
