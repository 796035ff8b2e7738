//! The only module that reads the wall clock.
//!
//! Everything that is scheduled or expires takes its time from a [`Clock`], so a test can set the
//! time. There are three times:
//!
//! - *Wall-clock time* is for people, signatures and the times of events. It can jump.
//! - *Host time* is for due times and ids. It does not jump when the wall clock does (see
//!   [`host_time`]).
//! - *Monotonic time* is for pauses and limits within one process.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_gettime};
use tokio::sync::watch;

pub use self::host_time::{
    ClockChange, ClockState, JUMP_MS, Jump, STANDS_AFTER_MS, TimeNote, span,
};

pub mod host_time;

/// The origin of [`Clock::monotonic_ms`].
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How often host time and the wall clock are compared.
const COMPARE_EVERY: Duration = Duration::from_secs(5);
/// The same for a manual clock, which a test may move at any moment.
const COMPARE_MANUAL_EVERY: Duration = Duration::from_millis(10);

/// A clock that nobody can set. On Linux it also advances while the machine sleeps.
#[cfg(target_os = "linux")]
const BOOT_CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const BOOT_CLOCK: ClockId = ClockId::Monotonic;

/// The CPU time of this thread since it began.
pub fn thread_cpu() -> Duration {
    duration(clock_gettime(ClockId::ThreadCPUTime))
}

/// The CPU time of all threads of this process since it began.
pub fn process_cpu() -> Duration {
    duration(clock_gettime(ClockId::ProcessCPUTime))
}

/// The time since the machine's start, by a clock that nobody can set. On Linux it also advances
/// while the machine sleeps.
pub fn since_boot() -> Duration {
    duration(clock_gettime(BOOT_CLOCK))
}

