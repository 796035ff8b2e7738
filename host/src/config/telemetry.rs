//! Reads `[telemetry]`: where spans and log lines are sent, and what of an event they tell.

use std::ops::RangeInclusive;

use http::Uri;

use super::raw::{Item, Section};
use super::units::{DAY_MS, HOUR_MS, SECOND_MS};

const JOIN_BOUNDS_MS: RangeInclusive<u64> = SECOND_MS..=366 * DAY_MS;
const DEFAULT_JOIN_MS: u64 = HOUR_MS;

/// Stands in `trace_url` for the id of a trace.
const TRACE_ID: &str = "{trace_id}";

/// The longest `trace_url`, in bytes.
const MAX_URL_BYTES: usize = 1_024;

/// `[telemetry]`. A change of any of these needs a restart, but for `trace_url`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// The collector; without one nothing is traced.
    pub otlp: Option<OtlpEndpoint>,
    /// Whether subjects of events are attributes of spans.
    pub subjects: bool,
    /// An attempt that begins so much later than its event, in milliseconds, is a trace of its own.
    pub join_ms: u64,
    /// The page of a trace, with `{trace_id}` in it.
    pub trace_url: Option<String>,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { otlp: None, subjects: false, join_ms: DEFAULT_JOIN_MS, trace_url: None }
    }
}

/// A collector that takes OTLP over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint {
    /// A name or an address. That of IPv6 has no brackets.
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
pub(super) fn read(root: &mut Section<'_>) -> Telemetry {
    let mut section = root.take_section("telemetry", "{ otlp = \"http://127.0.0.1:4318\" }");
    let otlp = section.take("otlp").and_then(|item| endpoint(&item));
    let subjects = section.take("subjects").and_then(|item| item.truth()).unwrap_or(false);
    let join = section.take("join").and_then(|item| item.duration_ms(JOIN_BOUNDS_MS));
    let trace_url = section.take("trace_url").and_then(|item| trace_url(&item));
    section.finish();
    Telemetry { otlp, subjects, join_ms: join.unwrap_or(DEFAULT_JOIN_MS), trace_url }
}

fn endpoint(item: &Item<'_>) -> Option<OtlpEndpoint> {
    const EXAMPLE: &str = "\"http://127.0.0.1:4318\"";
    let text = item.text(EXAMPLE)?;
    if text.contains('@') {
        // It may carry a password.
        item.sink().mask(item.span.clone());
        item.refuse("holds a user's name", format!("write the collector alone, such as {EXAMPLE}"));
        return None;
    }
    if text.starts_with("https://") {
        let help = format!(
            "run a collector beside the host, which speaks TLS to the others, and write its address: {EXAMPLE}"
        );
        item.refuse(format_args!("is {text:?}: the host sends without TLS"), help);
        return None;
    }
    let found = parts(text);
    if found.is_none() {
        let help = format!(
            "write http://, a host, a port and perhaps a path, such as {EXAMPLE}: 4318 is the usual port of OTLP over \
             HTTP, and /v1/traces and /v1/logs are added"
        );
        item.refuse(format_args!("is {text:?}, which is no address of a collector"), help);
    }
    found
}

fn parts(text: &str) -> Option<OtlpEndpoint> {
    let uri: Uri = text.parse().ok()?;
    let authority = uri.authority()?;
    let host = uri.host()?;
    let is_whole = uri.scheme_str() == Some("http") && uri.query().is_none() && !host.is_empty();
    let base = uri.path().trim_end_matches('/');
    let names_signal = ["/v1/traces", "/v1/logs"].iter().any(|path| base.ends_with(path));
    // Without a port it is that of the scheme, but not what follows a colon and is no number.
    let port = authority.port_u16().or_else(|| (authority.as_str() == host).then_some(80))?;
    (is_whole && !names_signal && port != 0 && !text.contains('#')).then(|| OtlpEndpoint {
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
