//! Answers of lines of JSON, sent as they are found. An answer that breaks off is not complete.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::lasting::LastingClient;
use super::problem::ProblemJson;
use super::role::Identity;
use super::state::{Admin, MAX_EXPORTS};
use crate::tasks;

/// The media type of lines of JSON.
pub(super) const NDJSON: &str = "application/x-ndjson";

/// Lines that wait for a slow client: each may have a whole body.
const MAX_WAITING: usize = 1;

/// Where the lines of an answer go.
pub(super) struct LineSender(mpsc::Sender<Result<Bytes, io::Error>>);

impl LineSender {
    /// Sends a line; whether the client is still there.
    pub(super) async fn send(&self, line: &impl Serialize) -> Result<bool, io::Error> {
        let mut line = serde_json::to_vec(line).map_err(io::Error::other)?;
        line.push(b'\n');
        Ok(self.0.send(Ok(line.into())).await.is_ok())
    }
}

/// An answer of the lines that `write` sends to a client. It breaks off when the client could no
/// longer begin it.
pub(super) fn answer<F>(
    admin: Arc<Admin>,
    (began, headers): (Identity, HeaderMap),
    write: impl FnOnce(Arc<Admin>, LineSender) -> F + Send + 'static,
) -> Result<Response, ProblemJson>
where
    F: Future<Output = Result<(), io::Error>> + Send + 'static,
{
    let permit = admin.streams.begin_export().map(Arc::new).ok_or_else(|| {
        let detail = format!(
            "{MAX_EXPORTS} exports are under way, the most at once: ask again when one has ended"
        );
        ProblemJson::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })?;
    let (sender, lines) = mpsc::channel(MAX_WAITING);
    let mut client = LastingClient::new(&admin, began, headers);
    let body = LinesBody { lines, _permit: Arc::clone(&permit) };
    tasks::spawn(async move {
        let _permit = permit;
        let written = write(Arc::clone(&admin), LineSender(sender.clone()));
        let written = tokio::select! {
            biased;
            () = client.lost(&admin) => Err(io::Error::other("the client may no longer read it")),
            written = written => written,
            () = sender.closed() => Ok(()),
            () = admin.closing.cancelled() => Err(io::Error::other("the host stops")),
        };
        if let Err(error) = written {
            // The answer breaks off, so that it is not taken for complete.
            drop(sender.send(Err(error)).await);
        }
    });
    Ok(([(header::CONTENT_TYPE, NDJSON)], Body::new(body)).into_response())
}

/// A body of lines that may break off.
struct LinesBody {
    lines: mpsc::Receiver<Result<Bytes, io::Error>>,
    /// Also of the task that writes: an export counts until both are gone.
    _permit: Arc<OwnedSemaphorePermit>,
}

impl HttpBody for LinesBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.lines.poll_recv(context).map(|line| line.map(|line| line.map(Frame::data)))
    }
}