/// The machine's wall clock, Unix time in nanoseconds; for spans and log lines, and nothing that is
/// due.
pub fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn duration(time: Timespec) -> Duration {
    let whole = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
    whole + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Tells the time in Unix milliseconds. Clones share host time.
#[derive(Debug, Clone)]
pub struct Clock {
    source: TimeSource,
    host_time: Arc<HostTime>,
}

#[derive(Debug, Clone)]
enum TimeSource {
    /// The machine's, with milliseconds that are added to its wall clock.
    System(i64),
    Manual(Arc<watch::Sender<Manual>>),
}

/// The time of a clock that a test sets.
#[derive(Debug, Clone, Copy)]
struct Manual {
    wall_ms: i64,
    passed_ms: i64,
}

/// Host time, relative to [`BOOT_CLOCK`].
#[derive(Debug)]
struct HostTime {
    /// Host time minus the boot clock, in milliseconds.
    lead_ms: AtomicI64,
    state: Mutex<ClockState>,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::new(TimeSource::System(0))
    }

    /// A clock that stands at `unix_ms` until [`Clock::set`] or [`Clock::step`] moves it.
    pub fn manual(unix_ms: i64) -> Self {
        let time = Manual { wall_ms: unix_ms, passed_ms: unix_ms.max(0) };
        Self::new(TimeSource::Manual(Arc::new(watch::channel(time).0)))
    }

    fn new(source: TimeSource) -> Self {
        let host_time = Arc::new(HostTime { lead_ms: AtomicI64::new(0), state: Mutex::default() });
        let clock = Self { source, host_time };
        clock
            .host_time
            .lead_ms
            .store(clock.now_ms().saturating_sub(clock.boot_ms()), Ordering::Release);
        clock
    }

    /// Advances a manual clock to `unix_ms`. If that is in the past, no time passes, as if an
    /// operator had set the clock back. The machine's clock stays as it is.
    pub fn set(&self, unix_ms: i64) {
        self.move_by_hand(|time| {
            time.passed_ms += unix_ms.saturating_sub(time.wall_ms).max(0);
            time.wall_ms = unix_ms;
        });
    }

    /// Sets a manual clock to `unix_ms` as an operator sets the machine's: no time passes.
    pub fn step(&self, unix_ms: i64) {
        self.move_by_hand(|time| time.wall_ms = unix_ms);
    }

    fn move_by_hand(&self, change: impl FnOnce(&mut Manual)) {
        if let TimeSource::Manual(time) = &self.source {
            time.send_modify(change);
        }
    }

    /// The wall clock, in Unix milliseconds. It may jump either way.
    pub fn now_ms(&self) -> i64 {
        match &self.source {
            TimeSource::System(shift_ms) => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
                .saturating_add(*shift_ms),
            TimeSource::Manual(time) => time.borrow().wall_ms,
        }
    }

    /// Monotonic time, in milliseconds since an arbitrary moment.
    pub fn monotonic_ms(&self) -> u64 {
        match &self.source {
            TimeSource::System(_) => u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX),
            TimeSource::Manual(time) => u64::try_from(time.borrow().passed_ms).unwrap_or(0),
        }
    }

    /// Returns once [`Clock::monotonic_ms`] says `due_ms` or more.
    pub async fn sleep_until_monotonic(&self, due_ms: u64) {
        match &self.source {
            TimeSource::System(_) => match START.checked_add(Duration::from_millis(due_ms)) {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            },
            TimeSource::Manual(time) => {
                let mut seen = time.subscribe();
                let due_ms = i64::try_from(due_ms).unwrap_or(i64::MAX);
                // An error means the sender is gone, which `self` rules out.
                let _ = seen.wait_for(|time| time.passed_ms >= due_ms).await;
            }
        }
    }

    /// The boot clock, in milliseconds.
    fn boot_ms(&self) -> i64 {
        match &self.source {
            TimeSource::System(_) => i64::try_from(since_boot().as_millis()).unwrap_or(i64::MAX),
            TimeSource::Manual(time) => time.borrow().passed_ms,
        }
    }

    /// Host time, in Unix milliseconds. Due times go by it, and it never goes back while the host
    /// runs.
    pub fn host_ms(&self) -> i64 {
        self.boot_ms().saturating_add(self.host_time.lead_ms.load(Ordering::Acquire))
    }

    /// Host time, if this clock is set by hand; none for the machine's.
    pub fn by_hand_ms(&self) -> Option<i64> {
        matches!(self.source, TimeSource::Manual(_)).then(|| self.host_ms())
    }

    /// Milliseconds by which host time is ahead of the wall clock; negative if it is behind.
    pub fn ahead_ms(&self) -> i64 {
        self.host_ms().saturating_sub(self.now_ms())
    }

    /// Returns once [`Clock::host_ms`] says `due_ms` or more. A change of host time itself is
    /// noticed within a minute.
    pub async fn sleep_until_host(&self, due_ms: i64) {
        const LONGEST_NAP_MS: u64 = 60_000;
        match &self.source {
            TimeSource::System(_) => loop {
                let left_ms = u64::try_from(due_ms.saturating_sub(self.host_ms())).unwrap_or(0);
                if left_ms == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(left_ms.min(LONGEST_NAP_MS))).await;
            },
            TimeSource::Manual(time) => {
                let (mut seen, lead_ms) = (time.subscribe(), &self.host_time.lead_ms);
                let due = |time: &Manual| {
                    time.passed_ms.saturating_add(lead_ms.load(Ordering::Acquire)) >= due_ms
                };
                // An error means the sender is gone, which `self` rules out.
                let _ = seen.wait_for(due).await;
            }
        }
    }

    /// Returns once [`Clock::now_ms`] says `unix_ms` or more. A change of the machine's clock is
    /// noticed within a few seconds.
    pub async fn sleep_until_wall(&self, unix_ms: i64) {
        match &self.source {
            TimeSource::System(_) => loop {
                let left = until(self.now_ms(), unix_ms);
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(COMPARE_EVERY)).await;
            },
            TimeSource::Manual(time) => {
                // An error means the sender is gone, which `self` rules out.
                let _ = time.subscribe().wait_for(|time| time.wall_ms >= unix_ms).await;
            }
        }
    }

    /// Waits until the clocks are to be compared again.
    pub async fn next_comparison(&self) {
        let every = if matches!(self.source, TimeSource::System(_)) {
            COMPARE_EVERY
        } else {
            COMPARE_MANUAL_EVERY
        };
        tokio::time::sleep(every).await;
    }

    /// Continues from the note of an earlier host; host time begins no earlier than `least_ms`.
    /// Returns the changes.
    pub fn resume(&self, note: TimeNote, least_ms: i64) -> Vec<ClockChange> {
        let (host_ms, state, off) = note.resume(self.now_ms());
        *self.state() = state;
        self.host_time
            .lead_ms
            .store(host_ms.max(least_ms).saturating_sub(self.boot_ms()), Ordering::Release);
        off.into_iter().chain(self.compare()).collect()
    }

    /// Compares the clocks, and returns the changes.
    pub fn compare(&self) -> Vec<ClockChange> {
        let mut state = self.state();
        let (raise_ms, changes) = state.compare(self.now_ms(), self.host_ms());
        self.raise(raise_ms);
        changes
    }

    /// Accepts the wall clock, because an operator says that it is right. Returns the jump that
    /// this ends, and for how long the host was off.
    pub fn accept(&self) -> (Option<Jump>, i64) {
        let mut state = self.state();
        let (jump, held_ms) = (state.jump, state.held_ms());
        let raise_ms = state.accept(self.now_ms(), self.host_ms());
        self.raise(raise_ms);
        (jump, held_ms)
    }

    fn raise(&self, by_ms: i64) {
        if by_ms > 0 {
            self.host_time.lead_ms.fetch_add(by_ms, Ordering::AcqRel);
            // Wakes sleepers whose time has now come.
            self.move_by_hand(|_| ());
        }
    }

    /// The note to be stored for the next start.
    pub fn note(&self) -> TimeNote {
        let state = self.state().clone();
        TimeNote { host_ms: self.host_ms(), wall_ms: self.now_ms(), state }
    }

    /// The jump that is neither over nor accepted, if there is one.
    pub fn jump(&self) -> Option<Jump> {
        self.state().jump
    }

    /// The time by which old events are deleted, in Unix milliseconds: the wall clock less
    /// [`Clock::held_ms`].
    pub fn deletion_ms(&self) -> i64 {
        self.now_ms().saturating_sub(self.held_ms())
    }

    /// See [`ClockState::held_ms`].
    pub fn held_ms(&self) -> i64 {
        self.state().held_ms()
    }

    fn state(&self) -> MutexGuard<'_, ClockState> {
        self.host_time.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds `time` to a time in Unix milliseconds; saturates at the end of the range.
