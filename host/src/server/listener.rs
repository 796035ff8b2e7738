//! Takes connections and bounds what each of them may cost.
//!
//! HTTP/1.1 only: providers send nothing else, and the floods that HTTP/2 makes possible are not worth defending
//! against here. A connection that sends no request is closed after a while (`patience`): sooner within a header than
//! between two requests.
//!
//! When there is no place left, the connection that has been idle for longest is closed for the one that arrives. One
//! that has a request under way is not: if all have one, the newcomer waits, and those behind it in the listener's backlog.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::client::ShareKey;
use super::receive::Receiver;
use super::refusals::LineLimit;
use super::{Intake, Timeouts};
use crate::config::Config;
use crate::tasks;

mod conn;
mod connections;
mod lines;
mod patience;
mod watched;

use conn::Conn;
use connections::{Admission, Closed, Connections, Place};
use watched::Underway;

/// The longest request line and header fields together, in bytes. hyper takes at most 100 fields by itself.
const MAX_HEADER_BYTES: usize = 32 << 10;

/// The most that is read from a connection ahead of its use, in bytes.
const MAX_BUFFER_BYTES: usize = 64 << 10;

/// How long accepting rests after an error such as too many open files: trying on at once would only spin.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// How often a door that is full is looked at within the time for a header.
const HURRY_LOOKS: u32 = 4;

/// At most one line in such a time says that a door is full.
const FULL_LINE_EVERY: Duration = Duration::from_secs(10);

/// What a door answers with. Not a router where every microsecond counts: one that has a single path to tell from all
/// others pays for boxes and tables.
pub(super) trait Answers: Clone + Send + Sync + 'static {
    /// The reply to one request of `peer`.
    fn answer(&self, request: hyper::Request<Incoming>, peer: SocketAddr) -> impl Future<Output = Response> + Send;

    /// Whose share of the connections one of `peer` counts for. `None` if it counts for nobody's.
    fn share_of(&self, peer: SocketAddr) -> Option<ShareKey>;

    /// `client` has all of its share of the connections.
    fn over_share(&self, client: ShareKey);
}

impl Answers for Router {
    async fn answer(&self, request: hyper::Request<Incoming>, _: SocketAddr) -> Response {
        match self.clone().oneshot(request.map(Body::new)).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Operators come over loopback, from one address: to tell them apart by it would keep them from their own host.
    fn share_of(&self, _: SocketAddr) -> Option<ShareKey> {
        None
    }

    fn over_share(&self, _: ShareKey) {}
}

/// What every connection shares.
#[derive(Debug)]
struct Door<A> {
    /// What the metrics call it.
    name: &'static str,
    answers: A,
    http: http1::Builder,
    timeouts: Timeouts,
    /// Says how long a connection is kept between two requests.
    config: Arc<ArcSwap<Config>>,
    connections: Arc<Connections>,
    /// Those that are served, and those that are told to close and have not yet noticed.
    served: TaskTracker,
    full_lines: LineLimit,
    /// Requests under way are finished, connections then closed.
    shutdown: CancellationToken,
    /// What is still under way is dropped.
    abort: CancellationToken,
}

/// How many connections there may be, and how long each step of one may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Connections at once. For one more, that which has been idle for longest is closed.
    pub max_connections: u32,
    /// Those of a request that are the router's affair (body, reply) are left to it.
    pub timeouts: Timeouts,
}

/// Receives webhooks on `listener` until `shutdown`, then lets the requests under way finish for as long as
/// [`Timeouts::drain`] says, and returns when the last connection is closed.
pub async fn serve(listener: TcpListener, intake: Intake, shutdown: CancellationToken) {
    let bounds = Bounds { max_connections: intake.capacity.connections, timeouts: intake.timeouts };
    let config = Arc::clone(&intake.config);
    take(listener, "public", Arc::new(Receiver::new(intake)), bounds, config, shutdown).await;
}

/// As [`serve`], for the router of the operator's door. When it is full, that door too closes what has been idle for
/// longest and hurries slow headers. It gives no shares: everybody who can reach it comes from a loopback address.
pub async fn serve_router(
    listener: TcpListener,
    router: Router,
    bounds: Bounds,
    config: Arc<ArcSwap<Config>>,
    shutdown: CancellationToken,
) {
    take(listener, "admin", router, bounds, config, shutdown).await;
}

