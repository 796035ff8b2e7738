//! Requests of many providers, each with the verdict that its rule demands.
//!
//! `data/providers.jsonl` has one request a line: those that were published say where, the others
//! are derived from the provider's rule. Certificates that requests name by address are in
//! `data/certificates.pem`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hookbox::config::{MakeSecrets, Partial, Source, Surroundings, presets};
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
    answer: Option<Answer>,
}

/// The answer to a handshake.
#[derive(Debug, Clone, Deserialize)]
struct Answer {
    status: u16,
    content_type: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
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

    /// The body of the answer, if it has one; empty if an answer has none.
    pub(crate) fn answer_body(&self) -> Option<String> {
        self.answer.as_ref().map(|answer| answer.body.clone().unwrap_or_default())
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
        let rule = &template.signature;
        let mut text =
            format!("[sources.acme]\npreset = \"{}\"\nallow_short_secrets = true\n", self.preset);
        let places = (0..self.secrets.len()).map(|n| format!("{{ env = \"S{n}\" }}"));
        let places = places.collect::<Vec<_>>().join(", ");
        if rule.has_secrets() {
            let places = if places.is_empty() { "{ env = \"NONE\" }" } else { &places };
            text.push_str(&format!("secrets = [{places}]\n"));
        }
        let mut verify = Vec::new();
        if rule.needs_url() {
            verify.push(format!("public_url = \"{}\"", self.address().0));
        }
        let public_key = self.params.get("public_key");
        if let Some(key) = public_key
            && !rule.has_secrets()
        {
            verify.push(format!("public_keys = [{key}]"));
        }
        if let Some(keys) = self.params.get("jwks")
            && rule.key_address.is_none()
        {
            verify.push(format!("public_keys = ['{keys}']"));
        }
        if let Some(hash) = self.params.get("algorithm").and_then(Value::as_str) {
            verify.push(format!("scheme = \"digest-{hash}\""));
        }
        if let Some(origins) = self.params.get("origins") {
            text.push_str(&format!("origins = {origins}\n"));
        }
        let needed = template.handshakes.iter().flat_map(|rule| rule.params());
        let needed = needed.chain(rule.needed_params().into_iter().map(str::to_owned));
        for name in needed.collect::<BTreeSet<_>>() {
            if let Some(value) = self.params.get(&name) {
                text.push_str(&format!("params = {{ {name} = {value} }}\n"));
            }
        }
        if !verify.is_empty() {
            text.push_str(&format!("verify = {{ {} }}\n", verify.join(", ")));
        }
        text
    }

    /// The source of that section, with the keys that the provider would serve.
    pub(crate) fn runtime(&self) -> SourceRuntime {
        let runtime = SourceRuntime::new(self.source());
        self.give_keys(&runtime);
        runtime
    }

    /// The source of that section.
    pub(crate) fn source(&self) -> Arc<Source> {
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
        source.unwrap_or_else(|problems| shown(problems))
    }

