//! Takes what waits in a queue, and sends it in batches.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::Receiver;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::encode::{Resource, Signal};
use super::post::{Collector, NotSent};
use crate::config::OtlpEndpoint;

/// The most that one request holds.
const BATCH: usize = 512;

/// How long the first of a batch waits for others.
const GATHER: Duration = Duration::from_millis(500);

/// The pauses before a batch is sent again.
const PAUSES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(9)];

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends one signal to the collector.
#[derive(Debug)]
pub(super) struct Pump {
    collector: Collector,
    signal: Signal,
    resource: Resource,
    stopping: CancellationToken,
    /// Whether the last batch was not sent, which the log says once.
    is_failing: bool,
}

impl Pump {
    pub(super) fn new(
        endpoint: &OtlpEndpoint,
        signal: Signal,
        resource: Resource,
        stopping: CancellationToken,
    ) -> Self {
        let collector = Collector::new(endpoint, signal.path());
        Self { collector, signal, resource, stopping, is_failing: false }
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
        loop {
            let sending = self.collector.post(message.clone(), self.signal);
            let sent = timeout(PATIENCE, sending).await;
            let sent = sent.unwrap_or_else(|_| Err(NotSent::later("no answer came in time")));
            let why = match sent {
                Ok(rejected) => {
                    self.worked();
                    return self.signal.count_dropped(rejected);
                }
                Err(why) => why,
            };
            // The connection may be in the middle of an answer.
            self.collector.disconnect();
            self.failed(&why.reason);
            let pause = pauses.next().filter(|_| why.may_be_repeated);
            let Some(pause) = pause.filter(|_| !self.stopping.is_cancelled()) else {
                return self.signal.count_dropped(count);
            };
            tokio::select! {
                () = self.stopping.cancelled() => {}
                () = sleep(pause) => {}
            }
        }
    }

    fn worked(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            tracing::info!(signal = self.signal.name(), "the collector takes what is sent again");
        }
    }

    fn failed(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(
                signal = self.signal.name(), collector = %self.collector, reason,
                "the collector of `telemetry.otlp` does not take what is sent; it is dropped and counted"
            );
        }
    }
}
