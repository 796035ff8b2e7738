//! The spans of an attempt: the attempt itself, its HTTP requests, its settlement, and the events
//! that it makes.

use std::time::Duration;

use super::shared::Deps;
use crate::clock::until;
use crate::event::{AppendSpan, HttpCall, Outcome};
use crate::sandbox::Invocation;
use crate::store::{Lease, Next, Settled, Settlement, StoreError};
use crate::trace::{OpenSpan, SpanContext, SpanFields, SpanKind, SpanParent};

/// The source of events that a schedule emits begins like this.
const SCHEDULES: &str = "schedules/";

/// The spans of one attempt. Nothing is told of an attempt that has not begun.
#[derive(Debug)]
pub(super) struct AttemptSpans {
    process: OpenSpan,
    source: String,
    fields: SpanFields,
    /// How the attempt ended, once that is known.
    outcome: Option<Outcome>,
    emitted: Vec<AppendSpan>,
}

/// The same while its settlement is stored.
#[derive(Debug)]
pub(super) struct SettlingSpans {
    attempt: Box<AttemptSpans>,
    settle: OpenSpan,
}

impl AttemptSpans {
    /// Begins them, if attempts are traced: in the trace of the event, unless that is too long ago.
    pub(super) fn of(deps: &Deps, lease: &Lease) -> Option<Self> {
        if !deps.tracer.is_on() {
            return None;
        }
        let (event, attributes) = (&lease.event, &lease.event.attributes);
        let age = until(event.id.unix_ms(), deps.clock.host_ms());
        let process = deps.tracer.follow(event.trace, age)?;
        let source = attributes.source.to_string();
        let trigger = if source.starts_with(SCHEDULES) { "timer" } else { "pubsub" };
        let mut fields = SpanFields::default();
        fields.add("messaging.system", "hookbox");
        fields.add("messaging.operation.name", "process");
        fields.add("messaging.operation.type", "process");
        fields.add("messaging.destination.name", source.clone());
        fields.add("messaging.consumer.group.name", lease.plugin.to_string());
        fields.add("messaging.message.id", event.id.to_string());
        fields.add("messaging.message.conversation_id", event.tree().to_string());
        fields.add("faas.name", lease.plugin.to_string());
        fields.add("faas.trigger", trigger);
        fields.add("faas.invocation_id", format!("{}#{}", lease.delivery, lease.attempt));
        fields.add("hookbox.delivery.id", lease.delivery.to_string());
        fields.add("hookbox.attempt.number", lease.attempt);
        Some(Self { process, source, fields, outcome: None, emitted: Vec::new() })
    }

    /// The ids of the attempt's span.
    pub(super) fn context(&self) -> SpanContext {
        self.process.context()
    }

    /// The attempt's span, for parts of it.
    pub(super) fn parent(&self) -> SpanParent {
        SpanParent::from(&self.process)
    }

    /// The attempt begins, so long after it was due.
    pub(super) fn begin(&mut self, late: Duration) {
        self.process.begin_now();
        self.fields.add("hookbox.attempt.wait_ms", ms(late));
    }

    /// Tells of the run, and of its HTTP requests.
    pub(super) fn invoked(&mut self, invocation: &mut Invocation) {
        self.fields.add("faas.coldstart", invocation.is_cold);
        self.fields.add("hookbox.attempt.cpu_ms", invocation.cpu_us / 1_000);
        self.fields.add("hookbox.attempt.memory_peak", invocation.memory_peak_bytes);
        let spans = std::mem::take(&mut invocation.call_spans);
        for (span, call) in spans.into_iter().zip(&invocation.calls) {
            end_call(span, call);
        }
    }

    /// Notes how the attempt ended, and begins a span for each event that it makes. Only the first
    /// settlement that is told counts.
    pub(super) fn ended(&mut self, lease: &Lease, settlement: &mut Settlement) {
        if self.outcome.is_some() {
            return;
        }
        let Some(record) = &settlement.record else { return };
        self.outcome = Some(record.outcome);
        let digest = record.plugin_digest.as_ref();
        self.fields.maybe("faas.version", digest.map(ToString::to_string));
        self.fields.add("hookbox.attempt.outcome", record.outcome.name());
        let root = Some(lease.event.tree());
        let emitted = match &mut settlement.next {
            Next::Done { emitted, .. } | Next::Again { emitted, .. } => emitted.iter_mut(),
            Next::Dead(Some(told)) => std::slice::from_mut(&mut **told).iter_mut(),
            Next::Dead(None) | Next::RetryIn(_) | Next::GiveBack(_) => [].iter_mut(),
        };
        let append = |event| AppendSpan::begin(self.process.child(), event, root);
        self.emitted = emitted.map(append).collect();
    }

