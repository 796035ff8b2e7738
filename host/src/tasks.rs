//! The only module that starts tasks and threads.

use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// Starts a task on the current runtime.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    tokio::spawn(future)
}

/// Starts a task on another runtime.
pub fn spawn_on<F>(runtime: &Handle, future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    runtime.spawn(future)
}

/// Runs blocking work (compiling a plugin, reading files) away from the async workers.
pub async fn blocking<T, F>(work: F) -> T
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))
}

/// Starts a named thread of the operating system.
pub fn thread<T, F>(name: &str, work: F) -> io::Result<std::thread::JoinHandle<T>>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}

/// Does the same with a stack of this many bytes, for work that recurses deeply.
pub fn thread_with_stack<T, F>(
    name: &str,
    stack_bytes: usize,
    work: F,
) -> io::Result<std::thread::JoinHandle<T>>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    std::thread::Builder::new().name(name.to_owned()).stack_size(stack_bytes).spawn(work)
}

/// Builds a runtime whose worker threads carry `name`.
pub fn runtime(name: &str, workers: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(workers.max(1))
        .thread_name(name)
        .enable_all()
        .build()
}

/// The number of threads that the machine runs at once.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Makes a future run to its end: if it is dropped before, a task takes it over. Usually it is not
/// dropped, and no task is started.
pub fn detach_on_drop<F>(future: F) -> DetachOnDrop<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    DetachOnDrop(Some(Box::pin(future)))
}

/// The future of [`detach_on_drop`], to be dropped on a runtime.
pub struct DetachOnDrop<T: Send + 'static>(Option<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T: Send + 'static> std::fmt::Debug for DetachOnDrop<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DetachOnDrop")
    }
}

impl<T: Send + 'static> Future for DetachOnDrop<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let future = self.0.as_mut().expect("it is not polled after its end");
        let polled = future.as_mut().poll(cx);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for DetachOnDrop<T> {
    fn drop(&mut self) {
        // Without a runtime the process is ending, and the future ends with it.
        if let (Some(future), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(future);
        }
    }
}

/// Runs a future, and returns the text of its panic as an error. It is for callers that hold
/// something which must be returned.
pub async fn unwound<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)))
            .map_or_else(|panic| Poll::Ready(Err(message(&*panic))), |poll| poll.map(Ok))
    })
    .await
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_brought_to_its_end() {
        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        let (done, ended) = tokio::sync::oneshot::channel();
        let mut future = detach_on_drop(async move {
            gone.await.expect("the test says when");
            done.send(()).expect("the test waits");
        });
        let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut future).poll(cx))).await;
        assert!(polled.is_pending());
        drop(future);
        go.send(()).expect("a task has taken it over");
        ended.await.expect("the task ends it");
    }

    #[tokio::test]
    async fn a_panic_becomes_a_value() {
        let panicking = async { panic!("what {}", "happened") };
        assert_eq!(unwound(async { 1 }).await, Ok(1));
        let ended = unwound::<_>(async {
            panicking.await;
        });
        assert_eq!(ended.await, Err("what happened".to_owned()));
    }
}
