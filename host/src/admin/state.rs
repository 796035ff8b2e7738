//! The state that handlers of the admin API share, and the limits of a client.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::answers::StoreAnswers;
use super::role::Role;
use crate::clock::Clock;
use crate::config::Config;
use crate::dispatch::{Breakers, QueueViews, Trials};
use crate::event::{AppendSpan, NewEvent};
use crate::ingest::{SourceActivity, Unidentified};
use crate::plugins::{Approvals, Registry, ReloadLog};
use crate::series::Series;
use crate::status::Status;
use crate::store::{Appended, OperationSignal, Store};
use crate::trace::{SpanContext, Tracer};

/// Connections at once; for one more, the connection that has been idle for longest is closed.
pub const MAX_CONNECTIONS: u32 = 64;

/// The largest request body that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 64 << 10;

/// A request unanswered after this long gets 503, in milliseconds.
pub const REQUEST_TIMEOUT_MS: u64 = 10_000;

/// Streams of hints at once: more are refused, and their pages ask by themselves.
pub(super) const MAX_STREAMS: usize = 16;

/// Exports at once. Each holds a few copies of one event, which a slow client keeps it from giving
/// back.
pub(super) const MAX_EXPORTS: usize = 4;

/// Renders every metric in the Prometheus text format: what was counted, and the gauges that the
/// first argument sets. The series of plugins, sources and schedules that are gone are left out;
/// the second argument tells by label and value which there are.
pub type RenderMetrics =
    Arc<dyn Fn(&dyn Fn(), &dyn Fn(&str, &str) -> bool) -> String + Send + Sync>;

/// The answers that last: streams of hints, and exports.
#[derive(Debug)]
pub struct Streams {
    hints: Arc<Semaphore>,
    exports: Arc<Semaphore>,
}

impl Default for Streams {
    fn default() -> Self {
        let [hints, exports] =
            [MAX_STREAMS, MAX_EXPORTS].map(|most| Arc::new(Semaphore::new(most)));
        Self { hints, exports }
    }
}

impl Streams {
    /// How many streams of hints are open.
    pub(super) fn open(&self) -> usize {
        MAX_STREAMS.saturating_sub(self.hints.available_permits())
    }

    /// Counts one more stream while the permit lives; `None` if there are enough.
    pub(super) fn begin(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.hints).try_acquire_owned().ok()
    }

    /// Counts one more export while the permit lives; `None` if there are enough.
    pub(super) fn begin_export(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.exports).try_acquire_owned().ok()
    }
}

/// The state behind the admin API. A request reads each snapshot once, so an answer is of one
/// moment.
#[derive(Clone)]
pub struct Admin {
    /// Events and deliveries.
    pub store: Arc<dyn Store>,
    /// Plugins that run.
    pub registry: Arc<ArcSwap<Registry>>,
    /// Plugin files that wait for the operator.
    pub approvals: Arc<Approvals>,
    /// The reloads of plugins' files.
    pub reloads: Arc<ReloadLog>,
    /// Circuit breakers of plugins.
    pub breakers: Breakers,
    /// Runs events without effects.
    pub trials: Trials,
    /// Queues of plugins.
    pub queues: QueueViews,
    /// Routes, and the names of plugins.
    pub config: Arc<ArcSwap<Config>>,
    /// The result of the last reload.
    pub status: Arc<Status>,
    /// Sources that sent events without a type lately.
    pub unidentified: Arc<Unidentified>,
    /// The requests that each source received since the start.
    pub activity: Arc<SourceActivity>,
    /// The address of the public listener, for test events.
    pub public_address: SocketAddr,
    /// The clock of the host.
    pub clock: Clock,
    /// When the host started, Unix ms.
    pub started_ms: i64,
    /// Renders every metric.
    pub render_metrics: RenderMetrics,
    /// Rates and durations over time.
    pub series: Arc<Series>,
    /// Begins the spans that make events.
    pub tracer: Tracer,
    /// Ends streams when the host stops.
    pub closing: CancellationToken,
    /// The streams and exports that are open.
    pub streams: Arc<Streams>,
    /// Tells of operations that were steered.
    pub operations: Arc<OperationSignal>,
    /// The last answers of the store.
    pub answers: Arc<StoreAnswers>,
    /// Held by a change of many deliveries that has an `Idempotency-Key`.
    pub keyed_changes: Arc<Mutex<()>>,
    /// The listener's own address: a `Host` that is accepted beside the names of loopback.
    pub own_address: IpAddr,
    /// Sessions of those who have logged in.
    pub access: Arc<Access>,
    /// The role of a client while the configuration has no token; `None` refuses it.
    pub role_without_token: Option<Role>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("own_address", &self.own_address).finish_non_exhaustive()
    }
}

impl Admin {
    /// Begins the span that makes an event, if it is traced; perhaps one that has to do with
    /// another span.
    pub(super) fn append_span(
        &self,
        event: &mut NewEvent,
        link: Option<SpanContext>,
    ) -> Option<AppendSpan> {
        Some(AppendSpan::begin(self.tracer.root(link)?, event, None))
    }
}

/// Ends the span that has made an event.
pub(super) fn end_append(span: Option<AppendSpan>, made: Appended) {
    if let Some(span) = span {
        span.end_as(made.id, made.duplicate);
    }
}
