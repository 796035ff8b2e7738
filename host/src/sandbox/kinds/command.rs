//! A command: the event as CloudEvents JSON on standard input; the exit code is the verdict, lines of standard output
//! that are CloudEvents JSON are emitted, and standard error is the log. So a handler can be any program.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use wasmtime::{Instance, Store};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::Command;

use crate::cloudevents::{self, Extensions};
use crate::config::Limits;
use crate::sandbox::Call;
use crate::sandbox::bindings::exports::hookbox::plugin::handler::{Failure, NewEvent};
use crate::sandbox::bindings::hookbox::plugin::types::RetryLater;
use crate::sandbox::host::log::{LogBook, Stream};
use crate::sandbox::host::state::Attempt;
use crate::sandbox::host::wasi::Stdio;
use crate::sandbox::run::emitted;
use crate::sandbox::run::outcome::Ended;

/// Exit codes with a meaning of their own, as in `sysexits.h`: for input that is not good, and for what may succeed later.
const EX_DATAERR: i32 = 65;
const EX_TEMPFAIL: i32 = 75;

/// What a command writes to standard output: events are kept, everything else is log. Clones write to the same lines.
#[derive(Clone)]
pub(in crate::sandbox) struct EmittedLines {
    logs: LogBook,
    limits: Limits,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Default)]
struct Lines {
    /// Lines that are events.
    events: Vec<Vec<u8>>,
    /// A line that may become one.
    open: Vec<u8>,
    /// The line that is being written cannot be an event.
    passing: bool,
    /// Bytes in `events` and `open`.
    bytes: usize,
    too_many: bool,
}

impl EmittedLines {
    pub(in crate::sandbox) fn new(logs: LogBook, limits: Limits) -> Self {
        Self { logs, limits, lines: Arc::default() }
    }

