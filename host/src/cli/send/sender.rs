//! Builds, signs and posts an event, and reads what the host says of it.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::duplicate;
use crate::cli::client::{agent, no_answer};
use crate::cli::failure::Failure;
use crate::cli::output::{Printout, bytes, print_json, printable};
use crate::clock::Clock;
use crate::config::Source;
use crate::event::EventId;
use crate::ingest::sample::Sample;
use crate::ingest::{self, SignedParts};
use crate::text::duration;

/// The longest time for a reply; the host answers within 2.5 s.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// The most of a reply that is read, in bytes.
const MAX_REPLY_BYTES: u64 = 64 << 10;

/// A request that is ready to be sent.
#[derive(Debug)]
pub(super) struct SignedRequest {
    pub(super) body: Vec<u8>,
    headers: Vec<(String, String)>,
    query: Option<String>,
    content_type: &'static str,
}

/// The host's reply.
#[derive(Debug)]
pub(super) struct HostReply {
    pub(super) status: u16,
    pub(super) reason: &'static str,
    pub(super) body: Vec<u8>,
    pub(super) took: Duration,
    /// The header that names the event where the body is the provider's.
    event: Option<String>,
}

/// The acknowledgement of a host that an event is durable.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ack {
    pub(super) id: EventId,
    /// Whether the event was durable before.
    pub(super) is_duplicate: bool,
}

/// Builds, signs and posts; shared by all connections.
#[derive(Debug)]
pub(in crate::cli) struct Sender {
    pub(super) source: Arc<Source>,
    pub(super) sample: Sample,
    pub(in crate::cli) url: String,
}

impl Sender {
    pub(super) fn one(&self, kind: &str, as_json: bool) -> Result<ExitCode, Failure> {
        let signed = self.sign()?;
        let length = signed.body.len() as u64;
        let reply =
            self.post(&agent(TIMEOUT), &signed).map_err(|error| self.unreachable(&error))?;
        if as_json {
            print_json(&self.reply_json(kind, length, &reply))?;
        } else {
            self.reply_printout(kind, length, &reply).print()?;
        }
        Ok(if reply.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn reply_printout(&self, kind: &str, length: u64, reply: &HostReply) -> Printout {
        let mut out = Printout::new();
        out.line(format!("POST {}  {}, {}", self.url, printable(kind), bytes(length)));
        let word = out.state(if reply.is_success() { "ok" } else { "failed" });
        out.line(format!(
            "{} {} in {} ({word})",
            reply.status,
            reply.reason,
            duration(reply.took.as_secs_f64() * 1000.0)
        ));
        let text = if reply.body.is_empty() { b"(no body)" } else { &reply.body[..] };
        out.line(printable(&String::from_utf8_lossy(text)));
        if reply.is_refusal() {
            out.line(format!("`hookbox sources {}` says why", self.source.name));
        }
        if let Some(named) = &reply.event {
            out.line(printable(named));
        }
        if let Some(first) = reply.duplicate_of() {
            duplicate::lines(&self.source, first).iter().for_each(|line| out.line(line));
        }
        out
    }

    fn reply_json(&self, kind: &str, length: u64, reply: &HostReply) -> Value {
        let first = reply.duplicate_of();
        let said = serde_json::from_slice(&reply.body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&reply.body).into_owned()));
        let ack = if reply.is_success() { reply.ack() } else { None };
        json!({
            "url": self.url, "type": kind, "data_bytes": length,
            "http_status": reply.status, "took_ms": reply.took.as_secs_f64() * 1000.0, "reply": said,
            "event_id": ack.map(|ack| ack.id.to_string()),
            "duplicate_of": first.map(|first| first.to_string()),
            "to_send_another": first.map(|_| duplicate::another(&self.source)),
        })
    }

    /// A new event, signed now.
    pub(super) fn sign(&self) -> Result<SignedRequest, Failure> {
        let made = self.sample.make();
        let now_s = Clock::system().now_ms() / 1000;
        let signed = ingest::sign_request(&self.source, &made.body, &made.id, now_s)
            .map_err(|error| Failure::usage(error.to_string()))?;
        let SignedParts { mut headers, query, body, content_type } = signed;
        headers.extend(made.headers);
        let content_type = content_type.unwrap_or_else(|| self.sample.content_type());
        Ok(SignedRequest { body, headers, query, content_type })
    }

    /// Fails if nobody is there to answer; what is answered does not matter.
    pub(in crate::cli) fn knock(&self) -> Result<(), ureq::Error> {
        agent(TIMEOUT).options(&self.url).call().map(drop)
    }

    pub(super) fn post(
        &self,
        agent: &ureq::Agent,
        signed: &SignedRequest,
    ) -> Result<HostReply, ureq::Error> {
        let mut url = self.url.clone();
        if let Some(query) = &signed.query {
            url.push_str(&format!("?{query}"));
        }
        let mut request = agent.post(&url).header("content-type", signed.content_type);
        for (name, value) in &signed.headers {
            request = request.header(name, value);
        }
        let start = Instant::now();
        let mut response = request.send(&signed.body[..])?;
        let body = response.body_mut().with_config().limit(MAX_REPLY_BYTES).read_to_vec()?;
        let status = response.status();
        let reason = status.canonical_reason().unwrap_or_default();
        let event = ingest::named_event(response.headers()).map(str::to_owned);
        Ok(HostReply { status: status.as_u16(), reason, body, took: start.elapsed(), event })
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        Failure::failed(no_answer(&self.url, error, "a host's public listener"))
    }
}

impl HostReply {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether a source refused the request. An address without a source answers 404.
    fn is_refusal(&self) -> bool {
        (400..500).contains(&self.status) && self.status != 404
    }

    /// The event that this one repeats, if the host says so.
    fn duplicate_of(&self) -> Option<EventId> {
        self.ack().filter(|ack| ack.is_duplicate && self.is_success()).map(|ack| ack.id)
    }

    /// The acknowledgement of a hookbox host.
    pub(super) fn ack(&self) -> Option<Ack> {
        #[derive(Deserialize)]
        struct Body<'a> {
            id: &'a str,
            status: &'a str,
        }
        if let Some((id, status)) = self.event.as_deref().and_then(|text| text.split_once(' ')) {
            return Some(Ack { id: id.parse().ok()?, is_duplicate: status == "duplicate" });
        }
        let body: Body<'_> = serde_json::from_slice(&self.body).ok()?;
        Some(Ack { id: body.id.parse().ok()?, is_duplicate: body.status == "duplicate" })
    }
}
