//! A reply that says when all of it is made.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::{Error, body::HttpBody};
use http_body::{Frame, SizeHint};

use super::connections::Entry;

/// A request under way. When it is dropped, its reply is made, or nobody waits for one any more.
#[derive(Debug)]
pub(super) struct Underway(Arc<Entry>);

impl Underway {
    /// `None` if the connection was told to close before the request's header was complete. `body_bytes` is the length of
    /// the body, if it was declared.
    pub(super) fn begin(entry: &Arc<Entry>, body_bytes: Option<u64>) -> Option<Self> {
        entry.begin(body_bytes).then(|| Self(Arc::clone(entry)))
    }

    /// It goes on until this body has been taken over by the connection.
    pub(super) fn until_made(self, body: Body) -> Watched {
        Watched { body, _underway: self }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.reply_made();
    }
}

/// A reply's body that keeps its request under way until it has been taken over by the connection.
#[derive(Debug)]
pub(super) struct Watched {
    body: Body,
    _underway: Underway,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
