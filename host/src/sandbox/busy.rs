//! Busy guests share a few places: who has computed for longer than a first look goes on in one of them, slice by slice.
//!
//! A guest that ends within its first look, which is the usual one, never comes here, nor to the threads apart on which busy
//! ones compute (`apart.rs`). Places are had in turn: among the guests of a plugin, and then among plugins, so that a plugin
//! with many busy guests takes no more than one with a single one. Waiting for a place counts against the timeout,
//! because whatever bounds the attempt goes on meanwhile.
//!
//! A first look is a worker's for a millisecond or two, and many guests that begin at once have one each, one after the
//! other. So a plugin whose guests are busy anyway has none: they begin apart and at a place, until one of them has ended
//! without being busy. The same goes for steps that nothing interrupts, such as filling a large memory: a guest that is in
//! one cannot be told to look for a place.
//!
//! To clear a large memory that a guest held cannot be interrupted either, and is done at a place; no verdict waits for that.
//!
//! Invariant: no more busy guests compute at once than there are places, and a guest that waits for the host holds none.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, ready};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock;

/// How long a guest computes before it gives its worker back, and after which it is busy.
const SLICE: Duration = Duration::from_millis(1);

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
}

impl Pace {
    /// Whether the slice that the guest is in is over.
    pub(super) fn slice_is_over(&self, now: Duration) -> bool {
        u128::from(self.slice_us(now)) >= SLICE.as_micros()
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
    /// No more guests of a plugin stand at the places than there are places: the others wait here.
    own: Arc<Semaphore>,
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
        let own = Arc::new(Semaphore::new(self.count));
        Queue { own, places: self.free.clone(), heavy: Arc::default() }
    }
}

impl Queue {
    /// Waits for a place. Both semaphores are fair: first come, first served.
    async fn place(self) -> (OwnedSemaphorePermit, OwnedSemaphorePermit) {
        let never_closed = "the semaphore is never closed";
        let own = self.own.acquire_owned().await.expect(never_closed);
        (own, self.places.acquire_owned().await.expect(never_closed))
    }

    /// Whether a guest that begins now has no first look.
    pub(super) fn begins_at_place(&self) -> bool {
        self.heavy.load(Ordering::Relaxed)
    }

