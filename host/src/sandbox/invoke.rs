//! One attempt: an instance of its own, its limits around it, and a verdict whatever happens.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use wasmtime::{Store, UpdateDeadline};

use super::attempt::Attempt;
use super::bindings::exports::hookbox::plugin::handler::{Context, Event};
use super::limits::{MAX_CALL_BYTES, MAX_HANDLES, MAX_TIMEOUT_MS, SLACK_MS};
use super::verdict::{self, Ended};
use super::{Call, Invocation, Plugin};
use crate::{clock, tasks};

/// Ticks of the epoch that a guest computes before it looks up. The first of them may be nearly over when it begins, so
/// two leave it one whole one.
const LOOK_TICKS: u64 = 2;

/// Runs one attempt.
pub(super) async fn invoke(plugin: &Plugin, call: Call) -> Invocation {
    let started = Instant::now();
    let timeout = Duration::from_millis(call.limits.timeout_ms.min(MAX_TIMEOUT_MS));
    let ticking = plugin.core.ticker.hold();
    let mut store = store(plugin, &call, started + timeout);
    let busy = store.data().busy.clone();
    let guarded = tasks::unwound(plugin.queue.run(handle(plugin, &mut store, &call), &busy));
    // Epochs interrupt a guest that computes; this interrupts one that waits, for the host or for its turn.
    let ended = match tokio::time::timeout(timeout + Duration::from_millis(SLACK_MS), guarded).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(panic)) => Ended::Panicked(panic),
        Err(_) => Ended::TimedOut,
    };
    drop(ticking);
    let attempt = store.into_data();
    let verdict = verdict::of(ended, &attempt, &call);
    let logs = attempt.logs.take();
    let memory_peak_bytes = attempt.memory.peak_bytes();
    let (kv_reads, kv_writes) = attempt.kv.finish();
    let duration_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    Invocation { verdict, logs, kv_reads, kv_writes, memory_peak_bytes, duration_us }
}

fn store(plugin: &Plugin, call: &Call, deadline: Instant) -> Store<Attempt> {
    let mut store = Store::new(&plugin.core.engine, Attempt::new(call));
    store.limiter(|attempt| &mut attempt.memory);
    store.set_hostcall_fuel(MAX_CALL_BYTES);
    store.set_max_component_handles(MAX_HANDLES);
    store.set_epoch_deadline(LOOK_TICKS);
    store.epoch_deadline_callback(move |mut store| {
        if Instant::now() < deadline {
            store.data().busy.store(true, Ordering::Relaxed);
            return Ok(UpdateDeadline::Yield(LOOK_TICKS));
        }
        store.data_mut().timed_out = true;
        Ok(UpdateDeadline::Interrupt)
    });
    store
}

async fn handle(plugin: &Plugin, store: &mut Store<Attempt>, call: &Call) -> Ended {
    let instance = match plugin.handler.instantiate_async(&mut *store).await {
        Ok(instance) => instance,
        Err(error) => return Ended::NotStarted(error),
    };
    let attributes = &call.event.attributes;
    let id = call.event.id.to_string();
    let parent = call.event.parent.map(|parent| parent.to_string());
    let time = clock::rfc3339(attributes.time_ms);
    let event = Event {
        id: &id,
        source: &attributes.source,
        type_: &attributes.kind,
        subject: attributes.subject.as_deref(),
        time: &time,
        data_content_type: attributes.content_type.as_deref(),
        data: &attributes.body,
    };
    let context = Context {
        attempt: call.attempt,
        max_attempts: call.max_attempts,
        idempotency_key: &call.idempotency_key,
        parent: parent.as_deref(),
    };
    match instance.hookbox_plugin_handler().call_handle(store, event, context).await {
        Ok(returned) => Ended::Returned(returned),
        Err(error) => Ended::Failed(error),
    }
}
