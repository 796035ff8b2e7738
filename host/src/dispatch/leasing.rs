//! The loop of one queue: wait until something is due, lease it, start its attempts.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::attempt;
use super::health::Probe;
use super::queue::PluginQueue;
use super::shared::Shared;
use crate::store::{LeaseQueue, StoreError};

/// The most deliveries of one lease call.
const MAX_LEASES: usize = 512;

/// The pause after the store could not lease, or memory was full.
const PAUSE: Duration = Duration::from_millis(250);

/// Leases what is due until the plugin is gone or the host stops.
pub(super) async fn run(shared: Arc<Shared>, queue: Arc<PluginQueue>) {
    loop {
        let Some((permits, probe)) = unless_ended(&shared, &queue, ready(&shared, &queue)).await
        else {
            return;
        };
        // A lease call runs to its end, so that no lease is lost.
        let pause = match lease(&shared, &queue, permits, probe).await {
            Ok(memory_is_full) => memory_is_full,
            Err(StoreError::Stopped(_)) => return,
            Err(_) => {
                // `lease` has forgotten what was due: the store is asked again.
                queue.lease_at(i64::MIN);
                true
            }
        };
        if pause && unless_ended(&shared, &queue, tokio::time::sleep(PAUSE)).await.is_none() {
            return;
        }
    }
}

/// Waits for a future; `None` if the plugin is gone or the host stops before.
async fn unless_ended<T>(
    shared: &Shared,
    queue: &PluginQueue,
    future: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        () = shared.stopping.cancelled() => None,
        () = queue.gone() => None,
        output = future => Some(output),
    }
}

/// Returns when something is due and may be leased, with the permits for it.
async fn ready(shared: &Shared, queue: &PluginQueue) -> (OwnedSemaphorePermit, Option<Probe>) {
    loop {
        due(shared, queue).await;
        queue.until_paused(false).await;
        let probe = queue.health.admitted().await;
        // A probe is for one attempt, so more leases would only be held.
        let most = if probe.is_some() { 1 } else { MAX_LEASES };
        let permits = queue.lease_permits(most).await;
        // The breaker may have opened, or an operator come, while there was no permit.
        if queue.is_paused() {
            continue;
        }
        if probe.is_some() || !queue.health.is_open() {
            return (permits, probe);
        }
    }
}

/// Returns when something is due.
async fn due(shared: &Shared, queue: &PluginQueue) {
    let clock = &shared.deps.clock;
    loop {
        let due_ms = queue.next_due_ms();
        if due_ms <= clock.host_ms() {
            return;
        }
        tokio::select! {
            () = queue.woken() => {}
            () = clock.sleep_until_host(due_ms), if due_ms < i64::MAX => {}
        }
    }
}

/// Leases and starts attempts. Returns whether something is due for which memory is full.
async fn lease(
    shared: &Arc<Shared>,
    queue: &Arc<PluginQueue>,
    permits: OwnedSemaphorePermit,
    mut probe: Option<Probe>,
) -> Result<bool, StoreError> {
    queue.forget_due();
    let plugin = queue.plugin().clone();
    let source = if queue.is_quarantine {
        LeaseQueue::Quarantine(vec![plugin])
    } else {
        LeaseQueue::Plugin(plugin)
    };
    // Read before the call, so that the queue asks too early rather than too late.
    let asked_ms = shared.deps.clock.host_ms();
    let leased = shared.deps.store.lease(source, permits).await?;
    // The store does not notify of a quarantined delivery that is given back, so the queue asks
    // again until there is none.
    let again = queue.is_quarantine && !leased.leases.is_empty();
    let next_due_in = if again { Some(Duration::ZERO) } else { leased.next_due_in };
    if let Some(due_in) = next_due_in {
        queue.notify(due_in, asked_ms);
    }
    let memory_is_full = leased.memory_is_full && leased.leases.is_empty();
    for lease in leased.leases {
        attempt::start(shared, queue.clone(), lease, probe.take());
    }
    Ok(memory_is_full)
}
