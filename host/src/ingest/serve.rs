//! Takes connections and bounds what each of them may cost.
//!
//! HTTP/1.1 only: providers send nothing else, and the floods that HTTP/2 makes possible are not worth defending
//! against here. Idle connections are closed by the same limit that a slow header meets.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::conn::Conn;
use super::receive::Receiver;
use super::{Intake, Timeouts};
use crate::tasks;

/// Connections at once; more wait in the listener's backlog.
pub const MAX_CONNECTIONS: u32 = 4_096;

/// The longest request line and header fields together, in bytes. hyper takes at most 100 fields by itself.
const MAX_HEADER_BYTES: usize = 32 << 10;

/// The most that is read from a connection ahead of its use, in bytes.
const MAX_BUFFER_BYTES: usize = 64 << 10;

/// How long accepting rests after an error such as too many open files: trying on at once would only spin.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// What a door answers with. Not a router where every microsecond counts: one that has a single path to tell from all
/// others pays for boxes and tables.
pub(super) trait Answers: Clone + Send + Sync + 'static {
    /// The reply to one request of `peer`.
    fn answer(&self, request: hyper::Request<Incoming>, peer: SocketAddr) -> impl Future<Output = Response> + Send;
}

impl Answers for Router {
    async fn answer(&self, request: hyper::Request<Incoming>, _: SocketAddr) -> Response {
        match self.clone().oneshot(request.map(Body::new)).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// What every connection shares.
#[derive(Debug, Clone)]
struct Connections<A> {
    answers: A,
    http: http1::Builder,
    timeouts: Timeouts,
    /// Requests under way are finished, connections then closed.
    shutdown: CancellationToken,
    /// What is still under way is dropped.
    abort: CancellationToken,
}

/// How many connections there may be, and how long each step of one may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Connections at once; more wait in the listener's backlog.
    pub max_connections: u32,
    /// Those of a request that are the router's affair (body, reply) are left to it.
    pub timeouts: Timeouts,
}

/// Receives webhooks on `listener` until `shutdown`, then lets the requests under way finish for as long as
/// [`Timeouts::drain`] says, and returns when the last connection is closed.
pub async fn serve(listener: TcpListener, intake: Intake, shutdown: CancellationToken) {
    let bounds = Bounds { max_connections: MAX_CONNECTIONS, timeouts: intake.timeouts };
    take(listener, Arc::new(Receiver::new(intake)), bounds, shutdown).await;
}

/// As [`serve`], for any router: how a door of this host takes its connections.
pub async fn serve_router(listener: TcpListener, router: Router, bounds: Bounds, shutdown: CancellationToken) {
    take(listener, router, bounds, shutdown).await;
}

async fn take(listener: TcpListener, answers: impl Answers, bounds: Bounds, shutdown: CancellationToken) {
    let Bounds { max_connections, timeouts } = bounds;
    let places = Arc::new(Semaphore::new(max_connections as usize));
    let connections = Connections {
        timeouts,
        http: http(&timeouts),
        answers,
        shutdown: shutdown.clone(),
        abort: CancellationToken::new(),
    };
    // Cancelled as a whole: no connection is taken from the listener and then lost.
    let _ = shutdown.run_until_cancelled(accept(&listener, &places, &connections)).await;
    drop(listener);
    if timeout(timeouts.drain, places.acquire_many(max_connections)).await.is_err() {
        let open = max_connections as usize - places.available_permits();
        tracing::warn!(connections = open, "closing connections with requests that did not finish in time");
        connections.abort.cancel();
        // An error means the semaphore is closed, which nobody does.
        let _ = places.acquire_many(max_connections).await;
    }
}

fn http(timeouts: &Timeouts) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(timeouts.header)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(MAX_BUFFER_BYTES)
        // A sender that closes its side after the request still wants the reply.
        .half_close(true);
    http
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    connections: &Connections<impl Answers>,
) -> Infallible {
    loop {
        let place = Arc::clone(places).acquire_owned().await.expect("nobody closes the semaphore");
        match listener.accept().await {
            Ok((stream, peer)) => {
                tasks::spawn(connections.clone().handle(stream, peer, place));
            }
            // The client was gone before its turn came.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "cannot take a connection");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

impl<A: Answers> Connections<A> {
    /// Serves one connection; its place is free again when it is closed.
    async fn handle(self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        // Replies are small, and a sender waits for each.
        let _ = stream.set_nodelay(true);
        let conn = Conn::new(stream, &self.timeouts, self.shutdown.clone());
        let answers = self.answers;
        let service = service_fn(move |request| {
            let answers = answers.clone();
            async move { Ok::<_, Infallible>(answers.answer(request, peer).await) }
        });
        let mut serving = std::pin::pin!(self.http.serve_connection(TokioIo::new(conn), service));
        let ended = tokio::select! {
            ended = serving.as_mut() => ended,
            () = self.shutdown.cancelled() => {
                serving.as_mut().graceful_shutdown();
                match self.abort.run_until_cancelled(serving).await {
                    Some(ended) => ended,
                    None => Ok(()),
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(client.address = %peer, %error, "connection ended early");
        }
        drop(place);
    }
}
