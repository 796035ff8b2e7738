//! The futures that store calls return. The store is used as `dyn`, so they have names.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::StoreError;

/// The answer to a call that waits for the store.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The answer to a call. A store on this host gives it at once, a remote one after a round trip. An
/// answer that is ready costs no allocation.
#[must_use = "futures do nothing unless they are polled"]
pub enum MaybeReady<'a, T> {
    /// Given already; taken by the first poll.
    Ready(Option<Result<T, StoreError>>),
    /// Waits for the store.
    Pending(Pending<'a, T>),
}

impl<T> MaybeReady<'_, T> {
    /// An answer that is there.
    pub fn ready(answer: Result<T, StoreError>) -> Self {
        Self::Ready(Some(answer))
    }
}

impl<T> std::fmt::Debug for MaybeReady<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self, Self::Ready(_)) { "Ready" } else { "Pending" })
    }
}

// Nothing in it is pinned in place: the pending answer is behind a box.
impl<T> Unpin for MaybeReady<'_, T> {}

impl<T> Future for MaybeReady<'_, T> {
    type Output = Result<T, StoreError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Ready(answer) => {
                Poll::Ready(answer.take().expect("it is polled to its end once"))
            }
            Self::Pending(pending) => pending.as_mut().poll(cx),
        }
    }
}
