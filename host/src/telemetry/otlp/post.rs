//! One request to the collector.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::encode::Signal;
use crate::config::{OtlpEndpoint, Telemetry};
use crate::egress::{self, CollectorTls, RequestError};
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
    /// After how long, if the collector says so.
    pub(super) after: Option<Duration>,
}

impl NotSent {
    pub(super) fn later(reason: impl fmt::Display) -> Self {
        Self { reason: reason.to_string(), may_be_repeated: true, after: None }
    }

    fn never(reason: impl fmt::Display) -> Self {
        Self { may_be_repeated: false, ..Self::later(reason) }
    }
}

/// A collector, and the connection to it.
#[derive(Debug)]
pub(super) struct Collector {
    tls: bool,
    host: String,
    port: u16,
    /// As `Host` names it.
    authority: String,
    path: String,
    /// TLS and credentials, or why there is no way without a change of the configuration.
    means: Result<Means, RequestError>,
    connection: Option<Connection>,
}

/// The parts of a request that depend on secrets and certificates.
#[derive(Debug)]
struct Means {
    tls: Option<CollectorTls>,
    /// Marked as sensitive.
    headers: HeaderMap,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _task: AbortOnDropHandle<()>,
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

impl Means {
    fn new(endpoint: &OtlpEndpoint, settings: &Telemetry) -> Result<Self, RequestError> {
        let tls = || CollectorTls::new(&endpoint.host, settings.authorities.as_ref());
        let tls = endpoint.tls.then(tls).transpose()?;
        Ok(Self { tls, headers: egress::credentials(&settings.headers)? })
    }
}

impl Collector {
    pub(super) fn new(endpoint: &OtlpEndpoint, settings: &Telemetry, path: &str) -> Self {
        let means = Means::new(endpoint, settings);
        let OtlpEndpoint { tls, host, port, base } = endpoint;
        // In `Host`, an IPv6 address stands in brackets.
        let named = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let usual_port = if *tls { 443 } else { 80 };
        Self {
            tls: *tls,
            host: host.clone(),
            port: *port,
            authority: if *port == usual_port { named } else { format!("{named}:{port}") },
            path: format!("{base}{path}"),
            means,
            connection: None,
        }
    }

    /// Closes the connection.
    pub(super) fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Sends a message; returns how many of its items the collector has refused.
    pub(super) async fn post(&mut self, message: Bytes, signal: Signal) -> Result<u64, NotSent> {
        let request = self.request(message)?;
        let sender = self.sender().await?;
        let response = sender.send_request(request).await.map_err(NotSent::later)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(NotSent::later)?.to_bytes();
        if head.status.is_success() {
            return Ok(signal.rejected(&body));
        }
        // As the protocol says: these, and no others.
        let may_be_repeated = matches!(
            head.status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        let reason = self.refusal(head.status, signal);
        Err(NotSent { reason, may_be_repeated, after: retry_after(&head.headers) })
    }

    fn request(&self, message: Bytes) -> Result<Request<Full<Bytes>>, NotSent> {
        let means = self.means.as_ref().map_err(NotSent::never)?;
        let mut request = Request::post(&self.path)
            .header(HOST, &self.authority)
            .body(Full::new(message))
            .map_err(NotSent::never)?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(USER_AGENT, HeaderValue::from_static(NAME));
        headers.extend(means.headers.clone());
        Ok(request)
    }

    /// Says what an answer means for those who can change something about it.
    fn refusal(&self, status: StatusCode, signal: Signal) -> String {
        let has_headers = self.means.as_ref().is_ok_and(|means| !means.headers.is_empty());
        let meaning = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if has_headers => {
                ": it does not accept the credential in `telemetry.headers`"
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                ": it wants a credential; name one in `telemetry.headers`"
            }
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                ": the path in `telemetry.otlp` is not that of OTLP over HTTP"
            }
            StatusCode::TOO_MANY_REQUESTS => ": it takes no more for now",
            _ => "",
        };
        format!("it answered {} with status {status}{meaning}", signal.name())
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
            self.connection = Some(self.connect().await?);
        }
        Ok(&mut self.connection.as_mut().expect("it was made").sender)
    }

    async fn connect(&self) -> Result<Connection, NotSent> {
        let means = self.means.as_ref().map_err(NotSent::never)?;
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream
            .map_err(|error| NotSent::later(format_args!("it cannot be connected to: {error}")))?;
        // It only makes batches a little later.
        let _ = stream.set_nodelay(true);
        match &means.tls {
            None => Connection::open(stream).await,
            Some(tls) => Connection::open(tls.shake(stream).await.map_err(NotSent::later)?).await,
        }
    }
}

impl Connection {
    async fn open(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Self, NotSent> {
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(NotSent::later)?;
        let task = tasks::spawn(async move { drop(connection.await) });
        Ok(Self { sender, _task: AbortOnDropHandle::new(task) })
    }
}

/// `Retry-After` in seconds. A date is ignored, because the clocks may differ.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
