//! The requests of one attempt: decide → note → send → redact.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::header::{self, HeaderValue};
use http::{Method, Request, Response, Uri};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::accounting::{self, Accounting, OpenCall};
use super::clients::{Clients, PluginClients};
use super::error::{RequestError, RequestErrorKind};
use super::policy::{RequestTarget, TargetHost, headers, rules};
use super::wire::{
    PooledConnection, ReceivedBody, RequestBody, RequestTimeouts, ResponseBody, RuleClient,
    SentBody, passed_head,
};
use crate::config::{Grants, Limits};
use crate::event::{HttpCall, PluginName};
use crate::trace::{OpenSpan, SpanParent};

/// Takes lines for the plugin's log.
pub type Warn = Box<dyn Fn(&str) + Send + Sync>;

/// The attempt that sends requests, and its bounds.
pub struct RequestContext {
    /// The plugin.
    pub plugin: PluginName,
    /// The rules that allow requests.
    pub grants: Arc<Grants>,
    /// How much the attempt may send and receive.
    pub limits: Limits,
    /// The value of `Idempotency-Key`
    /// (<https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header>).
    pub idempotency_key: Arc<str>,
    /// When the attempt began.
    pub began: Instant,
    /// When the attempt ends.
    pub deadline: Instant,
    /// The attempt's span, if it is traced.
    pub trace: Option<SpanParent>,
    /// Where refusals are logged.
    pub warn: Warn,
}

/// The response to a request, once its head has arrived.
pub type PendingResponse =
    Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, RequestError>> + Send>>;

/// Sends the requests of one attempt. Clones are the same session.
#[derive(Clone)]
pub struct Session(Arc<SessionState>);

struct SessionState {
    clients: Arc<Clients>,
    context: RequestContext,
    accounting: Accounting,
    /// Looked up when the first rule matches.
    plugin_clients: OnceLock<Arc<PluginClients>>,
    /// Whether the log already says that there were too many requests.
    excess_logged: AtomicBool,
}

/// A request that a rule allows.
struct AdmittedRequest {
    client: RuleClient,
    host: TargetHost,
    request: Request<SentBody>,
}

impl Session {
    pub(super) fn new(clients: Arc<Clients>, context: RequestContext) -> Self {
        let accounting =
            Accounting::new(Arc::clone(&context.plugin), context.limits, context.began)
                .traced(context.trace.clone());
        let (plugin_clients, excess_logged) = (OnceLock::new(), AtomicBool::new(false));
        Self(Arc::new(SessionState { clients, context, accounting, plugin_clients, excess_logged }))
    }

    /// Sends a request if a rule allows it. A refusal is final when this returns; until then
    /// nothing has been resolved or connected.
    pub fn send(
        &self,
        request: Request<RequestBody>,
        timeouts: RequestTimeouts,
    ) -> PendingResponse {
        let session = self.clone();
        let url = accounting::shown(request.uri());
        let shown = format!("{} {}", request.method(), url.split('?').next().unwrap_or_default());
        match self.0.admit(request) {
            Ok((admitted, call)) => Box::pin(async move {
                match session.0.exchange(admitted, &call, timeouts).await {
                    Ok((response, connection, between_bytes)) => {
                        let redactor = Arc::clone(&session.0.plugin_clients().redactor);
                        Ok(response.map(|body| {
                            ReceivedBody::new(body, connection, call, redactor, between_bytes)
                                .boxed_unsync()
                        }))
                    }
                    Err(error) => {
                        session.0.log_refusal(&shown, &error);
                        call.fail(&error);
                        Err(error)
                    }
                }
            }),
            Err(error) => {
                self.0.log_refusal(&shown, &error);
                Box::pin(std::future::ready(Err(error)))
            }
        }
    }

    /// Whether a request or its response is under way.
    pub fn busy(&self) -> bool {
        self.0.accounting.busy()
    }

    /// Ends the session and returns its requests in the order in which they began. Later changes
    /// are not recorded.
    pub fn close(&self) -> Vec<HttpCall> {
        self.0.accounting.close()
    }

