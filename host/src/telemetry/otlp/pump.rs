//! Takes what waits in a queue, and sends it in batches.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::Receiver;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::encode::{Resource, Signal};
use super::post::{Collector, NotSent};
use crate::config::{OtlpEndpoint, Telemetry};

/// The most that one request holds.
const BATCH: usize = 512;

/// How long the first of a batch waits for others.
const GATHER: Duration = Duration::from_millis(500);

/// The pauses before a batch is sent again.
const PAUSES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(9)];

/// The longest pause that a collector can ask for: what waits meanwhile is bounded.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends one signal to the collector.
#[derive(Debug)]
pub(super) struct Pump {
    collector: Collector,
    signal: Signal,
    resource: Resource,
    stopping: CancellationToken,
    /// Why the last batch was not sent, which the log says once.
    failing: Option<String>,
}

impl Pump {
    pub(super) fn new(
        endpoint: &OtlpEndpoint,
        settings: &Telemetry,
        signal: Signal,
        resource: Resource,
        stopping: CancellationToken,
    ) -> Self {
        let collector = Collector::new(endpoint, settings, signal.path());
        Self { collector, signal, resource, stopping, failing: None }
    }

    /// Sends until the host stops, and then what is left.
    pub(super) async fn run<T>(
        mut self,
        mut queue: Receiver<T>,
        encode: fn(&Resource, Vec<T>) -> Vec<u8>,
    ) {
        let stopping = self.stopping.clone();
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                // A queue that is never empty must not keep the host from stopping.
                biased;
                () = stopping.cancelled() => break,
                _ = queue.recv_many(&mut batch, BATCH) => {}
            }
            let gathering = async {
                while batch.len() < BATCH {
                    let left = BATCH - batch.len();
                    if queue.recv_many(&mut batch, left).await == 0 {
                        return;
                    }
                }
            };
            tokio::select! {
                () = stopping.cancelled() => {}
                _ = timeout(GATHER, gathering) => {}
            }
            self.send(batch, encode).await;
        }
        // Nothing more comes in, and what is there is sent once.
        queue.close();
        let mut batch = Vec::new();
        while queue.recv_many(&mut batch, BATCH).await > 0 {
            self.send(std::mem::take(&mut batch), encode).await;
        }
    }

    /// Sends a batch, several times if the collector is not there; drops and counts it at last.
    async fn send<T>(&mut self, batch: Vec<T>, encode: fn(&Resource, Vec<T>) -> Vec<u8>) {
        let count = batch.len() as u64;
        if count == 0 {
            return;
        }
        let message = Bytes::from(encode(&self.resource, batch));
        let mut pauses = PAUSES.into_iter();
        let mut was_refused = false;
        loop {
            let sending = self.collector.post(message.clone(), self.signal);
            let sent = timeout(PATIENCE, sending).await;
            let sent = sent.unwrap_or_else(|_| Err(NotSent::later("no answer came in time")));
            let why = match sent {
                Ok(rejected) => {
                    // A collector that limits its rate takes each batch in the end.
                    if !was_refused {
                        self.worked();
                    }
                    return self.signal.count_dropped(rejected);
                }
                Err(why) => why,
            };
            // The connection may be in the middle of an answer.
            self.collector.disconnect();
            self.failed(&why);
            was_refused = true;
            if !why.may_be_repeated || self.stopping.is_cancelled() {
                return self.signal.count_dropped(count);
            }
            let Some(own) = pauses.next() else { return self.signal.count_dropped(count) };
            let pause = longer(own, why.after);
            tokio::select! {
                () = self.stopping.cancelled() => {}
                () = sleep(pause) => {}
            }
        }
    }

    fn worked(&mut self) {
        if self.failing.take().is_some() {
            tracing::info!(signal = self.signal.name(), "the collector takes what is sent again");
        }
    }

    fn failed(&mut self, why: &NotSent) {
        let reason = &why.reason;
        if self.failing.as_ref() == Some(reason) {
            return;
        }
        self.failing = Some(reason.clone());
        tracing::warn!(
            signal = self.signal.name(), collector = %self.collector, reason,
            retry_after_s = why.after.map(|after| after.as_secs()),
            "the collector of `telemetry.otlp` does not take what is sent; what cannot be sent in time is dropped and counted"
        );
    }
}

/// The pause that a collector asks for, if it is longer than ours.
fn longer(own: Duration, asked: Option<Duration>) -> Duration {
    own.max(asked.unwrap_or_default()).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_may_ask_for_a_longer_pause_and_not_for_a_shorter_or_endless_one() {
        let own = PAUSES[1];
        let asked = |seconds| longer(own, Some(Duration::from_secs(seconds)));
        assert_eq!((longer(own, None), asked(0)), (own, own));
        assert_eq!(asked(30), Duration::from_secs(30));
        assert_eq!(asked(86_400), MAX_PAUSE);
    }
}
