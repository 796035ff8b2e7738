//! Retention: deletes what is older than the configuration says, a little at a time. Nothing is
//! deleted because the clock was set, or the host was off, a short while ago.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Config;
use crate::store::{Keep, Operate};

/// How often old events are looked for, in milliseconds.
const PERIOD_MS: i64 = 10 * 60 * 1000;

/// Between two deletions of one sweep, in milliseconds: the road comes first.
const BREATH_MS: i64 = 20;

/// Sweeps at the start and then regularly, until `closing`.
pub(super) async fn run(
    store: Arc<dyn Operate>,
    config: Arc<ArcSwap<Config>>,
    clock: Clock,
    closing: CancellationToken,
) {
    loop {
        let settings = config.load().store.clone();
        let begun_ms = clock.host_ms();
        let keep = Keep {
            events: Duration::from_millis(settings.retention_ms),
            payloads: settings.payload_retention_ms.map_or(Duration::MAX, Duration::from_millis),
            dedupe_keys: Duration::from_millis(settings.dedupe_window_ms),
            audit: Duration::from_millis(settings.audit_retention_ms),
        };
        let pause_ms = match store.sweep(keep).await {
            Ok(true) => BREATH_MS,
            Ok(false) => PERIOD_MS,
            Err(error) => {
                tracing::warn!(error = %error, "retention could not delete");
                PERIOD_MS
            }
        };
        tokio::select! {
            () = closing.cancelled() => return,
            () = clock.sleep_until_host(begun_ms.saturating_add(pause_ms)) => {}
        }
    }
}
