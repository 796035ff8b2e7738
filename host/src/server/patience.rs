//! How long a connection waits for a request: for its first bytes, and then for the rest of its
//! header.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The limit of a waiting connection.
///
/// The timer is only moved when it fires or when a limit ends before it, so requests do not pay for
/// it.
#[derive(Debug)]
pub(super) struct Patience {
    header: Duration,
    keep_alive: Duration,
    /// When the current limit began to run.
    since: Instant,
    /// Nothing of the next request has come, and there was one before.
    between: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    /// For a connection that is opened now. Its first header may take `header` from now on, later
    /// ones from their first byte, which has to come within `keep_alive` of the previous reply.
    pub(super) fn new(header: Duration, keep_alive: Duration, now: Instant) -> Self {
        Self { header, keep_alive, since: now, between: false, timer: None }
    }

    /// Bytes have come while no request was under way.
    pub(super) fn received(&mut self, now: impl FnOnce() -> Instant) {
        if self.between {
            self.between = false;
            self.since = now();
        }
    }

    /// The whole of a reply is sent.
    pub(super) fn replied(&mut self, now: Instant) {
        self.between = true;
        self.since = now;
    }

    /// When it is over, if nothing comes until then.
    fn deadline(&self) -> Instant {
        self.since + if self.between { self.keep_alive } else { self.header }
    }

    /// Ready once it is over; otherwise the task is woken when it may be.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline();
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        ready!(timer.as_mut().poll(cx));
        if timer.deadline() < deadline {
            timer.as_mut().reset(deadline);
            ready!(timer.as_mut().poll(cx));
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Duration = Duration::from_secs(5);
    const KEEP_ALIVE: Duration = Duration::from_secs(75);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_header_has_its_time_from_the_connection_on() {
        let opened = Instant::now();
        let mut patience = Patience::new(HEADER, KEEP_ALIVE, opened);
        patience.received(|| opened + SECOND);
        assert_eq!(patience.deadline(), opened + HEADER);
    }

    #[test]
    fn an_idle_connection_is_kept_for_keep_alive_after_each_reply() {
        let opened = Instant::now();
        let mut patience = Patience::new(HEADER, KEEP_ALIVE, opened);
        for reply in [opened + SECOND, opened + 70 * SECOND] {
            patience.replied(reply);
            assert_eq!(patience.deadline(), reply + KEEP_ALIVE);
        }
    }

    #[test]
    fn a_header_that_has_begun_has_its_own_time() {
        let opened = Instant::now();
        let mut patience = Patience::new(HEADER, KEEP_ALIVE, opened);
        patience.replied(opened);
        let begun = opened + 60 * SECOND;
        patience.received(|| begun);
        // More of it changes nothing.
        patience.received(|| begun + SECOND);
        assert_eq!(patience.deadline(), begun + HEADER);
    }

    #[tokio::test]
    async fn a_timer_that_fires_too_early_goes_on_and_one_that_is_too_late_is_moved() {
        const SOON: Duration = Duration::from_millis(20);
        for (header, keep_alive) in [(SOON, 2 * SOON), (SECOND * 600, SOON)] {
            let mut patience = Patience::new(header, keep_alive, Instant::now());
            // The timer is set for the header.
            let waker = std::task::Waker::noop();
            assert!(patience.poll_over(&mut Context::from_waker(waker)).is_pending());
            patience.replied(Instant::now());
            let deadline = patience.deadline();
            std::future::poll_fn(|cx| patience.poll_over(cx)).await;
            assert!(Instant::now() >= deadline);
        }
    }
}