    /// Takes what a command writes.
    pub(in crate::sandbox) fn write(&self, bytes: &[u8]) {
        let mut lines = self.lines();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if lines.open.is_empty() && !lines.passing {
                lines.passing = piece.trim_ascii_start().first() != Some(&b'{');
            }
            if lines.passing {
                self.logs.write(Stream::Out, piece);
            } else if lines.bytes + piece.len() > self.limits.emitted_bytes {
                lines.too_many = true;
            } else {
                lines.bytes += piece.len();
                lines.open.extend_from_slice(piece);
            }
            if piece.ends_with(b"\n") {
                self.end(&mut lines);
            }
        }
    }

    fn end(&self, lines: &mut Lines) {
        lines.passing = false;
        let line = std::mem::take(&mut lines.open);
        if cloudevents::is_document(&line) {
            lines.too_many |= lines.events.len() == self.limits.emitted;
            if !lines.too_many {
                lines.events.push(line);
            }
        } else {
            lines.bytes -= line.len();
            self.logs.write(Stream::Out, &line);
        }
    }

    /// The events, or what is wrong with them.
    fn finish(&self) -> Result<Vec<NewEvent>, String> {
        let mut lines = self.lines();
        if !lines.open.is_empty() {
            self.end(&mut lines);
        }
        if lines.too_many {
            let Limits { emitted, emitted_bytes, .. } = self.limits;
            return Err(format!(
                "the command wrote more than {emitted} events, or {emitted_bytes} bytes of them, to standard output: \
                 `limits.emitted` and `limits.emitted_size` under its [plugins] section set these limits"
            ));
        }
        let read = |line: &Vec<u8>| cloudevents::read(line).map(emitted::from_document);
        let events = lines.events.iter().map(read).collect::<Result<Vec<_>, String>>();
        events.map_err(|why| format!("the command wrote an event to standard output that cannot be read: {why}"))
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lays out the streams of a command that is about to be instantiated.
pub(in crate::sandbox) fn prepare(store: &mut Store<Attempt>, call: &Call) -> EmittedLines {
    let extensions =
        Extensions { attempt: call.attempt, max_attempts: call.max_attempts, idempotency_key: &call.idempotency_key };
    let event = Bytes::from(cloudevents::write(&call.event, extensions));
    let attempt = store.data_mut();
    let emitted = EmittedLines::new(attempt.logs.clone(), call.limits);
    attempt.set_stdio(Stdio::Command { event, emitted: emitted.clone() });
    emitted
}

/// Runs a component.
pub(in crate::sandbox) async fn run_component(
    command: &Command,
    store: &mut Store<Attempt>,
    emitted: &EmittedLines,
) -> Ended {
    let ran = command.wasi_cli_run().call_run(&mut *store).await;
    ended(ran.map(|ok| if ok.is_ok() { 0 } else { 1 }), store, emitted)
}

/// Runs a core module.
pub(in crate::sandbox) async fn run_module(
    instance: &Instance,
    store: &mut Store<Attempt>,
    emitted: &EmittedLines,
) -> Ended {
    let start = match instance.get_typed_func::<(), ()>(&mut *store, "_start") {
        Ok(start) => start,
        Err(error) => return Ended::Failed(error),
    };
    let ran = start.call_async(&mut *store, ()).await;
    ended(ran.map(|()| 0), store, emitted)
}

fn ended(ran: wasmtime::Result<i32>, store: &Store<Attempt>, emitted: &EmittedLines) -> Ended {
    let code = match ran {
        Ok(code) => code,
        Err(error) => match error.downcast_ref() {
            // A program that was refused memory and lives with it says so; one that gives up is a matter of the limit.
            Some(I32Exit(code))
                if matches!(*code, 0 | EX_DATAERR | EX_TEMPFAIL) || store.data().memory.refused().is_none() =>
            {
                *code
            }
            _ => return Ended::Failed(error),
        },
    };
    let events = emitted.finish();
    let reason = || {
        let said = store.data().logs.last_words();
        said.unwrap_or_else(|| format!("the command exited with code {code} and said nothing"))
    };
    match (code, events) {
        (0, Ok(events)) => Ended::Returned(Ok(events)),
        (0, Err(why)) => Ended::Refused(why),
        (EX_DATAERR, _) => Ended::Returned(Err(Failure::Reject(reason()))),
        _ => Ended::Returned(Err(Failure::Retry(RetryLater { reason: reason(), after_ms: None }))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(pieces: &[&[u8]]) -> (Result<Vec<NewEvent>, String>, Vec<String>) {
        let lines = EmittedLines::new(LogBook::new(&Limits::default()), Limits::default());
        pieces.iter().for_each(|piece| lines.write(piece));
        let events = lines.finish();
        (events, lines.logs.take().into_iter().map(|line| line.message).collect())
    }

    #[test]
    fn lines_that_are_events_are_emitted_and_the_rest_is_log() {
        let (events, logs) = finished(&[
            b"starting\n{\"specversion\":\"1.0\",\"ty",
            b"pe\":\"a.b\",\"data\":{\"n\":1}}\n{\"level\":\"info\"}\nend",
            b"\n {\"type\":\"c\",\"specversion\":\"1.0\"}",
        ]);
        let events = events.unwrap();
        assert_eq!(events.iter().map(|event| event.type_.as_str()).collect::<Vec<_>>(), ["a.b", "c"]);
        assert_eq!(events[0].data, b"{\"n\":1}");
        assert_eq!(logs, ["starting", "{\"level\":\"info\"}", "end"]);
    }

    #[test]
    fn an_event_that_cannot_be_read_is_an_error() {
        let (events, _) = finished(&[b"{\"specversion\":\"1.0\"}\n"]);
        assert!(events.unwrap_err().contains("missing field `type`"));
    }

    #[test]
    fn the_number_of_events_is_bounded() {
        let line = b"{\"specversion\":\"1.0\",\"type\":\"t\"}\n";
        assert_eq!(finished(&[&line.repeat(Limits::default().emitted)]).0.unwrap().len(), Limits::default().emitted);
        assert!(
            finished(&[&line.repeat(Limits::default().emitted + 1)]).0.unwrap_err().contains("more than 256 events")
        );
    }

    #[test]
    fn output_is_bounded_and_a_flood_of_log_is_no_error() {
        let long = [
            &b"{\"specversion\":\"1.0\",\"type\":\"t\",\"data\":\""[..],
            &vec![b'x'; Limits::default().emitted_bytes],
            b"\"}\n",
        ]
        .concat();
        assert!(finished(&[&long]).0.unwrap_err().contains("more than"));
        let (events, logs) = finished(&[
            &vec![b'x'; 3 * Limits::default().emitted_bytes],
            b"\n{\"specversion\":\"1.0\",\"type\":\"t\"}",
        ]);
        assert_eq!((events.unwrap().len(), logs.len()), (1, 1));
    }
}
