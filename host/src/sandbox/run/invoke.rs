//! One attempt: an instance, its limits around it, and a verdict whatever happens.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::{Store, UpdateDeadline};

use super::linked::LinkedPlugin;
use super::outcome;
use super::warm::WarmInstance;
use crate::egress::Redactor;
use crate::sandbox::cpu::GuestMeter;
use crate::sandbox::host::{AttemptState, Stopped};
use crate::sandbox::kinds::{Ended, PluginInstance};
use crate::sandbox::limits::{CALL_BOOKKEEPING_BYTES, MAX_TIMEOUT_MS, SLACK_MS};
use crate::sandbox::{Call, Invocation, Verdict};
use crate::tasks;

/// Ticks of the epoch between two interruptions of a guest that computes.
const TICKS: u64 = 1;

/// Runs one attempt.
pub(super) async fn invoke(plugin: &LinkedPlugin, call: Call) -> Invocation {
    let (core, meter, started) = (&*plugin.core, Arc::<GuestMeter>::default(), Instant::now());
    let deadline = started + Duration::from_millis(call.limits.timeout_ms.min(MAX_TIMEOUT_MS));
    // Before the guest begins, because without ticks nothing would interrupt its first loop.
    let ticking = core.epoch.hold();
    let reuses = call.reuse && !call.is_apart;
    // Without reuse, instances that were kept under another setting are of no use.
    if !call.reuse && !call.is_apart {
        plugin.warm.clear();
    }
    let warm = if reuses { plugin.warm.take() } else { None };
    let (mut store, mut instance, past) = match warm {
        Some(WarmInstance { mut store, instance, past }) => {
            store.data_mut().renew(&call, &core.egress, deadline, Arc::clone(&meter));
            // The limits may have changed since its last event.
            set_bounds(&mut store, &call);
            (store, Some(instance), Some(past))
        }
        None => (store(plugin, &call, deadline, Arc::clone(&meter)), None, None),
    };
    let is_cold = past.is_none();
    let ended = {
        // Pinned here and lent: each layer that took it by value would keep space for it twice, and
        // thousands of bytes would be copied for each attempt.
        let guest = pin!(run(plugin, &mut store, &mut instance, &call));
        let guarded = pin!(tasks::unwound(plugin.slots.run(guest, &meter)));
        // Epochs interrupt a guest that computes; this, one that waits for the host or a run slot.
        let latest = deadline + Duration::from_millis(SLACK_MS);
        match tokio::time::timeout_at(latest.into(), guarded).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(panic)) => Ended::Panicked(panic),
            Err(_) => Ended::TimedOut,
        }
    };
    drop(ticking);
    // A request that is under way would go on in the next attempt.
    let is_sending = store.data().is_sending();
    let verdict = outcome::of(ended, store.data(), &call);
    let invocation = Invocation { is_cold, ..conclude(verdict, store.data_mut(), started) };
    if let Some(instance) = instance
        && reuses
        && plugin.facts.contract.reusable()
        && ended_by_itself(&invocation.verdict)
        && !is_sending
        && store.data().memory.refused().is_none()
    {
        core.warm.keep(&plugin.warm, store, instance, past);
    }
    invocation
}

fn ended_by_itself(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Ok(_) | Verdict::Retry { .. } | Verdict::Reject(_))
}

/// Makes an instance if there is none, and calls it.
async fn run(
    plugin: &LinkedPlugin,
    store: &mut Store<AttemptState>,
    kept: &mut Option<PluginInstance>,
    call: &Call,
) -> Ended {
    let instance = match kept {
        Some(instance) => instance,
        None => match plugin.entry.instantiate(store, call).await {
            Ok(instance) => kept.insert(instance),
            Err(error) => return Ended::NotStarted(error),
        },
    };
    instance.call(store, call).await
}

fn conclude(verdict: Verdict, state: &mut AttemptState, started: Instant) -> Invocation {
    let mut invocation = Invocation {
        verdict,
        logs: Vec::new(),
        calls: Vec::new(),
        kv_reads: Vec::new(),
        kv_lists: Vec::new(),
        kv_writes: Vec::new(),
        kv_adds: Vec::new(),
        steps: Vec::new(),
        again: None,
        call_spans: Vec::new(),
        is_cold: true,
        memory_peak_bytes: state.memory.peak_bytes(),
        cpu_us: state.meter.computed_us(),
        duration_us: 0,
    };
    state.record(&mut invocation);
    invocation.duration_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    // Most attempts succeed without a word, and there is nothing to search for credentials.
    let silent = invocation.logs.is_empty() && invocation.calls.is_empty();
    if !(silent && matches!(invocation.verdict, Verdict::Ok(_)))
        && let Some(redactor) = state.redactor()
    {
        redact(&mut invocation, &redactor);
    }
    invocation
}

/// Takes credentials that the host adds to requests out of what people read. Emitted events stay as
/// the plugin made them.
fn redact(invocation: &mut Invocation, redactor: &Redactor) {
    let hide = |text: &mut String| *text = redactor.redact(text).into_owned();
    invocation.logs.iter_mut().for_each(|line| hide(&mut line.message));
    for call in &mut invocation.calls {
        hide(&mut call.url);
        call.error.iter_mut().for_each(hide);
    }
    match &mut invocation.verdict {
        Verdict::Retry { reason: text, .. }
        | Verdict::Reject(text)
        | Verdict::Trap(text)
        | Verdict::Timeout(text)
        | Verdict::Memory(text)
        | Verdict::Error(text) => hide(text),
        Verdict::Ok(_) | Verdict::NoCapacity => {}
    }
}

fn store(
    plugin: &LinkedPlugin,
    call: &Call,
    deadline: Instant,
    meter: Arc<GuestMeter>,
) -> Store<AttemptState> {
    let state = AttemptState::new(call, &plugin.core.egress, deadline, meter);
    let mut store = Store::new(&plugin.core.engine, state);
    store.limiter(|state| &mut state.memory);
    set_bounds(&mut store, call);
    store.epoch_deadline_callback(|mut store| {
        let (state, now) = (store.data_mut(), Instant::now());
        if now >= state.deadline {
            state.stopped = Some(Stopped::TimeUp);
        } else if state.meter.computed_ms() >= state.limits.cpu_ms {
            state.stopped = Some(Stopped::ComputedTooLong);
        } else if state.meter.has_to_yield(now) {
            return Ok(UpdateDeadline::Yield(TICKS));
        } else {
            return Ok(UpdateDeadline::Continue(TICKS));
        }
        Ok(UpdateDeadline::Interrupt)
    });
    store
}

/// Sets the limits that the store itself enforces.
fn set_bounds(store: &mut Store<AttemptState>, call: &Call) {
    store.set_hostcall_fuel(call.limits.call_bytes.saturating_add(CALL_BOOKKEEPING_BYTES));
    store.set_max_component_handles(call.limits.handles);
    store.set_epoch_deadline(TICKS);
}
