//! The one place that starts tasks and threads, so that each has a name and none outlives its owner unseen.

use std::future::Future;
use std::io;

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
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

/// Starts a named thread of the operating system.
pub fn thread<T, F>(name: &str, work: F) -> io::Result<std::thread::JoinHandle<T>>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}

/// Builds a runtime whose worker threads carry `name`.
pub fn runtime(name: &str, workers: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(workers.max(1)).thread_name(name).enable_all().build()
}

/// How many threads the machine runs at once.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
