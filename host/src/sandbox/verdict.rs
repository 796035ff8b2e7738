//! How an attempt ended → what is to be made of it.

use bytesize::ByteSize;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::attempt::Attempt;
use super::bindings::exports::hookbox::plugin::handler::{Failure, NewEvent};
use super::limits::{MAX_ONE_MEMORY_BYTES, Refused};
use super::{Call, Verdict, emitted, text};

/// Functions of the guest that an error names.
const MAX_FRAMES: usize = 4;

/// How the call into the guest ended.
pub(super) enum Ended {
    /// The handler returned.
    Returned(Result<Vec<NewEvent>, Failure>),
    /// There is no instance.
    NotStarted(wasmtime::Error),
    /// The handler did not return.
    Failed(wasmtime::Error),
    /// The host panicked, with this text.
    Panicked(String),
    /// The time was up while the guest waited, for the host or for its turn to compute.
    TimedOut,
}

/// The verdict on one attempt.
pub(super) fn of(ended: Ended, attempt: &Attempt, call: &Call) -> Verdict {
    let subject = call.event.attributes.subject.as_deref();
    match ended {
        Ended::Returned(Ok(events)) => emitted::take(events, subject).map_or_else(Verdict::Error, Verdict::Ok),
        Ended::Returned(Err(Failure::Retry(later))) => {
            Verdict::Retry { reason: text::error(&later.reason), after_ms: later.after_ms }
        }
        Ended::Returned(Err(Failure::Reject(reason))) => Verdict::Reject(text::error(&reason)),
        Ended::NotStarted(error) if error.is::<PoolConcurrencyLimitError>() => Verdict::NoCapacity,
        Ended::NotStarted(error) if error.is::<Trap>() => failed(&error, attempt, call),
        Ended::NotStarted(error) => refused(attempt)
            .unwrap_or_else(|| Verdict::Error(text::error(&format!("no instance could be made: {error:#}")))),
        Ended::Failed(error) => failed(&error, attempt, call),
        Ended::Panicked(panic) => Verdict::Error(text::error(&format!("host fault: {panic}"))),
        Ended::TimedOut => timed_out(call),
    }
}

fn timed_out(call: &Call) -> Verdict {
    Verdict::Timeout(format!(
        "it did not finish within {} ms; `timeout` under its [plugins] section sets the limit",
        call.limits.timeout_ms
    ))
}

/// A guest that was refused memory usually traps in its allocator: the refusal is the cause.
fn refused(attempt: &Attempt) -> Option<Verdict> {
    Some(Verdict::Memory(match attempt.memory.refused()? {
        Refused::Budget(limit_bytes) => format!(
            "it needed more than {}; `memory` under its [plugins] section sets the limit",
            ByteSize::b(limit_bytes as u64).display().iec()
        ),
        Refused::OneMemory => format!(
            "one of its memories would have grown beyond {}, which no setting allows",
            ByteSize::b(MAX_ONE_MEMORY_BYTES as u64).display().iec()
        ),
    }))
}

fn failed(error: &wasmtime::Error, attempt: &Attempt, call: &Call) -> Verdict {
    if attempt.timed_out {
        return timed_out(call);
    }
    if let Some(verdict) = refused(attempt) {
        return verdict;
    }
    if let Some(I32Exit(code)) = error.downcast_ref() {
        return Verdict::Trap(format!("the handler exited with code {code} instead of returning"));
    }
    let cause = error.root_cause().to_string();
    // The type of this error is private to wasmtime; a test holds its text.
    if cause.contains("fuel allocated for hostcalls has been exhausted") {
        return Verdict::Error("the handler passed more than 4 MiB to the host in one call".to_owned());
    }
    Verdict::Trap(text::error(&format!("{}{}", cause.trim_start_matches("wasm trap: "), frames(error))))
}

/// Where a guest trapped, if its file has names.
fn frames(error: &wasmtime::Error) -> String {
    let backtrace = error.downcast_ref::<WasmBacktrace>();
    let frames = backtrace.map_or(&[][..], WasmBacktrace::frames);
    let names: Vec<&str> = frames.iter().filter_map(|frame| frame.func_name()).take(MAX_FRAMES).collect();
    if names.is_empty() { String::new() } else { format!(" (in {})", names.join(" < ")) }
}
