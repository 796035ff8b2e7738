//! Every preset whose key the host can have: what is signed for it is accepted, and no change of
//! it is.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hookbox::config::source::{
    Encoding, KeyEncoding, Part, Pick, Signature, SignatureScheme, SourceTemplate,
};
use hookbox::config::{MakeSecrets, Partial, Routes, Source, Surroundings, presets};
use hookbox::event::UNIDENTIFIED;
use hookbox::ingest::sample::Sample;
use hookbox::ingest::{Head, SignedParts, SourceRuntime, Unverified, sign_request};

pub(super) const NOW_S: i64 = 1_772_000_000;

/// The changes of each preset's request, in all.
pub(super) fn changes() -> usize {
    if std::env::var_os("HOOKBOX_LONG_TESTS").is_some() { 10_000 } else { 500 }
}

/// A secret as a provider would show it.
fn secret(template: &SourceTemplate, text: &str) -> String {
    let prefix = &template.key.prefix;
    match template.key.encoding {
        KeyEncoding::Utf8 | KeyEncoding::Sha1 => text.to_owned(),
        KeyEncoding::Base64 => format!("{prefix}{}", STANDARD.encode(text)),
        KeyEncoding::Hex => format!("{prefix}{}", hex::encode(text)),
    }
}

/// A source of a preset with this secret.
pub(super) fn source(preset: &str, text: &str) -> Arc<Source> {
    let template = presets::find(preset).expect("a preset");
    let secret = secret(&template, text);
    let mut section =
        format!("[sources.acme]\npreset = \"{preset}\"\nsecrets = [{{ env = \"S\" }}]\n");
    if template.signature.needs_url() {
        section.push_str("verify = { public_url = \"https://hooks.example.net\" }\n");
    }
    for name in template.signature.needed_params() {
        section.push_str(&format!("params = {{ {name} = \"a-value-of-it\" }}\n"));
    }
    let env = |_: &str| Some(OsString::from(&secret));
    let around = Surroundings { make_secrets: MakeSecrets::No, env: &env };
    let source = Partial::parse(Path::new("/config.toml"), &section, around).take_source("acme");
    let source = source.expect("it is a section");
    source.unwrap_or_else(|problems| panic!("{preset}: {}", problems.render(false)))
}

/// A request that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) target: String,
    pub(super) body: Vec<u8>,
}

impl Sent {
    pub(super) fn of(source: &Source, preset: &str) -> Self {
        Self::with(source, preset, None)
    }

    /// The same with a body that is given.
    pub(super) fn with(source: &Source, preset: &str, data: Option<Vec<u8>>) -> Self {
        let kind = presets::samples(preset).iter().map(|(kind, _)| kind.as_str()).next();
        let kind = kind.filter(|kind| !kind.contains('*')).unwrap_or("sample.event").to_owned();
        let kind = match &source.kind {
            Pick::Fixed(fixed) => fixed.clone(),
            _ => kind,
        };
        let sample = Sample::new(source, &kind, data, Vec::new());
        let sample = sample.unwrap_or_else(|fault| panic!("{preset}: {fault}"));
        let made = sample.make();
        let signed = sign_request(source, &made.body, &made.id, NOW_S);
        let signed = signed.unwrap_or_else(|error| panic!("{preset}: {error}"));
        let SignedParts { mut headers, query, body, content_type } = signed;
        headers.extend(made.headers);
        let content_type = content_type.unwrap_or_else(|| sample.content_type());
        headers.push(("content-type".to_owned(), content_type.to_owned()));
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let bytes = |(name, value): (String, String)| (name, value.into_bytes());
        Self {
            headers: headers.into_iter().map(bytes).collect(),
            target: format!("/webhook/acme{query}"),
            body,
        }
    }

    /// The request as it comes; nothing if HTTP knows no such request.
    fn request(&self) -> Option<Unverified> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let value = HeaderValue::from_bytes(value).ok()?;
            headers.append(name.parse::<HeaderName>().expect("a name"), value);
        }
        let head = Head { method: Method::POST, uri: self.target.parse().ok()?, headers };
        Some(Unverified::new(head, Bytes::copy_from_slice(&self.body)))
    }

    /// Whether HTTP knows such a request.
    pub(super) fn is_http(&self) -> bool {
        self.request().is_some()
    }

    /// Whether it is accepted.
    fn is_accepted(&self, source: &SourceRuntime) -> bool {
        self.is_accepted_at(source, NOW_S * 1_000)
    }

    /// The same at another time.
    pub(super) fn is_accepted_at(&self, source: &SourceRuntime, now_ms: i64) -> bool {
        self.request().is_some_and(|request| request.verify(source, now_ms).is_ok())
    }

    /// The request for a failure.
    pub(super) fn shown(&self) -> String {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| format!("{name}: {}", value.escape_ascii()));
        let headers = headers.collect::<Vec<_>>().join("\n");
        format!("{}\n{headers}\n\n{}", self.target, self.body.escape_ascii())
    }
}

