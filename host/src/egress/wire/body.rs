//! The body of a request on its way out: counted, and held to its stated length.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;

use crate::egress::accounting::CallHandle;
use crate::egress::error::{RequestError, RequestErrorKind};

/// The error of a request's body.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The body of a request.
pub type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// The body of a request as it is sent.
pub(in crate::egress) struct SentBody {
    body: RequestBody,
    call: CallHandle,
    /// How much of the stated length is still to come; `None` if the head states none.
    remaining: Option<u64>,
}

impl SentBody {
    pub(in crate::egress) fn new(body: RequestBody, call: CallHandle, length: Option<u64>) -> Self {
        Self { body, call, remaining: length }
    }

    fn count(&mut self, frame: Option<&Frame<Bytes>>) -> Result<(), RequestError> {
        let mismatch = || {
            let why = "the body does not have the length that `content-length` states";
            RequestError::new(RequestErrorKind::Protocol, why)
        };
        let Some(frame) = frame else {
            return if self.remaining.is_some_and(|remaining| remaining > 0) {
                Err(mismatch())
            } else {
                Ok(())
            };
        };
        let Some(data) = frame.data_ref() else {
            let why = "the request has trailers, which are not sent";
            return Err(RequestError::new(RequestErrorKind::Header, why));
        };
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining.checked_sub(data.len() as u64).ok_or_else(mismatch)?;
        }
        self.call.sent(data.len())
    }
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?;
        if let Err(error) = self.count(frame.as_ref()) {
            self.call.failed(&error);
            return Poll::Ready(Some(Err(error.into())));
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && self.remaining.is_none_or(|remaining| remaining == 0)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
