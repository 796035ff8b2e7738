//! Reads `[telemetry]`: where spans and log lines are sent, and what of an event they tell.

use std::ops::RangeInclusive;

use http::Uri;

use super::grants::{self, Authorities, HeaderTerms, Injected};
use super::raw::{Item, Section};
use super::secrets::Places;
use super::units::{DAY_MS, HOUR_MS, SECOND_MS};
use super::urls;
use super::warnings::Warning;

const JOIN_BOUNDS_MS: RangeInclusive<u64> = SECOND_MS..=366 * DAY_MS;
const DEFAULT_JOIN_MS: u64 = HOUR_MS;

/// Stands in `trace_url` for the id of a trace.
const TRACE_ID: &str = "{trace_id}";

/// The longest `trace_url`, in bytes.
const MAX_URL_BYTES: usize = 1_024;

/// The headers that can be added to what is sent.
const HEADERS: HeaderTerms = HeaderTerms {
    own: &["accept-encoding", "content-encoding", "content-length", "content-type", "user-agent"],
    min_value_bytes: 1,
    too_short: "is empty",
    no_secret: "",
};

/// `[telemetry]`. A change of any of these needs a restart, but for `trace_url`.
#[derive(Debug, Clone, PartialEq)]
pub struct Telemetry {
    /// The collector; without one nothing is traced.
    pub otlp: Option<OtlpEndpoint>,
    /// Headers with credentials for it.
    pub headers: Vec<Injected>,
    /// Authorities that vouch for it, in place of the public ones.
    pub authorities: Option<Authorities>,
    /// Whether subjects of events are attributes of spans.
    pub subjects: bool,
    /// An attempt that begins so much later than its event, in milliseconds, is a trace of its own.
    pub join_ms: u64,
    /// The page of a trace, with `{trace_id}` in it.
    pub trace_url: Option<String>,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            otlp: None,
            headers: Vec::new(),
            authorities: None,
            subjects: false,
            join_ms: DEFAULT_JOIN_MS,
            trace_url: None,
        }
    }
}

/// A collector that takes OTLP over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint {
    /// Whether it is spoken to over TLS.
    pub tls: bool,
    /// A name or an address. An IPv6 address has no brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path before `/v1/traces` and `/v1/logs`, without a `/` at its end.
    pub base: String,
}

impl Telemetry {
    /// The address of a trace's page, if there is one.
    pub fn url_of(&self, trace: &str) -> Option<String> {
        Some(self.trace_url.as_ref()?.replace(TRACE_ID, trace))
    }
}

/// Reads the section.
pub(super) fn read(root: &mut Section<'_>, places: &Places<'_>) -> Telemetry {
    let mut section = root.take_section("telemetry", "{ otlp = \"http://127.0.0.1:4318\" }");
    let collector = section.take("otlp");
    let otlp = collector.as_ref().and_then(endpoint);
    let (headers, ca_file) = (section.take("headers"), section.take("ca_file"));
    if collector.is_none() {
        for item in [&headers, &ca_file].into_iter().flatten() {
            item.refuse_key("is for a collector, and there is none", "name one in `otlp`");
        }
    }
    if let (Some(item), Some(false)) = (&ca_file, otlp.as_ref().map(|endpoint| endpoint.tls)) {
        let help = "write https:// in `otlp`, or leave it out";
        item.refuse_key("is for a collector that speaks TLS", help);
    }
    let authorities = ca_file.and_then(|item| grants::read_authorities(&item, places.base));
    let added = headers.as_ref().map(|item| read_headers(item, places)).unwrap_or_default();
    if let (Some(item), Some(endpoint)) = (&headers, &otlp) {
        warn_of_headers(item, &added, endpoint);
    }
    let subjects = section.take("subjects").and_then(|item| item.truth()).unwrap_or(false);
    let join = section.take("join").and_then(|item| item.duration_ms(JOIN_BOUNDS_MS));
    let join_ms = join.unwrap_or(DEFAULT_JOIN_MS);
    let trace_url = section.take("trace_url").and_then(|item| trace_url(&item));
    section.finish();
    Telemetry { otlp, headers: added, authorities, subjects, join_ms, trace_url }
}

