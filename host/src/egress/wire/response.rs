//! A response on its way to the plugin: checked, counted, and cleared of credentials.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_ENCODING, HeaderValue};
use http::response::Parts;
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::connect::MAX_HEAD_BYTES;
use super::pool::PooledConnection;
use super::redact::{Redactor, StreamRedactor};
use crate::config::HttpRule;
use crate::egress::accounting::OpenCall;
use crate::egress::error::{RequestError, RequestErrorKind};
use crate::egress::policy::headers::{self, MAX_HEADERS};

/// The body of a response. It ends with an error where a limit ends it.
pub type ResponseBody = UnsyncBoxBody<Bytes, RequestError>;

/// The head of a response as the plugin sees it.
pub(in crate::egress) fn passed_head(
    parts: Parts,
    rule: &HttpRule,
    redactor: &Redactor,
) -> Result<Parts, RequestError> {
    let invalid = |why: String| Err(RequestError::new(RequestErrorKind::Protocol, why));
    if parts.status.is_informational() {
        let status = parts.status.as_u16();
        return invalid(format!(
            "the server answered with status {status}, which the request did not ask for"
        ));
    }
    let coding =
        parts.headers.get_all(CONTENT_ENCODING).iter().find(|coding| *coding != "identity");
    if let Some(coding) = coding
        && !rule.headers.is_empty()
    {
        let coding = String::from_utf8_lossy(coding.as_bytes());
        let coding = redactor.redact(&coding);
        let why = format!(
            "the response is compressed ({coding}), so an echoed credential could not be redacted"
        );
        return Err(RequestError::new(RequestErrorKind::Coding, why));
    }
    if parts.headers.len() > MAX_HEADERS || headers::bytes(&parts.headers) > MAX_HEAD_BYTES {
        return invalid(format!(
            "the response has more than {MAX_HEADERS} headers or {MAX_HEAD_BYTES} bytes of headers"
        ));
    }
    let mut passed = Response::new(()).into_parts().0;
    passed.status = parts.status;
    // A redacted name would be another name.
    for (name, value) in parts.headers.iter().filter(|(name, _)| !redactor.finds(name.as_str())) {
        let redacted = HeaderValue::from_bytes(&redactor.redact_bytes(value.as_bytes()));
        passed.headers.append(name, redacted.unwrap_or_else(|_| HeaderValue::from_static("*")));
    }
    Ok(passed)
}

/// The body of a response as the plugin reads it. Dropping it before its end closes the connection.
pub(in crate::egress) struct ReceivedBody {
    /// `None` at its end.
    open: Option<OpenBody>,
    redactor: StreamRedactor,
    /// How long the next part may take.
    between_bytes: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

struct OpenBody {
    incoming: Incoming,
    connection: PooledConnection,
    call: OpenCall,
}

impl ReceivedBody {
    pub(in crate::egress) fn new(
        incoming: Incoming,
        connection: PooledConnection,
        call: OpenCall,
        redactor: Arc<Redactor>,
        between_bytes: Duration,
    ) -> Self {
        let ended = incoming.is_end_stream();
        let open = Some(OpenBody { incoming, connection, call });
        let mut this =
            Self { open, redactor: StreamRedactor::new(redactor), between_bytes, timer: None };
        // Nobody may read a body that is empty, and its connection is free.
        if ended {
            this.end();
        }
        this
    }

    fn end(&mut self) -> Option<Frame<Bytes>> {
        if let Some(open) = self.open.take() {
            open.connection.give_back();
        }
        Some(self.redactor.finish()).filter(|tail| !tail.is_empty()).map(Frame::data)
    }

    fn fail(&mut self, error: RequestError) -> RequestError {
        if let Some(open) = self.open.take() {
            open.call.fail(&error);
        }
        error
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<RequestError> {
        let timer =
            self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.between_bytes)));
        timer.as_mut().poll(cx).map(|()| {
            let why = format!(
                "no more of the response came within {} ms",
                self.between_bytes.as_millis()
            );
            RequestError::new(RequestErrorKind::ReadTimeout, why)
        })
    }
}

impl Body for ReceivedBody {
    type Data = Bytes;
    type Error = RequestError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestError>>> {
        let this = &mut *self;
        loop {
            let Some(OpenBody { incoming, call, .. }) = &mut this.open else {
                return Poll::Ready(None);
            };
            let frame = match Pin::new(incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Some(Err(this.fail(RequestError::of_exchange(&error)))));
                }
                Poll::Ready(None) => return Poll::Ready(this.end().map(Ok)),
                Poll::Pending => {
                    return this.poll_timer(cx).map(|error| Some(Err(this.fail(error))));
                }
            };
            // The limit is for each part, so it begins anew.
            this.timer = None;
            // Trailers are not passed on.
            let Ok(data) = frame.into_data() else { continue };
            if let Err(error) = call.handle.received(data.len()) {
                return Poll::Ready(Some(Err(this.fail(error))));
            }
            let passed = this.redactor.push(data);
            if !passed.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(passed))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.open.is_none()
    }
}
