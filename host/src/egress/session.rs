//! What one attempt sends: decide → note → connect → mask.

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

use super::body::{Received, RequestBody, ResponseBody, Sent};
use super::exchange::{Lease, exchange};
use super::failure::{Failure, FailureKind};
use super::ledger::{self, Ledger, Open};
use super::target::{Host, Target};
use super::ways::{Granted, Way};
use super::{Egress, headers, rules};
use crate::config::{Grants, Limits};
use crate::event::{HttpCall, PluginName};

/// Takes lines for the plugin's log.
pub type Warn = Box<dyn Fn(&str) + Send + Sync>;

/// Whose requests they are, and within what.
pub struct Traveller {
    /// The plugin.
    pub plugin: PluginName,
    /// Where it may go.
    pub grants: Arc<Grants>,
    /// How much it may send and receive.
    pub limits: Limits,
    /// What `Idempotency-Key` says
    /// (<https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header>).
    pub idempotency_key: Arc<str>,
    /// When its time is up.
    pub deadline: Instant,
    /// Where refusals are told.
    pub warn: Warn,
}

/// How long the plugin wants to wait; never beyond the end of its attempt.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Option<Duration>,
    /// For the head of the response, from then on.
    pub first_byte: Option<Duration>,
    /// For each further part of its body.
    pub between_bytes: Option<Duration>,
}

/// What comes of a request.
pub type Sending = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, Failure>> + Send>>;

/// The way out of one attempt. Clones are the same.
#[derive(Clone)]
pub struct Passage(Arc<Inner>);

struct Inner {
    egress: Egress,
    traveller: Traveller,
    ledger: Ledger,
    /// Made when a rule fits.
    granted: OnceLock<Arc<Granted>>,
    /// Whether the log says that there were too many requests.
    too_many: AtomicBool,
}

impl Passage {
    pub(super) fn new(egress: Egress, traveller: Traveller) -> Self {
        let ledger = Ledger::new(Arc::clone(&traveller.plugin), traveller.limits);
        let (granted, too_many) = (OnceLock::new(), AtomicBool::new(false));
        Self(Arc::new(Inner { egress, traveller, ledger, granted, too_many }))
    }

    /// Sends a request, if a rule allows it. What is refused was refused when this returns, before anything was asked
    /// of the network.
    pub fn send(&self, request: Request<RequestBody>, timeouts: Timeouts) -> Sending {
        let passage = self.clone();
        let asked = ledger::shown(request.uri());
        let asked = format!("{} {}", request.method(), asked.split('?').next().unwrap_or_default());
        match self.0.admit(request) {
            Ok((leaving, open)) => Box::pin(async move {
                match passage.0.pass(leaving, &open, timeouts).await {
                    Ok((response, lease, between)) => {
                        let masks = Arc::clone(&passage.0.granted().masks);
                        Ok(response.map(|body| Received::new(body, lease, open, masks, between).boxed_unsync()))
                    }
                    Err(failure) => {
                        passage.0.tell(&asked, &failure);
                        open.fail(&failure);
                        Err(failure)
                    }
                }
            }),
            Err(failure) => {
                self.0.tell(&asked, &failure);
                Box::pin(std::future::ready(Err(failure)))
            }
        }
    }

    /// Whether a request is under way, or its response is.
    pub fn busy(&self) -> bool {
        self.0.ledger.busy()
    }

    /// What was sent, in the order in which it began. The attempt is over: nothing is noted afterwards.
    pub fn close(&self) -> Vec<HttpCall> {
        self.0.ledger.close()
    }
}

/// A request that may go.
struct Leaving {
    way: Way,
    host: Host,
    request: Request<Sent>,
}

impl Inner {
    /// Notes a request, chooses its rule and completes it.
    fn admit(&self, request: Request<RequestBody>) -> Result<(Leaving, Open), Failure> {
        let mut open = self.ledger.begin(request.method(), request.uri())?;
        match self.complete(request, &mut open) {
            Ok(leaving) => Ok((leaving, open)),
            Err(failure) => {
                open.fail(&failure);
                Err(failure)
            }
        }
    }

    fn complete(&self, request: Request<RequestBody>, open: &mut Open) -> Result<Leaving, Failure> {
        let Traveller { plugin, grants, idempotency_key, .. } = &self.traveller;
        let target = Target::read(request.uri())?;
        let rule = rules::decide(grants, plugin, request.method(), &target)?;
        let way = self.granted().ways[rule].clone();
        let (parts, body) = request.into_parts();
        let length = headers::check(&parts.headers)?;
        let empty = body.is_end_stream();
        // A request of our own, so that nothing of the guest's goes along unseen.
        let mut request = Request::new(Sent::new(body, open.entry.clone(), length));
        *request.headers_mut() = parts.headers;
        let notes = headers::complete(request.headers_mut(), &way.rule, &parts.method, idempotency_key)?;
        headers::set_host(request.headers_mut(), &target)?;
        if empty && matches!(parts.method, Method::POST | Method::PUT | Method::PATCH) {
            // Where content is expected, its absence is said (RFC 9110 §8.6).
            request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        *request.method_mut() = parts.method;
        *request.uri_mut() = Uri::from(target.path_and_query);
        open.occupy()?;
        notes.iter().for_each(|note| (self.traveller.warn)(note));
        Ok(Leaving { way, host: target.host, request })
    }

    async fn pass(
        &self,
        leaving: Leaving,
        open: &Open,
        timeouts: Timeouts,
    ) -> Result<(Response<Incoming>, Lease, Duration), Failure> {
        let Leaving { way, host, request } = leaving;
        let times = timeouts.within(self.traveller.deadline);
        let (response, lease) = exchange(&way, &host, request, times).await?;
        let (parts, body) = response.into_parts();
        let head = open.entry.received_head(headers::bytes(&parts.headers));
        let parts = headers::response(parts, &way.rule, &self.granted().masks)?;
        open.entry.answered(parts.status.as_u16());
        head?;
        Ok((Response::from_parts(parts, body), lease, times[2]))
    }

    fn granted(&self) -> &Granted {
        let Traveller { plugin, grants, .. } = &self.traveller;
        self.granted.get_or_init(|| self.egress.granted(plugin, grants))
    }

    /// Says in the plugin's log what was refused, and why.
    fn tell(&self, asked: &str, failure: &Failure) {
        let again = failure.kind == FailureKind::Requests && self.too_many.swap(true, Ordering::Relaxed);
        if failure.refused() && !again {
            (self.traveller.warn)(&format!("{asked} was refused: {failure}"));
        }
    }
}

impl fmt::Debug for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passage").field("plugin", &self.0.traveller.plugin).finish_non_exhaustive()
    }
}

impl fmt::Debug for Traveller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traveller").field("plugin", &self.plugin).finish_non_exhaustive()
    }
}