pub fn after_ms(unix_ms: i64, time: Duration) -> i64 {
    unix_ms.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

/// The duration from one time in Unix milliseconds to another; zero if that has passed.
pub fn until(from_ms: i64, to_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(to_ms.saturating_sub(from_ms)).unwrap_or(0))
}

/// Formats Unix milliseconds for people: RFC 3339, UTC, with milliseconds. A time out of range is
/// shown as the epoch.
pub fn rfc3339(unix_ms: i64) -> String {
    format!("{:.3}", jiff::Timestamp::from_millisecond(unix_ms).unwrap_or_default())
}

/// Reads a time as RFC 3339 has it, with any offset, into Unix milliseconds.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Clock {
        /// The machine's clock, wrong by so much.
        pub(crate) fn wrong_by(shift_ms: i64) -> Self {
            Self::new(TimeSource::System(shift_ms))
        }
    }

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
            async move { clock.sleep_until_host(2_000).await }
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
        let before_ms = clock.host_ms();
        clock.sleep_until_host(before_ms + 2).await;
        assert!(clock.host_ms() >= before_ms + 2);
    }

    #[test]
    fn a_clock_that_is_set_moves_neither_host_time_nor_the_monotonic_one() {
        let clock = Clock::manual(2 * JUMP_MS);
        for unix_ms in [0, 100 * JUMP_MS] {
            clock.step(unix_ms);
            assert_eq!(clock.compare().len(), 1);
            assert_eq!(
                (clock.now_ms(), clock.host_ms(), clock.monotonic_ms()),
                (unix_ms, 2 * JUMP_MS, 7_200_000)
            );
            assert!(clock.jump().is_some());
        }
    }

    #[tokio::test]
    async fn accepting_a_jump_wakes_those_who_wait_for_what_is_due_by_it() {
        let clock = Clock::manual(0);
        clock.step(100 * JUMP_MS);
        clock.compare();
        let waits = clock.sleep_until_host(99 * JUMP_MS);
        let accepts = async { clock.accept().0.map(|jump| jump.by_ms) };
        assert_eq!(tokio::join!(waits, accepts).1, Some(100 * JUMP_MS));
        assert_eq!((clock.jump(), clock.ahead_ms()), (None, 0));
    }
}
