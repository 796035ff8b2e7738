//! The span that a thread works for at this moment: log lines carry its ids.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;

use super::context::SpanContext;

thread_local! {
    static CURRENT: Cell<Option<SpanContext>> = const { Cell::new(None) };
}

/// The span that this thread works for.
pub fn current() -> Option<SpanContext> {
    CURRENT.get()
}

/// Makes a span the current one of this thread until the guard is dropped.
pub fn enter(context: Option<SpanContext>) -> EnteredSpan {
    EnteredSpan { before: CURRENT.replace(context) }
}

/// Makes the span before the current one again when it is dropped.
#[derive(Debug)]
#[must_use = "the span is left when it is dropped"]
pub struct EnteredSpan {
    before: Option<SpanContext>,
}

impl Drop for EnteredSpan {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

/// Runs a future for a span: the span is the current one whenever the future is polled.
pub async fn within<F: Future>(context: SpanContext, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let _entered = enter(Some(context));
        future.as_mut().poll(cx)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{SpanId, TraceId};

    #[tokio::test]
    async fn a_span_is_current_only_while_its_future_runs() {
        let context = || SpanContext { trace: TraceId::random(), span: SpanId::random() };
        let (outer, inner) = (context(), context());
        let seen = within(outer, async {
            let before = current();
            let within_inner = within(inner, async {
                tokio::task::yield_now().await;
                current()
            });
            let seen = tokio::join!(within_inner, async { current() });
            (before, seen, current())
        });
        assert_eq!(seen.await, (Some(outer), (Some(inner), Some(outer)), Some(outer)));
        assert_eq!(current(), None);
    }
}
