//! Takes connections and bounds what each of them may cost.
//!
//! HTTP/1.1 only: webhook providers send nothing else, and the floods that HTTP/2 makes possible
//! are not worth defending against here. A connection that sends no request is closed after a while
//! (`patience`), sooner within a header than between two requests.
//!
//! When all permits are taken, the connection that has been idle for longest is closed for a
//! newcomer. If every connection has a request under way, the newcomer waits, and later ones wait
//! in the backlog.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::body::HttpBody;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::ClientKey;
use super::connections::{Closed, ConnectionPermit, Connections, NewConnection};
use super::line_limit::LineLimit;
use super::socket::Socket;
use super::timeouts::ServerTimeouts;
use super::tracked::UnderWay;
use crate::config::Config;
use crate::tasks;

/// The longest request line and header fields together, in bytes. hyper itself takes at most 100
/// fields.
const MAX_HEADER_BYTES: usize = 32 << 10;

/// The most that is read from a connection ahead of its use, in bytes.
const MAX_BUFFER_BYTES: usize = 64 << 10;

/// The pause after an error of `accept`, such as too many open files: trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often a full listener is checked within the time for a header.
const CHECKS_PER_HEADER: u32 = 4;

/// At most one line in this time says that a listener is full.
const FULL_LINE_EVERY: Duration = Duration::from_secs(10);

/// Answers the requests of a listener.
///
/// The public listener is no router: it tells one path from all others, and a router's boxes and
/// tables would cost every event.
pub trait Handler: Clone + Send + Sync + 'static {
    /// The reply to one request of `peer`.
    fn answer(
        &self,
        request: hyper::Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response> + Send;

    /// The key that a connection of `peer` counts for; `None` if it has no limit.
    fn key_of(&self, peer: SocketAddr) -> Option<ClientKey>;

    /// `client` has reached its limit of connections.
    fn over_limit(&self, client: ClientKey);
}

/// The limits of a listener.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The value of the metrics' and the log's `door`.
    pub name: &'static str,
    /// Connections at once. For one more, the one that has been idle for longest is closed.
    pub max_connections: u32,
    /// How long each step of a request may take.
    pub timeouts: ServerTimeouts,
    /// Whether a client that has closed its side after the request still wants the reply. If not,
    /// its answer ends with it, however long that would have been.
    pub half_close: bool,
    /// The running configuration, for `server.keep_alive`.
    pub config: Arc<ArcSwap<Config>>,
}

/// State that the connections of a listener share.
#[derive(Debug)]
struct Listener<H> {
    options: ServerOptions,
    handler: H,
    http: http1::Builder,
    connections: Arc<Connections>,
    /// Connections that are served, and connections that were told to close and have not yet
    /// noticed.
    served: TaskTracker,
    full_lines: LineLimit,
    /// Requests under way are finished, then connections are closed.
    shutdown: CancellationToken,
    /// Requests that are still under way are dropped.
    abort: CancellationToken,
}

/// Serves connections of `listener` until `shutdown`, then lets requests under way finish for up to
/// [`ServerTimeouts::drain`], and returns when the last connection is closed.
pub async fn serve(
    listener: TcpListener,
    handler: impl Handler,
    options: ServerOptions,
    shutdown: CancellationToken,
) {
    let shared = Arc::new(Listener {
        handler,
        http: http(options.half_close),
        connections: Connections::new(options.max_connections),
        served: TaskTracker::new(),
        full_lines: LineLimit::new(1, FULL_LINE_EVERY),
        shutdown: shutdown.clone(),
        abort: CancellationToken::new(),
        options,
    });
    // Cancelled as a whole: a newcomer that waits for a permit is as one in the backlog, unread.
    let accepting = async { tokio::join!(accept(&listener, &shared), close_slow_headers(&shared)) };
    let _ = shutdown.run_until_cancelled(accepting).await;
    // New connections are refused from here on, and do not wait in a backlog that nobody reads.
    drop(listener);
    shared.served.close();
    if timeout(shared.options.timeouts.drain, shared.served.wait()).await.is_err() {
        let open = shared.served.len();
        tracing::warn!(
            connections = open,
            "closing connections with requests that did not finish in time"
        );
        shared.abort.cancel();
        shared.served.wait().await;
    }
}

fn http(half_close: bool) -> http1::Builder {
    let mut http = http1::Builder::new();
    // `Socket` limits the time for a header, because hyper has one limit for headers and idleness.
    http.header_read_timeout(None)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(MAX_BUFFER_BYTES)
        .half_close(half_close);
    http
}

