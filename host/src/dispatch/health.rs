//! How a plugin fares, and what follows from it: its circuit breaker, how many lines its failures write, and what they
//! leave in the store. Both lanes of a plugin share it.
//!
//! The attempt of a plugin that works costs one look at a flag here; the lock is for those that fail.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{Counter, Gauge, counter, gauge};
use tokio::sync::Notify;

use super::breaker::{Admission, Breaker, Change, Sign};
use super::failure_log::{FailureLog, LeftOut, Line, WINDOW_MS};
use super::forward::ForwardLog;
use super::record_budget::RecordBudget;
use crate::clock::Clock;
use crate::config::BreakerPolicy;
use crate::event::{Digest, Outcome, PluginName};
use crate::store::{Next, Settlement};
use crate::text;

/// Why a breaker closed.
const AN_OK: &str = "an attempt was ok";
const ANOTHER_FILE: &str = "another file of the plugin";
const ANOTHER_POLICY: &str = "a changed `breaker` in its section";

/// What is known of how one plugin fares.
#[derive(Debug)]
pub(super) struct Health {
    plugin: PluginName,
    clock: Clock,
    state: Mutex<State>,
    /// What the breaker says of itself, for those who only look.
    is_open: AtomicBool,
    is_troubled: AtomicBool,
    /// The breaker changed, or a probe came back.
    changed: Arc<Notify>,
    /// Tells whoever writes what was left out that there is something.
    owing: Arc<Notify>,
    open: Gauge,
    openings: Counter,
    unrecorded: Counter,
}

#[derive(Debug)]
struct State {
    /// The file whose attempts count.
    digest: Digest,
    breaker: Breaker,
    /// When the breaker opened last, Unix ms.
    opened_ms: i64,
    log: FailureLog,
    forwarded: ForwardLog,
    budget: RecordBudget,
}

/// The circuit breaker of a plugin, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerView {
    /// When it opens; `None` if it is turned off.
    pub policy: Option<BreakerPolicy>,
    /// Attempts that failed one after the other, up to now.
    pub failures_in_a_row: u32,
    /// Why the last of them failed; for people.
    pub last_error: Option<String>,
    /// Since when it is open, and when the next attempt may begin, Unix ms; `None` if it is closed.
    pub open: Option<OpenView>,
}

/// A circuit breaker that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenView {
    /// Since when, Unix ms.
    pub since_ms: i64,
    /// When the next attempt may begin, Unix ms.
    pub next_attempt_ms: i64,
}

/// Leave to begin one attempt while the breaker is open. If it does not run, somebody else gets it.
#[derive(Debug)]
pub(super) struct Probe {
    health: Arc<Health>,
    number: u64,
    ran: bool,
}

impl Probe {
    /// Its attempt has run.
    pub(super) fn ran(mut self) {
        self.ran = true;
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if !self.ran {
            let now_ms = self.health.clock.monotonic_ms();
            self.health.state().breaker.returned(self.number, now_ms);
            self.health.changed.notify_waiters();
        }
    }
}

