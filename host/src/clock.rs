//! The one place that reads the wall clock.
//!
//! Everything that is scheduled or expires takes its time from a [`Clock`], so a test can move time by hand.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// Where [`Clock::monotonic_ms`] counts from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How long this thread has computed since it began.
pub fn thread_cpu() -> Duration {
    cpu(rustix::time::ClockId::ThreadCPUTime)
}

/// How long all threads of this process have computed since it began.
pub fn process_cpu() -> Duration {
    cpu(rustix::time::ClockId::ProcessCPUTime)
}

fn cpu(id: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(id);
    let whole = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
    whole + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Tells the time in Unix milliseconds.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Manual(Arc<watch::Sender<i64>>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `unix_ms` until [`Clock::set`] moves it.
    pub fn manual(unix_ms: i64) -> Self {
        Self(Source::Manual(Arc::new(watch::channel(unix_ms).0)))
    }

    /// Moves a manual clock; the machine's clock stays as it is.
    pub fn set(&self, unix_ms: i64) {
        if let Source::Manual(time) = &self.0 {
            time.send_replace(unix_ms);
        }
    }

    /// Now, in Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        match &self.0 {
            Source::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)),
            Source::Manual(time) => *time.borrow(),
        }
    }

    /// Milliseconds since some moment, by a clock that nobody can set. A manual clock tells its own time.
    pub fn monotonic_ms(&self) -> u64 {
        match &self.0 {
            Source::System => u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX),
            Source::Manual(time) => u64::try_from(*time.borrow()).unwrap_or(0),
        }
    }

    /// Returns once [`Clock::monotonic_ms`] says `due_ms` or more.
    pub async fn sleep_until_monotonic(&self, due_ms: u64) {
        match &self.0 {
            Source::System => match START.checked_add(Duration::from_millis(due_ms)) {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            },
            Source::Manual(_) => self.sleep_until(i64::try_from(due_ms).unwrap_or(i64::MAX)).await,
        }
    }

    /// Returns once `due_ms` has come. A stepped system clock is noticed within a minute.
    pub async fn sleep_until(&self, due_ms: i64) {
        const LONGEST_NAP_MS: u64 = 60_000;
        match &self.0 {
            Source::System => loop {
                let left_ms = u64::try_from(due_ms.saturating_sub(self.now_ms())).unwrap_or(0);
                if left_ms == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(left_ms.min(LONGEST_NAP_MS))).await;
            },
            Source::Manual(time) => {
                let mut seen = time.subscribe();
                // An error means the sender is gone, which `self` rules out.
                let _ = seen.wait_for(|now| *now >= due_ms).await;
            }
        }
    }
}

/// Unix milliseconds as people read them: RFC 3339, UTC, with milliseconds. A time out of range is shown as the epoch.
pub fn rfc3339(unix_ms: i64) -> String {
    format!("{:.3}", jiff::Timestamp::from_millisecond(unix_ms).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc() {
        assert_eq!(rfc3339(1_770_000_000_120), "2026-02-02T02:40:00.120Z");
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(i64::MAX), "1970-01-01T00:00:00.000Z");
    }

    #[tokio::test]
    async fn a_manual_clock_wakes_its_sleepers() {
        let clock = Clock::manual(1_000);
        let sleeper = {
            let clock = clock.clone();
            async move { clock.sleep_until(2_000).await }
        };
        let waking = async { clock.set(2_000) };
        tokio::join!(sleeper, waking);
        assert_eq!(clock.now_ms(), 2_000);
        assert_eq!(clock.monotonic_ms(), 2_000);
        clock.sleep_until_monotonic(2_000).await;
    }

    #[tokio::test]
    async fn the_time_that_nobody_can_set_only_grows() {
        let clock = Clock::system();
        let before_ms = clock.monotonic_ms();
        clock.sleep_until_monotonic(before_ms + 2).await;
        assert!(clock.monotonic_ms() >= before_ms + 2);
    }
}