fn read_headers(item: &Item<'_>, places: &Places<'_>) -> Vec<Injected> {
    let section = item.section("{ Authorization = { env = \"OTLP_AUTHORIZATION\" } }");
    section.map(|it| grants::read_headers(it, &HEADERS, places)).unwrap_or_default()
}

/// A header without a value is found here, not by the first batch; so is one that others can read.
fn warn_of_headers(item: &Item<'_>, headers: &[Injected], endpoint: &OtlpEndpoint) {
    for header in headers {
        if let Err(place) = &header.value {
            item.sink().warn(Warning::new(format!(
                "the header `{}` of `telemetry.headers` has no value, because {place} is empty or absent: nothing is \
                 sent to the collector until it is set and the host is restarted",
                header.name
            )));
        }
    }
    if !headers.is_empty() && !endpoint.tls && !urls::is_this_machine(&endpoint.host) {
        item.sink().warn(Warning::new(format!(
            "`telemetry.headers` go to {} without TLS: the network between can read them; write https:// in \
             `telemetry.otlp` if the collector speaks it",
            endpoint.host
        )));
    }
}

fn endpoint(item: &Item<'_>) -> Option<OtlpEndpoint> {
    const EXAMPLE: &str = "\"http://127.0.0.1:4318\"";
    let text = item.text(EXAMPLE)?;
    let secret = if text.contains('@') {
        Some("holds a user's name")
    } else if text.contains('?') {
        Some("has a query")
    } else {
        None
    };
    if let Some(fault) = secret {
        // It may carry a password.
        item.sink().mask(item.span.clone());
        let help = format!(
            "write the collector alone, such as {EXAMPLE}, and its credential in `telemetry.headers`"
        );
        item.refuse(fault, help);
        return None;
    }
    let found = parts(text);
    if found.is_none() {
        let help = format!(
            "write http:// or https://, a host, a port and perhaps a path, such as {EXAMPLE}: 4318 is the usual port \
             of OTLP over HTTP, and /v1/traces and /v1/logs are added"
        );
        item.refuse(format_args!("is {text:?}, which is no address of a collector"), help);
    }
    found
}

fn parts(text: &str) -> Option<OtlpEndpoint> {
    let uri: Uri = text.parse().ok()?;
    let authority = uri.authority()?;
    let host = uri.host()?;
    let (tls, usual_port) = match uri.scheme_str()? {
        "https" => (true, 443),
        "http" => (false, 80),
        _ => return None,
    };
    let is_whole = uri.query().is_none() && !host.is_empty();
    let base = uri.path().trim_end_matches('/');
    let names_signal = ["/v1/traces", "/v1/logs"].iter().any(|path| base.ends_with(path));
    // Without a port it is that of the scheme, but not what follows a colon and is no number.
    let port =
        authority.port_u16().or_else(|| (authority.as_str() == host).then_some(usual_port))?;
    (is_whole && !names_signal && port != 0 && !text.contains('#')).then(|| OtlpEndpoint {
        tls,
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port,
        base: base.to_owned(),
    })
}

fn trace_url(item: &Item<'_>) -> Option<String> {
    const EXAMPLE: &str = "\"https://traces.example.com/trace/{trace_id}\"";
    let text = item.text(EXAMPLE)?;
    let as_one = text.replace(TRACE_ID, "0");
    let scheme = as_one.parse::<Uri>().ok().filter(|uri| uri.host().is_some());
    let scheme = scheme.as_ref().and_then(Uri::scheme_str);
    let is_url = matches!(scheme, Some("https" | "http")) && text.len() <= MAX_URL_BYTES;
    let fault = match (is_url, text.contains(TRACE_ID)) {
        (true, true) => return Some(text.to_owned()),
        (true, false) => "does not say where the id of a trace stands",
        (false, _) => "is no address of a page",
    };
    item.refuse(fault, format!("write it with {TRACE_ID} in it, such as {EXAMPLE}"));
    None
}
