//! The health of a plugin and its consequences: the circuit breaker, how many lines its failures
//! log, and how much they write to the store. Both queues of a plugin share it.
//!
//! An attempt of a plugin that works only reads a flag here; the lock is for failures.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{Counter, Gauge, counter, gauge};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::config::BreakerPolicy;
use crate::event::{Digest, Outcome, PluginName};
use crate::store::{Next, Settlement};
use crate::text;

use self::breaker::{BreakerAdmission, BreakerChange, CircuitBreaker};
use self::failure_log::{FailureLog, OmittedFailures};
use self::forward_log::ForwardLog;
use self::record_budget::RecordBudget;
use self::window::{LineDecision, WINDOW_MS};

mod breaker;
mod failure_log;
mod forward_log;
mod record_budget;
mod window;

pub(super) use self::breaker::BreakerSignal;
pub(super) use self::failure_log::LogSubject;
pub use self::record_budget::RECORD_BYTES_PER_SECOND;

/// Why a breaker closed.
const AN_OK: &str = "an attempt was ok";
const ANOTHER_FILE: &str = "another file of the plugin";
const ANOTHER_POLICY: &str = "a changed `breaker` in its section";

/// The health of one plugin.
#[derive(Debug)]
pub(super) struct PluginHealth {
    plugin: PluginName,
    clock: Clock,
    state: Mutex<HealthState>,
    /// Copies of the breaker's state, to be read without the lock.
    is_open: AtomicBool,
    is_troubled: AtomicBool,
    /// The breaker changed, or a probe was returned.
    changed: Arc<Notify>,
    /// Notified when a line was omitted, so that somebody logs the count later.
    lines_omitted: Arc<Notify>,
    open: Gauge,
    openings: Counter,
    unrecorded: Counter,
}

#[derive(Debug)]
struct HealthState {
    /// The file whose attempts count.
    digest: Digest,
    breaker: CircuitBreaker,
    /// When the breaker opened last, Unix ms.
    opened_ms: i64,
    failures: FailureLog,
    forwarded: ForwardLog,
    records: RecordBudget,
}

/// The circuit breaker of a plugin at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerView {
    /// When it opens; `None` if it is turned off.
    pub policy: Option<BreakerPolicy>,
    /// How many of the last attempts failed in a row.
    pub failures_in_a_row: u32,
    /// Why the last of them failed; for people.
    pub last_error: Option<String>,
    /// The open breaker; `None` if it is closed.
    pub open: Option<OpenView>,
}

/// A circuit breaker that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenView {
    /// Since when it is open, Unix ms.
    pub since_ms: i64,
    /// When the next attempt may begin, Unix ms.
    pub next_attempt_ms: i64,
}

/// The permission to begin one attempt while the breaker is open. If the attempt does not run,
/// dropping this returns the permission.
#[derive(Debug)]
pub(super) struct Probe {
    health: Arc<PluginHealth>,
    number: u64,
    ran: bool,
}

impl Probe {
    /// Uses the probe up: its attempt has run.
    pub(super) fn ran(mut self) {
        self.ran = true;
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if !self.ran {
            let now_ms = self.health.clock.monotonic_ms();
            self.health.state().breaker.take_back(self.number, now_ms);
            self.health.changed.notify_waiters();
        }
    }
}

impl PluginHealth {
    /// The health of a plugin that has not run yet. `lines_omitted` is notified when a line was
    /// omitted.
    pub(super) fn new(plugin: PluginName, clock: Clock, lines_omitted: Arc<Notify>) -> Arc<Self> {
        let open = gauge!("hookbox_breaker_open", "plugin" => plugin.clone());
        open.set(0.0);
        let state = HealthState {
            digest: Digest([0; 32]),
            breaker: CircuitBreaker::new(None),
            opened_ms: 0,
            failures: FailureLog::default(),
            forwarded: ForwardLog::default(),
            records: RecordBudget::new(clock.monotonic_ms()),
        };
        Arc::new(Self {
            openings: counter!("hookbox_breaker_openings_total", "plugin" => plugin.clone()),
            unrecorded: counter!("hookbox_attempts_unrecorded_total", "plugin" => plugin.clone()),
            plugin,
            clock,
            state: Mutex::new(state),
            is_open: AtomicBool::new(false),
            is_troubled: AtomicBool::new(false),
            changed: Arc::default(),
            lines_omitted,
            open,
        })
    }

