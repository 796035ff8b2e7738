//! Requests of many providers, each with the verdict that its rule demands.
//!
//! `data/providers.jsonl` has one request a line: those that were published say where, the others
//! are derived from the provider's rule. Certificates that requests name by address are in
//! `data/certificates.pem`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hookbox::config::source::Part;
use hookbox::config::{MakeSecrets, Partial, Surroundings, presets};
use hookbox::ingest::{Head, Refusal, SourceRuntime, Unverified};
use serde::Deserialize;
use serde_json::Value;

/// A time for requests that carry none, in Unix seconds.
const SOME_TIME_S: i64 = 1_772_000_000;

/// One request and the verdict on it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ProviderVector {
    pub(crate) preset: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) secrets: Vec<String>,
    #[serde(default)]
    pub(crate) params: BTreeMap<String, Value>,
    now: Option<i64>,
    method: Option<String>,
    url: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    body: Option<String>,
    body_base64: Option<String>,
    event: Option<BTreeMap<String, Option<String>>>,
    pub(crate) expect: String,
}

impl ProviderVector {
    /// All of them.
    pub(crate) fn all() -> Vec<Self> {
        let lines = include_str!("../data/providers.jsonl").lines();
        lines.map(|line| serde_json::from_str(line).expect("a line is a vector")).collect()
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        match (&self.body, &self.body_base64) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(coded)) => STANDARD.decode(coded).expect("base64"),
            (None, None) => Vec::new(),
        }
    }

    /// Scheme and host, and the rest of the address.
    fn address(&self) -> (String, String) {
        let whole = self
            .url
            .clone()
            .unwrap_or_else(|| format!("https://hooks.example.net/webhook/{}", self.preset));
        let path = whole.match_indices('/').nth(2).map_or(whole.len(), |(at, _)| at);
        (whole[..path].to_owned(), whole[path..].to_owned())
    }

    /// The section that an operator would write.
    pub(crate) fn section(&self) -> String {
        let template = presets::find(&self.preset).expect("a preset");
        let mut text =
            format!("[sources.acme]\npreset = \"{}\"\nallow_short_secrets = true\n", self.preset);
        let places = (0..self.secrets.len()).map(|n| format!("{{ env = \"S{n}\" }}"));
        let places = places.collect::<Vec<_>>().join(", ");
        if template.scheme.has_secrets() {
            let places = if places.is_empty() { "{ env = \"NONE\" }" } else { &places };
            text.push_str(&format!("secrets = [{places}]\n"));
        }
        let mut verify = Vec::new();
        if template.signed.contains(&Part::Url) {
            verify.push(format!("public_url = \"{}\"", self.address().0));
        }
        if let Some(key) = self.params.get("public_key") {
            verify.push(format!("public_keys = [{key}]"));
        }
        if !verify.is_empty() {
            text.push_str(&format!("verify = {{ {} }}\n", verify.join(", ")));
        }
        text
    }

    /// The source of that section.
    pub(crate) fn runtime(&self) -> SourceRuntime {
        let env = |name: &str| {
            let at: usize = name.strip_prefix('S')?.parse().ok()?;
            self.secrets.get(at).map(OsString::from)
        };
        let around = Surroundings { make_secrets: MakeSecrets::No, env: &env };
        let mut source = Partial::parse(Path::new("/config.toml"), &self.section(), around);
        let source = source.take_source("acme").expect("it is a section");
        let shown = |problems: hookbox::config::Problems| -> ! {
            panic!("{}: {}", self.preset, problems.render(false))
        };
        SourceRuntime::new(source.unwrap_or_else(|problems| shown(problems)))
    }

    pub(crate) fn head(&self) -> Head {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().expect("a name");
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        let method = self.method.as_deref().unwrap_or("POST").parse::<Method>().expect("a method");
        Head { method, uri: self.address().1.parse().expect("an address"), headers }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.now.unwrap_or(SOME_TIME_S) * 1_000
    }

    /// Checks the request with another head or body.
    pub(crate) fn check(
        &self,
        source: &SourceRuntime,
        head: Head,
        body: &[u8],
    ) -> Result<(), Refusal> {
        let request = Unverified::new(head, Bytes::copy_from_slice(body));
        request.verify(source, self.now_ms()).map(|_| ())
    }
}

#[test]
fn every_request_of_a_provider_gets_the_verdict_of_its_rule() {
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let mut wrong = Vec::new();
    let vectors = ProviderVector::all();
    for vector in &vectors {
        if vector.expect == "handshake" || !presets::NAMES.contains(&vector.preset.as_str()) {
            continue;
        }
        let verdict = vector.check(&vector.runtime(), vector.head(), &vector.body());
        let (accepted, count) = (verdict.is_ok(), counts.entry(&vector.preset).or_default());
        count[usize::from(!accepted)] += 1;
        if accepted != (vector.expect == "accept") {
            count[2] += 1;
            wrong.push(format!("{}: {}: {verdict:?}", vector.preset, vector.name));
        }
    }
    println!("{:<24}{:>9}{:>9}{:>7}", "PRESET", "ACCEPTED", "REFUSED", "WRONG");
    for (preset, [accepted, refused, wrong]) in &counts {
        println!("{preset:<24}{accepted:>9}{refused:>9}{wrong:>7}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(counts.len() >= 37, "{} presets have vectors", counts.len());
}

#[test]
fn the_attributes_of_an_event_are_found_where_its_provider_has_them() {
    let routes = hookbox::config::Routes::default();
    for vector in ProviderVector::all() {
        let known = presets::NAMES.contains(&vector.preset.as_str());
        let Some(event) = vector.event.as_ref().filter(|_| known) else { continue };
        let runtime = vector.runtime();
        let request = Unverified::new(vector.head(), Bytes::from(vector.body()));
        let verified = request.verify(&runtime, vector.now_ms()).expect("it is authentic");
        let found = verified.identify(&routes, vector.now_ms());
        let attributes = &found.attributes;
        assert_eq!(Some(&attributes.kind), event["type"].as_ref(), "type: {}", vector.preset);
        assert_eq!(found.provider_id, event["id"], "id: {}", vector.preset);
        assert_eq!(attributes.subject, event["subject"], "subject: {}", vector.preset);
    }
}
