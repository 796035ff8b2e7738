//! The host's state of one attempt.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use super::guest_log::GuestLog;
use super::import::Start;
use super::list::HostState;
use super::stdout::Stdio;
use crate::config::Limits;
use crate::egress::{Egress, Redactor};
use crate::sandbox::cpu::GuestMeter;
use crate::sandbox::limits::MemoryBudget;
use crate::sandbox::{Call, Invocation};

/// Why a guest was stopped while it computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum Stopped {
    /// The deadline passed.
    TimeUp,
    /// It computed for longer than it may.
    ComputedTooLong,
}

/// The data of an attempt's store. A store that is kept warm serves one attempt after the other.
pub(in crate::sandbox) struct AttemptState {
    pub(in crate::sandbox) memory: MemoryBudget,
    /// When the guest's time is up.
    pub(in crate::sandbox) deadline: Instant,
    /// Counts what the guest computes.
    pub(in crate::sandbox) meter: Arc<GuestMeter>,
    /// Why the guest was stopped, if it was.
    pub(in crate::sandbox) stopped: Option<Stopped>,
    pub(in crate::sandbox) limits: Limits,
    host: HostState,
}

impl AttemptState {
    pub(in crate::sandbox) fn new(
        call: &Call,
        egress: &Egress,
        deadline: Instant,
        meter: Arc<GuestMeter>,
    ) -> Self {
        let log = &GuestLog::new(&call.limits);
        Self {
            memory: MemoryBudget::new(&call.limits),
            deadline,
            meter,
            stopped: None,
            limits: call.limits,
            host: HostState::begin(&Start { call, egress, deadline, log }),
        }
    }

    /// Begins another attempt in the same store. Standard streams and the guest's own memory stay.
    pub(in crate::sandbox) fn renew(
        &mut self,
        call: &Call,
        egress: &Egress,
        deadline: Instant,
        meter: Arc<GuestMeter>,
    ) {
        let log = &self.host.log.0.clone();
        self.memory.renew(&call.limits);
        self.deadline = deadline;
        self.meter = meter;
        self.limits = call.limits;
        self.host.renew(&Start { call, egress, deadline, log });
    }

    /// Records what every import knows of the attempt.
    pub(in crate::sandbox) fn record(&mut self, invocation: &mut Invocation) {
        self.host.record(invocation);
    }

    /// The lines of the attempt.
    pub(in crate::sandbox) fn log(&self) -> &GuestLog {
        &self.host.log.0
    }

    /// Whether a request of the guest is under way, or its response is.
    pub(in crate::sandbox) fn is_sending(&self) -> bool {
        self.host.http.busy()
    }

    /// Asks for another call of the handler, as a guest does that cannot import the function.
    pub(in crate::sandbox) fn ask_again(&mut self, after: Duration) {
        self.host.steps.ask(after);
    }

    /// Takes credentials out of texts, if the host adds any to requests of the guest.
    pub(in crate::sandbox) fn redactor(&self) -> Option<Arc<Redactor>> {
        self.host.http.redactor()
    }

    /// Sets the standard streams of a guest that has not begun.
    pub(in crate::sandbox) fn set_stdio(&mut self, stdio: Stdio) {
        self.host.wasi.set_stdio(stdio);
    }

    /// WASI for core modules.
    pub(in crate::sandbox) fn preview1(&mut self) -> &mut WasiP1Ctx {
        self.host.wasi.preview1()
    }
}

impl AsMut<HostState> for AttemptState {
    fn as_mut(&mut self) -> &mut HostState {
        &mut self.host
    }
}

impl WasiView for AttemptState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.host.wasi.view()
    }
}

impl WasiHttpView for AttemptState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.host.wasi.http(&mut self.host.http)
    }
}
