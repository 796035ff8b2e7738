//! Answers of lines of JSON, sent as they are found. An answer that breaks off is not complete.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use serde::Serialize;
use tokio::sync::mpsc;

use super::state::Admin;
use crate::tasks;

/// The media type of lines of JSON.
pub(super) const NDJSON: &str = "application/x-ndjson";

/// Lines that wait for a slow client.
const MAX_WAITING: usize = 50;

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

/// An answer of the lines that `write` sends.
pub(super) fn answer<F>(
    admin: Arc<Admin>,
    write: impl FnOnce(Arc<Admin>, LineSender) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = Result<(), io::Error>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    tasks::spawn(async move {
        let written = write(Arc::clone(&admin), LineSender(sender.clone()));
        let written = tokio::select! {
            biased;
            written = written => written,
            () = admin.closing.cancelled() => Err(io::Error::other("the host stops")),
        };
        if let Err(error) = written {
            // The answer breaks off, so that it is not taken for complete.
            drop(sender.send(Err(error)).await);
        }
    });
    ([(header::CONTENT_TYPE, NDJSON)], Body::new(LinesBody(receiver))).into_response()
}

/// A body of lines that may break off.
struct LinesBody(mpsc::Receiver<Result<Bytes, io::Error>>);

impl HttpBody for LinesBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(context).map(|line| line.map(|line| line.map(Frame::data)))
    }
}
