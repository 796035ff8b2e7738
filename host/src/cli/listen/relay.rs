//! The way of one event from the other host to the local one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::cli::client::{AdminClient, agent, encoded, no_answer};
use crate::cli::failure::Failure;
use crate::cli::listing::elements;
use crate::cli::output::{Printout, printable, text};
use crate::cli::remarks::warning;
use crate::clock::Clock;
use crate::cloudevents;
use crate::config::{Partial, Source};
use crate::ingest::{SignedParts, sample, sign_request};

/// The longest time for a reply of the local host.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why an event was not posted.
#[derive(Debug)]
pub(super) enum RelayFault {
    /// The local host did not answer, or its configuration cannot be read.
    Here(Failure),
    /// The other host did not give the event.
    There(Failure),
}

impl RelayFault {
    pub(super) fn into_failure(self) -> Failure {
        let (Self::Here(failure) | Self::There(failure)) = self;
        failure
    }
}

/// Posts events to the local host.
pub(super) struct Relay<'a> {
    client: &'a AdminClient,
    base: String,
    config: Partial,
    sources: BTreeMap<String, Option<Arc<Source>>>,
}

impl<'a> Relay<'a> {
    /// From the host that `client` asks to the one at `base`.
    pub(super) fn new(client: &'a AdminClient, base: String, config: Partial) -> Self {
        Self { client, base, config, sources: BTreeMap::new() }
    }

    /// Posts an event; says whether it is one of a source that is here and can be signed.
    pub(super) fn pass(&mut self, event: &Value) -> Result<bool, RelayFault> {
        let (id, name) = (text(&event["id"]), text(&event["source"]));
        let Some(source) = self.source(&name).map_err(RelayFault::Here)? else { return Ok(false) };
        let path = format!("/api/v1/events/{}", encoded(&id));
        let whole = self.client.get(&path, &[]).map_err(RelayFault::There)?;
        let mut body = Vec::new();
        let copied = self.client.copy(&format!("{path}/body"), &[], &mut body);
        copied.map_err(RelayFault::There)?;
        let signed = match signed(event, &source, &whole, &body) {
            Ok(signed) => signed,
            Err(why) => {
                let name = printable(&name);
                warning(&format!("events of `{name}` are not taken: {why}"));
                self.sources.insert(source.name.to_string(), None);
                return Ok(false);
            }
        };
        self.post(event, &source, &whole, signed).map_err(RelayFault::Here)?;
        Ok(true)
    }

    fn post(
        &self,
        event: &Value,
        source: &Source,
        whole: &Value,
        signed: SignedParts,
    ) -> Result<(), Failure> {
        let SignedParts { mut headers, query, body, content_type } = signed;
        headers.extend(content_type.map(|kind| ("content-type".to_owned(), kind.to_owned())));
        if source.cloudevents {
            headers.push(("ce-specversion".to_owned(), cloudevents::VERSION.to_owned()));
        }
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let url = format!("{}/webhook/{}{query}", self.base, source.name);
        let mut request = agent(TIMEOUT).post(&url);
        let is_signed =
            |name: &str| headers.iter().any(|(signed, _)| signed.eq_ignore_ascii_case(name));
        for header in elements(&whole["headers"]) {
            let name = text(&header["name"]);
            if !is_signed(&name) && name != "user-agent" {
                request = request.header(name, text(&header["value"]));
            }
        }
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        let answered = request.send(&body);
        let response = answered.map_err(|error| {
            Failure::failed(no_answer(&url, &error, "a host's public listener"))
        })?;
        let status = response.status();
        let mut out = Printout::new();
        let word = out.state(if status.is_success() { "ok" } else { "failed" });
        let (id, kind) = (text(&event["id"]), text(&event["type"]));
        out.line(format!("{}  {}  {status} ({word})", printable(&id), printable(&kind)));
        out.print()
    }

    /// The source of this name here; its absence is told once.
    fn source(&mut self, name: &str) -> Result<Option<Arc<Source>>, Failure> {
        if let Some(known) = self.sources.get(name) {
            return Ok(known.clone());
        }
        let found = self.config.take_source(name).transpose()?;
        if found.is_none() {
            let name = printable(name);
            warning(&format!(
                "events of `{name}` are not taken: this configuration has no such source"
            ));
        }
        self.sources.insert(name.to_owned(), found.clone());
        Ok(found)
    }
}

/// The request that the provider would send with an event: an item stands in its list again. An
/// error says why it cannot be made.
fn signed(
    event: &Value,
    source: &Source,
    whole: &Value,
    body: &[u8],
) -> Result<SignedParts, String> {
    let (id, kind) = (text(&event["id"]), text(&event["type"]));
    let provider_id = whole["provider_id"].as_str().unwrap_or(&id);
    let request = sample::request_of(source, body, (&kind, whole["subject"].as_str()))?;
    let now_s = Clock::system().now_ms() / 1000;
    sign_request(source, &request, provider_id, now_s).map_err(|error| error.to_string())
}