    /// Gives the spans of the requests away, in the same order; none if the attempt is not traced.
    pub fn take_spans(&self) -> Vec<OpenSpan> {
        self.0.accounting.take_spans()
    }
}

impl SessionState {
    /// Records a request, chooses its rule and completes its headers.
    fn admit(
        &self,
        request: Request<RequestBody>,
    ) -> Result<(AdmittedRequest, OpenCall), RequestError> {
        let mut call = self.accounting.begin(request.method(), request.uri())?;
        match self.complete(request, &mut call) {
            Ok(admitted) => Ok((admitted, call)),
            Err(error) => {
                call.fail(&error);
                Err(error)
            }
        }
    }

    fn complete(
        &self,
        request: Request<RequestBody>,
        call: &mut OpenCall,
    ) -> Result<AdmittedRequest, RequestError> {
        let RequestContext { plugin, grants, idempotency_key, .. } = &self.context;
        let target = RequestTarget::read(request.uri())?;
        let rule = rules::decide(grants, plugin, request.method(), &target)?;
        let client = self.plugin_clients().rules[rule].clone();
        let (parts, body) = request.into_parts();
        let length = headers::check(&parts.headers)?;
        let empty = body.is_end_stream();
        // A new request, so that no extension of the guest's request is sent along.
        let mut request = Request::new(SentBody::new(body, call.handle.clone(), length));
        *request.headers_mut() = parts.headers;
        let notes =
            headers::complete(request.headers_mut(), &client.rule, &parts.method, idempotency_key)?;
        if client.rule.traceparent {
            headers::trace(request.headers_mut(), call.handle.trace());
        }
        headers::set_host(request.headers_mut(), &target)?;
        if empty && matches!(parts.method, Method::POST | Method::PUT | Method::PATCH) {
            // These methods expect content, so its absence is stated (RFC 9110 §8.6).
            request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        *request.method_mut() = parts.method;
        *request.uri_mut() = Uri::from(target.path_and_query);
        // After all checks, so that a refused request never counts as open.
        call.count_open()?;
        notes.iter().for_each(|note| (self.context.warn)(note));
        Ok(AdmittedRequest { client, host: target.host, request })
    }

    async fn exchange(
        &self,
        admitted: AdmittedRequest,
        call: &OpenCall,
        timeouts: RequestTimeouts,
    ) -> Result<(Response<Incoming>, PooledConnection, Duration), RequestError> {
        let AdmittedRequest { client, host, request } = admitted;
        let bounds = timeouts.within(self.context.deadline);
        let (response, connection) = client.exchange(&host, request, &bounds).await?;
        let (parts, body) = response.into_parts();
        let counted = call.handle.received_head(headers::bytes(&parts.headers));
        let parts = passed_head(parts, &client.rule, &self.plugin_clients().redactor)?;
        call.handle.answered(parts.status.as_u16());
        // The limit ends the request only now, so that the record has the status.
        counted?;
        Ok((Response::from_parts(parts, body), connection, bounds.between_bytes))
    }

    fn plugin_clients(&self) -> &PluginClients {
        let RequestContext { plugin, grants, .. } = &self.context;
        self.plugin_clients.get_or_init(|| self.clients.of(plugin, grants))
    }

    /// Writes a refusal and its reason to the plugin's log.
    fn log_refusal(&self, shown: &str, error: &RequestError) {
        let excess = error.kind == RequestErrorKind::Requests;
        // Once for an attempt, because a guest may go on asking for as long as it runs.
        let logged = excess && self.excess_logged.swap(true, Ordering::Relaxed);
        if error.is_refusal() && !logged {
            (self.context.warn)(&format!("{shown} was refused: {error}"));
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("plugin", &self.0.context.plugin).finish_non_exhaustive()
    }
}

impl fmt::Debug for RequestContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestContext").field("plugin", &self.plugin).finish_non_exhaustive()
    }
}
