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
        self.take_at(host, Instant::now())
    }

    fn take_at(&self, host: &str, now: Instant) -> Option<Connection> {
        let idle = &mut self.waiting().idle;
        while let Some(at) = idle.iter().rposition(|idle| idle.host == host) {
            let Idle { connection, until, .. } = idle.remove(at);
            if connection.sender.is_ready() && now < until {
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
    fn close_old(&self, now: Instant) -> Option<Instant> {
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
    while let Some(next) = pool.upgrade().and_then(|pool| pool.close_old(Instant::now())) {
        sleep_until(next).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, DuplexStream};
    use tokio::sync::Semaphore;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    /// A connection, and the server's end of it.
    async fn connection(places: &Arc<Semaphore>) -> (Connection, DuplexStream) {
        let (stream, server) = tokio::io::duplex(1_024);
        let place = Arc::clone(places).try_acquire_owned().expect("there is a place");
        let mut connection = Connection::over(Box::new(stream), place).await.unwrap();
        connection.sender.ready().await.unwrap();
        (connection, server)
    }

    /// Waits until the other side has hung up.
    async fn hung_up(mut server: DuplexStream) {
        assert_eq!(server.read(&mut [0; 16]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_connection_that_waits_for_too_long_is_closed_and_gives_its_place_back() {
        let (pool, places) = (Arc::new(Pool::default()), Arc::new(Semaphore::new(2)));
        let ((first, first_server), (second, second_server)) = (connection(&places).await, connection(&places).await);
        let before = Instant::now();
        pool.give("a".to_owned(), first);
        let kept = pool.waiting().idle[0].until;
        assert!((before + IDLE..=Instant::now() + IDLE).contains(&kept));
        pool.give("b".to_owned(), second);
        pool.waiting().idle[1].until = kept + MOMENT;
        assert!(pool.waiting().swept, "somebody comes for them");
        assert_eq!(pool.close_old(kept - MOMENT), Some(kept), "nothing is due");
        assert_eq!((pool.waiting().idle.len(), places.available_permits()), (2, 0));
        assert_eq!(pool.close_old(kept), Some(kept + MOMENT), "the next one");
        hung_up(first_server).await;
        assert_eq!(pool.close_old(kept + MOMENT), None);
        hung_up(second_server).await;
        assert_eq!((pool.waiting().swept, places.available_permits()), (false, 2));
    }

    #[tokio::test]
    async fn a_connection_whose_time_is_over_is_not_used_though_nobody_has_come_for_it() {
        let (pool, places) = (Arc::new(Pool::default()), Arc::new(Semaphore::new(2)));
        let ((old, server), (used, _server)) = (connection(&places).await, connection(&places).await);
        pool.give("a".to_owned(), old);
        let kept = pool.waiting().idle[0].until;
        assert!(pool.take_at("b", kept - MOMENT).is_none(), "it is for another host");
        assert!(pool.take_at("a", kept).is_none());
        hung_up(server).await;
        pool.give("a".to_owned(), used);
        let kept = pool.waiting().idle[0].until;
        assert!(pool.take_at("a", kept - MOMENT).is_some());
    }
}