    /// Runs a guest; as soon as it is busy, only in a place, which it gives up whenever it yields or waits.
    /// `begins_at_place` was asked when its attempt began.
    pub(super) async fn run<F: Future>(&self, guest: F, pace: &Pace, begins_at_place: bool) -> F::Output {
        let mut guest = pin!(guest);
        let mut waiting = None;
        let mut step = |cx: &mut Context<'_>, at_place: bool| {
            let began = clock::thread_cpu();
            pace.begin_slice(began);
            let polled = guest.as_mut().poll(cx);
            let ended = clock::thread_cpu();
            pace.end_slice(ended);
            if at_place {
                pace.computed(ended.saturating_sub(began));
            }
            if pace.is_busy() || polled.is_ready() {
                self.heavy.store(pace.is_busy(), Ordering::Relaxed);
            }
            polled
        };
        poll_fn(|cx| {
            if !begins_at_place && !pace.is_busy() {
                return step(cx, false);
            }
            let place = waiting.get_or_insert_with(|| Box::pin(self.clone().place()));
            let place = ready!(place.as_mut().poll(cx));
            waiting = None;
            let polled = step(cx, true);
            drop(place);
            polled
        })
        .await
    }

    /// Does at a place what takes its time and cannot be interrupted.
    pub(super) async fn at_place(&self, step: impl FnOnce()) {
        let _place = self.clone().place().await;
        step();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::{Poll, Waker};
    use std::thread;

    use tokio::task::JoinSet;

    use super::*;

    /// Of a guest that is busy.
    fn busy() -> Pace {
        Pace { busy: AtomicBool::new(true), ..Pace::default() }
    }

    fn spin(time: Duration) {
        let until = clock::thread_cpu() + time;
        while clock::thread_cpu() < until {}
    }

    /// Runs one that begins now.
    async fn run(queue: &Queue, guest: impl Future<Output = ()>, pace: &Pace) {
        queue.run(guest, pace, queue.begins_at_place()).await;
    }

    /// A guest that computes for so many slices, and does `slice` in each.
    async fn computes(slices: usize, mut slice: impl FnMut()) {
        for _ in 0..slices {
            slice();
            yield_now().await;
        }
    }

    /// Yields as a guest does whose slice is over: woken at once, and not when the runtime has nothing else to do.
    async fn yield_now() {
        let mut yielded = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_more_busy_guests_compute_at_once_than_there_are_places() {
        const PLACES: usize = 2;
        let places = Places::new(PLACES);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut guests = JoinSet::new();
        for queue in [places.queue(), places.queue()] {
            for _ in 0..8 {
                let (queue, now, most) = (queue.clone(), now.clone(), most.clone());
                guests.spawn(async move {
                    let slice = || {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        // Long enough that the others would come in, if they could.
                        (0..100).for_each(|_| thread::yield_now());
                        now.fetch_sub(1, Ordering::SeqCst);
                    };
                    run(&queue, computes(20, slice), &busy()).await;
                });
            }
        }
        guests.join_all().await;
        let most = most.load(Ordering::SeqCst);
        assert!((1..=PLACES).contains(&most), "{most} computed at once");
    }

    #[test]
    fn a_plugin_with_many_busy_guests_takes_no_more_than_one_with_a_single_one() {
        const SLICES: usize = 60;
        let places = Places::new(1);
        let (crowd, single) = (places.queue(), places.queue());
        let mut cx = Context::from_waker(Waker::noop());
        let mut taken = places.free.clone().try_acquire_owned().ok().map(|place| vec![place]);
        let mut waiting = Vec::new();
        for (plugin, queue) in std::iter::repeat_n(("crowd", &crowd), 20).chain([("single", &single)]) {
            let mut place = Box::pin(queue.clone().place());
            assert!(place.as_mut().poll(&mut cx).is_pending());
            waiting.push((plugin, queue, place));
        }
        let mut slices = Vec::new();
        for _ in 0..SLICES {
            // The slice is over, and somebody else has the place.
            drop(taken.take());
            let mut had = waiting.iter_mut().filter_map(|(plugin, queue, place)| {
                let Poll::Ready((own, shared)) = place.as_mut().poll(&mut cx) else { return None };
                slices.push(*plugin);
                // Who has had a slice stands in line again.
                *place = Box::pin(queue.clone().place());
                assert!(place.as_mut().poll(&mut cx).is_pending());
                Some(vec![own, shared])
            });
            taken = had.next();
            assert!(taken.is_some(), "a free place is taken");
            assert_eq!(had.count(), 0, "there is one place");
        }
        let of_single = slices.iter().filter(|plugin| **plugin == "single").count();
        assert!(of_single.abs_diff(SLICES / 2) <= 1, "{of_single} of {SLICES} slices");
    }

    #[tokio::test]
    async fn a_guest_that_waits_for_the_host_holds_no_place() {
        let places = Places::new(1);
        let queue = places.queue();
        let pace = busy();
        let mut waits = pin!(run(&queue, std::future::pending::<()>(), &pace));
        poll_fn(|cx| {
            assert!(waits.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        assert_eq!(places.free.available_permits(), 1);
    }

    #[test]
    fn a_guest_is_busy_when_it_has_computed_for_a_slice() {
        let (pace, began) = (Pace::default(), Duration::from_secs(1));
        pace.begin_slice(began);
        pace.end_slice(began + SLICE / 2);
        assert!(!pace.is_busy());
        pace.begin_slice(began);
        assert!(!pace.slice_is_over(began + SLICE / 4), "its first look goes on");
        assert!(pace.slice_is_over(began + SLICE / 2), "what it has computed before counts");
        pace.end_slice(began + SLICE / 2);
        assert!(pace.is_busy());
        pace.begin_slice(began);
        assert!(!pace.slice_is_over(began + SLICE / 2), "each slice is a whole one");
    }

    #[tokio::test]
    async fn a_guest_that_computes_in_bites_is_busy_as_soon_as_they_make_a_slice() {
        let (pace, queue) = (Pace::default(), Places::new(1).queue());
        run(&queue, computes(6, || spin(SLICE / 5)), &pace).await;
        assert!(pace.is_busy());
    }

    #[tokio::test]
    async fn what_a_busy_guest_computes_is_counted() {
        let pace = busy();
        run(&Places::new(1).queue(), computes(4, || spin(Duration::from_millis(3))), &pace).await;
        let computed_ms = pace.computed_ms();
        assert!(computed_ms >= 12, "{computed_ms}");
    }

    #[tokio::test]
    async fn a_plugin_whose_guests_end_with_a_long_step_begins_at_a_place_until_one_does_not() {
        let places = Places::new(1);
        let queue = places.queue();
        run(&queue, async { spin(2 * SLICE) }, &Pace::default()).await;
        {
            let taken = places.free.clone().try_acquire_owned().unwrap();
            let not_busy = Pace::default();
            let mut next = pin!(run(&queue, computes(1, || ()), &not_busy));
            assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            drop(taken);
            next.await;
        }
        let _taken = places.free.clone().try_acquire_owned().unwrap();
        run(&queue, computes(1, || ()), &Pace::default()).await;
    }

    #[tokio::test]
    async fn a_guest_that_is_kept_from_its_core_is_not_busy_for_that() {
        let places = Places::new(1);
        let queue = places.queue();
        // Its thread stands still while another one computes.
        let kept_off = || thread::scope(|scope| drop(scope.spawn(|| spin(2 * SLICE)).join()));
        // The first thread may have to have its code read from a disk.
        kept_off();
        run(&queue, computes(1, kept_off), &Pace::default()).await;
        let _taken = places.free.clone().try_acquire_owned().unwrap();
        run(&queue, computes(1, || ()), &Pace::default()).await;
    }

    #[tokio::test]
    async fn what_is_done_at_a_place_waits_for_one() {
        let places = Places::new(1);
        let queue = places.queue();
        let taken = places.free.clone().try_acquire_owned().unwrap();
        let mut step = pin!(queue.at_place(|| assert_eq!(places.free.available_permits(), 0)));
        assert!(step.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(taken);
        step.await;
    }

    #[tokio::test]
    async fn a_plugin_whose_last_guest_was_busy_has_no_first_look() {
        let places = Places::new(1);
        let queue = places.queue();
        run(&queue, computes(1, || ()), &busy()).await;
        let taken = places.free.clone().try_acquire_owned().unwrap();
        let not_busy = Pace::default();
        let mut next = pin!(run(&queue, computes(1, || ()), &not_busy));
        assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(taken);
        next.await;
    }

    #[tokio::test]
    async fn a_guest_that_is_not_busy_needs_no_place() {
        let places = Places::new(1);
        let _taken = places.free.clone().try_acquire_owned().unwrap();
        run(&places.queue(), computes(3, || ()), &Pace::default()).await;
    }
}
