//! Confirms subscriptions: asks the address that an authentic handshake names.
//!
//! The sender has its answer before. An address is asked three times at most; the last failure is
//! logged and shown with the source, since the provider sends nothing until it is confirmed.

use std::sync::Arc;
use std::time::Duration;

use super::activity::{Confirmation, SourceCounts};
use super::fetch::{FetchError, KeyFetcher};
use crate::clock::Clock;
use crate::tasks;

/// The time of one try.
const WITHIN: Duration = Duration::from_secs(10);

/// The pauses before further tries, in milliseconds.
const PAUSES_MS: [i64; 2] = [2_000, 20_000];

/// Asks an address in the background. A source has few subscriptions, so few are asked at once.
pub(super) fn begin(
    url: String,
    source: Arc<str>,
    counts: Arc<SourceCounts>,
    (fetcher, clock): (KeyFetcher, Clock),
) {
    let permit = Arc::clone(counts.confirming()).try_acquire_owned();
    tasks::spawn(async move {
        let host = url.split(['/', '?']).nth(2).unwrap_or_default().to_owned();
        let asked = match &permit {
            Ok(_) => ask(&url, &fetcher, &clock).await,
            Err(_) => Err(FetchError::Other("others are being confirmed".to_owned())),
        };
        let error = asked.err().map(|error| error.to_string());
        match &error {
            None => tracing::info!(source.name = %source, host, "a subscription is confirmed"),
            Some(error) => tracing::warn!(
                source.name = %source, host, error,
                "a subscription is not confirmed, so nothing comes of it: have the provider ask again"
            ),
        }
        counts.confirmed(Confirmation { at_ms: clock.now_ms(), host, error });
    });
}

async fn ask(url: &str, fetcher: &KeyFetcher, clock: &Clock) -> Result<(), FetchError> {
    let mut pauses = PAUSES_MS.into_iter();
    loop {
        let error = match fetcher.get(url, WITHIN).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        match pauses.next() {
            Some(pause_ms) if error.passes() => {
                clock.sleep_until_host(clock.host_ms() + pause_ms).await;
            }
            _ => return Err(error),
        }
    }
}
