//! One attempt: an instance, its limits around it, and a verdict whatever happens.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::{InstancePre, Store, UpdateDeadline};
use wasmtime_wasi::p2::bindings::{Command, CommandPre};
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyPre};

use super::outcome::{self, Ended};
use crate::egress::Redactor;
use crate::sandbox::cpu::Meter;
use crate::sandbox::host::state::{Attempt, Stopped};
use crate::sandbox::kinds::command::{self, EmittedLines};
use crate::sandbox::kinds::{handler, http};
use crate::sandbox::limits::{CALL_BOOKKEEPING_BYTES, MAX_TIMEOUT_MS, SLACK_MS};
use crate::sandbox::{Call, Invocation, Linked, Verdict, bindings};
use crate::tasks;

/// What an instance is made of, by contract.
pub(in crate::sandbox) enum Entry {
    Handler(bindings::PluginPre<Attempt>),
    Http(ProxyPre<Attempt>),
    Command(CommandPre<Attempt>),
    Module(InstancePre<Attempt>),
}

/// An instance that can be called.
pub(in crate::sandbox) enum Instance {
    Handler(bindings::Plugin),
    Http(Proxy),
    Command(Command, EmittedLines),
    Module(wasmtime::Instance, EmittedLines),
}

/// Ticks of the epoch between two interruptions of a guest that computes.
const TICKS: u64 = 1;

/// Runs one attempt: here, or in the CPU pool once its guest is CPU-bound.
pub(in crate::sandbox) async fn invoke(plugin: &Arc<Linked>, call: Call) -> Invocation {
    let meter = Arc::<Meter>::default();
    let in_pool = plugin.slots.begins_in_pool();
    // Its time starts here, wherever it begins.
    let attempt = Box::pin(attempt(Arc::clone(plugin), call, Arc::clone(&meter), in_pool, Instant::now()));
    plugin.core.cpu.run(attempt, || in_pool || meter.is_cpu_bound()).await
}

async fn attempt(
    plugin: Arc<Linked>,
    call: Call,
    meter: Arc<Meter>,
    begins_in_pool: bool,
    started: Instant,
) -> Invocation {
    let plugin = &*plugin;
    let timeout = Duration::from_millis(call.limits.timeout_ms.min(MAX_TIMEOUT_MS));
    let deadline = started + timeout;
    let ticking = plugin.core.epoch.hold();
    if !call.reuse {
        plugin.warm.clear();
    }
    let (mut store, mut instance, past) = match call.reuse.then(|| plugin.warm.take()).flatten() {
        Some((mut store, instance, past)) => {
            store.data_mut().renew(&call, deadline, Arc::clone(&meter));
            bound(&mut store, &call);
            (store, Some(instance), past)
        }
        None => (store(plugin, &call, deadline, Arc::clone(&meter)), None, None),
    };
    let ended = {
        // Pinned here and lent: each layer that took it whole would keep room for it twice, and thousands of bytes would be
        // copied for each attempt.
        let guest = pin!(run(plugin, &mut store, &mut instance, &call));
        let guarded = pin!(tasks::unwound(plugin.slots.run(guest, &meter, begins_in_pool)));
        // Epochs interrupt a guest that computes; this interrupts one that waits, for the host or for its turn.
        let latest = deadline + Duration::from_millis(SLACK_MS);
        match tokio::time::timeout_at(latest.into(), guarded).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(panic)) => Ended::Panicked(panic),
            Err(_) => Ended::TimedOut,
        }
    };
    drop(ticking);
    // A request that goes on would go on in the next attempt.
    let sending = store.data().outgoing.busy();
    let invocation = conclude(outcome::of(ended, store.data(), &call), store.data_mut(), started);
    let ended_well = matches!(invocation.verdict, Verdict::Ok(_) | Verdict::Retry { .. } | Verdict::Reject(_));
    let again =
        call.reuse && plugin.contract.reusable() && ended_well && !sending && store.data().memory.refused().is_none();
    if let Some(instance) = instance.filter(|_| again) {
        plugin.core.warm.keep(&plugin.warm, store, instance, past);
    }
    invocation
}

fn conclude(verdict: Verdict, attempt: &mut Attempt, started: Instant) -> Invocation {
    let (kv_reads, kv_writes) = attempt.kv.finish();
    let mut invocation = Invocation {
        verdict,
        logs: attempt.logs.take(),
        calls: attempt.outgoing.close(),
        kv_reads,
        kv_writes,
        memory_peak_bytes: attempt.memory.peak_bytes(),
        duration_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
    };
    let silent = invocation.logs.is_empty() && invocation.calls.is_empty();
    if !(silent && matches!(invocation.verdict, Verdict::Ok(_)))
        && let Some(redactor) = attempt.outgoing.redactor()
    {
        redact(&mut invocation, &redactor);
    }
    invocation
}

/// Takes credentials that the host adds to requests out of what people read. Events are the plugin's own.
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

fn store(plugin: &Linked, call: &Call, deadline: Instant, meter: Arc<Meter>) -> Store<Attempt> {
    let mut store = Store::new(&plugin.core.engine, Attempt::new(call, &plugin.core.egress, deadline, meter));
    store.limiter(|attempt| &mut attempt.memory);
    bound(&mut store, call);
    store.epoch_deadline_callback(|mut store| {
        let (attempt, now) = (store.data_mut(), Instant::now());
        if now >= attempt.deadline {
            attempt.stopped = Some(Stopped::TimeUp);
        } else if attempt.meter.computed_ms() >= attempt.limits.cpu_ms {
            attempt.stopped = Some(Stopped::ComputedTooLong);
        } else if attempt.meter.has_to_yield(now) {
            return Ok(UpdateDeadline::Yield(TICKS));
        } else {
            return Ok(UpdateDeadline::Continue(TICKS));
        }
        Ok(UpdateDeadline::Interrupt)
    });
    store
}

/// Sets the limits that the store itself holds.
fn bound(store: &mut Store<Attempt>, call: &Call) {
    store.set_hostcall_fuel(call.limits.call_bytes.saturating_add(CALL_BOOKKEEPING_BYTES));
    store.set_max_component_handles(call.limits.handles);
    store.set_epoch_deadline(TICKS);
}

/// Makes an instance if there is none, and calls it.
async fn run(plugin: &Linked, store: &mut Store<Attempt>, kept: &mut Option<Instance>, call: &Call) -> Ended {
    let instance = match kept {
        Some(instance) => instance,
        None => match instantiate(plugin, store, call).await {
            Ok(instance) => kept.insert(instance),
            Err(error) => return Ended::NotStarted(error),
        },
    };
    match instance {
        Instance::Handler(instance) => handler::call(instance, store, call).await,
        Instance::Http(proxy) => http::call(proxy, store, call).await,
        Instance::Command(command, emitted) => command::run_component(command, store, emitted).await,
        Instance::Module(instance, emitted) => command::run_module(instance, store, emitted).await,
    }
}

async fn instantiate(plugin: &Linked, store: &mut Store<Attempt>, call: &Call) -> wasmtime::Result<Instance> {
    Ok(match &plugin.entry {
        Entry::Handler(entry) => Instance::Handler(entry.instantiate_async(store).await?),
        Entry::Http(entry) => Instance::Http(entry.instantiate_async(store).await?),
        Entry::Command(entry) => {
            let emitted = command::prepare(store, call);
            Instance::Command(entry.instantiate_async(store).await?, emitted)
        }
        Entry::Module(entry) => {
            let emitted = command::prepare(store, call);
            Instance::Module(entry.instantiate_async(store).await?, emitted)
        }
    })
}
