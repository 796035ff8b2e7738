//! A request under way: from its header until its reply has been handed over to the connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::{Error, body::HttpBody};
use http_body::{Frame, SizeHint};

use super::connections::ConnectionState;

/// A request under way. Dropping it means that its reply is made, or that nobody waits for one.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<ConnectionState>);

impl UnderWay {
    /// `None` if the connection was told to close before the request's header was complete.
    /// `body_bytes` is the length of the body, if it was declared.
    pub(super) fn begin(state: &Arc<ConnectionState>, body_bytes: Option<u64>) -> Option<Self> {
        state.begin(body_bytes).then(|| Self(Arc::clone(state)))
    }

    /// Keeps the request under way until the connection has taken over this body.
    pub(super) fn until_sent(self, body: Body) -> TrackedBody {
        TrackedBody { body, _under_way: self }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.reply_made();
    }
}

/// A reply's body that keeps its request under way until the connection has taken it over.
#[derive(Debug)]
pub(super) struct TrackedBody {
    body: Body,
    _under_way: UnderWay,
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
