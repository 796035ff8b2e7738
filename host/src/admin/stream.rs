//! The stream of hints for pages that are open: what to look at again, without data.
//!
//! A client gets at most two hints a second for each topic, however fast the store commits, and
//! nothing is kept for a client that is slow: its topics are told once it reads again.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::guard::identify;
use super::params::{Params, StreamQuery};
use super::problem::ProblemJson;
use super::state::{Admin, MAX_STREAMS};
use crate::store::{Changes, Hint};
use crate::tasks;

/// The least time between two hints of one topic.
const HINT_EVERY: Duration = Duration::from_millis(500);

/// A comment is sent after so long without a hint, so that a client notices a host that is gone.
pub(super) const COMMENT_EVERY: Duration = Duration::from_secs(15);

/// How often pages that show sources are to look again: a refused request commits nothing.
const SOURCES_EVERY: Duration = Duration::from_secs(5);

/// Every topic.
const TOPICS: [&str; 6] = ["stats", "events", "plugins", "failures", "sources", "operations"];

/// Hints of what has changed, as server-sent events (`text/event-stream`).
///
/// Each is `{"topic": "events"}`, and its id the number of the commit. A client that comes back
/// with `Last-Event-ID` is told of all its topics at once. Without a hint a comment comes every
/// 15 s.
#[utoipa::path(get, path = "/api/v1/stream", tag = "health", params(StreamQuery), responses(
    (status = 200, description = "Hints, until the client goes or the host stops", body = String, content_type = "text/event-stream"),
    (status = 503, description = "16 streams are open", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn show_stream(
    State(admin): State<Arc<Admin>>,
    Params(query): Params<StreamQuery>,
    headers: HeaderMap,
) -> Result<Response, ProblemJson> {
    let topics = query.topics(&TOPICS)?;
    let permit = admin.streams.begin().ok_or_else(|| {
        let detail =
            format!("{MAX_STREAMS} streams are open: ask for what you show every few seconds");
        ProblemJson::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })?;
    let (sender, receiver) = mpsc::channel(1);
    let is_back = headers.contains_key("last-event-id");
    let stream = HintStream {
        changed: if is_back { topics.iter().copied().collect() } else { BTreeSet::new() },
        topics,
        generation: admin.status.get().generation,
        commit: 0,
        headers,
        sender,
        log_outs: admin.access.log_outs(),
        _permit: permit,
    };
    tasks::spawn(stream.run(Arc::clone(&admin), admin.store.changes(), admin.closing.clone()));
    let headers = [(header::CONTENT_TYPE, "text/event-stream")];
    Ok((headers, Body::new(Chunks(receiver))).into_response())
}

/// One client.
struct HintStream {
    topics: Vec<&'static str>,
    /// Topics that the client has not been told of.
    changed: BTreeSet<&'static str>,
    /// Configuration and plugins, as the client knows them.
    generation: u64,
    commit: u64,
    /// The client shows again who it is, now and then and when the configuration changes.
    headers: HeaderMap,
    sender: mpsc::Sender<Bytes>,
    log_outs: watch::Receiver<()>,
    _permit: OwnedSemaphorePermit,
}

impl HintStream {
    /// Sends hints until the client has gone or the host stops.
    async fn run(mut self, admin: Arc<Admin>, mut changes: Changes, closing: CancellationToken) {
        let mut status = admin.status.subscribe();
        let mut operations = admin.operations.listen();
        let mut sources = interval(SOURCES_EVERY);
        sources.reset();
        let mut known = interval(COMMENT_EVERY);
        known.reset();
        let mut next = Instant::now();
        let mut comment = next;
        let sender = self.sender.clone();
        loop {
            let has_hints = !self.changed.is_empty();
            tokio::select! {
                () = closing.cancelled() => return,
                () = sender.closed() => return,
                hint = changes.next() => match hint {
                    Some(hint) => self.note(&hint),
                    None => return,
                },
                changed = status.changed() => match changed {
                    // Its token or its session may be gone.
                    Ok(()) if identify(&admin, &self.headers).is_none() => return,
                    Ok(()) => self.note_generation(status.borrow_and_update().generation),
                    Err(_) => return,
                },
                changed = operations.changed() => match changed {
                    Ok(()) => self.change("operations"),
                    Err(_) => return,
                },
                // A session ends when its client logs out, and with its time.
                Ok(()) = self.log_outs.changed() => {
                    if identify(&admin, &self.headers).is_none() { return }
                }
                _ = known.tick() => if identify(&admin, &self.headers).is_none() { return },
                _ = sources.tick() => self.change("sources"),
                permit = ready(&sender, next), if has_hints => {
                    let Some(permit) = permit else { return };
                    permit.send(self.hints());
                    next = Instant::now() + HINT_EVERY;
                    comment = Instant::now() + COMMENT_EVERY;
                }
                permit = ready(&sender, comment), if !has_hints => {
                    let Some(permit) = permit else { return };
                    permit.send(Bytes::from_static(b":\n\n"));
                    comment = Instant::now() + COMMENT_EVERY;
                }
            }
        }
    }

    fn note(&mut self, hint: &Hint) {
        self.commit = hint.commit.max(self.commit);
        self.change("stats");
        if hint.events || !hint.plugins.is_empty() || hint.missed {
            self.change("events");
        }
        if !hint.plugins.is_empty() || hint.missed {
            self.change("plugins");
            self.change("failures");
        }
    }

    fn note_generation(&mut self, generation: u64) {
        if generation != self.generation {
            self.generation = generation;
            self.change("plugins");
        }
        // Trouble of the configuration is shown beside the counts.
        self.change("stats");
    }

    fn change(&mut self, topic: &'static str) {
        if self.topics.contains(&topic) {
            self.changed.insert(topic);
        }
    }

    /// The hints that have come together.
    fn hints(&mut self) -> Bytes {
        let commit = self.commit;
        let event = |topic| format!("id: {commit}\ndata: {{\"topic\":\"{topic}\"}}\n\n");
        std::mem::take(&mut self.changed).into_iter().map(event).collect::<String>().into()
    }
}

/// Waits for a time, and then until the client has read what it was sent; `None` if it has gone.
pub(super) async fn ready(
    sender: &mpsc::Sender<Bytes>,
    at: Instant,
) -> Option<mpsc::Permit<'_, Bytes>> {
    sleep_until(at).await;
    sender.reserve().await.ok()
}

/// A body of what is sent.
pub(super) struct Chunks(pub(super) mpsc::Receiver<Bytes>);

impl HttpBody for Chunks {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
