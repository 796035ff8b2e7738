//! Idle connections of one rule, kept for the next request to the same host.
//!
//! Invariant: a connection that is neither idle nor in use is closed, whatever the server does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::connect::HttpConnection;
use crate::tasks;

/// Idle connections that are kept for one host, and for all hosts of a rule.
const MAX_IDLE_PER_HOST: usize = 4;
const MAX_IDLE: usize = 16;
/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may take to become ready again after a response.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection that is in use. Dropping it closes the connection.
#[derive(Debug)]
pub(in crate::egress) struct PooledConnection {
    pub(super) connection: HttpConnection,
    pub(super) host: String,
    pub(super) pool: Arc<ConnectionPool>,
}

impl PooledConnection {
    /// Returns the connection to its pool. The response must have been read to its end.
    pub(super) fn give_back(self) {
        self.pool.give(self.host, self.connection);
    }
}

/// The idle connections of one rule.
#[derive(Debug, Default)]
pub(super) struct ConnectionPool(Mutex<IdleConnections>);

#[derive(Debug, Default)]
struct IdleConnections {
    list: Vec<IdleConnection>,
    /// Whether a task closes the expired ones.
    swept: bool,
}

#[derive(Debug)]
struct IdleConnection {
    host: String,
    connection: HttpConnection,
    until: Instant,
}

impl ConnectionPool {
    /// Takes the connection to a host that was used last.
    pub(super) fn take(&self, host: &str) -> Option<HttpConnection> {
        self.take_at(host, Instant::now())
    }

