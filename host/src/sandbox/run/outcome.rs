//! The verdict on an attempt, by how the call into its guest ended.

use bytesize::ByteSize;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::emitted;
use crate::sandbox::bindings::exports::hookbox::plugin::handler::Failure;
use crate::sandbox::host::{AttemptState, Stopped};
use crate::sandbox::kinds::Ended;
use crate::sandbox::limits::{MAX_FIELDS_BYTES, MAX_ONE_MEMORY_BYTES, MemoryRefusal, set_by};
use crate::sandbox::{Call, Verdict};
use crate::text;

/// Functions of the guest that an error names.
const MAX_FRAMES: usize = 4;

/// The verdict on one attempt.
pub(super) fn of(ended: Ended, state: &AttemptState, call: &Call) -> Verdict {
    let subject = call.event.attributes.subject.as_deref();
    match ended {
        Ended::Returned(Ok(events)) => {
            emitted::take(events, subject, &call.limits).map_or_else(Verdict::Error, Verdict::Ok)
        }
        Ended::Returned(Err(Failure::Retry(later))) => {
            Verdict::Retry { reason: text::error(&later.reason), after_ms: later.after_ms }
        }
        Ended::Returned(Err(Failure::Reject(reason))) => Verdict::Reject(text::error(&reason)),
        Ended::Refused(why) => Verdict::Error(text::error(&why)),
        Ended::NotStarted(error) if error.is::<PoolConcurrencyLimitError>() => Verdict::NoCapacity,
        // Code of the guest runs while its instance is made, and may trap like any other.
        Ended::NotStarted(error) if error.is::<Trap>() => failed(&error, state, call),
        Ended::NotStarted(error) => refused(state).unwrap_or_else(|| {
            Verdict::Error(text::error(&format!("no instance could be made: {error:#}")))
        }),
        Ended::Failed(error) => failed(&error, state, call),
        Ended::Panicked(panic) => Verdict::Error(text::error(&format!("host fault: {panic}"))),
        Ended::TimedOut => timed_out(call),
    }
}

fn timed_out(call: &Call) -> Verdict {
    let timeout_ms = call.limits.timeout_ms;
    Verdict::Timeout(format!("it did not finish within {timeout_ms} ms; {}", set_by("timeout")))
}

fn size(bytes: usize) -> String {
    ByteSize::b(bytes as u64).display().iec().to_string()
}

/// The verdict on a guest that was refused memory. It usually traps in its allocator; the refusal
/// is the cause.
fn refused(state: &AttemptState) -> Option<Verdict> {
    Some(Verdict::Memory(match state.memory.refused()? {
        MemoryRefusal::Budget(limit_bytes) => {
            format!("it needed more than {}; {}", size(limit_bytes), set_by("memory"))
        }
        MemoryRefusal::Tables(elements) => {
            format!(
                "its tables needed more than {elements} elements; {}",
                set_by("limits.table_elements")
            )
        }
        MemoryRefusal::OneMemory => format!(
            "one of its memories would have grown beyond {}, which no setting allows",
            size(MAX_ONE_MEMORY_BYTES)
        ),
    }))
}

fn failed(error: &wasmtime::Error, state: &AttemptState, call: &Call) -> Verdict {
    // The host has interrupted it: the error is only the trap by which that is done.
    match state.stopped {
        Some(Stopped::TimeUp) => return timed_out(call),
        Some(Stopped::ComputedTooLong) => {
            let cpu_ms = call.limits.cpu_ms;
            return Verdict::Timeout(format!(
                "it computed for more than {cpu_ms} ms; {}",
                set_by("limits.cpu")
            ));
        }
        None => {}
    }
    if let Some(verdict) = refused(state) {
        return verdict;
    }
    // WASI ends a guest that exits by an error, whatever its code.
    if let Some(I32Exit(code)) = error.downcast_ref() {
        return Verdict::Trap(format!("the handler exited with code {code} instead of returning"));
    }
    let cause = error.root_cause().to_string();
    if let Some(why) = over(&cause, call) {
        return Verdict::Error(why);
    }
    let cause = match error.downcast_ref() {
        Some(Trap::StackOverflow) => {
            format!("{cause}; `server.plugin_stack` sets how deep it may go")
        }
        _ => cause,
    };
    Verdict::Trap(text::error(&format!(
        "{}{}",
        cause.trim_start_matches("wasm trap: "),
        frames(error)
    )))
}

/// Which limit a guest exceeded, by the text of wasmtime's error: it has no types for these, so
/// that the tests of the hostile gallery pin the texts.
fn over(cause: &str, call: &Call) -> Option<String> {
    let limits = &call.limits;
    let over = |what: String, key: &str| Some(format!("the handler {what}; {}", set_by(key)));
    match cause {
        _ if cause.contains("fuel allocated for hostcalls has been exhausted") => over(
            format!("passed more than {} to the host in one call", size(limits.call_bytes)),
            "limits.call_size",
        ),
        _ if cause.contains("store handle limit exceeded")
            || cause.contains("resource table has no free keys") =>
        {
            over(format!("held more than {} resources at once", limits.handles), "limits.handles")
        }
        _ if cause.starts_with("requested len") && cause.contains("exceeds limit") => over(
            format!("asked for more than {} random bytes in one call", limits.random_bytes),
            "limits.random_size",
        ),
        _ if cause.contains("total size of fields exceeds limit") => Some(format!(
            "the handler put more than {} of header fields into one request or response, which no setting allows",
            size(MAX_FIELDS_BYTES)
        )),
        _ => None,
    }
}

/// Where a guest trapped, if its file has names.
fn frames(error: &wasmtime::Error) -> String {
    let backtrace = error.downcast_ref::<WasmBacktrace>();
    let frames = backtrace.map_or(&[][..], WasmBacktrace::frames);
    let names: Vec<&str> =
        frames.iter().filter_map(|frame| frame.func_name()).take(MAX_FRAMES).collect();
    if names.is_empty() { String::new() } else { format!(" (in {})", names.join(" < ")) }
}
