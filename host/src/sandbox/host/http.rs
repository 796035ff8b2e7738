//! `wasi:http/outgoing-handler`: the requests of a guest go through [`crate::egress`].

mod texts;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use ::http::{Request, Response};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{JoinHandle, JoinSet};
use wasmtime::component::Linker;
use wasmtime_wasi_http::{Error, RequestOptions, Result, WasiBody, WasiHttpHooks, WasiHttpView};

use super::guest_log::GuestLog;
use super::import::{CapabilityInfo, HostImport, Offer, Start};
use crate::config::{Grants, HttpRule, Limits, PluginSettings};
use crate::egress::{
    BoxError, Egress, Redactor, RequestBody, RequestContext, RequestError, RequestErrorKind,
    RequestTimeouts, Session,
};
use crate::event::{HttpCall, PluginName};
use crate::sandbox::{Call, Invocation};
use crate::tasks;
use crate::trace::SpanParent;

/// The HTTP requests of an attempt. Its session begins with the first request.
pub(super) struct Outgoing {
    egress: Egress,
    plugin: PluginName,
    grants: Arc<Grants>,
    limits: Limits,
    /// Empty for a plugin without rules, which needs none.
    idempotency_key: Option<Arc<str>>,
    /// When the attempt began.
    began: Instant,
    deadline: Instant,
    trace: Option<SpanParent>,
    logs: GuestLog,
    session: Option<Session>,
    drain: Option<Drain>,
}

impl HostImport for Outgoing {
    const OFFER: Offer = Offer {
        interfaces: &["wasi:http/"],
        version: "0.2.",
        shown: "http",
        capability: Some(CapabilityInfo {
            name: "http",
            interface: "wasi:http/outgoing-handler",
            lets: "send HTTP requests, where `http` under `[plugins.NAME]` has a rule for them",
            grants,
            line: |_| "http = [{ host = \"api.example.com\", methods = [\"GET\"] }]".to_owned(),
        }),
    };

    fn begin(start: &Start<'_>) -> Self {
        let Call { plugin, grants, limits, idempotency_key, .. } = start.call;
        let granted = !grants.http.is_empty();
        Self {
            egress: start.egress.clone(),
            plugin: Arc::clone(plugin),
            grants: Arc::clone(grants),
            limits: *limits,
            idempotency_key: granted.then(|| Arc::from(idempotency_key.as_str())),
            began: Instant::now(),
            deadline: start.deadline,
            trace: start.call.trace.clone(),
            logs: start.log.clone(),
            session: None,
            drain: None,
        }
    }

    fn link<T>(linker: &mut Linker<T>, _: fn(&mut T) -> &mut Self) -> wasmtime::Result<()>
    where
        T: WasiHttpView + 'static,
    {
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
        texts::bound(linker)
    }

    fn record(&mut self, invocation: &mut Invocation) {
        invocation.call_spans = self.session.as_ref().map(Session::take_spans).unwrap_or_default();
        invocation.calls = self.close();
    }
}

fn grants(settings: &PluginSettings) -> Vec<String> {
    settings.grants.http.iter().map(|rule| shown(rule)).collect()
}

/// A rule in words: `https://api.example.com:443 GET,POST /v1/ + header authorization`.
fn shown(rule: &HttpRule) -> String {
    let scheme = if rule.tls { "https" } else { "http" };
    let methods = rule.methods.as_ref().map_or("*".to_owned(), |methods| methods.join(","));
    let mut text = format!("{scheme}://{}:{} {methods} {}", rule.host, rule.port, rule.path);
    for header in &rule.headers {
        text.push_str(" + header ");
        text.push_str(&header.name);
    }
    if rule.private {
        text.push_str(" + private addresses");
    }
    if rule.authorities.is_some() {
        text.push_str(" + own authorities");
    }
    text
}

impl Outgoing {
    /// Whether a request or its response is under way.
    pub(super) fn busy(&self) -> bool {
        self.session.as_ref().is_some_and(Session::busy)
    }

    /// Ends the session and returns its requests. Later changes are not recorded.
    fn close(&mut self) -> Vec<HttpCall> {
        // Unwanted bodies end with the attempt.
        self.drain = None;
        self.session.as_ref().map(Session::close).unwrap_or_default()
    }

    /// The redactor for the attempt's log and error texts, if a rule adds a credential.
    pub(super) fn redactor(&self) -> Option<Arc<Redactor>> {
        self.egress.redactor(&self.plugin, &self.grants)
    }

    fn session(&mut self) -> &Session {
        self.session.get_or_insert_with(|| {
            let logs = self.logs.clone();
            self.egress.session(RequestContext {
                plugin: Arc::clone(&self.plugin),
                grants: Arc::clone(&self.grants),
                limits: self.limits,
                idempotency_key: self.idempotency_key.clone().unwrap_or_default(),
                began: self.began,
                deadline: self.deadline,
                trace: self.trace.clone(),
                warn: Box::new(move |line| logs.line("warn", line)),
            })
        })
    }
}

/// Bytes that a guest may write into a body at once. Two such pieces wait in each body, and as many
/// bodies as handles are held, also of requests that are never sent.
const BODY_CHUNK_BYTES: usize = 8 << 10;

/// Unwanted bodies that are read concurrently, and that wait for it. Others are dropped unread.
const DRAINED_AT_ONCE: usize = 8;

