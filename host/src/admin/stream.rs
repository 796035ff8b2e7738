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
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::lasting::LastingClient;
use super::params::{Params, StreamQuery, StreamTopics};
use super::problem::ProblemJson;
use super::role::Identity;
use super::state::{Admin, MAX_STREAMS};
use crate::event::EventId;
use crate::store::{Changes, Hint, OperationId};
use crate::tasks;

/// The least time between two hints of one topic.
const HINT_EVERY: Duration = Duration::from_millis(500);

/// A comment is sent after so long without a hint, so that a client notices a host that is gone.
pub(super) const COMMENT_EVERY: Duration = Duration::from_secs(15);

/// How often pages that show sources are to look again: a refused request commits nothing.
const SOURCES_EVERY: Duration = Duration::from_secs(5);

/// The least time between two looks at the trees of events. A commit does not say which events it
/// is of, so it is looked whether their trees stand otherwise; that is much less than rendering
/// them.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Every topic of everything.
const TOPICS: [&str; 6] = ["stats", "events", "plugins", "failures", "sources", "operations"];

/// Hints of what has changed, as server-sent events (`text/event-stream`).
///
/// Each is `{"topic": "events"}`, and its id the number of the commit. `event:ID` is told once the
/// tree of that event stands otherwise, and `operation:ID` once that operation got on. A client
/// that comes back with `Last-Event-ID` is told of all its topics at once. Without a hint a comment
/// comes every 15 s.
#[utoipa::path(get, path = "/api/v1/stream", tag = "health", params(StreamQuery), responses(
    (status = 200, description = "Hints, until the client goes, could no longer begin, or the host stops", body = String, content_type = "text/event-stream"),
    (status = 503, description = "16 streams are open", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn show_stream(
    State(admin): State<Arc<Admin>>,
    client: Identity,
    Params(query): Params<StreamQuery>,
    headers: HeaderMap,
) -> Result<Response, ProblemJson> {
    let topics = query.topics(&TOPICS)?;
    let permit = admin.streams.begin().ok_or_else(|| {
        let detail =
            format!("{MAX_STREAMS} streams are open: ask for what you show every few seconds");
        ProblemJson::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })?;
    let (mut trees, mut operations) = (Vec::new(), Vec::new());
    for id in topics.events.iter().copied() {
        let mark = admin.store.tree_mark(id).await?;
        trees.push(WatchedTree { id, mark });
    }
    for id in topics.operations.iter().copied() {
        operations.push((id, admin.operations.told(id)));
    }
    let (sender, receiver) = mpsc::channel(1);
    let is_back = headers.contains_key("last-event-id");
    let stream = HintStream {
        changed: if is_back { all(&topics) } else { BTreeSet::new() },
        topics: topics.words,
        trees,
        operations,
        is_stale: false,
        generation: admin.status.get().generation,
        commit: 0,
        client: LastingClient::new(&admin, client, headers),
        sender,
        _permit: permit,
    };
    tasks::spawn(stream.run(Arc::clone(&admin), admin.store.changes(), admin.closing.clone()));
    let headers = [(header::CONTENT_TYPE, "text/event-stream")];
    Ok((headers, Body::new(Chunks(receiver))).into_response())
}

/// Every topic of a client, as it is told of them.
fn all(topics: &StreamTopics) -> BTreeSet<String> {
    let words = topics.words.iter().map(|word| (*word).to_owned());
    let events = topics.events.iter().map(|id| format!("event:{id}"));
    words
        .chain(events)
        .chain(topics.operations.iter().map(|id| format!("operation:{id}")))
        .collect()
}

/// An event whose tree a client looks at.
struct WatchedTree {
    id: EventId,
    /// How the tree stood when it was looked at last.
    mark: u64,
}

/// One client.
struct HintStream {
    topics: Vec<&'static str>,
    trees: Vec<WatchedTree>,
    /// Operations, each with how often it was told of.
    operations: Vec<(OperationId, u64)>,
    /// Whether a tree may stand otherwise than it did.
    is_stale: bool,
    /// Topics that the client has not been told of.
    changed: BTreeSet<String>,
    /// Configuration and plugins, as the client knows them.
    generation: u64,
    commit: u64,
    client: LastingClient,
    sender: mpsc::Sender<Bytes>,
    _permit: OwnedSemaphorePermit,
}

impl HintStream {
    /// Sends hints until the client has gone, could no longer begin, or the host stops.
    async fn run(mut self, admin: Arc<Admin>, mut changes: Changes, closing: CancellationToken) {
        let mut status = admin.status.subscribe();
        let mut operations = admin.operations.listen();
        let mut sources = interval(SOURCES_EVERY);
        sources.reset();
        let mut next = Instant::now();
        let (mut comment, mut look) = (next, next);
        let sender = self.sender.clone();
        loop {
            let has_hints = !self.changed.is_empty();
            tokio::select! {
                () = closing.cancelled() => return,
                () = sender.closed() => return,
                () = self.client.lost(&admin) => return,
                hint = changes.next() => match hint {
                    Some(hint) => self.note(&hint),
                    None => return,
                },
                changed = status.changed() => match changed {
                    Ok(()) => self.note_generation(status.borrow_and_update().generation),
                    Err(_) => return,
                },
                changed = operations.changed() => match changed {
                    Ok(()) => self.note_operations(&admin),
                    Err(_) => return,
                },
                () = sleep_until(look), if self.is_stale => {
                    look = Instant::now() + LOOK_EVERY;
                    self.look(&admin).await;
                }
                _ = sources.tick() => self.change("sources"),
                permit = ready(&sender, next), if has_hints => {
                    let Some(permit) = permit else { return };
                    if !self.client.may_go_on(&admin) { return }
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
        self.is_stale |= !self.trees.is_empty();
        self.change("stats");
        if hint.events || !hint.plugins.is_empty() || hint.missed {
            self.change("events");
        }
        if !hint.plugins.is_empty() || hint.missed {
            self.change("plugins");
            self.change("failures");
        }
    }

    fn note_operations(&mut self, admin: &Admin) {
        self.change("operations");
        for (id, told) in &mut self.operations {
            let now = admin.operations.told(*id);
            if now != *told {
                *told = now;
                self.changed.insert(format!("operation:{id}"));
            }
        }
    }

    /// Looks whether trees stand otherwise than they did.
    async fn look(&mut self, admin: &Admin) {
        self.is_stale = false;
        for tree in &mut self.trees {
            match admin.store.tree_mark(tree.id).await {
                Ok(mark) if mark == tree.mark => {}
                Ok(mark) => {
                    tree.mark = mark;
                    self.changed.insert(format!("event:{}", tree.id));
                }
                Err(error) => {
                    tracing::debug!(%error, "a stream could not look at a tree");
                    self.is_stale = true;
                }
            }
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
            self.changed.insert(topic.to_owned());
        }
    }

    /// The hints that have come together.
    fn hints(&mut self) -> Bytes {
        let commit = self.commit;
        let event = |topic: String| format!("id: {commit}\ndata: {{\"topic\":\"{topic}\"}}\n\n");
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
