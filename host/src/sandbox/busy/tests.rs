//! How guests get to the places, and what they leave them for.

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::task::Waker;
use std::thread;

use tokio::task::JoinSet;

use super::*;

/// Of a guest that is busy.
fn busy() -> Arc<Pace> {
    Arc::new(Pace { busy: AtomicBool::new(true), ..Pace::default() })
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
        Arc::<Pace>::default().give_way().await;
    }
}

/// A guest that computes for so many whole slices, notes its name after each, and gives way.
async fn notes(slices: usize, name: char, pace: Arc<Pace>, into: &Mutex<String>) {
    for _ in 0..slices {
        spin(SLICE);
        into.lock().unwrap().push(name);
        pace.clone().give_way().await;
    }
}

/// How often `order` goes from one name to another.
fn changes(order: &str) -> usize {
    order.as_bytes().windows(2).filter(|pair| pair[0] != pair[1]).count()
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
    let mut taken = places.free.clone().try_acquire_owned().ok();
    let mut waiting = Vec::new();
    for (plugin, queue) in std::iter::repeat_n(("crowd", &crowd), 20).chain([("single", &single)]) {
        let mut place = Box::pin(queue.clone().place(None));
        assert!(place.as_mut().poll(&mut cx).is_pending());
        waiting.push((plugin, queue, place));
    }
    let mut slices = Vec::new();
    for _ in 0..SLICES {
        // The slice is over, and somebody else has the place.
        drop(taken.take());
        let mut had = waiting.iter_mut().filter_map(|(plugin, queue, place)| {
            let Poll::Ready((turn, shared)) = place.as_mut().poll(&mut cx) else { return None };
            slices.push(*plugin);
            // Who has had a slice stands in line again, now and then after its siblings.
            let turn = (slices.len() % 20 > 0).then_some(turn);
            *place = Box::pin(queue.clone().place(turn));
            assert!(place.as_mut().poll(&mut cx).is_pending());
            Some(shared)
        });
        taken = had.next();
        assert!(taken.is_some(), "a free place is taken");
        assert_eq!(had.count(), 0, "there is one place");
    }
    let of_single = slices.iter().filter(|plugin| **plugin == "single").count();
    assert!(of_single.abs_diff(SLICES / 2) <= 1, "{of_single} of {SLICES} slices");
}

#[tokio::test]
async fn guests_of_a_plugin_take_turns_of_many_slices() {
    const SLICES: usize = 30;
    let (queue, order) = (Places::new(1).queue(), Mutex::default());
    let (one, other) = (busy(), busy());
    tokio::join!(
        run(&queue, notes(SLICES, 'a', one.clone(), &order), &one),
        run(&queue, notes(SLICES, 'b', other.clone(), &order), &other)
    );
    let order = order.into_inner().unwrap();
    assert_eq!(order.len(), 2 * SLICES);
    // Each a whole turn, and then what is left; more, if the thread was charged for what others did.
    assert!((3..=9).contains(&changes(&order)), "{order}");
}

#[test]
fn in_the_middle_of_a_turn_other_plugins_go_on_and_siblings_do_not() {
    let (places, order) = (Places::new(1), Mutex::default());
    let (queue, of_others) = (places.queue(), places.queue());
    let [first, sibling, other] = [busy(), busy(), busy()];
    let mut first_runs = Box::pin(run(&queue, notes(9, 'a', first.clone(), &order), &first));
    let mut sibling_runs = pin!(run(&queue, notes(9, 'b', sibling.clone(), &order), &sibling));
    let mut other_runs = pin!(run(&of_others, notes(9, 'c', other.clone(), &order), &other));
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..2 {
        assert!(first_runs.as_mut().poll(&mut cx).is_pending());
        assert!(sibling_runs.as_mut().poll(&mut cx).is_pending());
        assert!(other_runs.as_mut().poll(&mut cx).is_pending());
    }
    assert_eq!(*order.lock().unwrap(), "acac");
    // Its time is up.
    drop(first_runs);
    assert!(sibling_runs.as_mut().poll(&mut cx).is_pending());
    assert_eq!(*order.lock().unwrap(), "acacb");
}

#[test]
fn a_guest_that_waits_for_the_host_ends_its_turn() {
    let queue = Places::new(1).queue();
    let (pace, order) = (busy(), Mutex::default());
    let computes_and_waits = async {
        notes(2, 'a', pace.clone(), &order).await;
        std::future::pending::<()>().await;
    };
    let mut waits = pin!(run(&queue, computes_and_waits, &pace));
    let mut cx = Context::from_waker(Waker::noop());
    for free in [0, 0, 1] {
        assert!(waits.as_mut().poll(&mut cx).is_pending());
        assert_eq!(queue.turns.available_permits(), free);
    }
    assert_eq!(*order.lock().unwrap(), "aa");
}

#[test]
fn a_guest_that_gives_way_and_goes_on_at_once_and_waits_ends_its_turn() {
    let queue = Places::new(1).queue();
    let pace = busy();
    let mut guest = pin!(async {
        pace.clone().give_way().await;
        std::future::pending::<()>().await;
    });
    // As whoever looks for an answer does that the guest has given meanwhile.
    let polled_twice = poll_fn(|cx| {
        assert!(guest.as_mut().poll(cx).is_pending());
        guest.as_mut().poll(cx)
    });
    let mut waits = pin!(run(&queue, polled_twice, &pace));
    assert!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(queue.turns.available_permits(), 1);
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
