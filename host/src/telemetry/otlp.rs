//! Sends spans and log lines to a collector: OTLP over HTTP, in protobuf.
//!
//! Both wait in bounded queues. A span or line that finds its queue full, or that the collector
//! refuses again and again, is dropped and counted: nobody waits for a collector. The reasons are
//! in `docs/design/tracing.md`.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::encode::{Resource, Signal};
use self::pump::Pump;
use crate::config::Telemetry;
use crate::tasks;
use crate::trace::{TraceSettings, Tracer};

mod encode;
mod log;
mod post;
mod pump;

pub(super) use log::LogLayer;

/// Spans that wait, and log lines likewise.
const QUEUE: usize = 4_096;

/// How long sending the rest may take when the host stops.
const FLUSH: Duration = Duration::from_secs(3);

/// Sends what the host tells, until it is flushed.
#[derive(Debug)]
pub struct Exporter {
    tracer: Tracer,
    stopping: CancellationToken,
    pumps: Vec<JoinHandle<()>>,
}

/// Begins to send, if a collector is configured; on the current runtime.
pub fn start(settings: &Telemetry) -> Option<Exporter> {
    let endpoint = settings.otlp.as_ref()?;
    let (resource, stopping) = (Resource::new(), CancellationToken::new());
    let (spans, of_spans) = mpsc::channel(QUEUE);
    let (lines, of_lines) = mpsc::channel(QUEUE);
    let pump = |signal| Pump::new(endpoint, settings, signal, resource.clone(), stopping.clone());
    let pumps = vec![
        tasks::spawn(pump(Signal::Traces).run(of_spans, encode::traces)),
        tasks::spawn(pump(Signal::Logs).run(of_lines, encode::logs)),
    ];
    log::send_to(lines);
    let join = Duration::from_millis(settings.join_ms);
    let tracer = Tracer::new(spans, TraceSettings { join, subjects: settings.subjects });
    Some(Exporter { tracer, stopping, pumps })
}

impl Exporter {
    /// Begins the spans that are sent.
    pub fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }

    /// Sends what waits, for a few seconds at most, and ends.
    pub async fn flush(self) {
        self.stopping.cancel();
        let mut pumps = self.pumps;
        let all = async {
            for pump in &mut pumps {
                // A panic has been printed.
                let _ = pump.await;
            }
        };
        if timeout(FLUSH, all).await.is_err() {
            pumps.iter().for_each(JoinHandle::abort);
        }
    }
}
