//! The phase of one connection: busy with a request, replying, idle, or told to close.
//!
//! A connection is *idle* from its opening, or from the end of its last reply, until the last byte
//! of the next request's header. The phase is one number that changes by compare-and-swap, so a
//! connection that is told to close has no request under way and never begins one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::Notify;

/// Told to close. Every smaller number is the time since which the connection is idle.
const CLOSING: u64 = u64::MAX - 2;
/// A reply is made and not yet fully sent.
const REPLYING: u64 = u64::MAX - 1;
const BUSY: u64 = u64::MAX;

/// The length of a body that is sent in chunks.
const UNKNOWN: u64 = u64::MAX;

/// The state of one connection.
#[derive(Debug)]
pub(in crate::server) struct ConnectionState {
    phase: AtomicU64,
    /// The length of the last request's body, as declared; [`UNKNOWN`] if it was not.
    body_bytes: AtomicU64,
    close: Notify,
    signals: Arc<ConnectionSignals>,
}

/// State that the connections of one listener share.
#[derive(Debug)]
pub(super) struct ConnectionSignals {
    started: Instant,
    /// Whether a newcomer waits for a permit.
    wanted: AtomicBool,
    /// A permit may be free, or a connection idle.
    change: Notify,
}

impl ConnectionSignals {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            wanted: AtomicBool::new(false),
            change: Notify::new(),
        })
    }

    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(0)
    }

    pub(super) fn want(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::SeqCst);
    }

    pub(super) fn tell(&self) {
        self.change.notify_one();
    }

    pub(super) async fn changed(&self) {
        self.change.notified().await;
    }
}

impl ConnectionState {
    /// A connection that is opened now.
    pub(super) fn new(signals: &Arc<ConnectionSignals>, now_us: u64) -> Self {
        let (phase, body_bytes) = (AtomicU64::new(now_us), AtomicU64::new(UNKNOWN));
        Self { phase, body_bytes, close: Notify::new(), signals: Arc::clone(signals) }
    }

    /// When it became idle; `None` if it is not.
    pub(in crate::server) fn idle_since(&self) -> Option<u64> {
        let phase = self.phase.load(Ordering::SeqCst);
        (phase < CLOSING).then_some(phase)
    }

    /// Tells it to close if it has been idle since `since_us` without a break; says whether it did.
    pub(super) fn tell_to_close(&self, since_us: u64) -> bool {
        let told = self.swap(since_us, CLOSING);
        if told {
            self.close.notify_one();
        }
        told
    }

    /// A request's header has come; `body_bytes` is the body's length, if declared. False if the
    /// connection was told to close, so that the request must not begin.
    pub(in crate::server) fn begin(&self, body_bytes: Option<u64>) -> bool {
        // Read by the connection's own task only.
        self.body_bytes.store(body_bytes.unwrap_or(UNKNOWN), Ordering::Relaxed);
        let begun = |phase| (phase != CLOSING).then_some(BUSY);
        self.phase.fetch_update(Ordering::SeqCst, Ordering::SeqCst, begun).is_ok()
    }

    /// All of the reply is made.
    pub(in crate::server) fn reply_made(&self) {
        self.swap(BUSY, REPLYING);
    }

    /// The length of the last request's body, if it was declared.
    pub(in crate::server) fn body_bytes(&self) -> Option<u64> {
        let bytes = self.body_bytes.load(Ordering::Relaxed);
        (bytes != UNKNOWN).then_some(bytes)
    }

    /// All bytes so far are sent. If they end a reply, the connection is idle from now on; says
    /// whether they did.
    pub(in crate::server) fn sent(&self) -> bool {
        self.phase.load(Ordering::SeqCst) == REPLYING && self.idle_from(self.signals.now_us())
    }

    pub(super) fn idle_from(&self, now_us: u64) -> bool {
        let idle = self.swap(REPLYING, now_us);
        // Connections become idle all the time, and mostly nobody waits.
        if idle && self.signals.wanted.load(Ordering::SeqCst) {
            self.signals.tell();
        }
        idle
    }

    /// Returns when the connection is to be closed at once.
    pub(in crate::server) async fn told_to_close(&self) {
        self.close.notified().await;
    }

    fn swap(&self, from: u64, to: u64) -> bool {
        self.phase.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}
