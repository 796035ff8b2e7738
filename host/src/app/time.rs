//! Watches the clock: compares host time with the wall clock, logs jumps, and has the store note
//! host time for the next start.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, ClockChange};
use crate::config::Config;
use crate::store::Operate;

/// How often host time is noted although nothing is written, in milliseconds.
const NOTE_EVERY_MS: u64 = 10 * 60 * 1000;

/// The pause after host time could not be noted.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Watches the clock until `closing`.
pub(super) async fn run(
    store: Arc<dyn Operate>,
    config: Arc<ArcSwap<Config>>,
    clock: Clock,
    closing: CancellationToken,
) {
    let mut noted_ms = clock.monotonic_ms();
    loop {
        let changes = clock.compare();
        tell(&changes, config.load().store.dedupe_window_ms);
        if !changes.is_empty() || clock.monotonic_ms().saturating_sub(noted_ms) >= NOTE_EVERY_MS {
            match store.note_time().await {
                Ok(()) => noted_ms = clock.monotonic_ms(),
                Err(error) => {
                    tracing::debug!(error = %error, "the time cannot be noted");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
        tokio::select! {
            () = closing.cancelled() => return,
            () = clock.next_comparison() => {}
        }
    }
}

/// Logs the changes. A stop is a warning only if it is at least `shortest_ms`, the time after which
/// something is deleted. Otherwise it is routine.
pub(super) fn tell(changes: &[ClockChange], shortest_ms: u64) {
    for change in changes {
        match change {
            ClockChange::Jumped(jump) => tracing::warn!(
                clock.jump_ms = jump.by_ms,
                "the clock went {jump}: nothing is deleted because of it until it has stood for a day; if it is right now, \
                 say `hookbox clock accept`; signed timestamps are judged by it meanwhile"
            ),
            ClockChange::Over(jump) => {
                tracing::info!(
                    clock.jump_ms = jump.by_ms,
                    "the clock is right again, which went {jump}"
                );
            }
            ClockChange::Stood(jump) => tracing::info!(
                clock.jump_ms = jump.by_ms,
                "the clock went {jump} a day ago and is taken as right: retention goes by it from now on"
            ),
            ClockChange::WasOff(ms) if ms.unsigned_abs() >= shortest_ms => tracing::warn!(
                clock.off_ms = ms,
                "the host was off for {}, or its clock was set: nothing is deleted because of it for a day; if the clock is \
                 right, `hookbox clock accept` lets retention go on at once",
                span(*ms)
            ),
            ClockChange::WasOff(ms) => tracing::info!(
                clock.off_ms = ms,
                "the host was off for {}: nothing is deleted because of it for a day",
                span(*ms)
            ),
            ClockChange::Released(ms) => {
                tracing::info!(
                    clock.off_ms = ms,
                    "retention goes by the clock again, after the stop of {}",
                    span(*ms)
                );
            }
        }
    }
}

fn span(ms: i64) -> String {
    crate::clock::span(ms.unsigned_abs())
}
