//! Busy guests share a few places: who has computed for longer than a first look goes on in one of them, slice by slice.
//!
//! A guest that ends within its first look, which is the usual one, never comes here, nor to the threads apart on which busy
//! ones compute (`apart.rs`). Waiting for a place counts against the timeout, because whatever bounds the attempt goes on
//! meanwhile.
//!
//! Plugins take turns slice by slice, so that one with many busy guests takes no more than one with a single one. No more guests
//! of a plugin take part than there are places, and each for a turn of many slices: what guests do to their memories
//! drives that of others out of the caches that the cores share, and the more of them alternate, the more.
//!
//! A first look is a worker's for a millisecond or two, and many guests that begin at once have one each, one after the
//! other. So a plugin whose guests are busy anyway has none: they begin apart and at a place, until one of them has ended
//! without being busy. The same goes for steps that nothing interrupts, such as filling a large memory: a guest that is in
//! one cannot be told to look for a place.
//!
//! To clear a large memory that a guest held cannot be interrupted either, and is done at a place; no verdict waits for that.
//!
//! Invariant: no more busy guests compute at once than there are places, and a guest that waits for the host holds
//! none, and no turn.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock;

/// How long a guest computes before it gives its worker back, and after which it is busy.
const SLICE: Duration = Duration::from_millis(1);

/// How long a busy guest computes, slice by slice, before another one of its plugin goes on. A wait for the host ends its turn.
const TURN: Duration = Duration::from_millis(20);

/// What a guest has computed, seen from outside while it runs. All times are of the thread that it runs on: what a guest
/// waits for its core is not its own doing.
#[derive(Debug, Default)]
pub(super) struct Pace {
    busy: AtomicBool,
    /// Since it is busy, in microseconds.
    computed_us: AtomicU64,
    /// When the present slice began, in microseconds.
    slice_began_us: AtomicU64,
    /// What the guest has taken of its first look before it waited for the host, in microseconds.
    first_look_us: AtomicU64,
    /// Whether the guest has given way and could go on; it does not wait for the host.
    gave_way: AtomicBool,
}

impl Pace {
    /// Whether the slice that the guest is in is over.
    pub(super) fn slice_is_over(&self, now: Duration) -> bool {
        u128::from(self.slice_us(now)) >= SLICE.as_micros()
    }

    /// What the guest awaits when its slice is over.
    pub(super) async fn give_way(self: Arc<Self>) {
        poll_fn(|cx| {
            if self.gave_way.fetch_not(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Whether the guest has computed for longer than its first look.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    /// A slice begins: a whole one, or what is left of the first look.
    fn begin_slice(&self, now: Duration) {
        let taken_us = if self.is_busy() { 0 } else { self.first_look_us.load(Ordering::Relaxed) };
        self.slice_began_us.store(us(now).saturating_sub(taken_us), Ordering::Relaxed);
    }

    /// The guest waits, gives way or ends. Computing in bites, with a wait after each, is computing all the same, and so is a
    /// step that nothing interrupts.
    fn end_slice(&self, now: Duration) {
        self.first_look_us.store(self.slice_us(now), Ordering::Relaxed);
        if self.slice_is_over(now) {
            self.busy.store(true, Ordering::Relaxed);
        }
    }

    fn slice_us(&self, now: Duration) -> u64 {
        us(now).saturating_sub(self.slice_began_us.load(Ordering::Relaxed))
    }

    fn gave_way(&self) -> bool {
        self.gave_way.load(Ordering::Relaxed)
    }

    /// What it has computed since it is busy, up to the slice that it is in, in milliseconds.
    pub(super) fn computed_ms(&self) -> u64 {
        self.computed_us.load(Ordering::Relaxed) / 1_000
    }

    fn computed(&self, slice: Duration) {
        self.computed_us.fetch_add(us(slice), Ordering::Relaxed);
    }
}

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The places of a sandbox.
#[derive(Debug, Clone)]
pub(super) struct Places {
    count: usize,
    free: Arc<Semaphore>,
}

/// The way of one plugin's guests to the places.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    /// No more guests of a plugin have a turn at once than there are places: the others wait here.
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
    /// Whether guests begin at a place: the last one was busy.
    heavy: Arc<AtomicBool>,
}

impl Places {
    /// So many, and at least one.
    pub(super) fn new(count: usize) -> Self {
        let count = count.max(1);
        Self { count, free: Arc::new(Semaphore::new(count)) }
    }

    /// Whether a busy guest computes now.
    pub(super) fn any_taken(&self) -> bool {
        self.free.available_permits() < self.count
    }

    /// A queue for one plugin.
    pub(super) fn queue(&self) -> Queue {
        let turns = Arc::new(Semaphore::new(self.count));
        Queue { turns, places: self.free.clone(), heavy: Arc::default() }
    }
}

impl Queue {
    /// Waits for a place, after the others of its plugin unless its turn goes on. Both semaphores are fair: first come,
    /// first served.
    async fn place(self, turn: Option<OwnedSemaphorePermit>) -> (OwnedSemaphorePermit, OwnedSemaphorePermit) {
        let never_closed = "the semaphore is never closed";
        let turn = match turn {
            Some(turn) => turn,
            None => self.turns.acquire_owned().await.expect(never_closed),
        };
        (turn, self.places.acquire_owned().await.expect(never_closed))
    }

    /// Whether a guest that begins now has no first look.
    pub(super) fn begins_at_place(&self) -> bool {
        self.heavy.load(Ordering::Relaxed)
    }

    /// Runs a guest; as soon as it is busy, only in a place, which it gives up whenever it gives way or waits. After it gave way
    /// it is the next of its plugin to have one, until its turn is over. `begins_at_place` was asked when its attempt began.
    pub(super) async fn run<F: Future>(&self, guest: F, pace: &Pace, begins_at_place: bool) -> F::Output {
        let mut guest = pin!(guest);
        let mut step = |cx: &mut Context<'_>| {
            let began = clock::thread_cpu();
            pace.begin_slice(began);
            let polled = guest.as_mut().poll(cx);
            let ended = clock::thread_cpu();
            pace.end_slice(ended);
            if pace.is_busy() || polled.is_ready() {
                self.heavy.store(pace.is_busy(), Ordering::Relaxed);
            }
            (polled, ended.saturating_sub(began))
        };
        let (mut waiting, mut turn, mut computed) = (None, None, Duration::ZERO);
        poll_fn(|cx| {
            if !begins_at_place && !pace.is_busy() {
                return step(cx).0;
            }
            let place = waiting.get_or_insert_with(|| Box::pin(self.clone().place(turn.take())));
            let (held, place) = ready!(place.as_mut().poll(cx));
            waiting = None;
            let (polled, slice) = step(cx);
            drop(place);
            pace.computed(slice);
            computed += slice;
            if pace.gave_way() && computed < TURN {
                turn = Some(held);
            } else {
                computed = Duration::ZERO;
            }
            polled
        })
        .await
    }

    /// Does at a place what takes its time and cannot be interrupted.
    pub(super) async fn at_place(&self, step: impl FnOnce()) {
        let _place = self.clone().place(None).await;
        step();
    }
}

#[cfg(test)]
mod tests;
