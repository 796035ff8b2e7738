//! `hookbox:plugin/log`: lines that are kept with the attempt.

use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use super::guest_log::GuestLog;
use super::import::{HostImport, Offer, Start};
use crate::sandbox::Invocation;
use crate::sandbox::bindings::hookbox::plugin::log;

/// The log, as an import.
pub(super) struct LogImport(pub(super) GuestLog);

impl HostImport for LogImport {
    const OFFER: Offer = Offer {
        interfaces: &["hookbox:plugin/log"],
        version: "0.1.",
        shown: "log",
        capability: None,
    };

    fn begin(start: &Start<'_>) -> Self {
        Self(start.log.clone())
    }

    fn renew(&mut self, start: &Start<'_>) {
        self.0.set_limits(&start.call.limits);
    }

    fn link<T: 'static>(linker: &mut Linker<T>, of: fn(&mut T) -> &mut Self) -> Result<()> {
        log::add_to_linker::<T, HasSelf<Self>>(linker, of)
    }

    fn record(&mut self, invocation: &mut Invocation) {
        invocation.logs = self.0.take();
    }
}

impl log::Host for LogImport {
    fn log(&mut self, level: log::Level, message: String) {
        let level = match level {
            log::Level::Trace => "trace",
            log::Level::Debug => "debug",
            log::Level::Info => "info",
            log::Level::Warn => "warn",
            log::Level::Error => "error",
        };
        self.0.line(level, &message);
    }
}
