//! How guests get to the pool, and how plugins share it.

use std::sync::Mutex;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{JoinSet, yield_now};

use super::super::GRACE;
use super::*;
use crate::clock;

fn pool() -> Pool {
    Pool::new(1).unwrap()
}

fn here() -> thread::ThreadId {
    thread::current().id()
}

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

/// Runs a guest whose attempt begins in the pool.
async fn in_pool(slots: &Slots, guest: impl Future<Output = ()>) {
    slots.run(guest, &Meter::default(), true).await;
}

#[tokio::test]
async fn an_attempt_moves_as_soon_as_it_has_to_and_not_before() {
    let moves = Arc::new(AtomicBool::new(false));
    let attempt = {
        let moves = moves.clone();
        async move {
            let began = here();
            yield_now().await;
            assert_eq!(here(), began);
            moves.store(true, Relaxed);
            yield_now().await;
            (began, here(), thread::current().name().map(str::to_owned))
        }
    };
    let (began, ended, name) = pool().run(Box::pin(attempt), || moves.load(Relaxed)).await;
    assert_eq!(began, here());
    assert_ne!(ended, began);
    assert_eq!(name.as_deref(), Some(NAME));
}

#[tokio::test]
async fn an_attempt_that_nobody_waits_for_ends_in_the_pool() {
    let pool = pool();
    let (begins, begun) = oneshot::channel();
    let (held, ended) = oneshot::channel::<()>();
    let attempt = async move {
        begins.send(()).unwrap();
        std::future::pending::<()>().await;
        drop(held);
    };
    {
        let mut run = pin!(pool.run(Box::pin(attempt), || true));
        assert!(poll_once(run.as_mut()).is_pending());
        begun.await.unwrap();
    }
    assert!(ended.await.is_err(), "what it held is dropped");
    pool.ended().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn tasks_of_an_attempt_run_where_it_came_from_and_with_that_priority() {
    let nice = || rustix::process::getpriority_process(None).unwrap();
    let home = Handle::current().id();
    let attempt = async move {
        let task = tasks::spawn(async { here() }).await.unwrap();
        (here(), Handle::current().id(), task, tasks::blocking(nice).await)
    };
    // The blocking pool of this test's runtime starts its first thread for it.
    let (own, current, of_task, of_blocking) = pool().run(Box::pin(attempt), || true).await;
    assert_ne!(own, here());
    assert_eq!((current, of_task, of_blocking), (home, here(), nice()));
    assert_ne!(pool().run(Box::pin(async move { nice() }), || true).await, nice());
}

#[tokio::test]
#[should_panic(expected = "what happened")]
async fn a_panic_in_the_pool_is_the_callers() {
    pool().run(Box::pin(async { panic!("what happened") }), || true).await
}

#[tokio::test]
async fn one_of_its_threads_may_drop_the_pool() {
    let pool = Arc::new(pool());
    let (go, gone) = oneshot::channel::<()>();
    let (done, ended) = oneshot::channel();
    let last = pool.clone();
    let attempt = async move {
        gone.await.unwrap();
        drop(last);
        done.send(()).unwrap();
    };
    let runtime = pool.runtime.as_ref().unwrap().handle().clone();
    tasks::spawn_on(&runtime, attempt);
    drop(pool);
    go.send(()).unwrap();
    ended.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_plugin_leaves_a_thread_to_another_one_that_wants_it() {
    let pool = Pool::new(2).unwrap();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let other = pool.slots();
    let wants = Wanted::new(&other.0);
    let slots = pool.slots();
    let mut guests = JoinSet::new();
    for _ in 0..4 {
        let (slots, now, most) = (slots.clone(), now.clone(), most.clone());
        guests.spawn(async move {
            let tick = || {
                most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                // Long enough that the others would come in, if they could.
                (0..100).for_each(|_| thread::yield_now());
                now.fetch_sub(1, SeqCst);
            };
            in_pool(&slots, computes(20, tick)).await;
        });
    }
    guests.join_all().await;
    assert_eq!(most.load(SeqCst), 1);
    drop(wants);
    // Alone it may use both: each of two guests computes until it has seen the other one do so.
    let both = Arc::new(std::sync::Barrier::new(2));
    let mut guests = JoinSet::new();
    for _ in 0..2 {
        let (slots, both) = (slots.clone(), both.clone());
        guests.spawn(async move { in_pool(&slots, computes(1, || drop(both.wait()))).await });
    }
    guests.join_all().await;
}

#[tokio::test]
async fn guests_of_a_plugin_alternate() {
    let (slots, order) = (pool().slots(), Mutex::new(String::new()));
    let notes = |name| {
        computes(10, {
            let order = &order;
            move || order.lock().unwrap().push(name)
        })
    };
    tokio::join!(in_pool(&slots, notes('a')), in_pool(&slots, notes('b')));
    let order = order.lock().unwrap();
    assert!(order.len() == 20 && !order.contains("aaa") && !order.contains("bbb"), "{order}");
}

#[test]
fn a_guest_that_waits_for_the_host_holds_no_slot() {
    let slots = pool().slots();
    let mut waits = pin!(in_pool(&slots, std::future::pending::<()>()));
    assert!(poll_once(waits.as_mut()).is_pending());
    assert_eq!((slots.0.own.available_permits(), slots.0.wanting.load(SeqCst)), (1, 0));
}

#[tokio::test]
async fn a_guest_is_cpu_bound_when_its_polls_make_up_the_grace() {
    let (meter, slots) = (Meter::default(), pool().slots());
    slots.run(computes(1, || ()), &meter, false).await;
    assert!(!meter.is_cpu_bound() && !slots.begins_in_pool());
    slots.run(computes(6, || spin(GRACE / 5)), &meter, false).await;
    assert!(meter.is_cpu_bound() && slots.begins_in_pool());
    slots.run(computes(1, || ()), &Meter::default(), true).await;
    assert!(!slots.begins_in_pool(), "the last one was not");
}

#[tokio::test]
async fn the_cpu_time_of_a_guest_is_counted() {
    let meter = Meter::default();
    pool().slots().run(computes(4, || spin(Duration::from_millis(3))), &meter, true).await;
    assert!(meter.computed_ms() >= 12, "{meter:?}");
}

#[tokio::test]
async fn a_guest_that_is_not_cpu_bound_needs_no_slot() {
    let slots = pool().slots();
    let _taken = slots.0.own.clone().try_acquire_owned().unwrap();
    slots.run(computes(3, || ()), &Meter::default(), false).await;
}
