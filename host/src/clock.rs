//! The one place that reads the wall clock.
//!
//! Everything that is scheduled or expires takes its time from a [`Clock`], so a test can move time by hand. There are three
//! times: the wall clock, for people, signatures and the times of events; *host time*, for due times and ids, which does
//! not jump when the wall clock does (see [`keeper`]); and monotonic time, for pauses and limits within one process.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_gettime};
use tokio::sync::watch;

pub use self::keeper::{Belief, JUMP_MS, Jump, News, STANDS_AFTER_MS, TimeNote, span};

pub mod keeper;

/// Where [`Clock::monotonic_ms`] counts from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How often the clocks are compared.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const LOOK_EVERY_BY_HAND: Duration = Duration::from_millis(10);

/// The clock that nobody can set; it goes on while the machine sleeps.
#[cfg(target_os = "linux")]
const UNSET: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const UNSET: ClockId = ClockId::Monotonic;

/// How long this thread has computed since it began.
pub fn thread_cpu() -> Duration {
    duration(clock_gettime(ClockId::ThreadCPUTime))
}

/// How long all threads of this process have computed since it began.
pub fn process_cpu() -> Duration {
    duration(clock_gettime(ClockId::ProcessCPUTime))
}

fn duration(time: Timespec) -> Duration {
    let whole = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
    whole + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Tells the time in Unix milliseconds. Clones share what is believed of it.
#[derive(Debug, Clone)]
pub struct Clock {
    source: TimeSource,
    keeper: Arc<Keeper>,
}

#[derive(Debug, Clone)]
enum TimeSource {
    System,
    Manual(Arc<watch::Sender<Manual>>),
}

/// A clock that is moved by hand.
#[derive(Debug, Clone, Copy)]
struct Manual {
    wall_ms: i64,
    passed_ms: i64,
}

#[derive(Debug)]
struct Keeper {
    /// Host time less the time that nobody can set, in milliseconds.
    lead_ms: AtomicI64,
    belief: Mutex<Belief>,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::new(TimeSource::System)
    }

    /// A clock that stands at `unix_ms` until [`Clock::set`] or [`Clock::step`] moves it.
    pub fn manual(unix_ms: i64) -> Self {
        let time = Manual { wall_ms: unix_ms, passed_ms: unix_ms.max(0) };
        Self::new(TimeSource::Manual(Arc::new(watch::channel(time).0)))
    }

    fn new(source: TimeSource) -> Self {
        let keeper = Arc::new(Keeper { lead_ms: AtomicI64::new(0), belief: Mutex::default() });
        let clock = Self { source, keeper };
        clock.keeper.lead_ms.store(clock.now_ms().saturating_sub(clock.unset_ms()), Ordering::Release);
        clock
    }

    /// Lets time pass on a manual clock until it stands at `unix_ms`. Where that is in the past, no time passes, as if
    /// somebody had set the clock back. The machine's clock stays as it is.
    pub fn set(&self, unix_ms: i64) {
        self.move_by_hand(|time| {
            time.passed_ms += unix_ms.saturating_sub(time.wall_ms).max(0);
            time.wall_ms = unix_ms;
        });
    }

    /// Sets a manual clock to `unix_ms` as somebody would who sets the machine's: no time passes.
    pub fn step(&self, unix_ms: i64) {
        self.move_by_hand(|time| time.wall_ms = unix_ms);
    }

    fn move_by_hand(&self, change: impl FnOnce(&mut Manual)) {
        if let TimeSource::Manual(time) = &self.source {
            time.send_modify(change);
        }
    }

    /// Now by the wall clock, in Unix milliseconds. It may jump either way.
    pub fn now_ms(&self) -> i64 {
        match &self.source {
            TimeSource::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)),
            TimeSource::Manual(time) => time.borrow().wall_ms,
        }
    }

    /// Milliseconds since some moment, by a clock that nobody can set.
    pub fn monotonic_ms(&self) -> u64 {
        match &self.source {
            TimeSource::System => u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX),
            TimeSource::Manual(time) => u64::try_from(time.borrow().passed_ms).unwrap_or(0),
        }
    }

    /// Returns once [`Clock::monotonic_ms`] says `due_ms` or more.
    pub async fn sleep_until_monotonic(&self, due_ms: u64) {
        match &self.source {
            TimeSource::System => match START.checked_add(Duration::from_millis(due_ms)) {
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

    /// Like monotonic time, and goes on while the machine sleeps.
    fn unset_ms(&self) -> i64 {
        match &self.source {
            TimeSource::System => i64::try_from(duration(clock_gettime(UNSET)).as_millis()).unwrap_or(i64::MAX),
            TimeSource::Manual(time) => time.borrow().passed_ms,
        }
    }

    /// Host time, in Unix milliseconds: what is scheduled goes by it. It never goes back while the host runs.
    pub fn host_ms(&self) -> i64 {
        self.unset_ms().saturating_add(self.keeper.lead_ms.load(Ordering::Acquire))
    }

    /// How far host time is ahead of the wall clock, in milliseconds; negative if it is behind.
    pub fn ahead_ms(&self) -> i64 {
        self.host_ms().saturating_sub(self.now_ms())
    }

    /// Returns once [`Clock::host_ms`] says `due_ms` or more. A change of host time itself is noticed within a minute.
    pub async fn sleep_until_host(&self, due_ms: i64) {
        const LONGEST_NAP_MS: u64 = 60_000;
        match &self.source {
            TimeSource::System => loop {
                let left_ms = u64::try_from(due_ms.saturating_sub(self.host_ms())).unwrap_or(0);
                if left_ms == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(left_ms.min(LONGEST_NAP_MS))).await;
            },
            TimeSource::Manual(time) => {
                let (mut seen, lead_ms) = (time.subscribe(), &self.keeper.lead_ms);
                let due = |time: &Manual| time.passed_ms.saturating_add(lead_ms.load(Ordering::Acquire)) >= due_ms;
                // An error means the sender is gone, which `self` rules out.
                let _ = seen.wait_for(due).await;
            }
        }
    }

    /// Waits until it is time to compare the clocks again; a manual clock may be moved at any moment.
    pub async fn next_look(&self) {
        let every = if matches!(self.source, TimeSource::System) { LOOK_EVERY } else { LOOK_EVERY_BY_HAND };
        tokio::time::sleep(every).await;
    }

    /// Goes on from what an earlier host noted; host time is not before `least_ms`. Returns what is new.
    pub fn resume(&self, note: TimeNote, least_ms: i64) -> Vec<News> {
        let (host_ms, belief, off) = note.resume(self.now_ms());
        *self.belief() = belief;
        self.keeper.lead_ms.store(host_ms.max(least_ms).saturating_sub(self.unset_ms()), Ordering::Release);
        off.into_iter().chain(self.look()).collect()
    }

    /// Compares the clocks, and returns what is new.
    pub fn look(&self) -> Vec<News> {
        let mut belief = self.belief();
        let (raise_ms, news) = belief.look(self.now_ms(), self.host_ms());
        self.raise(raise_ms);
        news
    }

    /// The wall clock is right, an operator says. Returns the jump that this ends, and for how long the host was off.
    pub fn accept(&self) -> (Option<Jump>, i64) {
        let mut belief = self.belief();
        let (jump, held_ms) = (belief.jump, belief.held_ms());
        let raise_ms = belief.accept(self.now_ms(), self.host_ms());
        self.raise(raise_ms);
        (jump, held_ms)
    }

    fn raise(&self, by_ms: i64) {
        if by_ms > 0 {
            self.keeper.lead_ms.fetch_add(by_ms, Ordering::AcqRel);
            // Wakes those who sleep until a time that has come with it.
            self.move_by_hand(|_| ());
        }
    }

    /// What is to be stored for the next start.
    pub fn note(&self) -> TimeNote {
        let belief = self.belief().clone();
        TimeNote { host_ms: self.host_ms(), wall_ms: self.now_ms(), belief }
    }

    /// The jump that is neither over nor accepted, if there is one.
    pub fn jump(&self) -> Option<Jump> {
        self.belief().jump
    }

    /// Now as far as deletion is concerned, in Unix milliseconds: the wall clock, less what is held back.
    pub fn deletion_ms(&self) -> i64 {
        self.now_ms().saturating_sub(self.held_ms())
    }

    /// See [`Belief::held_ms`].
    pub fn held_ms(&self) -> i64 {
        self.belief().held_ms()
    }

    fn belief(&self) -> MutexGuard<'_, Belief> {
        self.keeper.belief.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So long after a time in Unix milliseconds; the end of all time if that is beyond it.
pub fn after_ms(unix_ms: i64, time: Duration) -> i64 {
    unix_ms.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

/// How long it is from one time in Unix milliseconds to another; nothing if that has passed.
pub fn until(from_ms: i64, to_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(to_ms.saturating_sub(from_ms)).unwrap_or(0))
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
            assert_eq!(clock.look().len(), 1);
            assert_eq!((clock.now_ms(), clock.host_ms(), clock.monotonic_ms()), (unix_ms, 2 * JUMP_MS, 7_200_000));
            assert!(clock.jump().is_some());
        }
    }

    #[tokio::test]
    async fn accepting_a_jump_wakes_those_who_wait_for_what_is_due_by_it() {
        let clock = Clock::manual(0);
        clock.step(100 * JUMP_MS);
        clock.look();
        let waits = clock.sleep_until_host(99 * JUMP_MS);
        let accepts = async { clock.accept().0.map(|jump| jump.by_ms) };
        assert_eq!(tokio::join!(waits, accepts).1, Some(100 * JUMP_MS));
        assert_eq!((clock.jump(), clock.ahead_ms()), (None, 0));
    }
}