/// The presets whose key is a secret.
fn keyed() -> impl Iterator<Item = &'static str> {
    presets::NAMES
        .into_iter()
        .filter(|name| presets::find(name).is_some_and(|preset| preset.signature.has_secrets()))
}

const SECRET: &str = "sk_0123456789abcdef0123456789abcdef:x";

#[test]
fn what_is_sent_as_a_preset_is_accepted_and_not_with_another_secret() {
    let mut count = 0;
    for preset in keyed() {
        let sender = source(preset, SECRET);
        let sent = Sent::of(&sender, preset);
        assert!(sent.is_accepted(&SourceRuntime::new(sender)), "{preset}");
        for at in 0..SECRET.len() {
            let mut other = SECRET.as_bytes().to_vec();
            other[at] ^= 1;
            let other = source(preset, std::str::from_utf8(&other).unwrap());
            assert!(
                !sent.is_accepted(&SourceRuntime::new(other)),
                "{preset}: byte {at} of the key"
            );
        }
        count += 1;
    }
    assert!(count >= 100, "{count} presets");
}

/// A small generator (Knuth's numbers): the changes are the same in every run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, count: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % count.max(1)
    }
}

/// The headers that a signature stands in or covers.
fn signed_headers(rule: &Signature) -> Vec<String> {
    let mut places: Vec<_> = rule.signatures.iter().map(|field| &field.place).collect();
    if rule.signed.contains(&Part::Timestamp) {
        places.extend(rule.timestamp.as_ref().map(|time| &time.field.place));
    }
    places.into_iter().filter_map(|place| place.header().map(str::to_owned)).collect()
}

#[test]
fn no_change_of_what_is_signed_is_accepted() {
    let mut random = Random(22);
    for preset in keyed() {
        let rule = presets::find(preset).unwrap().signature;
        let runtime = SourceRuntime::new(source(preset, SECRET));
        let sent = Sent::of(runtime.source(), preset);
        let signs_body = rule.signed.contains(&Part::Body)
            || rule.jwt.as_ref().is_some_and(|jwt| jwt.body_claim.is_some());
        let names = signed_headers(&rule);
        let is_signed = |at: &usize| names.contains(&sent.headers[*at].0);
        let headers: Vec<_> = (0..sent.headers.len()).filter(is_signed).collect();
        for _ in 0..changes() {
            let mut changed = sent.clone();
            if signs_body && (headers.is_empty() || random.below(2) == 0) {
                let at = random.below(changed.body.len());
                changed.body[at] ^= 1 << random.below(8);
            } else if !headers.is_empty() {
                let (_, value) = &mut changed.headers[headers[random.below(headers.len())]];
                let at = random.below(value.len());
                value[at] ^= 1 << random.below(7);
            } else {
                continue;
            }
            let same = means_the_same(&rule, &sent, &changed);
            assert!(same || !changed.is_accepted(&runtime), "{preset}");
        }
    }
}

/// Whether a change is none: hex digits, and the name of the scheme Basic, in another case.
fn means_the_same(rule: &Signature, sent: &Sent, changed: &Sent) -> bool {
    const BASIC_BYTES: usize = 5;
    sent.body == changed.body
        && sent.headers.iter().zip(&changed.headers).all(|((_, old), (_, new))| {
            let start = |bytes: &[u8]| bytes[..bytes.len().min(BASIC_BYTES)].to_vec();
            let named = rule.scheme == SignatureScheme::Basic && start(old) != start(new);
            old == new || (named || rule.encoding == Encoding::Hex) && old.eq_ignore_ascii_case(new)
        })
}

#[test]
fn the_sample_of_a_provider_that_sends_lists_is_two_events() {
    let mut count = 0;
    for preset in keyed() {
        let runtime = SourceRuntime::new(source(preset, SECRET));
        if runtime.source().split.is_none() {
            continue;
        }
        let request = Sent::of(runtime.source(), preset).request().expect("a request");
        let verified = request.verify(&runtime, NOW_S * 1_000).expect("it is authentic");
        let events = verified.events(&Routes::default(), NOW_S * 1_000);
        let events = events.unwrap_or_else(|fault| panic!("{preset}: {fault}"));
        let [first, second] = &events[..] else { panic!("{preset}: {} events", events.len()) };
        assert!(first.dedupe.iter().all(|key| !second.dedupe.contains(key)), "{preset}");
        for event in [first, second] {
            assert_ne!(event.attributes.kind, UNIDENTIFIED, "{preset}: {:?}", event.note);
            assert!(event.attributes.body.starts_with(b"{"), "{preset}");
        }
        count += 1;
    }
    assert!(count >= 19, "{count} presets");
}
