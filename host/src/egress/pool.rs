//! Connections of one rule, kept for the next request to the same host.
//!
//! Invariant: a connection that is not kept here and not in use is closed, whatever the other side does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::body::Sent;
use super::connect::Stream;
use super::headers::{MAX_HEADERS, MAX_RESPONSE_BYTES};
use crate::tasks;

/// Connections that are kept for one host, and for all hosts of a rule.
const MAX_IDLE_EACH: usize = 4;
const MAX_IDLE: usize = 16;
/// How long they are.
const IDLE: Duration = Duration::from_secs(30);
/// How long a connection may take to be ready again after a response.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: SendRequest<Sent>,
    _task: AbortOnDropHandle<()>,
    /// Among all that there may be.
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// Speaks HTTP/1.1 over a stream, on the runtime of whoever calls.
    pub(super) async fn over(stream: Box<dyn Stream>, place: OwnedSemaphorePermit) -> hyper::Result<Self> {
        let mut builder = http1::Builder::new();
        builder.max_headers(MAX_HEADERS).max_buf_size(MAX_RESPONSE_BYTES);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        // What fails is told to whoever waits for a response.
        let task = tasks::spawn(async move { drop(connection.await) });
        Ok(Self { sender, _task: AbortOnDropHandle::new(task), _place: place })
    }
}

/// The connections that wait for a request.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    idle: Vec<Idle>,
    /// Whether a task closes them when their time has come.
    swept: bool,
}

#[derive(Debug)]
struct Idle {
    host: String,
    connection: Connection,
    until: Instant,
}

impl Pool {
    /// The one that was used last.
    pub(super) fn take(&self, host: &str) -> Option<Connection> {
        let idle = &mut self.waiting().idle;
        while let Some(at) = idle.iter().rposition(|idle| idle.host == host) {
            let Idle { connection, until, .. } = idle.remove(at);
            if connection.sender.is_ready() && Instant::now() < until {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose response has been read to its end, once it is ready for the next request.
    pub(super) fn give(self: &Arc<Self>, host: String, mut connection: Connection) {
        if connection.sender.is_ready() {
            return self.keep(host, connection);
        }
        let pool = Arc::downgrade(self);
        drop(tasks::spawn(async move {
            let ready = timeout(READY_TIMEOUT, connection.sender.ready()).await;
            if let (Ok(Ok(())), Some(pool)) = (ready, pool.upgrade()) {
                pool.keep(host, connection);
            }
        }));
    }

    fn keep(self: &Arc<Self>, host: String, connection: Connection) {
        let until = Instant::now() + IDLE;
        let mut waiting = self.waiting();
        let same = waiting.idle.iter().filter(|idle| idle.host == host).count();
        if waiting.idle.len() < MAX_IDLE && same < MAX_IDLE_EACH {
            waiting.idle.push(Idle { host, connection, until });
            if !std::mem::replace(&mut waiting.swept, true) {
                drop(tasks::spawn(sweep(Arc::downgrade(self))));
            }
        }
    }

    /// Closes what has waited for too long. Returns when there is more to close, if there will be.
    fn close_old(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut waiting = self.waiting();
        waiting.idle.retain(|idle| idle.until > now);
        let next = waiting.idle.iter().map(|idle| idle.until).min();
        waiting.swept = next.is_some();
        next
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A panic while it was held can at worst have lost a connection.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes connections when their time has come, for as long as any waits.
async fn sweep(pool: Weak<Pool>) {
    while let Some(next) = pool.upgrade().and_then(|pool| pool.close_old()) {
        sleep_until(next).await;
    }
}
