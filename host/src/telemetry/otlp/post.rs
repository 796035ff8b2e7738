//! One request to the collector.

use std::fmt;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::encode::Signal;
use crate::config::OtlpEndpoint;
use crate::tasks;

/// The most bytes of an answer that are read.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// The name of the host as a client.
const NAME: &str = concat!("hookbox/", env!("CARGO_PKG_VERSION"));

/// Why a batch was not taken.
#[derive(Debug)]
pub(super) struct NotSent {
    pub(super) reason: String,
    /// Whether the same batch may be taken later.
    pub(super) may_be_repeated: bool,
}

impl NotSent {
    pub(super) fn later(reason: impl fmt::Display) -> Self {
        Self { reason: reason.to_string(), may_be_repeated: true }
    }
}

/// A collector, and the connection to it.
#[derive(Debug)]
pub(super) struct Collector {
    host: String,
    port: u16,
    /// As `Host` names it.
    authority: String,
    path: String,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _task: AbortOnDropHandle<()>,
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

impl Collector {
    pub(super) fn new(endpoint: &OtlpEndpoint, path: &str) -> Self {
        let OtlpEndpoint { host, port, base } = endpoint;
        let named = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        Self {
            host: host.clone(),
            port: *port,
            authority: format!("{named}:{port}"),
            path: format!("{base}{path}"),
            connection: None,
        }
    }

    /// Closes the connection.
    pub(super) fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Sends a message; returns how many of its items the collector has refused.
    pub(super) async fn post(&mut self, message: Bytes, signal: Signal) -> Result<u64, NotSent> {
        let request = Request::post(&self.path)
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(USER_AGENT, NAME)
            .body(Full::new(message))
            .map_err(|error| NotSent { reason: error.to_string(), may_be_repeated: false })?;
        let sender = self.sender().await?;
        let response = sender.send_request(request).await.map_err(NotSent::later)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(NotSent::later)?.to_bytes();
        if status.is_success() {
            return Ok(signal.rejected(&body));
        }
        // As the protocol says: these, and no others.
        let may_be_repeated = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        Err(NotSent { reason: format!("it answered with status {status}"), may_be_repeated })
    }

    /// The connection, or a new one.
    async fn sender(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, NotSent> {
        let usable = match &mut self.connection {
            // A collector may close a connection that is idle.
            Some(connection) => connection.sender.ready().await.is_ok(),
            None => false,
        };
        if !usable {
            self.connection = None;
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
            let stream = stream.map_err(NotSent::later)?;
            // It only makes batches a little later.
            let _ = stream.set_nodelay(true);
            let (sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(NotSent::later)?;
            let task = tasks::spawn(async move { drop(connection.await) });
            let _task = AbortOnDropHandle::new(task);
            self.connection = Some(Connection { sender, _task });
        }
        Ok(&mut self.connection.as_mut().expect("it was made").sender)
    }
}
