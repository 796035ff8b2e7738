//! Bodies on their way: counted, and what comes in masked.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::exchange::{Lease, failure};
use super::failure::{Failure, FailureKind};
use super::ledger::{Entry, Open};
use super::masks::{Masking, Masks};

/// What ends the body of a request before its time.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The body of a request.
pub type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// The body of a response. It ends with an error where a limit ends it.
pub type ResponseBody = UnsyncBoxBody<Bytes, Failure>;

/// The body of a request, as it goes out.
pub(super) struct Sent {
    body: RequestBody,
    entry: Entry,
    /// What is still to come of the length that the head says, if it says one.
    left: Option<u64>,
}

impl Sent {
    pub(super) fn new(body: RequestBody, entry: Entry, length: Option<u64>) -> Self {
        Self { body, entry, left: length }
    }

    fn pass(&mut self, frame: Option<&Frame<Bytes>>) -> Result<(), Failure> {
        let unlike = || Failure::new(FailureKind::Protocol, "its body is not as long as its `content-length` says");
        let Some(frame) = frame else {
            return if self.left.is_some_and(|left| left > 0) { Err(unlike()) } else { Ok(()) };
        };
        let Some(data) = frame.data_ref() else {
            return Err(Failure::new(FailureKind::Header, "it has trailers, which are not sent"));
        };
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(data.len() as u64).ok_or_else(unlike)?;
        }
        self.entry.sent(data.len())
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?;
        if let Err(failure) = self.pass(frame.as_ref()) {
            self.entry.failed(&failure);
            return Poll::Ready(Some(Err(failure.into())));
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && self.left.is_none_or(|left| left == 0)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a response, as it comes in. Dropped before its end, it takes its connection with it.
pub(super) struct Received {
    /// Until its end.
    rest: Option<Rest>,
    masking: Masking,
    /// How long the next part may take.
    between: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

struct Rest {
    incoming: Incoming,
    lease: Lease,
    open: Open,
}

impl Received {
    pub(super) fn new(incoming: Incoming, lease: Lease, open: Open, masks: Arc<Masks>, between: Duration) -> Self {
        let ended = incoming.is_end_stream();
        let rest = Some(Rest { incoming, lease, open });
        let mut this = Self { rest, masking: Masking::new(masks), between, timer: None };
        if ended {
            this.end();
        }
        this
    }

    fn end(&mut self) -> Option<Frame<Bytes>> {
        if let Some(rest) = self.rest.take() {
            rest.lease.give_back();
        }
        Some(self.masking.finish()).filter(|tail| !tail.is_empty()).map(Frame::data)
    }

    fn fail(&mut self, failure: Failure) -> Failure {
        if let Some(rest) = self.rest.take() {
            rest.open.fail(&failure);
        }
        failure
    }

    fn late(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.between)));
        timer.as_mut().poll(cx).map(|()| {
            let why = format!("nothing more of the response came within {} ms", self.between.as_millis());
            Failure::new(FailureKind::ReadTimeout, why)
        })
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        loop {
            let Some(Rest { incoming, open, .. }) = &mut this.rest else { return Poll::Ready(None) };
            let frame = match Pin::new(incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(this.fail(failure(&error))))),
                Poll::Ready(None) => return Poll::Ready(this.end().map(Ok)),
                Poll::Pending => return this.late(cx).map(|failure| Some(Err(this.fail(failure)))),
            };
            this.timer = None;
            // Trailers are not passed on.
            let Ok(data) = frame.into_data() else { continue };
            if let Err(failure) = open.entry.received(data.len()) {
                return Poll::Ready(Some(Err(this.fail(failure))));
            }
            let passed = this.masking.push(data);
            if !passed.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(passed))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none()
    }
}