async fn take(
    listener: TcpListener,
    name: &'static str,
    answers: impl Answers,
    bounds: Bounds,
    config: Arc<ArcSwap<Config>>,
    shutdown: CancellationToken,
) {
    let Bounds { max_connections, timeouts } = bounds;
    let door = Arc::new(Door {
        name,
        answers,
        http: http(),
        timeouts,
        config,
        connections: Connections::new(max_connections),
        served: TaskTracker::new(),
        full_lines: LineLimit::new(1, FULL_LINE_EVERY),
        shutdown: shutdown.clone(),
        abort: CancellationToken::new(),
    });
    // Cancelled as a whole. Who waits for a place then is as one who waits in the backlog: nothing was read.
    let _ = shutdown.run_until_cancelled(async { tokio::join!(accept(&listener, &door), hurry(&door)) }).await;
    drop(listener);
    door.served.close();
    if timeout(timeouts.drain, door.served.wait()).await.is_err() {
        let open = door.served.len();
        tracing::warn!(connections = open, "closing connections with requests that did not finish in time");
        door.abort.cancel();
        door.served.wait().await;
    }
}

fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    // `Conn` keeps the time for a header, because hyper has the same limit between two requests.
    http.header_read_timeout(None)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(MAX_BUFFER_BYTES)
        // A sender that closes its side after the request still wants the reply.
        .half_close(true);
    http
}

async fn accept<A: Answers>(listener: &TcpListener, door: &Arc<Door<A>>) -> Infallible {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Some(place) = door.place(peer).await {
                    let serving = Arc::clone(door).handle(stream, peer, place);
                    tasks::spawn(door.served.track_future(serving));
                }
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

/// Closes what takes longer for a header than it has while the door is full. The limit of every connection, which is
/// longer, it keeps by itself.
async fn hurry<A: Answers>(door: &Door<A>) -> Infallible {
    let limit = door.timeouts.header_when_full;
    loop {
        door.connections.crowded().await;
        while let Some(closed) = door.connections.close_overdue(limit, door.connections.now_us()) {
            if closed > 0 {
                door.count("slow_header", closed);
            }
            tokio::time::sleep(limit / HURRY_LOOKS).await;
        }
    }
}

impl<A: Answers> Door<A> {
    /// A place for a connection of `peer`, as soon as there is one; `None` if it is refused.
    async fn place(&self, peer: SocketAddr) -> Option<Place> {
        let client = self.answers.share_of(peer);
        let mut waits = false;
        loop {
            match self.connections.admit(client, self.connections.now_us()) {
                Admission::Admitted { place, closed } => {
                    if waits {
                        self.connections.want(false);
                    }
                    self.note(closed, client);
                    return Some(place);
                }
                Admission::OverShare => {
                    self.count("refused", 1);
                    client.inspect(|client| self.answers.over_share(*client));
                    return None;
                }
                // Asked once more after saying so, or what became idle in between would tell nobody.
                Admission::Full if !waits => {
                    waits = true;
                    self.connections.want(true);
                }
                Admission::Full => self.connections.change().await,
            }
        }
    }

    /// Tells that another connection was closed for a new one.
    fn note(&self, closed: Option<Closed>, client: Option<ShareKey>) {
        match closed {
            None => {}
            Some(Closed::OverShare) => {
                self.count("client_share", 1);
                client.inspect(|client| self.answers.over_share(*client));
            }
            Some(Closed::Full) => {
                self.count("full", 1);
                if let Some(suppressed) = self.full_lines.admit(Instant::now()) {
                    tracing::warn!(
                        door = self.name,
                        suppressed,
                        "connections are full: what has been idle for longest is closed for those that arrive"
                    );
                }
            }
        }
    }

    fn count(&self, reason: &'static str, connections: u64) {
        metrics::counter!("hookbox_connections_closed_total", "door" => self.name, "reason" => reason)
            .increment(connections);
    }

    /// Serves one connection; its place is free again when it is closed.
    async fn handle(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, place: Place) {
        // Replies are small, and a sender waits for each.
        let _ = stream.set_nodelay(true);
        let entry = Arc::clone(place.entry());
        let keep_alive = Duration::from_millis(self.config.load().server.keep_alive_ms);
        let conn = Conn::new(stream, Arc::clone(&entry), &self.timeouts, keep_alive, self.shutdown.clone());
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let underway = Underway::begin(&entry, request.body().size_hint().exact());
            let answers = &self.answers;
            async move {
                let underway = underway.ok_or(ToldToClose)?;
                let response = answers.answer(request, peer).await;
                Ok::<_, ToldToClose>(response.map(|body| underway.until_made(body)))
            }
        });
        let mut serving = std::pin::pin!(self.http.serve_connection(TokioIo::new(conn), service));
        let ended = tokio::select! {
            biased;
            // Nothing is under way, so nothing is lost.
            () = entry.told_to_close() => Ok(()),
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

/// A request that came while its connection was being closed for another.
#[derive(Debug, thiserror::Error)]
#[error("the connection was closed for another before its request had come")]
struct ToldToClose;