impl Health {
    /// That of a plugin of which nothing has run yet. `owing` is told when lines were left out.
    pub(super) fn new(plugin: PluginName, clock: Clock, owing: Arc<Notify>) -> Arc<Self> {
        let open = gauge!("hookbox_breaker_open", "plugin" => plugin.clone());
        open.set(0.0);
        let budget = RecordBudget::new(clock.monotonic_ms());
        let breaker = Breaker::new(None);
        let (log, forwarded) = (FailureLog::default(), ForwardLog::default());
        let digest = Digest([0; 32]);
        Arc::new(Self {
            openings: counter!("hookbox_breaker_openings_total", "plugin" => plugin.clone()),
            unrecorded: counter!("hookbox_attempts_unrecorded_total", "plugin" => plugin.clone()),
            plugin,
            clock,
            state: Mutex::new(State { digest, breaker, opened_ms: 0, log, forwarded, budget }),
            is_open: AtomicBool::new(false),
            is_troubled: AtomicBool::new(false),
            changed: Arc::default(),
            owing,
            open,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing here is left half done by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up what is loaded and configured now: another file and another policy are given their own chance.
    pub(super) fn take_up(&self, digest: Digest, policy: Option<BreakerPolicy>) {
        let mut state = self.state();
        let another_file = state.digest != digest;
        if !another_file && state.breaker.policy() == policy {
            return;
        }
        let why = if another_file { ANOTHER_FILE } else { ANOTHER_POLICY };
        state.digest = digest;
        let change = state.breaker.renew(policy);
        self.publish(state, change, why);
    }

    /// Host time, Unix ms.
    pub(super) fn host_ms(&self) -> i64 {
        self.clock.host_ms()
    }

    /// Its plugin is gone.
    pub(super) fn close(&self) {
        self.open.set(0.0);
    }

    /// Whether attempts begin one by one.
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// Returns once the breaker is open.
    pub(super) async fn opened(&self) {
        loop {
            // Before the look, so that nothing happens unseen in between.
            let changed = self.changed.notified();
            if self.is_open() {
                return;
            }
            changed.await;
        }
    }

    /// Waits for leave to lease: one delivery with a probe, any number without.
    pub(super) async fn leave(self: &Arc<Self>) -> Option<Probe> {
        loop {
            let changed = self.changed.notified();
            if !self.is_open() {
                return None;
            }
            let admission = self.state().breaker.admit(self.clock.monotonic_ms());
            let due_ms = match admission {
                Admission::All => return None,
                Admission::Probe(number) => return Some(Probe { health: self.clone(), number, ran: false }),
                Admission::NotBefore(due_ms) => due_ms,
                Admission::Reserved => u64::MAX,
            };
            tokio::select! {
                () = changed => {}
                () = self.clock.sleep_until_monotonic(due_ms), if due_ms < u64::MAX => {}
            }
        }
    }

    /// Whether an attempt may begin now, with the probe it has or without.
    pub(super) fn begin(&self, probe: Option<&Probe>) -> bool {
        if !self.is_open() {
            return true;
        }
        let begins = self.state().breaker.begin(probe.map(|probe| probe.number), self.clock.monotonic_ms());
        if begins {
            // The other lane may have waited for that.
            self.changed.notify_waiters();
        }
        begins
    }

    /// An attempt of the file `digest` has ended; without one, of whatever runs.
    pub(super) fn ended(&self, digest: Option<Digest>, sign: Sign, error: Option<&str>) {
        if sign == Sign::Neither || sign == Sign::Works && !self.is_troubled.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.state();
        if digest.is_none_or(|digest| state.digest == digest) {
            let change = state.breaker.ended(sign, error, self.clock.monotonic_ms());
            self.publish(state, change, AN_OK);
        }
    }

    /// Lets everybody know how the breaker is now.
    fn publish(&self, mut state: MutexGuard<'_, State>, change: Option<Change>, why_closed: &str) {
        self.is_troubled.store(state.breaker.is_troubled(), Ordering::Release);
        let Some(change) = change else { return };
        self.is_open.store(state.breaker.is_open(), Ordering::Release);
        self.open.set(if state.breaker.is_open() { 1.0 } else { 0.0 });
        if change == Change::Opened {
            state.opened_ms = self.clock.now_ms();
            self.openings.increment(1);
        }
        let seen = state.breaker.seen();
        drop(state);
        self.changed.notify_waiters();
        if !self.writes(Line::Breaker) {
            return;
        }
        match (change, seen.policy) {
            (Change::Opened, Some(policy)) => tracing::warn!(
                plugin.name = %self.plugin, breaker.failures = seen.failures,
                reason = seen.last_error.as_deref().unwrap_or(""),
                "circuit breaker opened: one attempt is begun every {} until one is ok", policy.pause()
            ),
            _ => tracing::info!(plugin.name = %self.plugin, reason = why_closed, "circuit breaker closed"),
        }
    }

    /// Takes out of a settlement what would be too much to keep of failed attempts.
    pub(super) fn bound(&self, settlement: &mut Settlement) {
        let Some(record) = settlement.record.take_if(|record| record.outcome != Outcome::Ok) else { return };
        let dead = matches!(settlement.next, Next::Dead);
        settlement.record = self.state().budget.keep(record, dead, self.clock.monotonic_ms());
        if settlement.record.is_none() {
            self.unrecorded.increment(1);
        }
    }

    /// Whether a line is to be written. If not, it is counted.
    pub(super) fn writes(&self, line: Line) -> bool {
        let ruling = self.state().log.rule(line, self.clock.monotonic_ms());
        if let Some(before) = ruling.before {
            self.count(&before);
        }
        if ruling.look_later {
            self.owing.notify_one();
        }
        ruling.write
    }

    /// Whether a line that the plugin logged, of so many bytes, is to be forwarded. If not, it is counted.
    pub(super) fn forwards(&self, bytes: usize) -> bool {
        let ruling = self.state().forwarded.rule(bytes, self.clock.monotonic_ms());
        if let Some(before) = ruling.before {
            self.count_forwarded(before);
        }
        if ruling.look_later {
            self.owing.notify_one();
        }
        ruling.write
    }

    /// Writes what was left out in a window that is over; whether there is still something to be written later.
    pub(super) fn look(&self) -> bool {
        let now_ms = self.clock.monotonic_ms();
        let (left_out, forwarded, owes) = {
            let mut state = self.state();
            let (left_out, forwarded) = (state.log.look(now_ms), state.forwarded.look(now_ms));
            (left_out, forwarded, state.log.owes() || state.forwarded.owes())
        };
        self.count_both(left_out, forwarded);
        owes
    }

    /// Writes what was left out up to now.
    pub(super) fn write_up(&self) {
        let (left_out, forwarded) = {
            let mut state = self.state();
            (state.log.end(), state.forwarded.end())
        };
        self.count_both(left_out, forwarded);
    }

    fn count_both(&self, left_out: Option<LeftOut>, forwarded: Option<u64>) {
        if let Some(left_out) = left_out {
            self.count(&left_out);
        }
        if let Some(lines) = forwarded {
            self.count_forwarded(lines);
        }
    }

    fn count_forwarded(&self, lines: u64) {
        tracing::warn!(
            plugin.name = %self.plugin, plugin.lines = lines,
            "the plugin logged {} more lines in {} s than are forwarded", text::grouped(lines), WINDOW_MS / 1_000
        );
    }

    fn count(&self, left_out: &LeftOut) {
        tracing::warn!(
            plugin.name = %self.plugin,
            attempts.failed = left_out.attempts().map(tracing::field::display),
            deliveries.dead = left_out.of(Line::DeadLetter),
            settlements.lost = left_out.of(Line::Lost),
            host.faults = left_out.of(Line::HostFault),
            breaker.changes = left_out.of(Line::Breaker),
            "and {} more in {} s", text::grouped(left_out.total()), WINDOW_MS / 1_000
        );
    }

    /// The breaker at this moment.
    pub(super) fn breaker(&self) -> BreakerView {
        let state = self.state();
        let (seen, since_ms) = (state.breaker.seen(), state.opened_ms);
        drop(state);
        let open = seen.open.map(|next_ms| {
            let wait_ms = next_ms.saturating_sub(self.clock.monotonic_ms());
            OpenView { since_ms, next_attempt_ms: self.clock.now_ms().saturating_add_unsigned(wait_ms) }
        });
        let failures_in_a_row = seen.failures;
        BreakerView { policy: seen.policy, failures_in_a_row, last_error: seen.last_error, open }
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        self.write_up();
    }
}
