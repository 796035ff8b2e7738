//! The span of a request to a source.

use axum::http::{Method, Request};

use crate::config::Source;
use crate::server::Client;
use crate::trace::{OpenSpan, SpanContext, SpanFields, SpanKind, Tracer, senders_span};

/// The route of webhooks, as the conventions of OpenTelemetry want it: the same for all sources.
const ROUTE: &str = "/webhook/{source}";

/// The name of a span whose request has a method that nobody knows.
const ANY_METHOD: &str = "HTTP /webhook/{source}";

/// The methods that stand in attributes as they are, with the names of their spans.
const METHODS: [(&str, &str); 9] = [
    ("POST", "POST /webhook/{source}"),
    ("OPTIONS", "OPTIONS /webhook/{source}"),
    ("GET", "GET /webhook/{source}"),
    ("HEAD", "HEAD /webhook/{source}"),
    ("PUT", "PUT /webhook/{source}"),
    ("PATCH", "PATCH /webhook/{source}"),
    ("DELETE", "DELETE /webhook/{source}"),
    ("CONNECT", "CONNECT /webhook/{source}"),
    ("TRACE", "TRACE /webhook/{source}"),
];

/// The span of a request that is under way.
#[derive(Debug)]
pub(super) struct RequestSpan {
    span: OpenSpan,
    name: &'static str,
    fields: SpanFields,
}

impl RequestSpan {
    /// Begins it, if requests are traced. The span that the sender names is linked, or is the
    /// parent if the source trusts its sender with that.
    ///
    /// Its path is that of the source and not that of the request, which may end in the token of
    /// callbacks.
    pub(super) fn begin<B>(
        tracer: &Tracer,
        source: &Source,
        is_callback: bool,
        request: &Request<B>,
        client: &Client,
    ) -> Option<Self> {
        if !tracer.is_on() {
            return None;
        }
        let senders = senders_span(request.headers());
        let span = match senders {
            Some(parent) if source.trust_traceparent => tracer.child_of(parent),
            link => tracer.root(link),
        }?;
        let (method, name) = method(request.method());
        let mut fields = SpanFields::default();
        fields.add("http.request.method", method);
        fields.add("http.route", ROUTE);
        let hidden = if is_callback { "/REDACTED" } else { "" };
        fields.add("url.path", format!("/webhook/{}{hidden}", source.name));
        fields.add("client.address", client.address().to_string());
        Some(Self { span, name, fields })
    }

    /// Its ids.
    pub(super) fn context(&self) -> SpanContext {
        self.span.context()
    }

    /// Ends it with the status of the reply, and the reason if the request was refused.
    pub(super) fn end(mut self, status: u16, refusal: Option<&'static str>) {
        self.fields.add("http.response.status_code", status);
        self.fields.maybe("hookbox.refusal.reason", refusal);
        let failed = status >= 500;
        if failed {
            self.fields.add("error.type", status.to_string());
        }
        self.span.end(self.name, SpanKind::Server, self.fields, failed);
    }
}

fn method(method: &Method) -> (&'static str, &'static str) {
    let known = METHODS.into_iter().find(|(known, _)| *known == method.as_str());
    known.unwrap_or(("_OTHER", ANY_METHOD))
}
