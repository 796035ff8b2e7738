//! Threads for attempts whose guests are busy.
//!
//! They give way to all others and leave a core to them: a guest that computes delays neither acknowledgements nor the
//! guests that do not. An attempt
//! begins on the worker that took it up, like any other, and is a task of these threads from the moment at which it is busy.
//! What it starts there (a read of a key, a connection that others use after it) it starts on the runtime that it came from.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::Poll;

use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::tasks;

const NAME: &str = "hookbox-busy";

/// The threads.
#[derive(Debug)]
pub(super) struct Apart {
    runtime: Option<Runtime>,
    tasks: TaskTracker,
}

impl Apart {
    /// For so many guests that compute at once, and one thread more: who waits for a place is told when its time is up.
    pub(super) fn new(places: usize) -> io::Result<Self> {
        let runtime = Some(tasks::yielding_runtime(NAME, places + 1)?);
        Ok(Self { runtime, tasks: TaskTracker::new() })
    }

    /// Runs an attempt where it is called, and moves it to these threads when `moves` says so.
    pub(super) async fn run<F>(&self, mut attempt: Pin<Box<F>>, moves: impl Fn() -> bool) -> F::Output
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let ended = poll_fn(|cx| if moves() { Poll::Ready(None) } else { attempt.as_mut().poll(cx).map(Some) }).await;
        if let Some(ended) = ended {
            return ended;
        }
        let home = Handle::current();
        let moved = poll_fn(move |cx| {
            let _current = home.enter();
            attempt.as_mut().poll(cx)
        });
        match AbortOnDropHandle::new(self.spawn(moved)).await {
            Ok(ended) => ended,
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }

    /// Starts a task on these threads.
    pub(super) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let runtime = self.runtime.as_ref().expect("it is there until it is dropped");
        tasks::spawn_on(runtime.handle(), self.tasks.track_future(future))
    }

    /// Waits until nothing is left of attempts that nobody waits for any more.
    pub(super) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // May be dropped by one of its own threads, which cannot wait for itself.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Waker};
    use std::thread;

    use tokio::sync::oneshot;

    use super::*;

    fn apart() -> Apart {
        Apart::new(1).unwrap()
    }

    fn here() -> thread::ThreadId {
        thread::current().id()
    }

    /// By its priority, and by the cores that it may run on.
    #[cfg(target_os = "linux")]
    fn standing() -> (i32, u32) {
        let cores = rustix::thread::sched_getaffinity(None).unwrap();
        (rustix::process::getpriority_process(None).unwrap(), cores.count())
    }

    async fn yield_now() {
        tokio::task::yield_now().await;
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
                moves.store(true, Ordering::Relaxed);
                yield_now().await;
                (began, here(), thread::current().name().map(str::to_owned))
            }
        };
        let (began, ended, name) = apart().run(Box::pin(attempt), || moves.load(Ordering::Relaxed)).await;
        assert_eq!(began, here());
        assert_ne!(ended, began);
        assert_eq!(name.as_deref(), Some(NAME));
    }

    #[tokio::test]
    async fn an_attempt_that_has_to_be_apart_from_its_beginning_begins_there() {
        assert_ne!(apart().run(Box::pin(async { here() }), || true).await, here());
    }

    #[tokio::test]
    async fn an_attempt_that_nobody_waits_for_ends_where_it_has_moved_to() {
        let apart = apart();
        let (begins, begun) = oneshot::channel();
        let (held, ended) = oneshot::channel::<()>();
        let attempt = async move {
            begins.send(()).unwrap();
            std::future::pending::<()>().await;
            drop(held);
        };
        {
            let mut run = pin!(apart.run(Box::pin(attempt), || true));
            assert!(run.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            begun.await.unwrap();
        }
        assert!(ended.await.is_err(), "what it held is dropped");
        apart.ended().await;
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_an_attempt_starts_is_started_where_it_came_from() {
        let home = Handle::current().id();
        let attempt = async {
            (
                here(),
                Handle::current().id(),
                tasks::spawn(async { here() }).await.unwrap(),
                tasks::blocking(standing).await,
            )
        };
        // The pool of this test's runtime starts its first thread for it.
        let (own, current, of_task, of_blocking) = apart().run(Box::pin(attempt), || true).await;
        assert_ne!(own, here());
        assert_eq!((current, of_task), (home, here()));
        assert_eq!(of_blocking, standing());
        assert_ne!(apart().run(Box::pin(async { standing() }), || true).await, standing());
    }

    #[tokio::test]
    #[should_panic(expected = "what happened")]
    async fn a_panic_is_the_callers_wherever_it_happens() {
        apart().run(Box::pin(async { panic!("what happened") }), || true).await
    }

    #[tokio::test]
    async fn one_of_the_threads_may_be_the_last_that_has_them() {
        let apart = Arc::new(apart());
        let (go, gone) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel();
        let last = apart.clone();
        apart.spawn(async move {
            gone.await.unwrap();
            drop(last);
            done.send(()).unwrap();
        });
        drop(apart);
        go.send(()).unwrap();
        ended.await.unwrap();
    }
}