async fn accept<H: Handler>(listener: &TcpListener, shared: &Arc<Listener<H>>) -> Infallible {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Some(permit) = shared.permit(peer).await {
                    let serving = Arc::clone(shared).handle(stream, peer, permit);
                    tasks::spawn(shared.served.track_future(serving));
                }
            }
            // The client was gone before its turn came.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "cannot take a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Enforces the shorter limit for headers while all permits are taken. Each connection enforces the
/// usual limit itself.
async fn close_slow_headers<H: Handler>(shared: &Listener<H>) -> Infallible {
    let limit = shared.options.timeouts.header_when_full;
    loop {
        shared.connections.crowded().await;
        while let Some(closed) =
            shared.connections.close_overdue(limit, shared.connections.now_us())
        {
            if closed > 0 {
                shared.count("slow_header", closed);
            }
            tokio::time::sleep(limit / CHECKS_PER_HEADER).await;
        }
    }
}

impl<H: Handler> Listener<H> {
    /// A permit for a connection of `peer`, as soon as there is one; `None` if it is refused.
    async fn permit(&self, peer: SocketAddr) -> Option<ConnectionPermit> {
        let client = self.handler.key_of(peer);
        let mut waits = false;
        loop {
            match self.connections.admit(client, self.connections.now_us()) {
                NewConnection::Admitted { permit, closed } => {
                    // Otherwise every connection that becomes idle would go on telling.
                    if waits {
                        self.connections.want(false);
                    }
                    self.note(closed, client);
                    return Some(permit);
                }
                NewConnection::OverShare => {
                    self.count("refused", 1);
                    if let Some(client) = client {
                        self.handler.over_limit(client);
                    }
                    return None;
                }
                // Asked again after `want`: a connection that became idle in between told nobody.
                NewConnection::Full if !waits => {
                    waits = true;
                    self.connections.want(true);
                }
                NewConnection::Full => self.connections.change().await,
            }
        }
    }

    /// Counts and logs that an idle connection was closed for a new one.
    fn note(&self, closed: Option<Closed>, client: Option<ClientKey>) {
        match closed {
            None => {}
            Some(Closed::OverShare) => {
                self.count("client_share", 1);
                if let Some(client) = client {
                    self.handler.over_limit(client);
                }
            }
            Some(Closed::Full) => {
                self.count("full", 1);
                if let Some(suppressed) = self.full_lines.admit(Instant::now()) {
                    tracing::warn!(
                        door = self.options.name,
                        suppressed,
                        "connections are full: the one that has been idle for longest is closed for each newcomer"
                    );
                }
            }
        }
    }

    fn count(&self, reason: &'static str, connections: u64) {
        metrics::counter!(
            "hookbox_connections_closed_total", "door" => self.options.name, "reason" => reason
        )
        .increment(connections);
    }

    /// Serves one connection; its permit is free again when it is closed.
    async fn handle(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        permit: ConnectionPermit,
    ) {
        // Replies are small, and a sender waits for each.
        let _ = stream.set_nodelay(true);
        let state = Arc::clone(permit.state());
        let ServerOptions { timeouts, config, .. } = &self.options;
        // Read for each connection, so that a change counts without a restart.
        let keep_alive = Duration::from_millis(config.load().server.keep_alive_ms);
        let socket =
            Socket::new(stream, Arc::clone(&state), timeouts, keep_alive, self.shutdown.clone());
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let under_way = UnderWay::begin(&state, request.body().size_hint().exact());
            let handler = &self.handler;
            async move {
                let under_way = under_way.ok_or(ToldToClose)?;
                let response = handler.answer(request, peer).await;
                Ok::<_, ToldToClose>(response.map(|body| under_way.until_sent(body)))
            }
        });
        let mut serving = std::pin::pin!(self.http.serve_connection(TokioIo::new(socket), service));
        let ended = tokio::select! {
            biased;
            // No request is under way, so nothing is lost.
            () = state.told_to_close() => Ok(()),
            ended = serving.as_mut() => ended,
            () = self.shutdown.cancelled() => {
                serving.as_mut().graceful_shutdown();
                match self.abort.run_until_cancelled(serving).await {
                    Some(ended) => ended,
                    // The drain is over: the connection is dropped as it is.
                    None => Ok(()),
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(client.address = %peer, %error, "connection ended early");
        }
        drop(permit);
    }
}

/// A request that came while its connection was being closed for another one.
#[derive(Debug, thiserror::Error)]
#[error("the connection was closed for another one before its request had come")]
struct ToldToClose;