    fn take_at(&self, host: &str, now: Instant) -> Option<HttpConnection> {
        let list = &mut self.idle().list;
        while let Some(at) = list.iter().rposition(|idle| idle.host == host) {
            let IdleConnection { connection, until, .. } = list.remove(at);
            // Otherwise the server has closed it, or it is too old: it is dropped here.
            if connection.sender.is_ready() && now < until {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection once it is ready for the next request.
    fn give(self: &Arc<Self>, host: String, mut connection: HttpConnection) {
        if connection.sender.is_ready() {
            return self.keep(host, connection);
        }
        // The wait must not keep the pool of a plugin that is gone.
        let pool = Arc::downgrade(self);
        drop(tasks::spawn(async move {
            let ready = timeout(READY_TIMEOUT, connection.sender.ready()).await;
            if let (Ok(Ok(())), Some(pool)) = (ready, pool.upgrade()) {
                pool.keep(host, connection);
            }
        }));
    }

    fn keep(self: &Arc<Self>, host: String, connection: HttpConnection) {
        let until = Instant::now() + IDLE_TIMEOUT;
        let mut idle = self.idle();
        let same_host = idle.list.iter().filter(|idle| idle.host == host).count();
        if idle.list.len() < MAX_IDLE && same_host < MAX_IDLE_PER_HOST {
            idle.list.push(IdleConnection { host, connection, until });
            // One task for all connections of the pool, for as long as there are some.
            if !std::mem::replace(&mut idle.swept, true) {
                drop(tasks::spawn(sweep(Arc::downgrade(self))));
            }
        }
    }

    /// Closes expired connections. Returns when the next one expires.
    fn close_expired(&self, now: Instant) -> Option<Instant> {
        let mut idle = self.idle();
        idle.list.retain(|idle| idle.until > now);
        let next = idle.list.iter().map(|idle| idle.until).min();
        idle.swept = next.is_some();
        next
    }

    fn idle(&self) -> MutexGuard<'_, IdleConnections> {
        // A panic while it was locked can at worst have lost a connection.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes connections as they expire, until none is idle.
async fn sweep(pool: Weak<ConnectionPool>) {
    while let Some(next) = pool.upgrade().and_then(|pool| pool.close_expired(Instant::now())) {
        sleep_until(next).await;
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::{BodyExt, Empty};
    use tokio::io::{AsyncReadExt, DuplexStream};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::config::Limits;
    use crate::egress::accounting::Accounting;
    use crate::egress::wire::body::SentBody;

    const MOMENT: Duration = Duration::from_millis(1);

    /// A connection, and the server's end of it.
    async fn connection(permits: &Arc<Semaphore>) -> (HttpConnection, DuplexStream) {
        let (stream, server) = tokio::io::duplex(1_024);
        let permit = Arc::clone(permits).try_acquire_owned().expect("a permit is free");
        let mut connection = HttpConnection::open(Box::new(stream), permit).await.unwrap();
        connection.sender.ready().await.unwrap();
        (connection, server)
    }

    /// Waits until the other side has hung up.
    async fn hung_up(mut server: DuplexStream) {
        assert_eq!(server.read(&mut [0; 16]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_connection_that_waits_for_too_long_is_closed_and_gives_its_place_back() {
        let (pool, permits) = (Arc::new(ConnectionPool::default()), Arc::new(Semaphore::new(2)));
        let ((first, first_server), (second, second_server)) =
            (connection(&permits).await, connection(&permits).await);
        let before = Instant::now();
        pool.give("a".to_owned(), first);
        let kept = pool.idle().list[0].until;
        assert!((before + IDLE_TIMEOUT..=Instant::now() + IDLE_TIMEOUT).contains(&kept));
        pool.give("b".to_owned(), second);
        pool.idle().list[1].until = kept + MOMENT;
        assert!(pool.idle().swept, "somebody comes for them");
        assert_eq!(pool.close_expired(kept - MOMENT), Some(kept), "nothing is due");
        assert_eq!((pool.idle().list.len(), permits.available_permits()), (2, 0));
        assert_eq!(pool.close_expired(kept), Some(kept + MOMENT), "the next one");
        hung_up(first_server).await;
        assert_eq!(pool.close_expired(kept + MOMENT), None);
        hung_up(second_server).await;
        assert_eq!((pool.idle().swept, permits.available_permits()), (false, 2));
    }

    #[tokio::test]
    async fn a_connection_whose_time_is_over_is_not_used_though_nobody_has_come_for_it() {
        let (pool, permits) = (Arc::new(ConnectionPool::default()), Arc::new(Semaphore::new(2)));
        let ((old, server), (used, _server)) =
            (connection(&permits).await, connection(&permits).await);
        pool.give("a".to_owned(), old);
        let kept = pool.idle().list[0].until;
        assert!(pool.take_at("b", kept - MOMENT).is_none(), "it is for another host");
        assert!(pool.take_at("a", kept).is_none());
        hung_up(server).await;
        pool.give("a".to_owned(), used);
        let kept = pool.idle().list[0].until;
        assert!(pool.take_at("a", kept - MOMENT).is_some());
    }

    #[tokio::test]
    async fn a_rule_keeps_a_few_connections_for_all_its_hosts_together() {
        let (pool, permits) = (Arc::new(ConnectionPool::default()), Arc::new(Semaphore::new(30)));
        let mut servers = Vec::new();
        for host in 0..30 {
            let (connection, server) = connection(&permits).await;
            servers.push(server);
            pool.give(host.to_string(), connection);
        }
        for server in servers.split_off(MAX_IDLE) {
            hung_up(server).await;
        }
        assert_eq!(
            (pool.idle().list.len(), permits.available_permits()),
            (MAX_IDLE, 30 - MAX_IDLE)
        );
    }

    #[tokio::test]
    async fn a_connection_that_is_given_up_is_closed_though_its_server_does_not_read() {
        let permits = Arc::new(Semaphore::new(1));
        let (mut connection, mut server) = connection(&permits).await;
        // More than the stream holds, so that most of it waits to be written.
        let accounting =
            Accounting::new("guest".into(), Limits::default(), std::time::Instant::now());
        let call = accounting.begin(&http::Method::GET, &"http://a/".parse().unwrap()).unwrap();
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let mut request = Request::new(SentBody::new(body, call.handle.clone(), None));
        request.headers_mut().insert("x", "y".repeat(8_000).parse().unwrap());
        let mut sending = Box::pin(connection.sender.try_send_request(request));
        tokio::select! {
            _ = &mut sending => panic!("it was answered"),
            begun = server.read_u8() => assert_eq!(begun.unwrap(), b'G'),
        }
        drop(sending);
        drop(connection);
        assert_eq!(permits.available_permits(), 1);
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.unwrap();
        assert!(rest.len() <= 1_024, "no more than was on its way: {}", rest.len());
    }
}
