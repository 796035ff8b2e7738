//! How guests get slots, and how plugins share them.

use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::{JoinSet, yield_now};

use super::super::GRACE;
use super::*;
use crate::clock;

fn spin(time: Duration) {
    let until = clock::thread_cpu() + time;
    while clock::thread_cpu() < until {}
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A guest that computes for so many ticks.
async fn computes(ticks: usize, mut tick: impl FnMut()) {
    for _ in 0..ticks {
        tick();
        yield_now().await;
    }
}

/// The meter of a guest that has used up its grace.
fn cpu_bound() -> GuestMeter {
    let meter = GuestMeter::default();
    let _ = meter.poll(pin!(async { spin(GRACE) }), &mut Context::from_waker(Waker::noop()));
    meter
}

/// Runs guests of two polls until one was short, as all are whose thread is not stopped in a poll;
/// its meter.
async fn short_guest(plugin: &PluginSlots) -> GuestMeter {
    for _ in 0..100 {
        let meter = GuestMeter::default();
        plugin.run(computes(1, || ()), &meter).await;
        if !meter.is_cpu_bound() {
            return meter;
        }
    }
    panic!("none was short");
}

/// Runs so many guests of a plugin until each has seen `ticks`; how many of them computed at once.
async fn most_at_once(plugin: &Arc<PluginSlots>, guests: usize, ticks: usize) -> usize {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut running = JoinSet::new();
    for _ in 0..guests {
        let (plugin, now, most) = (plugin.clone(), now.clone(), most.clone());
        running.spawn(async move {
            let tick = || {
                most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                // Long enough that others would come in, if they could.
                (0..100).for_each(|_| thread::yield_now());
                now.fetch_sub(1, SeqCst);
            };
            plugin.run(computes(ticks, tick), &cpu_bound()).await;
        });
    }
    running.join_all().await;
    most.load(SeqCst)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn guests_that_compute_leave_a_core_while_short_ones_run() {
    let slots = RunSlots::new(2);
    let (one, short) = (Arc::new(slots.plugin()), slots.plugin());
    // Alone it may use both: each of two guests computes until it has seen the other one do so.
    let both = Arc::new(std::sync::Barrier::new(2));
    let mut guests = JoinSet::new();
    for _ in 0..2 {
        let (one, both) = (one.clone(), both.clone());
        let meet = move || {
            both.wait();
        };
        guests.spawn(async move { one.run(computes(1, meet), &cpu_bound()).await });
    }
    guests.join_all().await;
    assert_eq!(slots.0.short_us.load(Relaxed), 0, "none of these was short");
    short_guest(&short).await;
    assert!(slots.0.short_us.load(Relaxed) > 0);
    // As if one ran again and again.
    slots.0.short_us.store(u64::MAX - LEFT_FREE_US, Relaxed);
    assert_eq!(most_at_once(&one, 4, 20).await, 1);
}

#[test]
fn the_last_core_is_left_free_for_a_while() {
    let slots = RunSlots::new(2);
    assert!(slots.0.is_last_core_free(0), "no short guest has run yet");
    slots.0.short_us.store(7, Relaxed);
    assert!(!slots.0.is_last_core_free(7 + LEFT_FREE_US - 1));
    assert!(slots.0.is_last_core_free(7 + LEFT_FREE_US));
}

#[test]
fn a_guest_in_line_for_the_last_core_looks_again_when_it_gets_it() {
    let slots = RunSlots::new(2);
    let (plugin, meter) = (slots.plugin(), cpu_bound());
    let taken = (slots.0.usual.try_acquire().unwrap(), slots.0.spare.try_acquire().unwrap());
    let mut guest = pin!(plugin.run(async {}, &meter));
    assert!(poll_once(guest.as_mut()).is_pending());
    slots.0.short_us.store(u64::MAX - LEFT_FREE_US, Relaxed);
    drop(taken.1);
    assert!(poll_once(guest.as_mut()).is_pending(), "a short guest has run meanwhile");
    drop(taken.0);
    assert!(poll_once(guest.as_mut()).is_ready());
}

#[test]
fn a_guest_that_uses_up_its_grace_is_no_short_one() {
    let slots = RunSlots::new(2);
    let (plugin, meter) = (slots.plugin(), GuestMeter::default());
    assert!(poll_once(pin!(plugin.run(async { spin(GRACE) }, &meter))).is_ready());
    assert_eq!(slots.0.short_us.load(Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_one_core_one_guest_computes_at_a_time() {
    assert_eq!(most_at_once(&Arc::new(RunSlots::new(1).plugin()), 4, 20).await, 1);
}

#[tokio::test]
async fn guests_of_a_plugin_alternate() {
    let (plugin, order) = (RunSlots::new(1).plugin(), Mutex::new(String::new()));
    let notes = |name| {
        computes(10, {
            let order = &order;
            move || order.lock().unwrap().push(name)
        })
    };
    let (one, other) = (cpu_bound(), cpu_bound());
    tokio::join!(plugin.run(notes('a'), &one), plugin.run(notes('b'), &other));
    let order = order.lock().unwrap();
    assert!(order.len() == 20 && !order.contains("aaa") && !order.contains("bbb"), "{order}");
}

#[test]
fn many_guests_of_a_plugin_do_not_push_another_plugin_back() {
    let slots = RunSlots::new(1);
    let (crowded, single, order) = (slots.plugin(), slots.plugin(), Mutex::new(String::new()));
    let meters: [GuestMeter; 4] = std::array::from_fn(|_| cpu_bound());
    let guest = |plugin, name, meter| {
        let order = &order;
        let tick = move || order.lock().unwrap().push(name);
        Box::pin(PluginSlots::run(plugin, computes(2, tick), meter))
    };
    let taken = slots.0.usual.try_acquire().unwrap();
    let mut line: Vec<_> = meters[..3].iter().map(|meter| guest(&crowded, 'a', meter)).collect();
    line.push(guest(&single, 'b', &meters[3]));
    line.iter_mut().for_each(|guest| assert!(poll_once(guest.as_mut()).is_pending()));
    drop(taken);
    line.iter_mut().for_each(|guest| assert!(poll_once(guest.as_mut()).is_pending()));
    assert_eq!(*order.lock().unwrap(), "ab", "the other guests of the first plugin stand behind");
}

#[test]
fn a_guest_that_waits_for_the_host_holds_no_slot() {
    let slots = RunSlots::new(1);
    let (plugin, meter) = (slots.plugin(), cpu_bound());
    let mut waits = pin!(plugin.run(std::future::pending::<()>(), &meter));
    assert!(poll_once(waits.as_mut()).is_pending());
    let free = (slots.0.usual.available_permits(), plugin.own.available_permits());
    assert_eq!(free, (1, 1));
}

#[tokio::test]
async fn a_guest_is_cpu_bound_when_its_polls_make_up_the_grace() {
    let plugin = RunSlots::new(1).plugin();
    let meter = short_guest(&plugin).await;
    assert!(!meter.is_cpu_bound() && !plugin.last_was_cpu_bound.load(Relaxed));
    plugin.run(computes(6, || spin(GRACE / 5)), &meter).await;
    assert!(meter.is_cpu_bound() && plugin.last_was_cpu_bound.load(Relaxed));
    short_guest(&plugin).await;
    assert!(!plugin.last_was_cpu_bound.load(Relaxed), "the last one was not");
}

#[tokio::test]
async fn the_cpu_time_of_a_guest_is_counted() {
    let meter = cpu_bound();
    RunSlots::new(1).plugin().run(computes(4, || spin(Duration::from_millis(3))), &meter).await;
    assert!(meter.computed_ms() >= 12, "{meter:?}");
}

#[test]
fn a_guest_that_is_not_cpu_bound_needs_no_slot() {
    let slots = RunSlots::new(1);
    let _taken = slots.0.usual.try_acquire().unwrap();
    let (plugin, meters) = (slots.plugin(), [(); 100].map(|()| GuestMeter::default()));
    // One whose thread is stopped in a poll counts as CPU-bound, and waits.
    let mut done = meters.iter().filter(|meter| {
        let mut guest = pin!(plugin.run(computes(3, || ()), meter));
        (0..4).any(|_| poll_once(guest.as_mut()).is_ready())
    });
    assert!(done.next().is_some());
}
