//! Opens connections for one rule: to a checked address, and with TLS where the rule has `https`.
//!
//! Invariant: the name is resolved once, and the addresses that are checked are those that are
//! connected to. A resolver that changes its answer in between (DNS rebinding) gains nothing.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::body::SentBody;
use super::network::Network;
use super::resolve::Resolver;
use super::tls;
use crate::config::HttpRule;
use crate::egress::error::{RequestError, RequestErrorKind};
use crate::egress::policy::TargetHost;
use crate::egress::policy::headers::MAX_HEADERS;
use crate::tasks;

/// Concurrent lookups of all plugins together.
const MAX_LOOKUPS: usize = 64;
/// Connections of all plugins together, idle ones included.
const MAX_CONNECTIONS: usize = 1_024;
/// How long connecting to all addresses of a host may take. The addresses share it equally.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The shortest share of an address.
const MIN_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The most bytes of a response's head.
pub(super) const MAX_HEAD_BYTES: usize = 64 << 10;

/// Limits that all rules of all plugins share, so that they cannot use up the machine's threads and
/// files.
pub(in crate::egress) struct SharedResources {
    network: Arc<dyn Network>,
    lookups: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    /// The public certificate authorities.
    public_roots: OnceLock<Arc<RootCertStore>>,
}

/// Opens connections for one rule.
#[derive(Clone)]
pub(super) struct Connector {
    resolver: Resolver,
    network: Arc<dyn Network>,
    /// For a rule with `https`.
    tls: Option<Arc<ClientConfig>>,
    connections: Arc<Semaphore>,
}

/// A byte stream to a server.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// An HTTP/1.1 connection. Dropping it closes it, whatever the server does.
#[derive(Debug)]
pub(super) struct HttpConnection {
    pub(super) sender: SendRequest<SentBody>,
    _task: AbortOnDropHandle<()>,
    /// Counts against the maximum of all plugins.
    _permit: OwnedSemaphorePermit,
}

impl SharedResources {
    pub(in crate::egress) fn new(network: Arc<dyn Network>) -> Self {
        let semaphore = |count| Arc::new(Semaphore::new(count));
        let (lookups, connections) = (semaphore(MAX_LOOKUPS), semaphore(MAX_CONNECTIONS));
        Self { network, lookups, connections, public_roots: OnceLock::new() }
    }
}

impl Connector {
    pub(super) fn new(
        rule: &Arc<HttpRule>,
        shared: &SharedResources,
    ) -> Result<Self, RequestError> {
        let tls = rule
            .tls
            .then(|| tls::config(rule.authorities.as_ref(), &shared.public_roots))
            .transpose()?;
        let network = Arc::clone(&shared.network);
        let resolver =
            Resolver::new(Arc::clone(rule), Arc::clone(&network), Arc::clone(&shared.lookups));
        Ok(Self { resolver, network, tls, connections: Arc::clone(&shared.connections) })
    }

    /// Opens a connection to a host of the rule.
    pub(super) async fn connect(&self, host: &TargetHost) -> Result<HttpConnection, RequestError> {
        let permit = Arc::clone(&self.connections).try_acquire_owned().map_err(|_| {
            let why =
                format!("plugins have {MAX_CONNECTIONS} connections open, which is the maximum");
            RequestError::new(RequestErrorKind::Open, why)
        })?;
        let addresses = self.resolver.addresses(host).await?;
        let stream = self.connect_to(host, &addresses).await?;
        let stream: Box<dyn Transport> = match &self.tls {
            None => Box::new(stream),
            Some(config) => Box::new(tls::handshake(Arc::clone(config), host, stream).await?),
        };
        HttpConnection::open(stream, permit).await.map_err(|error| {
            RequestError::new(
                RequestErrorKind::Terminated,
                format!("the connection ended: {error}"),
            )
        })
    }

    /// Connects to the first address that accepts.
    async fn connect_to(
        &self,
        host: &TargetHost,
        addresses: &[SocketAddr],
    ) -> Result<TcpStream, RequestError> {
        let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let share = (CONNECT_TIMEOUT / count.max(1)).max(MIN_CONNECT_TIMEOUT);
        let mut last = RequestError::new(
            RequestErrorKind::ConnectTimeout,
            format!("{host} did not answer in time"),
        );
        for address in addresses {
            match timeout(share, self.network.connect(*address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => {
                    let why = format!("connecting to {address} failed: {error}");
                    last = RequestError::new(RequestErrorKind::Refused, why);
                }
                Err(_) => {}
            }
        }
        Err(last)
    }
}

impl HttpConnection {
    /// Speaks HTTP/1.1 over a stream, in a task on the caller's runtime.
    pub(super) async fn open(
        stream: Box<dyn Transport>,
        permit: OwnedSemaphorePermit,
    ) -> hyper::Result<Self> {
        let mut builder = http1::Builder::new();
        builder.max_headers(MAX_HEADERS).max_buf_size(MAX_HEAD_BYTES);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        // A failure also reaches whoever waits for the response.
        let task = tasks::spawn(async move { drop(connection.await) });
        Ok(Self { sender, _task: AbortOnDropHandle::new(task), _permit: permit })
    }
}

impl fmt::Debug for SharedResources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedResources").field("network", &self.network).finish_non_exhaustive()
    }
}