/// Reads unwanted bodies to their end: those of refused requests, and of requests without a body.
///
/// A guest may write the body before it looks at the response. If the body were dropped, the
/// guest's HTTP client would report a broken connection instead of the refusal.
struct Drain {
    unread: Sender<RequestBody>,
    task: JoinHandle<()>,
}

impl Drain {
    fn new() -> Self {
        let (unread, bodies) = channel(DRAINED_AT_ONCE);
        Self { unread, task: tasks::spawn(drain(bodies)) }
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn drain(mut bodies: Receiver<RequestBody>) {
    let mut reading = JoinSet::new();
    loop {
        // While all are busy the channel fills up, and a guest cannot pile up tasks.
        let spare = reading.len() < DRAINED_AT_ONCE;
        tokio::select! {
            body = bodies.recv(), if spare => match body {
                Some(mut body) => {
                    reading.spawn(async move { while let Some(Ok(_)) = body.frame().await {} });
                }
                None => return,
            },
            _ = reading.join_next(), if !reading.is_empty() => {}
        }
    }
}

/// A body that is drained if it is dropped before its end.
struct Drained {
    body: Option<RequestBody>,
    unread: Sender<RequestBody>,
}

impl Body for Drained {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        // A body that has ended or failed is not polled again, and not drained.
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            // A failure means that the attempt ended, or that the guest has too many unread bodies.
            let _ = self.unread.try_send(body);
        }
    }
}

type Io = Box<dyn Future<Output = Result<()>> + Send>;

impl WasiHttpHooks for Outgoing {
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES
    }

    /// `egress` sets it, from the target of the request.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Io,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Io)>> + Send> {
        let timeouts = options.map_or_else(RequestTimeouts::default, |options| RequestTimeouts {
            connect: options.connect_timeout,
            first_byte: options.first_byte_timeout,
            between_bytes: options.between_bytes_timeout,
        });
        // Most attempts send nothing, so the task begins with the first request.
        let unread = self.drain.get_or_insert_with(Drain::new).unread.clone();
        let request = request.map(|body| {
            let body = Some(body.map_err(BoxError::from).boxed_unsync());
            Drained { body, unread }.boxed_unsync()
        });
        let response = self.session().send(request, timeouts);
        Box::new(async move {
            let response = response.await.map_err(error_code)?;
            let response = response.map(|body| body.map_err(error_code).boxed_unsync());
            // Connections run in tasks of their own, so there is nothing to poll.
            let io: Io = Box::new(std::future::ready(Ok(())));
            Ok((response, io))
        })
    }
}

/// The error code that the guest is told.
fn error_code(error: RequestError) -> Error {
    match error.kind {
        RequestErrorKind::Denied => Error::HttpRequestDenied,
        RequestErrorKind::Uri => Error::HttpRequestUriInvalid,
        RequestErrorKind::UriTooLong => Error::HttpRequestUriTooLong,
        RequestErrorKind::Method => Error::HttpRequestMethodInvalid,
        RequestErrorKind::Header => Error::HttpProtocolError,
        RequestErrorKind::HeaderSize => Error::HttpRequestHeaderSectionSize(None),
        RequestErrorKind::Configuration => Error::ConfigurationError,
        RequestErrorKind::Requests | RequestErrorKind::Open => Error::ConnectionLimitReached,
        RequestErrorKind::Sent => Error::HttpRequestBodySize(None),
        RequestErrorKind::Received => Error::HttpResponseBodySize(None),
        RequestErrorKind::Prohibited => Error::DestinationIpProhibited,
        RequestErrorKind::Dns => Error::DestinationNotFound,
        RequestErrorKind::DnsTimeout => Error::DnsTimeout,
        RequestErrorKind::Refused => Error::ConnectionRefused,
        RequestErrorKind::ConnectTimeout => Error::ConnectionTimeout,
        RequestErrorKind::Certificate => Error::TlsCertificateError,
        RequestErrorKind::Tls => Error::TlsProtocolError,
        RequestErrorKind::ReadTimeout => Error::ConnectionReadTimeout,
        RequestErrorKind::Terminated => Error::ConnectionTerminated,
        RequestErrorKind::Coding => Error::HttpResponseContentCoding(None),
        RequestErrorKind::Protocol => Error::HttpProtocolError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body that never ends.
    struct Endless(#[expect(dead_code, reason = "it is held, and counted")] Arc<()>);

    impl Body for Endless {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_guest_cannot_pile_up_bodies_that_nobody_wants() {
        let (drain, alive) = (Drain::new(), Arc::new(()));
        for _ in 0..1_000 {
            let body = Some(Endless(alive.clone()).boxed_unsync());
            drop(Drained { body, unread: drain.unread.clone() });
            tokio::task::yield_now().await;
        }
        let kept = Arc::strong_count(&alive) - 1;
        assert!((1..=2 * DRAINED_AT_ONCE).contains(&kept), "{kept} bodies are kept");
        drop(drain);
        while Arc::strong_count(&alive) > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_is_written_into_a_body_that_nobody_wants_is_read() {
        let drain = Drain::new();
        let (written, body) = tokio::sync::mpsc::channel::<()>(1);
        let body = Written(body).boxed_unsync();
        drop(Drained { body: Some(body), unread: drain.unread.clone() });
        for _ in 0..100 {
            written.send(()).await.expect("somebody reads");
        }
    }

    /// Pieces of a body, as they are written.
    struct Written(Receiver<()>);

    impl Body for Written {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            self.0
                .poll_recv(cx)
                .map(|piece| piece.map(|()| Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }
}
