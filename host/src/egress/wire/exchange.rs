//! One rule's client: sends a request over an idle or a new connection, and waits for the response.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::body::SentBody;
use super::connect::{Connector, HttpConnection, SharedResources};
use super::pool::{ConnectionPool, PooledConnection};
use crate::config::HttpRule;
use crate::egress::error::{RequestError, RequestErrorKind};
use crate::egress::policy::TargetHost;

/// The shortest timeout.
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

/// The timeouts that a plugin asks for. None goes beyond the end of the attempt.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestTimeouts {
    /// For a connection.
    pub connect: Option<Duration>,
    /// For the head of the response, once there is a connection.
    pub first_byte: Option<Duration>,
    /// For each further part of the response's body.
    pub between_bytes: Option<Duration>,
}

/// The same, bounded by the end of the attempt.
pub(in crate::egress) struct BoundedTimeouts {
    connect: Duration,
    first_byte: Duration,
    pub(in crate::egress) between_bytes: Duration,
}

/// Sends the requests that one rule of a plugin allows. Clones share their connections.
#[derive(Clone)]
pub(in crate::egress) struct RuleClient {
    pub(in crate::egress) rule: Arc<HttpRule>,
    /// The connector, or why there is none.
    connector: Result<Connector, RequestError>,
    pool: Arc<ConnectionPool>,
}

impl RequestTimeouts {
    /// Bounds the timeouts by the end of the attempt.
    pub(in crate::egress) fn within(self, deadline: Instant) -> BoundedTimeouts {
        let left = deadline.saturating_duration_since(Instant::now()).max(MIN_TIMEOUT);
        let bounded = |wanted: Option<Duration>| wanted.unwrap_or(left).clamp(MIN_TIMEOUT, left);
        BoundedTimeouts {
            connect: bounded(self.connect),
            first_byte: bounded(self.first_byte),
            between_bytes: bounded(self.between_bytes),
        }
    }
}

impl RuleClient {
    pub(in crate::egress) fn new(rule: &Arc<HttpRule>, shared: &SharedResources) -> Self {
        Self {
            rule: Arc::clone(rule),
            connector: Connector::new(rule, shared),
            pool: Arc::default(),
        }
    }

    /// Sends a request and waits for the head of its response.
    pub(in crate::egress) async fn exchange(
        &self,
        host: &TargetHost,
        mut request: Request<SentBody>,
        timeouts: &BoundedTimeouts,
    ) -> Result<(Response<Incoming>, PooledConnection), RequestError> {
        let name = host.to_string();
        loop {
            // An idle connection that fails is gone from the pool, so the loop ends with a new one.
            let idle = self.pool.take(&name);
            let was_idle = idle.is_some();
            let mut connection = match idle {
                Some(connection) => connection,
                None => self.connect(host, timeouts.connect).await?,
            };
            let sending = connection.sender.try_send_request(request);
            let Ok(sent) = timeout(timeouts.first_byte, sending).await else {
                let why = format!("no response came within {} ms", timeouts.first_byte.as_millis());
                return Err(RequestError::new(RequestErrorKind::ReadTimeout, why));
            };
            match sent {
                Ok(response) => {
                    let pool = Arc::clone(&self.pool);
                    return Ok((response, PooledConnection { connection, host: name, pool }));
                }
                // The server closed an idle connection, and no byte of the request was sent.
                Err(mut error) => match error.take_message() {
                    Some(unsent) if was_idle => request = unsent,
                    _ => return Err(RequestError::of_exchange(error.error())),
                },
            }
        }
    }

    async fn connect(
        &self,
        host: &TargetHost,
        within: Duration,
    ) -> Result<HttpConnection, RequestError> {
        let connector = self.connector.as_ref().map_err(RequestError::clone)?;
        timeout(within, connector.connect(host)).await.unwrap_or_else(|_| {
            let why = format!("there was no connection within {} ms", within.as_millis());
            Err(RequestError::new(RequestErrorKind::ConnectTimeout, why))
        })
    }
}