    /// The documents that the provider would serve.
    fn give_keys(&self, runtime: &SourceRuntime) {
        let pem = include_str!("../data/certificates.pem");
        let all: Vec<&str> = pem.split_inclusive("-----END CERTIFICATE-----\n").collect();
        let certificates = self.params.get("certs").and_then(Value::as_object);
        for (url, at) in certificates.into_iter().flatten() {
            let at = at.as_u64().and_then(|at| usize::try_from(at).ok()).expect("a position");
            runtime.keep_key(url, all[at], self.now_ms());
        }
        if let Some(keys) = self.params.get("jwks") {
            let url = "https://rest.alpha.fal.ai/.well-known/jwks.json";
            runtime.keep_key(url, &keys.to_string(), self.now_ms());
        }
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
    assert!(counts.len() >= 68, "{} presets have vectors", counts.len());
}

#[test]
fn the_attributes_of_an_event_are_found_where_its_provider_has_them() {
    let routes = hookbox::config::Routes::default();
    for vector in ProviderVector::all() {
        let Some(event) = &vector.event else { continue };
        if !presets::NAMES.contains(&vector.preset.as_str()) {
            continue;
        }
        let runtime = vector.runtime();
        let request = Unverified::new(vector.head(), Bytes::from(vector.body()));
        let verified = request.verify(&runtime, vector.now_ms()).expect("it is authentic");
        let found = verified.events(&routes, vector.now_ms()).expect("it has events").remove(0);
        let attributes = &found.attributes;
        let kind = event["type"].as_ref().unwrap_or(&attributes.kind);
        assert_eq!(&attributes.kind, kind, "type: {}", vector.preset);
        assert_eq!(found.provider_id, event["id"], "id: {}", vector.preset);
        assert_eq!(attributes.subject, event["subject"], "subject: {}", vector.preset);
    }
}

/// Sections as users write them, for handshakes of providers that have no preset.
const OWN: [(&str, &str); 1] = [(
    "ebay",
    r#"[sources.acme.params]
verification_token = "meta_verify_9610cfc420e6ce249c4e3277bc9f87f8"
endpoint = "https://hooks.example.net/webhook/ebay"
[[sources.acme.handshake]]
method = "GET"
when = { query = "challenge_code" }
[sources.acme.handshake.answer]
content_type = "application/json"
body = '{"challengeResponse":"{sha256:hex:query:challenge_code+param:verification_token+param:endpoint}"}'"#,
)];

/// A source of a section that verifies nothing.
fn own(name: &str) -> Option<SourceRuntime> {
    let (_, more) = OWN.iter().find(|(known, _)| *known == name)?;
    let text = format!(
        "[sources.acme]\ntype = {{ fixed = \"acme.event\" }}\nverify = {{ scheme = \"none\" }}\n{more}\n"
    );
    let around = Surroundings { make_secrets: MakeSecrets::No, env: &|_| None };
    let mut source = Partial::parse(Path::new("/config.toml"), &text, around);
    let source = source.take_source("acme").expect("it is a section");
    Some(SourceRuntime::new(source.unwrap_or_else(|wrong| panic!("{}", wrong.render(false)))))
}

#[test]
fn every_handshake_is_answered_as_its_provider_wants_it() {
    let (mut answered, mut wrong) = (0, Vec::new());
    let vectors = ProviderVector::all();
    for vector in vectors.iter().filter(|vector| vector.answer.is_some()) {
        // Every source answers OPTIONS, and refuses what it cannot verify.
        let is_usual = vector.expect == "refuse" && vector.answer.as_ref().unwrap().status == 401;
        if is_usual || vector.name.ends_with("an origin we do not know") {
            continue;
        }
        let runtime = own(&vector.preset).unwrap_or_else(|| vector.runtime());
        let wanted = vector.answer.as_ref().unwrap();
        let given = runtime.handshake(&vector.head(), &vector.body(), vector.now_ms());
        let Some(given) = given else {
            wrong.push(format!("{}: {}: no answer", vector.preset, vector.name));
            continue;
        };
        let header = |name: &str| {
            let mut named = given.headers.iter().filter(|(known, _)| known.as_str() == name);
            named.next().map(|(_, value)| value.to_str().unwrap().to_owned())
        };
        let json = |text: &str| serde_json::from_str::<Value>(text).ok();
        let same = |wanted: &String| given.body == *wanted || json(&given.body) == json(wanted);
        let fits = given.status.as_u16() == wanted.status
            && wanted
                .content_type
                .as_ref()
                .is_none_or(|kind| header("content-type").as_ref() == Some(kind))
            && wanted
                .headers
                .iter()
                .all(|(name, value)| header(&name.to_lowercase()).as_ref() == Some(value))
            && wanted.body.as_ref().is_none_or(same);
        if !fits {
            wrong.push(format!("{}: {}: {given:?}", vector.preset, vector.name));
        }
        answered += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(answered >= 24, "{answered} handshakes");
}
