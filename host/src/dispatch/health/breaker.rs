//! The circuit breaker of a plugin, as a pure state machine; times are milliseconds of the
//! monotonic clock.
//!
//! ```text
//! closed ──`failures` attempts in a row failed──► open
//! open ──an attempt was ok, a new file, a changed policy──► closed
//! ```
//!
//! While it is open, an attempt begins only as the *probe*. There is one at a time, and the next
//! one begins no sooner than `pause` after the last one began. A probe that did not run is
//! available again.

use crate::config::BreakerPolicy;
use crate::event::Outcome;
use crate::retry::GIVE_BACK_DELAY_MS;
use crate::text;

/// The recorded length of the last error, in bytes.
pub(super) const MAX_ERROR_BYTES: usize = 256;

/// The meaning of an attempt's end for its plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dispatch) enum BreakerSignal {
    /// The plugin works.
    Success,
    /// The plugin failed.
    Failure,
    /// Neither: the plugin rejected the event, or asked to be called again later.
    Neutral,
}

impl BreakerSignal {
    /// The signal of an attempt; `asked_for_delay` is for a retry for which the plugin chose the
    /// delay.
    pub(in crate::dispatch) fn of(outcome: Outcome, asked_for_delay: bool) -> Self {
        match outcome {
            Outcome::Ok => Self::Success,
            Outcome::Retry if asked_for_delay => Self::Neutral,
            Outcome::Retry
            | Outcome::Trap
            | Outcome::Timeout
            | Outcome::Memory
            | Outcome::Error => Self::Failure,
            // The host crashed, and the store judges the delivery; or the handler only waits.
            Outcome::Reject | Outcome::Crash | Outcome::Again => Self::Neutral,
        }
    }
}

/// A change of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BreakerChange {
    /// Only probes begin from now on.
    Opened,
    /// All attempts begin again.
    Closed,
}

/// Whether deliveries may be leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BreakerAdmission {
    /// Any number.
    All,
    /// One, which is the probe of this number.
    Probe(u64),
    /// None before this time; ask again then.
    NotBefore(u64),
    /// None: the last probe has not begun yet.
    Reserved,
}

/// The state while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OpenState {
    /// When the next probe may begin.
    next_ms: u64,
    /// The probe that was handed out and has not begun.
    reserved: Option<u64>,
    /// The last probe that began.
    begun: Option<u64>,
}

/// The state of one plugin's breaker.
#[derive(Debug)]
pub(super) struct CircuitBreaker {
    policy: Option<BreakerPolicy>,
    failures: u32,
    last_error: Option<String>,
    /// The number of the last probe.
    probes: u64,
    open: Option<OpenState>,
}

/// A breaker at one moment, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BreakerSnapshot {
    pub(super) policy: Option<BreakerPolicy>,
    pub(super) failures: u32,
    pub(super) last_error: Option<String>,
    /// When the next probe may begin; `None` while it is closed.
    pub(super) open: Option<u64>,
}

impl CircuitBreaker {
    /// A closed breaker. Without a policy it stays closed.
    pub(super) fn new(policy: Option<BreakerPolicy>) -> Self {
        Self { policy, failures: 0, last_error: None, probes: 0, open: None }
    }

    /// Its policy.
    pub(super) fn policy(&self) -> Option<BreakerPolicy> {
        self.policy
    }

    /// Whether only probes begin.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether the last attempts failed, or it is open.
    pub(super) fn is_troubled(&self) -> bool {
        self.failures > 0 || self.is_open()
    }

    /// The state for people.
    pub(super) fn snapshot(&self) -> BreakerSnapshot {
        let open = self.open.map(|open| open.next_ms);
        BreakerSnapshot {
            policy: self.policy,
            failures: self.failures,
            last_error: self.last_error.clone(),
            open,
        }
    }

    /// Closes the breaker and forgets failures, for a new file or a new policy.
    pub(super) fn reset(&mut self, policy: Option<BreakerPolicy>) -> Option<BreakerChange> {
        (self.policy, self.failures, self.last_error) = (policy, 0, None);
        self.open.take().map(|_| BreakerChange::Closed)
    }

    /// Takes the end of an attempt into account.
    pub(super) fn ended(
        &mut self,
        signal: BreakerSignal,
        error: Option<&str>,
        now_ms: u64,
    ) -> Option<BreakerChange> {
        match signal {
            BreakerSignal::Neutral => None,
            BreakerSignal::Success => self.reset(self.policy),
            BreakerSignal::Failure => {
                self.failures = self.failures.saturating_add(1);
                self.last_error = error.map(|error| text::plain(error, MAX_ERROR_BYTES));
                let policy = self
                    .policy
                    .filter(|policy| !self.is_open() && self.failures >= policy.failures)?;
                let next_ms = now_ms.saturating_add(policy.pause_ms);
                self.open = Some(OpenState { next_ms, reserved: None, begun: None });
                Some(BreakerChange::Opened)
            }
        }
    }

    /// Whether deliveries may be leased now. A probe has to be begun or returned.
    pub(super) fn admit(&mut self, now_ms: u64) -> BreakerAdmission {
        match &mut self.open {
            None => BreakerAdmission::All,
            Some(OpenState { reserved: Some(_), .. }) => BreakerAdmission::Reserved,
            Some(open) if now_ms < open.next_ms => BreakerAdmission::NotBefore(open.next_ms),
            Some(open) => {
                self.probes += 1;
                open.reserved = Some(self.probes);
                BreakerAdmission::Probe(self.probes)
            }
        }
    }

    /// Whether an attempt may begin: any while the breaker is closed, only the probe while it is
    /// open.
    pub(super) fn begin(&mut self, probe: Option<u64>, now_ms: u64) -> bool {
        let Some(open) = &mut self.open else { return true };
        // A probe of an earlier opening does not count.
        if probe.is_none() || probe != open.reserved {
            return false;
        }
        open.begun = open.reserved.take();
        open.next_ms = now_ms.saturating_add(self.policy.map_or(0, |policy| policy.pause_ms));
        true
    }

    /// Takes back a probe that did not run. The next one is available at once if this one had not
    /// begun, else after [`GIVE_BACK_DELAY_MS`].
    pub(super) fn take_back(&mut self, probe: u64, now_ms: u64) {
        let Some(open) = &mut self.open else { return };
        open.reserved.take_if(|reserved| *reserved == probe);
        if open.begun.take_if(|begun| *begun == probe).is_some() {
            open.next_ms = now_ms.saturating_add(GIVE_BACK_DELAY_MS);
        }
    }
}

#[cfg(test)]
mod tests;
