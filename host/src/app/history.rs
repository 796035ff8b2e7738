//! Keeps what the meters count: in memory every ten seconds, in the store every five minutes.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::event::State;
use crate::ingest::SourceActivity;
use crate::series::{OpenCount, STEP_MS, STORED_EACH_MS, Series};
use crate::store::{History, MAX_SAMPLES, PluginCounts, Store};

/// Samples until `closing`, and then once more, so that a restart loses nothing.
pub(super) async fn run(
    store: Arc<dyn Store>,
    series: Arc<Series>,
    activity: Arc<SourceActivity>,
    clock: Clock,
    closing: CancellationToken,
) {
    let mut next_ms = clock.host_ms().saturating_add(STEP_MS);
    let mut keep_ms = clock.host_ms().saturating_add(STORED_EACH_MS);
    loop {
        let mut are_read = false;
        let is_last = loop {
            tokio::select! {
                () = closing.cancelled() => break true,
                () = clock.sleep_until_host(next_ms) => break false,
                // A store that is slow hinders neither of them: it is asked again after that.
                () = read_keys(&*store, &activity), if !are_read => are_read = true,
            }
        };
        series.sample(clock.now_ms());
        if let Ok(stats) = store.stats().await {
            let open = stats.plugins.values().map(PluginCounts::open).sum();
            let [ready, waiting] = [State::Ready, State::Waiting].map(|it| stats.deliveries(it));
            series.note_open(OpenCount { at_ms: clock.now_ms(), open, ready, waiting });
        }
        if is_last || clock.host_ms() >= keep_ms {
            keep_ms = clock.host_ms().saturating_add(STORED_EACH_MS);
            keep(&*store, &series, &activity, &clock).await;
        }
        if is_last {
            return;
        }
        // A host that was suspended makes one sample of that time.
        next_ms = next_ms.max(clock.host_ms()).saturating_add(STEP_MS);
    }
}

/// Reads when the keys of sources were used last: at the start, and when keys were added.
async fn read_keys(store: &dyn History, activity: &SourceActivity) {
    for key in activity.unread_keys() {
        // Another time, if the store does not answer now.
        let Ok(samples) = store.samples(key.owner.clone(), MAX_SAMPLES).await else { break };
        key.read(&samples);
    }
}

async fn keep(store: &dyn History, series: &Series, activity: &SourceActivity, clock: &Clock) {
    // A use is stored as so long before the sample: both have the same time.
    let now_ms = clock.now_ms();
    let uses = activity.unkept_uses(now_ms);
    let mut increments = series.increments();
    increments.extend(uses.increments.iter().cloned());
    if increments.is_empty() {
        return;
    }
    match store.keep_samples(now_ms, increments).await {
        Ok(()) => uses.are_kept(),
        Err(error) => tracing::warn!(error = %error, "five minutes of the charts are not stored"),
    }
}
