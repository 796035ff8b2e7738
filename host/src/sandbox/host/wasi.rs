//! The standard WASI 0.2 interfaces, as a place with nothing in it: no directories, no arguments, no environment, no
//! network. Clocks and random numbers are real; output goes to the log, or is what a command emits.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView};

use crate::config::Limits;
use crate::sandbox::host::http::Outgoing;
use crate::sandbox::host::log::{LogBook, Stream};
use crate::sandbox::kinds::command::EmittedLines;
use crate::sandbox::limits::MAX_FIELDS_BYTES;

/// What a guest may write to a stream at once, in bytes.
const WRITE_BYTES: usize = 64 << 10;

/// The standard streams of a guest.
#[derive(Default)]
pub(in crate::sandbox) enum Stdio {
    /// Nothing comes in; what goes out is logged.
    #[default]
    Logged,
    /// A command's: its event comes in, the events it emits go out, and standard error is its log.
    Command {
        /// The whole of standard input.
        event: Bytes,
        /// Takes standard output.
        emitted: EmittedLines,
    },
}

/// What an attempt that uses WASI holds of it.
pub(in crate::sandbox) struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
}

impl Wasi {
    pub(in crate::sandbox) fn new(logs: &LogBook, stdio: &Stdio, limits: &Limits) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_FIELDS_BYTES);
        Self { ctx: context(logs, stdio, limits).build(), table, http }
    }

    pub(in crate::sandbox) fn view(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.ctx, table: &mut self.table }
    }

    pub(in crate::sandbox) fn http<'a>(&'a mut self, outgoing: &'a mut Outgoing) -> WasiHttpCtxView<'a> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: outgoing }
    }
}

/// A place with nothing in it but the standard streams.
pub(in crate::sandbox) fn context(logs: &LogBook, stdio: &Stdio, limits: &Limits) -> WasiCtxBuilder {
    let mut builder = WasiCtx::builder();
    builder.allow_tcp(false).allow_udp(false).max_random_size(limits.random_bytes as u64);
    let log = |stream| Output(Sink::Log(logs.clone(), stream));
    match stdio {
        Stdio::Logged => builder.stdout(log(Stream::Out)).stderr(log(Stream::Err)),
        Stdio::Command { event, emitted } => builder
            .stdin(MemoryInputPipe::new(event.clone()))
            .stdout(Output(Sink::Emitted(emitted.clone())))
            .stderr(log(Stream::CommandErr)),
    };
    builder
}

/// Standard output or error of a guest, on its way to where it is kept.
#[derive(Clone)]
struct Output(Sink);

#[derive(Clone)]
enum Sink {
    Log(LogBook, Stream),
    Emitted(EmittedLines),
}

impl Output {
    fn keep(&self, bytes: &[u8]) {
        match &self.0 {
            Sink::Log(logs, stream) => logs.write(*stream, bytes),
            Sink::Emitted(lines) => lines.write(bytes),
        }
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl OutputStream for Output {
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

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
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
