//! Requests and responses of an attempt: counted against its limits, and recorded for operators.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{Method, Uri};

use super::error::{RequestError, RequestErrorKind};
use crate::config::Limits;
use crate::event::{HttpCall, PluginName};
use crate::text;
use crate::trace::{OpenSpan, SpanContext, SpanParent};

/// The recorded length of a URL, in bytes.
const MAX_URL_BYTES: usize = 512;
/// The recorded length of a method, in bytes.
const MAX_METHOD_BYTES: usize = 32;

/// The metric's results: the server answered, a rule or limit of the host refused, or it failed.
const ANSWERED: &str = "answered";
const REFUSED: &str = "refused";
const UNANSWERED: &str = "unanswered";

/// The requests of one attempt. Clones write to the same entries.
#[derive(Debug, Clone)]
pub(super) struct Accounting {
    plugin: PluginName,
    limits: Limits,
    /// The attempt's span, if it is traced.
    trace: Option<SpanParent>,
    /// When the attempt began.
    began: Instant,
    entries: Arc<Mutex<Entries>>,
}

#[derive(Debug, Default)]
struct Entries {
    calls: Vec<CallEntry>,
    open: usize,
    sent_bytes: u64,
    received_bytes: u64,
}

#[derive(Debug)]
struct CallEntry {
    call: HttpCall,
    began: Instant,
    ended: bool,
    /// The request's span, if the attempt is traced.
    span: Option<OpenSpan>,
}

/// A recorded request.
#[derive(Debug, Clone)]
pub(super) struct CallHandle {
    accounting: Accounting,
    index: usize,
}

/// A recorded request that has not ended. Dropping it ends the request.
#[derive(Debug)]
pub(super) struct OpenCall {
    pub(super) handle: CallHandle,
    /// Whether it counts against the limit of open requests.
    counted: bool,
}

impl Accounting {
    pub(super) fn new(plugin: PluginName, limits: Limits, began: Instant) -> Self {
        Self { plugin, limits, trace: None, began, entries: Arc::default() }
    }

    /// The same, with a span for each request if the attempt has one.
    pub(super) fn traced(self, trace: Option<SpanParent>) -> Self {
        Self { trace, ..self }
    }

    /// Records a request, unless the attempt has sent its maximum. One request beyond it is
    /// recorded as refused.
    pub(super) fn begin(&self, method: &Method, uri: &Uri) -> Result<OpenCall, RequestError> {
        let mut entries = self.entries();
        let limit = self.limits.http_requests;
        let refusal = (entries.calls.len() >= limit).then(|| {
            let why = format!(
                "an attempt can send {limit} requests; limits = {{ http_requests = … }} sets it"
            );
            RequestError::new(RequestErrorKind::Requests, why)
        });
        if entries.calls.len() <= limit {
            let call = HttpCall {
                method: text::plain(method.as_str(), MAX_METHOD_BYTES),
                url: shown(uri),
                status: None,
                error: refusal
                    .as_ref()
                    .map(|refusal| format!("further requests were refused: {refusal}")),
                refused: refusal.is_some(),
                sent_bytes: 0,
                received_bytes: 0,
                duration_ms: 0,
                offset_ms: Some(elapsed_ms(self.began)),
            };
            let (began, ended) = (Instant::now(), refusal.is_some());
            let span = self.trace.as_ref().map(SpanParent::child);
            entries.calls.push(CallEntry { call, began, ended, span });
        }
        // There is one even with a limit of 0: then it is the refused one.
        let index = entries.calls.len() - 1;
        drop(entries);
        match refusal {
            None => Ok(OpenCall {
                handle: CallHandle { accounting: self.clone(), index },
                counted: false,
            }),
            Some(refusal) => {
                self.count(REFUSED, None);
                Err(refusal)
            }
        }
    }

    /// Returns all recorded requests. Nothing is recorded afterwards.
    pub(super) fn close(&self) -> Vec<HttpCall> {
        let calls = std::mem::take(&mut self.entries().calls);
        calls.into_iter().map(|entry| self.finished(entry)).collect()
    }

    /// Gives the spans of the recorded requests away, in their order.
    pub(super) fn take_spans(&self) -> Vec<OpenSpan> {
        let mut entries = self.entries();
        entries.calls.iter_mut().filter_map(|entry| entry.span.take()).collect()
    }

    /// Whether a request has not ended.
    pub(super) fn busy(&self) -> bool {
        self.entries().calls.iter().any(|entry| !entry.ended)
    }

    fn finished(&self, mut entry: CallEntry) -> HttpCall {
        if !entry.ended {
            entry.call.duration_ms = elapsed_ms(entry.began);
            entry
                .call
                .error
                .get_or_insert_with(|| "the attempt ended before the request did".to_owned());
            let result = if entry.call.status.is_some() { ANSWERED } else { UNANSWERED };
            self.count(result, Some(entry.began.elapsed()));
        }
        entry.call
    }

