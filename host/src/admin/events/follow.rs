//! Events as they come in, for those who follow them. Nothing is queued for a client: after a
//! commit the store is asked for newer events, at most once a second, and of a flood the newest are
//! sent.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admin::lasting::LastingClient;
use crate::admin::params::{EventQuery, Params};
use crate::admin::problem::ProblemJson;
use crate::admin::role::Identity;
use crate::admin::state::{Admin, MAX_STREAMS};
use crate::admin::stream::{COMMENT_EVERY, Chunks, ready};
use crate::admin::view::EventItem;
use crate::event::EventId;
use crate::store::{Changes, EventFilter, Page, StoreError};
use crate::tasks;

/// The least time between two scans.
const SCAN_EVERY: Duration = Duration::from_secs(1);

/// The most events that are sent after one scan.
const MOST: usize = 1_000;

/// Pages of so many events that one scan counts; what is beyond is skipped uncounted.
const MAX_PAGES: usize = 5;

const EVENT_STREAM: &str = "text/event-stream";
const NDJSON: &str = "application/x-ndjson";

/// Follow events as they come in.
///
/// The events that match the filters, from now on; behind `after`, or behind the event that
/// `Last-Event-ID` names. One line of JSON each; server-sent events with `Accept:
/// text/event-stream`, the event's id as theirs. Where more than 1,000 come in a second,
/// `{"skipped": 6950}` stands for those that are left out, with `"or_more": true` if they were not
/// counted to the end. Every 15 s without an event comes an empty line, or a comment.
#[utoipa::path(get, path = "/api/v1/events/stream", tag = "events", params(EventQuery), responses(
    (status = 200, description = "Events, until the client goes, could no longer begin, or the host stops", body = EventItem, content_type = "application/x-ndjson"),
    (status = 503, description = "16 streams are open", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(in crate::admin) async fn follow_events(
    State(admin): State<Arc<Admin>>,
    client: Identity,
    Params(query): Params<EventQuery>,
    headers: HeaderMap,
) -> Result<Response, ProblemJson> {
    query.without_page()?;
    let mut filter = query.filter(client.sees)?;
    let last = match headers.get("last-event-id") {
        Some(id) => {
            let id = id.to_str().unwrap_or("?").parse();
            let refuse = |error| ProblemJson::bad_request(format!("`Last-Event-ID`: {error}"));
            Some(id.map_err(refuse)?)
        }
        None => filter.after.take(),
    };
    let changes = admin.store.changes();
    let begins_now = last.is_none();
    let last = match last {
        Some(last) => last,
        None => newest(&admin).await?.unwrap_or(EventId::from_row(0)),
    };
    let permit = admin.streams.begin().ok_or_else(|| {
        let detail = format!("{MAX_STREAMS} streams are open: ask for a list every few seconds");
        ProblemJson::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })?;
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let as_lines = !accepts.is_some_and(|accepts| accepts.contains(EVENT_STREAM));
    let (sender, receiver) = mpsc::channel(1);
    let stream = Follower {
        filter,
        last,
        is_new: !begins_now,
        as_lines,
        client: LastingClient::new(&admin, client, headers),
        sender,
        _permit: permit,
    };
    tasks::spawn(stream.run(Arc::clone(&admin), changes, admin.closing.clone()));
    let headers = [(header::CONTENT_TYPE, if as_lines { NDJSON } else { EVENT_STREAM })];
    Ok((headers, Body::new(Chunks(receiver))).into_response())
}

/// The newest event of all.
async fn newest(admin: &Admin) -> Result<Option<EventId>, StoreError> {
    let (rows, _) =
        admin.store.events(EventFilter::default(), Page { limit: 1, after: None }).await?;
    Ok(rows.first().map(|row| row.event.id))
}

/// One client.
struct Follower {
    filter: EventFilter,
    /// The newest event that was looked at.
    last: EventId,
    /// Whether there may be newer ones.
    is_new: bool,
    as_lines: bool,
    client: LastingClient,
    sender: mpsc::Sender<Bytes>,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    /// Sends events until the client has gone, could no longer begin, or the host stops.
    async fn run(mut self, admin: Arc<Admin>, mut changes: Changes, closing: CancellationToken) {
        let mut next = Instant::now();
        let mut comment = next;
        let sender = self.sender.clone();
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                () = sender.closed() => return,
                () = self.client.lost(&admin) => return,
                hint = changes.next() => match hint {
                    Some(hint) => self.is_new |= hint.events || hint.missed,
                    None => return,
                },
                permit = ready(&sender, next), if self.is_new => {
                    let Some(permit) = permit else { return };
                    self.is_new = false;
                    next = Instant::now() + SCAN_EVERY;
                    let found = self.scan(&admin).await;
                    if !self.client.may_go_on(&admin) { return }
                    match found {
                        Ok(text) if text.is_empty() => {}
                        Ok(text) => {
                            permit.send(text.into());
                            comment = Instant::now() + COMMENT_EVERY;
                        }
                        // New events stay new.
                        Err(error) => {
                            tracing::debug!(%error, "a stream of events could not look for more");
                            self.is_new = true;
                        }
                    }
                }
                permit = ready(&sender, comment), if !self.is_new => {
                    let Some(permit) = permit else { return };
                    permit.send(Bytes::from_static(if self.as_lines { b"\n" } else { b":\n\n" }));
                    comment = Instant::now() + COMMENT_EVERY;
                }
            }
        }
    }

    /// The events since the last scan, oldest first.
    async fn scan(&mut self, admin: &Admin) -> Result<String, StoreError> {
        // Events that come in meanwhile are for the next scan.
        let Some(newest) = newest(admin).await?.filter(|newest| *newest > self.last) else {
            return Ok(String::new());
        };
        let filter = EventFilter { after: Some(self.last), ..self.filter.clone() };
        let (mut shown, mut skipped, mut after, mut pages) = (Vec::new(), 0_usize, None, 0);
        let is_more = loop {
            let (rows, next) =
                admin.store.events(filter.clone(), Page { limit: MOST, after }).await?;
            let new = rows.into_iter().filter(|row| row.event.id <= newest);
            for row in new {
                match shown.len() < MOST {
                    true => shown.push(row),
                    false => skipped += 1,
                }
            }
            (after, pages) = (next, pages + 1);
            if after.is_none() || pages == MAX_PAGES {
                break after.is_some();
            }
        };
        self.last = newest;
        let mut text = String::new();
        if skipped > 0 || is_more {
            let mut note = json!({ "skipped": skipped });
            if is_more {
                note["or_more"] = true.into();
            }
            self.write(&mut text, None, &note.to_string());
        }
        for row in shown.into_iter().rev() {
            let id = row.event.id;
            let item = serde_json::to_string(&EventItem::from(row)).unwrap_or_default();
            self.write(&mut text, Some(id), &item);
        }
        Ok(text)
    }

    fn write(&self, text: &mut String, id: Option<EventId>, line: &str) {
        match (self.as_lines, id) {
            (true, _) => text.extend([line, "\n"]),
            (false, Some(id)) => text.push_str(&format!("id: {id}\ndata: {line}\n\n")),
            (false, None) => text.push_str(&format!("event: skipped\ndata: {line}\n\n")),
        }
    }
}
