//! WASI 0.2, and preview 1 for core modules, with nothing behind it: no directories, arguments,
//! environment or network. Clocks and random numbers are real; output goes where `stdout` says.

use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView};

use super::guest_log::{GuestLog, StdStream};
use super::http::Outgoing;
use super::import::{HostImport, Offer, Start};
use super::stdout::{GuestOutput, Stdio};
use crate::config::Limits;
use crate::sandbox::limits::MAX_FIELDS_BYTES;

/// WASI for one attempt. Its contexts are made when the guest first asks for them: most plugins are
/// linked with WASI by their toolchain and never call it.
pub(super) struct Wasi {
    log: GuestLog,
    limits: Limits,
    stdio: Stdio,
    preview2: Option<Box<Preview2>>,
    preview1: Option<Box<WasiP1Ctx>>,
}

struct Preview2 {
    ctx: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
}

impl HostImport for Wasi {
    const OFFER: Offer = Offer {
        interfaces: &[
            "wasi:cli/",
            "wasi:clocks/",
            "wasi:filesystem/",
            "wasi:io/",
            "wasi:random/",
            "wasi:sockets/",
        ],
        version: "0.2.",
        shown: "cli, clocks, io, random; filesystem and sockets without any content",
        capability: None,
    };

    fn begin(start: &Start<'_>) -> Self {
        let (log, limits) = (start.log.clone(), start.call.limits);
        Self { log, limits, stdio: Stdio::default(), preview2: None, preview1: None }
    }

    /// Handles and streams that the guest holds stay, as its memory does.
    fn renew(&mut self, start: &Start<'_>) {
        self.limits = start.call.limits;
    }

    fn link<T: WasiView + 'static>(
        linker: &mut Linker<T>,
        _: fn(&mut T) -> &mut Self,
    ) -> wasmtime::Result<()> {
        wasmtime_wasi::p2::add_to_linker_async(linker)
    }
}

impl Wasi {
    /// Sets the standard streams of a guest that has not begun.
    pub(super) fn set_stdio(&mut self, stdio: Stdio) {
        self.stdio = stdio;
    }

    pub(super) fn view(&mut self) -> WasiCtxView<'_> {
        let Preview2 { ctx, table, .. } = self.preview2();
        WasiCtxView { ctx, table }
    }

    pub(super) fn http<'a>(&'a mut self, outgoing: &'a mut Outgoing) -> WasiHttpCtxView<'a> {
        let Preview2 { http, table, .. } = self.preview2();
        WasiHttpCtxView { ctx: http, table, hooks: outgoing }
    }

    pub(super) fn preview1(&mut self) -> &mut WasiP1Ctx {
        let (log, limits, stdio) = (&self.log, &self.limits, &self.stdio);
        self.preview1.get_or_insert_with(|| Box::new(context(log, limits, stdio).build_p1()))
    }

    fn preview2(&mut self) -> &mut Preview2 {
        let (log, limits, stdio) = (&self.log, &self.limits, &self.stdio);
        self.preview2.get_or_insert_with(|| {
            let mut table = ResourceTable::new();
            // Resources live in the host's memory, which the guest could fill otherwise.
            table.set_max_capacity(limits.handles);
            let mut http = WasiHttpCtx::new();
            http.set_field_size_limit(MAX_FIELDS_BYTES);
            Box::new(Preview2 { ctx: context(log, limits, stdio).build(), table, http })
        })
    }
}

/// A context with nothing in it but the standard streams.
fn context(log: &GuestLog, limits: &Limits, stdio: &Stdio) -> WasiCtxBuilder {
    let mut builder = WasiCtx::builder();
    builder.allow_tcp(false).allow_udp(false).max_random_size(limits.random_bytes as u64);
    let logged = |stream| GuestOutput::Log(log.clone(), stream);
    match stdio {
        Stdio::Logged => builder.stdout(logged(StdStream::Out)).stderr(logged(StdStream::Err)),
        Stdio::Command { event, emitted } => builder
            .stdin(MemoryInputPipe::new(event.clone()))
            .stdout(GuestOutput::Emitted(emitted.clone()))
            .stderr(logged(StdStream::CommandErr)),
    };
    builder
}