    fn state(&self) -> MutexGuard<'_, HealthState> {
        // No operation leaves the state inconsistent when it panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adapts to the loaded file and the configured policy. A change of either closes the breaker.
    pub(super) fn adapt(&self, digest: Digest, policy: Option<BreakerPolicy>) {
        let mut state = self.state();
        let another_file = state.digest != digest;
        if !another_file && state.breaker.policy() == policy {
            return;
        }
        let why = if another_file { ANOTHER_FILE } else { ANOTHER_POLICY };
        state.digest = digest;
        let change = state.breaker.reset(policy);
        self.publish(state, change, why);
    }

    /// The plugin.
    pub(super) fn plugin(&self) -> &PluginName {
        &self.plugin
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Host time, Unix ms.
    pub(super) fn host_ms(&self) -> i64 {
        self.clock.host_ms()
    }

    /// Resets the metrics of a plugin that is gone.
    pub(super) fn close(&self) {
        self.open.set(0.0);
    }

    /// Whether the breaker is open.
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// Returns once the breaker is open.
    pub(super) async fn opened(&self) {
        loop {
            // Registered before the check, so that no change is missed.
            let changed = self.changed.notified();
            if self.is_open() {
                return;
            }
            changed.await;
        }
    }

    /// Waits until deliveries may be leased: one with a probe, any number without.
    pub(super) async fn admitted(self: &Arc<Self>) -> Option<Probe> {
        loop {
            let changed = self.changed.notified();
            if !self.is_open() {
                return None;
            }
            let admission = self.state().breaker.admit(self.clock.monotonic_ms());
            let due_ms = match admission {
                BreakerAdmission::All => return None,
                BreakerAdmission::Probe(number) => {
                    return Some(Probe { health: self.clone(), number, ran: false });
                }
                BreakerAdmission::NotBefore(due_ms) => due_ms,
                BreakerAdmission::Reserved => u64::MAX,
            };
            tokio::select! {
                () = changed => {}
                () = self.clock.sleep_until_monotonic(due_ms), if due_ms < u64::MAX => {}
            }
        }
    }

    /// Whether an attempt may begin now, with its probe or without.
    pub(super) fn begin(&self, probe: Option<&Probe>) -> bool {
        if !self.is_open() {
            return true;
        }
        let begins =
            self.state().breaker.begin(probe.map(|probe| probe.number), self.clock.monotonic_ms());
        if begins {
            // The other queue may wait for this.
            self.changed.notify_waiters();
        }
        begins
    }

    /// Takes the end of an attempt into account. With a `digest` it counts only if that file still
    /// runs.
    pub(super) fn ended(&self, digest: Option<Digest>, signal: BreakerSignal, error: Option<&str>) {
        let unchanged = match signal {
            BreakerSignal::Success => !self.is_troubled.load(Ordering::Acquire),
            BreakerSignal::Failure => false,
            BreakerSignal::Neutral => true,
        };
        if unchanged {
            return;
        }
        let mut state = self.state();
        if digest.is_none_or(|digest| state.digest == digest) {
            let change = state.breaker.ended(signal, error, self.clock.monotonic_ms());
            self.publish(state, change, AN_OK);
        }
    }

    /// Publishes the state of the breaker, and logs a change.
    fn publish(
        &self,
        mut state: MutexGuard<'_, HealthState>,
        change: Option<BreakerChange>,
        why_closed: &str,
    ) {
        self.is_troubled.store(state.breaker.is_troubled(), Ordering::Release);
        let Some(change) = change else { return };
        self.is_open.store(state.breaker.is_open(), Ordering::Release);
        self.open.set(if state.breaker.is_open() { 1.0 } else { 0.0 });
        if change == BreakerChange::Opened {
            state.opened_ms = self.clock.now_ms();
            self.openings.increment(1);
        }
        let snapshot = state.breaker.snapshot();
        // Logging takes the lock again.
        drop(state);
        self.changed.notify_waiters();
        if !self.may_log(LogSubject::Breaker) {
            return;
        }
        match (change, snapshot.policy) {
            (BreakerChange::Opened, Some(policy)) => tracing::warn!(
                plugin.name = %self.plugin, breaker.failures = snapshot.failures,
                reason = snapshot.last_error.as_deref().unwrap_or(""),
                "circuit breaker opened: one attempt begins every {} until one succeeds", policy.pause()
            ),
            _ => {
                tracing::info!(plugin.name = %self.plugin, reason = why_closed, "circuit breaker closed")
            }
        }
    }

    /// Reduces the record of a failed attempt to what may be stored.
    pub(super) fn reduce_record(&self, settlement: &mut Settlement) {
        let Some(record) = settlement.record.take_if(|record| record.outcome != Outcome::Ok) else {
            return;
        };
        let dead = matches!(settlement.next, Next::Dead(_));
        settlement.record = self.state().records.reduce(record, dead, self.clock.monotonic_ms());
        if settlement.record.is_none() {
            self.unrecorded.increment(1);
        }
    }

    /// Whether a line is to be logged. If not, it is counted.
    pub(super) fn may_log(&self, subject: LogSubject) -> bool {
        let decision = self.state().failures.decide(subject, self.clock.monotonic_ms());
        self.follow(decision, |omitted| self.log_failures(&omitted))
    }

    /// Whether a line of the plugin with so many bytes is to be forwarded. If not, it is counted.
    pub(super) fn may_forward(&self, bytes: usize) -> bool {
        let decision = self.state().forwarded.decide(bytes, self.clock.monotonic_ms());
        self.follow(decision, |lines| self.log_forwarded(lines))
    }

    fn follow<O>(&self, decision: LineDecision<O>, log: impl FnOnce(O)) -> bool {
        if let Some(previous) = decision.previous {
            log(previous);
        }
        if decision.first_omitted {
            self.lines_omitted.notify_one();
        }
        decision.write
    }

    /// Logs the counts of windows that have expired. Returns whether others are still to come.
    pub(super) fn log_expired(&self) -> bool {
        let now_ms = self.clock.monotonic_ms();
        let (failures, forwarded, more) = {
            let mut state = self.state();
            let (failures, forwarded) =
                (state.failures.end_expired(now_ms), state.forwarded.end_expired(now_ms));
            (failures, forwarded, state.failures.has_omitted() || state.forwarded.has_omitted())
        };
        self.log_omitted(failures, forwarded);
        more
    }

    /// Logs the counts of all windows.
    pub(super) fn log_all(&self) {
        let (failures, forwarded) = {
            let mut state = self.state();
            (state.failures.end(), state.forwarded.end())
        };
        self.log_omitted(failures, forwarded);
    }

    fn log_omitted(&self, failures: Option<OmittedFailures>, forwarded: Option<u64>) {
        if let Some(failures) = failures {
            self.log_failures(&failures);
        }
        if let Some(lines) = forwarded {
            self.log_forwarded(lines);
        }
    }

    fn log_forwarded(&self, lines: u64) {
        tracing::warn!(
            plugin.name = %self.plugin, plugin.lines = lines,
            "the plugin logged {} more lines in {} s than are forwarded", text::grouped(lines), WINDOW_MS / 1_000
        );
    }

    fn log_failures(&self, omitted: &OmittedFailures) {
        tracing::warn!(
            plugin.name = %self.plugin,
            attempts.failed = omitted.attempts().map(tracing::field::display),
            deliveries.dead = omitted.of(LogSubject::DeadLetter),
            settlements.lost = omitted.of(LogSubject::Lost),
            host.faults = omitted.of(LogSubject::HostFault),
            breaker.changes = omitted.of(LogSubject::Breaker),
            "and {} more in {} s", text::grouped(omitted.total()), WINDOW_MS / 1_000
        );
    }

    /// The breaker at this moment.
    pub(super) fn breaker(&self) -> BreakerView {
        let state = self.state();
        let (snapshot, since_ms) = (state.breaker.snapshot(), state.opened_ms);
        drop(state);
        let open = snapshot.open.map(|next_ms| {
            let wait_ms = next_ms.saturating_sub(self.clock.monotonic_ms());
            OpenView {
                since_ms,
                next_attempt_ms: self.clock.now_ms().saturating_add_unsigned(wait_ms),
            }
        });
        BreakerView {
            policy: snapshot.policy,
            failures_in_a_row: snapshot.failures,
            last_error: snapshot.last_error,
            open,
        }
    }
}

impl Drop for PluginHealth {
    fn drop(&mut self) {
        self.log_all();
    }
}
