//! A command: the event as CloudEvents JSON on standard input. The exit code is the verdict, lines
//! of standard output that are CloudEvents JSON are emitted, and standard error is the log. So a
//! handler can be any program.

use bytes::Bytes;
use wasmtime::{Instance, Store};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::Command;

use super::ended::{Ended, from_document};
use crate::cloudevents::{self, Extensions};
use crate::sandbox::Call;
use crate::sandbox::bindings::exports::hookbox::plugin::handler::Failure;
use crate::sandbox::bindings::hookbox::plugin::types::RetryLater;
use crate::sandbox::host::{AttemptState, EmittedLines, Stdio};

/// The exit code of `sysexits.h` for input that is not good: the event is rejected.
const EX_DATAERR: i32 = 65;
/// The exit code of a failure after which another attempt may succeed. Unlike others it never
/// stands for a lack of memory.
const EX_TEMPFAIL: i32 = 75;

/// Sets up the streams of a command that is about to be instantiated.
pub(super) fn prepare(store: &mut Store<AttemptState>, call: &Call) -> EmittedLines {
    let extensions = Extensions {
        attempt: call.attempt,
        max_attempts: call.max_attempts,
        idempotency_key: &call.idempotency_key,
    };
    let event = Bytes::from(cloudevents::write(&call.event, extensions));
    let state = store.data_mut();
    let emitted = EmittedLines::new(state.log().clone(), call.limits);
    state.set_stdio(Stdio::Command { event, emitted: emitted.clone() });
    emitted
}

/// Runs a component.
pub(super) async fn run_component(
    command: &Command,
    store: &mut Store<AttemptState>,
    emitted: &EmittedLines,
) -> Ended {
    let ran = command.wasi_cli_run().call_run(&mut *store).await;
    ended(ran.map(|ok| if ok.is_ok() { 0 } else { 1 }), store, emitted)
}

/// Runs a core module.
pub(super) async fn run_module(
    instance: &Instance,
    store: &mut Store<AttemptState>,
    emitted: &EmittedLines,
) -> Ended {
    let start = match instance.get_typed_func::<(), ()>(&mut *store, "_start") {
        Ok(start) => start,
        Err(error) => return Ended::Failed(error),
    };
    let ran = start.call_async(&mut *store, ()).await;
    ended(ran.map(|()| 0), store, emitted)
}

fn ended(ran: wasmtime::Result<i32>, store: &Store<AttemptState>, emitted: &EmittedLines) -> Ended {
    let code = match ran {
        Ok(code) => code,
        Err(error) => match exit_code(&error, store) {
            Some(code) => code,
            None => return Ended::Failed(error),
        },
    };
    let events = emitted.finish();
    let reason = || {
        let said = store.data().log().last_words();
        said.unwrap_or_else(|| format!("the command exited with code {code} and said nothing"))
    };
    match (code, events) {
        (0, Ok(events)) => Ended::Returned(Ok(events.into_iter().map(from_document).collect())),
        (0, Err(why)) => Ended::Refused(why),
        (EX_DATAERR, _) => Ended::Returned(Err(Failure::Reject(reason()))),
        _ => Ended::Returned(Err(Failure::Retry(RetryLater { reason: reason(), after_ms: None }))),
    }
}

/// The code that a command exited with, unless the memory limit is what ended it.
fn exit_code(error: &wasmtime::Error, store: &Store<AttemptState>) -> Option<i32> {
    let I32Exit(code) = *error.downcast_ref()?;
    // These say that the program went on after it was refused memory; others, that it gave up.
    let went_on = matches!(code, 0 | EX_DATAERR | EX_TEMPFAIL);
    (went_on || store.data().memory.refused().is_none()).then_some(code)
}