    /// Counts a request by its result, and times it if it was sent.
    fn count(&self, result: &'static str, took: Option<Duration>) {
        let plugin = || self.plugin.clone();
        metrics::counter!("hookbox_plugin_http_requests_total", "plugin" => plugin(), "result" => result)
            .increment(1);
        if let Some(took) = took
            && result != REFUSED
        {
            metrics::histogram!("hookbox_plugin_http_request_duration_seconds", "plugin" => plugin())
                .record(took);
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // A panic while it was locked can at worst have lost a number.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallHandle {
    /// The ids of the request's span, if it is traced.
    pub(super) fn trace(&self) -> Option<SpanContext> {
        let entries = self.accounting.entries();
        Some(entries.calls.get(self.index)?.span.as_ref()?.context())
    }

    /// Records the status of the response.
    pub(super) fn answered(&self, status: u16) {
        self.update(|call| call.status = Some(status));
    }

    /// Records why the request failed. The first reason stays.
    pub(super) fn failed(&self, why: &RequestError) {
        self.update(|call| {
            call.error.get_or_insert_with(|| text::error(&why.to_string()));
        });
    }

    /// Counts bytes of the request's body.
    pub(super) fn sent(&self, bytes: usize) -> Result<(), RequestError> {
        let limit = self.accounting.limits.http_sent_bytes;
        if add(&mut self.accounting.entries().sent_bytes, bytes) > limit {
            let why =
                format!("an attempt can send {limit} bytes; limits = {{ http_sent = … }} sets it");
            return Err(RequestError::new(RequestErrorKind::Sent, why));
        }
        self.update(|call| call.sent_bytes += bytes as u64);
        Ok(())
    }

    /// Counts bytes of the response's body.
    pub(super) fn received(&self, bytes: usize) -> Result<(), RequestError> {
        self.received_head(bytes)?;
        self.update(|call| call.received_bytes += bytes as u64);
        Ok(())
    }

    /// Counts bytes of the response's head: against the same limit, but not recorded as its body.
    pub(super) fn received_head(&self, bytes: usize) -> Result<(), RequestError> {
        let limit = self.accounting.limits.http_received_bytes;
        if add(&mut self.accounting.entries().received_bytes, bytes) > limit {
            let why = format!(
                "an attempt can receive {limit} bytes; limits = {{ http_received = … }} sets it"
            );
            return Err(RequestError::new(RequestErrorKind::Received, why));
        }
        Ok(())
    }

    fn update(&self, change: impl FnOnce(&mut HttpCall)) {
        let mut entries = self.accounting.entries();
        if let Some(entry) = entries.calls.get_mut(self.index).filter(|entry| !entry.ended) {
            change(&mut entry.call);
        }
    }
}

impl OpenCall {
    /// Counts the request as open, unless the attempt has its maximum of open requests.
    pub(super) fn count_open(&mut self) -> Result<(), RequestError> {
        let limit = self.handle.accounting.limits.http_open;
        let mut entries = self.handle.accounting.entries();
        if entries.open >= limit {
            let why = format!(
                "{limit} requests are open, the maximum; limits = {{ http_open = … }} sets it"
            );
            return Err(RequestError::new(RequestErrorKind::Open, why));
        }
        entries.open += 1;
        drop(entries);
        self.counted = true;
        Ok(())
    }

    /// Ends the request with an error.
    pub(super) fn fail(mut self, why: &RequestError) {
        self.handle.failed(why);
        self.end(if why.is_refusal() { REFUSED } else { UNANSWERED });
    }

    fn end(&mut self, result: &'static str) {
        let mut entries = self.handle.accounting.entries();
        // Only once, although the drop comes here again after `fail`.
        entries.open -= usize::from(std::mem::take(&mut self.counted));
        let Some(entry) = entries.calls.get_mut(self.handle.index).filter(|entry| !entry.ended)
        else {
            return;
        };
        entry.ended = true;
        entry.call.duration_ms = elapsed_ms(entry.began);
        entry.span.iter_mut().for_each(OpenSpan::stop);
        let (answered, took) = (entry.call.status.is_some(), entry.began.elapsed());
        if !answered {
            entry
                .call
                .error
                .get_or_insert_with(|| "the plugin did not wait for the response".to_owned());
            entry.call.refused = result == REFUSED;
        }
        drop(entries);
        self.handle.accounting.count(if answered { ANSWERED } else { result }, Some(took));
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.end(UNANSWERED);
    }
}

/// Adds to a count of bytes and returns the sum.
fn add(count: &mut u64, bytes: usize) -> u64 {
    *count = count.saturating_add(bytes as u64);
    *count
}

fn elapsed_ms(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A URL as it is recorded: without a password, and without the values of its query.
pub(super) fn shown(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(_, host)| ("*@", host));
    let scheme = uri.scheme_str().unwrap_or_default();
    let mut url = format!("{scheme}://{user}{host}{}", uri.path());
    for (n, part) in uri.query().map(|query| query.split('&')).into_iter().flatten().enumerate() {
        url.push(if n == 0 { '?' } else { '&' });
        if let Some((name, _)) = part.split_once('=') {
            url.push_str(name);
            url.push('=');
        }
        url.push('*');
        if url.len() > MAX_URL_BYTES {
            break;
        }
    }
    text::plain(&url, MAX_URL_BYTES)
}
