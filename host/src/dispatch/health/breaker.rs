//! The circuit breaker of a plugin, as a state machine: values in, values out, time given in milliseconds by a clock
//! that nobody can set.
//!
//! ```text
//! closed ──`failures` attempts in a row failed──► open ──an attempt was ok, a new file, a changed policy──► closed
//! ```
//!
//! While it is open, an attempt begins only as the *probe*: there is one at a time, and the next one `pause` after the
//! beginning of the last. A probe that did not run after all is there again.

use crate::config::BreakerPolicy;
use crate::event::Outcome;
use crate::retry::GIVE_BACK_DELAY_MS;
use crate::text;

/// What is kept of the last error, in bytes.
pub(super) const MAX_ERROR_BYTES: usize = 256;

/// What an attempt says of its plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// It works.
    Works,
    /// It failed.
    Fails,
    /// Neither: it handled the event by refusing it, or asked for time itself.
    Neither,
}

impl Sign {
    /// What the end of an attempt says; `asked_for_time` of a retry that said when.
    pub(super) fn of(outcome: Outcome, asked_for_time: bool) -> Self {
        match outcome {
            Outcome::Ok => Self::Works,
            Outcome::Retry if asked_for_time => Self::Neither,
            Outcome::Retry | Outcome::Trap | Outcome::Timeout | Outcome::Memory | Outcome::Error => Self::Fails,
            // A crash is the host's, and judged by the store.
            Outcome::Reject | Outcome::Crash => Self::Neither,
        }
    }
}

/// What a sign changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Attempts begin one by one from now on.
    Opened,
    /// Attempts begin as they come.
    Closed,
}

/// Whether deliveries may be leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// As many as there is room for.
    All,
    /// One, which is the probe of this number.
    Probe(u64),
    /// None before this time; nor then, unless it is asked again.
    NotBefore(u64),
    /// None while the last probe has not begun.
    Reserved,
}

/// A breaker that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Open {
    /// When the next probe may begin.
    next_ms: u64,
    /// The probe that has been given out and has not begun.
    reserved: Option<u64>,
    /// The last one that began.
    begun: Option<u64>,
}

/// The state of one plugin's breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    policy: Option<BreakerPolicy>,
    failures: u32,
    last_error: Option<String>,
    /// Probes so far: each has a number of its own.
    probes: u64,
    open: Option<Open>,
}

/// What is shown of a breaker; its time by the clock that nobody can set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) policy: Option<BreakerPolicy>,
    pub(super) failures: u32,
    pub(super) last_error: Option<String>,
    /// When the next attempt may begin, if it is open.
    pub(super) open: Option<u64>,
}

impl Breaker {
    /// A closed one; without a policy it stays closed.
    pub(super) fn new(policy: Option<BreakerPolicy>) -> Self {
        Self { policy, failures: 0, last_error: None, probes: 0, open: None }
    }

    /// Its policy.
    pub(super) fn policy(&self) -> Option<BreakerPolicy> {
        self.policy
    }

    /// Whether attempts begin one by one.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether the last attempts failed, or it is open.
    pub(super) fn is_troubled(&self) -> bool {
        self.failures > 0 || self.is_open()
    }

    /// What there is to show.
    pub(super) fn seen(&self) -> Seen {
        let open = self.open.map(|open| open.next_ms);
        Seen { policy: self.policy, failures: self.failures, last_error: self.last_error.clone(), open }
    }

    /// Forgets what was, for a new file or a new policy.
    pub(super) fn renew(&mut self, policy: Option<BreakerPolicy>) -> Option<Change> {
        (self.policy, self.failures, self.last_error) = (policy, 0, None);
        self.open.take().map(|_| Change::Closed)
    }

    /// An attempt has ended.
    pub(super) fn ended(&mut self, sign: Sign, error: Option<&str>, now_ms: u64) -> Option<Change> {
        match sign {
            Sign::Neither => None,
            Sign::Works => self.renew(self.policy),
            Sign::Fails => {
                self.failures = self.failures.saturating_add(1);
                self.last_error = error.map(|error| text::plain(error, MAX_ERROR_BYTES));
                let policy = self.policy.filter(|policy| !self.is_open() && self.failures >= policy.failures)?;
                let next_ms = now_ms.saturating_add(policy.pause_ms);
                self.open = Some(Open { next_ms, reserved: None, begun: None });
                Some(Change::Opened)
            }
        }
    }

    /// Whether deliveries may be leased now. A probe that is given out has to be begun or returned.
    pub(super) fn admit(&mut self, now_ms: u64) -> Admission {
        match &mut self.open {
            None => Admission::All,
            Some(Open { reserved: Some(_), .. }) => Admission::Reserved,
            Some(open) if now_ms < open.next_ms => Admission::NotBefore(open.next_ms),
            Some(open) => {
                self.probes += 1;
                open.reserved = Some(self.probes);
                Admission::Probe(self.probes)
            }
        }
    }

    /// Whether an attempt may begin: any while the breaker is closed, the probe while it is open.
    pub(super) fn begin(&mut self, probe: Option<u64>, now_ms: u64) -> bool {
        let Some(open) = &mut self.open else { return true };
        if probe.is_none() || probe != open.reserved {
            return false;
        }
        open.begun = open.reserved.take();
        open.next_ms = now_ms.saturating_add(self.policy.map_or(0, |policy| policy.pause_ms));
        true
    }

    /// The probe of this number did not run: there is another one, at once if it had not begun, else in a moment.
    pub(super) fn returned(&mut self, probe: u64, now_ms: u64) {
        let Some(open) = &mut self.open else { return };
        open.reserved.take_if(|reserved| *reserved == probe);
        if open.begun.take_if(|begun| *begun == probe).is_some() {
            open.next_ms = now_ms.saturating_add(GIVE_BACK_DELAY_MS);
        }
    }
}

#[cfg(test)]
mod tests;