    /// The settlement goes to the store now.
    pub(super) fn settling(self: Box<Self>) -> SettlingSpans {
        SettlingSpans { settle: self.process.child(), attempt: self }
    }
}

impl SettlingSpans {
    /// Ends all of them: the store has said this of the settlement.
    pub(super) fn end(self, settled: &Result<Settled, StoreError>) {
        let Self { attempt, settle } = self;
        let AttemptSpans { process, source, mut fields, outcome, emitted } = *attempt;
        let Some(outcome) = outcome else { return };
        let mut of_settle = SpanFields::default();
        of_settle.add("messaging.system", "hookbox");
        of_settle.add("messaging.operation.name", "settle");
        of_settle.add("messaging.operation.type", "settle");
        of_settle.add("messaging.destination.name", source.clone());
        of_settle.add("hookbox.settlement.result", result(settled));
        settle.end(format!("settle {source}"), SpanKind::Client, of_settle, settled.is_err());
        emitted.into_iter().for_each(AppendSpan::end);
        let failed = outcome.is_failure();
        if failed {
            fields.add("error.type", outcome.name());
        }
        process.end(format!("process {source}"), SpanKind::Consumer, fields, failed);
    }
}

/// The result of a settlement, in a word.
fn result(settled: &Result<Settled, StoreError>) -> &'static str {
    match settled {
        Ok(Settled::Kept) => "kept",
        Ok(Settled::Lost) => "lost",
        Ok(Settled::Conflict) => "conflict",
        Ok(Settled::Cancelled) => "cancelled",
        Ok(Settled::OverBudget) => "over_budget",
        Ok(Settled::NotANumber) => "not_a_number",
        Err(_) => "failed",
    }
}

/// Ends the span of an HTTP request. Its address has no values of a query, as it is recorded.
fn end_call(span: OpenSpan, call: &HttpCall) {
    let mut fields = SpanFields::default();
    fields.add("http.request.method", call.method.clone());
    fields.add("url.full", call.url.clone());
    if let Some((host, port)) = server(&call.url) {
        fields.add("server.address", host);
        fields.add("server.port", port);
    }
    fields.maybe("http.response.status_code", call.status);
    fields.add("http.request.body.size", call.sent_bytes);
    fields.add("http.response.body.size", call.received_bytes);
    if call.refused {
        fields.add("hookbox.egress.refused", true);
    }
    let error = match call.status {
        Some(status) if status >= 400 => Some(status.to_string()),
        Some(_) => call.error.as_ref().map(|_| "incomplete".to_owned()),
        None if call.refused => Some("refused".to_owned()),
        None => Some("unanswered".to_owned()),
    };
    let failed = error.is_some();
    fields.maybe("error.type", error);
    span.end(call.method.clone(), SpanKind::Client, fields, failed);
}

/// The host and the port of an address.
fn server(url: &str) -> Option<(String, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, authority)| authority);
    let usual = if scheme == "https" { 443 } else { 80 };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, usual),
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_of_a_request_is_read_from_its_address() {
        for (url, expected) in [
            ("https://api.example.com/v1/videos?id=*", Some(("api.example.com", 443))),
            ("http://*@127.0.0.1:8080/", Some(("127.0.0.1", 8080))),
            ("http://[::1]:81/a", Some(("[::1]", 81))),
            ("https://[::1]/a", Some(("[::1]", 443))),
            ("https://a.example?q=*", Some(("a.example", 443))),
            ("/a", None),
            ("http:///a", None),
        ] {
            let found = server(url);
            let found = found.as_ref().map(|(host, port)| (host.as_str(), *port));
            assert_eq!(found, expected, "{url}");
        }
    }
}
