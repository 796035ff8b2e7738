//! The standard streams of a guest: lines go to its log, or are the events that a command emits.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::guest_log::{GuestLog, StdStream};
use crate::cloudevents::{self, Document};
use crate::config::Limits;

/// Bytes that a guest may write to a stream at once.
const WRITE_BYTES: usize = 64 << 10;

/// The standard streams of a guest.
#[derive(Default)]
pub(in crate::sandbox) enum Stdio {
    /// Standard input is empty; output is logged.
    #[default]
    Logged,
    /// A command's streams: standard error is its log.
    Command {
        /// The whole of standard input: the event.
        event: Bytes,
        /// Takes standard output.
        emitted: EmittedLines,
    },
}

/// The standard output of a command: events are kept, everything else is logged. Clones
/// write to the same lines.
#[derive(Clone)]
pub(in crate::sandbox) struct EmittedLines {
    log: GuestLog,
    limits: Limits,
    output: Arc<Mutex<CommandOutput>>,
}

#[derive(Default)]
struct CommandOutput {
    /// Lines that are events.
    events: Vec<Vec<u8>>,
    /// A line that may become an event.
    open: Vec<u8>,
    /// The line that is being written cannot be an event.
    is_log: bool,
    /// Bytes in `events` and `open`.
    bytes: usize,
    too_many: bool,
}

impl EmittedLines {
    pub(in crate::sandbox) fn new(log: GuestLog, limits: Limits) -> Self {
        Self { log, limits, output: Arc::default() }
    }

    /// Takes bytes that a command writes.
    fn write(&self, bytes: &[u8]) {
        let mut output = self.output();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if output.open.is_empty() && !output.is_log {
                // A line that is no JSON object goes to the log piece by piece, so that it is never
                // held whole.
                output.is_log = piece.trim_ascii_start().first() != Some(&b'{');
            }
            if output.is_log {
                self.log.write(StdStream::Out, piece);
            } else if output.bytes + piece.len() > self.limits.emitted_bytes {
                output.too_many = true;
            } else {
                output.bytes += piece.len();
                output.open.extend_from_slice(piece);
            }
            if piece.ends_with(b"\n") {
                self.end(&mut output);
            }
        }
    }

    fn end(&self, output: &mut CommandOutput) {
        output.is_log = false;
        let line = std::mem::take(&mut output.open);
        if cloudevents::is_document(&line) {
            // Told by `finish`: writing to standard output never fails.
            output.too_many |= output.events.len() == self.limits.emitted;
            if !output.too_many {
                output.events.push(line);
            }
        } else {
            // It turned out to be log, which has a limit of its own.
            output.bytes -= line.len();
            self.log.write(StdStream::Out, &line);
        }
    }

    /// The events, or what is wrong with them.
    pub(in crate::sandbox) fn finish(&self) -> Result<Vec<Document>, String> {
        let mut output = self.output();
        if !output.open.is_empty() {
            self.end(&mut output);
        }
        if output.too_many {
            let Limits { emitted, emitted_bytes, .. } = self.limits;
            return Err(format!(
                "the command wrote more than {emitted} events, or {emitted_bytes} bytes of them, \
                 to standard output: `limits.emitted` and `limits.emitted_size` under its \
                 [plugins] section set these limits"
            ));
        }
        let read = |line: &Vec<u8>| cloudevents::read(line);
        let events: Result<_, String> = output.events.iter().map(read).collect();
        events.map_err(|why| {
            format!("the command wrote an event to standard output that cannot be read: {why}")
        })
    }

    fn output(&self) -> MutexGuard<'_, CommandOutput> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Standard output or error of a guest, on its way to where it is kept.
#[derive(Clone)]
pub(super) enum GuestOutput {
    /// Lines of the log.
    Log(GuestLog, StdStream),
    /// Lines that may be events.
    Emitted(EmittedLines),
}

impl GuestOutput {
    fn keep(&self, bytes: &[u8]) {
        match self {
            Self::Log(log, stream) => log.write(*stream, bytes),
            Self::Emitted(lines) => lines.write(bytes),
        }
    }
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestOutput {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for GuestOutput {
    async fn ready(&mut self) {}
}

impl OutputStream for GuestOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.keep(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES)
    }
}

impl AsyncWrite for GuestOutput {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.keep(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(pieces: &[&[u8]]) -> (Result<Vec<Document>, String>, Vec<String>) {
        let lines = EmittedLines::new(GuestLog::new(&Limits::default()), Limits::default());
        pieces.iter().for_each(|piece| lines.write(piece));
        let events = lines.finish();
        (events, lines.log.take().into_iter().map(|line| line.message).collect())
    }

    #[test]
    fn lines_that_are_events_are_emitted_and_the_rest_is_log() {
        let (events, logs) = finished(&[
            b"starting\n{\"specversion\":\"1.0\",\"ty",
            b"pe\":\"a.b\",\"data\":{\"n\":1}}\n{\"level\":\"info\"}\nend",
            b"\n {\"type\":\"c\",\"specversion\":\"1.0\"}",
        ]);
        let events = events.unwrap();
        assert_eq!(
            events.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(),
            ["a.b", "c"]
        );
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
        let (line, most) =
            (b"{\"specversion\":\"1.0\",\"type\":\"t\"}\n", Limits::default().emitted);
        assert_eq!(finished(&[&line.repeat(most)]).0.unwrap().len(), most);
        let error = finished(&[&line.repeat(most + 1)]).0.unwrap_err();
        assert!(error.contains("more than 256 events"), "{error}");
    }

    #[test]
    fn output_is_bounded_and_a_flood_of_log_is_no_error() {
        let most = Limits::default().emitted_bytes;
        let event = b"{\"specversion\":\"1.0\",\"type\":\"t\",\"data\":\"";
        let long = [&event[..], &vec![b'x'; most], b"\"}\n"].concat();
        assert!(finished(&[&long]).0.unwrap_err().contains("more than"));
        let event = b"\n{\"specversion\":\"1.0\",\"type\":\"t\"}";
        let (events, logs) = finished(&[&vec![b'x'; 3 * most], event]);
        assert_eq!((events.unwrap().len(), logs.len()), (1, 1));
    }
}
