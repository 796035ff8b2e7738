//! Mutations of signature, key and signed text, for each scheme and algorithm: none is accepted.
//!
//! A mutation counts if it changes what is verified. Texts that HTTP or an encoding gives one
//! meaning (`written_otherwise`) are told apart and counted for themselves.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use hookbox::config::Source;
use hookbox::config::source::{PublicKey, Secrets, Verify};
use hookbox::ingest::SourceRuntime;
use secrecy::{ExposeSecret, SecretSlice};
use serde_json::Value;

use super::providers::ProviderVector;
use super::schemes_made::{Made, SCHEMES, made};
use super::signed::{NOW_S, Random, Sent, changes};

/// A part of a request.
#[derive(Debug, Clone)]
enum Target {
    /// A range of a header's value, by the header's position.
    Header(usize, Range<usize>),
    Body(Range<usize>),
}

/// The keys of a source, as they are mutated.
enum Keys {
    Secret,
    Public,
    /// The certificate at this address.
    Certificate(String, String),
}

/// A scheme with a request that it accepts.
struct Case {
    name: String,
    source: Arc<Source>,
    sent: Sent,
    now_ms: i64,
    signature: Vec<Target>,
    signed: Vec<Target>,
    keys: Keys,
    /// The form in which two requests are equal if they are verified alike.
    canonical: fn(&Sent) -> Sent,
}

fn position(sent: &Sent, name: &str) -> usize {
    sent.headers.iter().position(|(known, _)| known == name).expect("it is there")
}

fn whole(sent: &Sent, name: &str) -> Target {
    let at = position(sent, name);
    Target::Header(at, 0..sent.headers[at].1.len())
}

fn within_body(sent: &Sent, text: &str) -> Target {
    let body = String::from_utf8(sent.body.clone()).expect("it is JSON");
    let at = body.find(text).unwrap_or_else(|| panic!("{text} is not in {body}"));
    Target::Body(at..at + text.len())
}

/// White space around a value is none of it (RFC 9110 §5.5).
fn trimmed(sent: &Sent) -> Sent {
    let mut sent = sent.clone();
    sent.headers.iter_mut().for_each(|(_, value)| *value = value.trim_ascii().to_vec());
    sent
}

/// Hex digits, and the name of the scheme Basic, are in any case.
fn case_folded(sent: &Sent) -> Sent {
    let mut sent = trimmed(sent);
    for (name, value) in &mut sent.headers {
        match name.as_str() {
            "x-s" => value.make_ascii_lowercase(),
            "authorization" => {
                let end = value.len().min("Basic ".len());
                value[..end].make_ascii_lowercase();
            }
            _ => {}
        }
    }
    sent
}

/// The padding of base64url is there or not (RFC 4648 §5).
fn unpadded(sent: &Sent) -> Sent {
    let mut sent = trimmed(sent);
    for (_, value) in sent.headers.iter_mut().filter(|(name, _)| name == "x-s") {
        let end = value.iter().rposition(|byte| *byte != b'=').map_or(0, |at| at + 1);
        value.truncate(end);
    }
    sent
}

/// The values that Amazon signs; what else its JSON has, and how it is written, is not signed.
fn sns_values(sent: &Sent) -> Sent {
    values(
        sent,
        &[
            "Message",
            "MessageId",
            "Subject",
            "SubscribeURL",
            "Timestamp",
            "Token",
            "Type",
            "Signature",
        ],
        |json| json,
    )
}

/// The signed values of an item, likewise.
fn item_values(sent: &Sent) -> Sent {
    values(sent, &["a", "b", "sig"], |json| &json["items"][0])
}

fn values(sent: &Sent, names: &[&str], of: fn(&Value) -> &Value) -> Sent {
    let Ok(json) = serde_json::from_slice::<Value>(&sent.body) else { return sent.clone() };
    let signed: BTreeMap<_, _> = names.iter().map(|name| (*name, &of(&json)[*name])).collect();
    let body = serde_json::to_vec(&signed).expect("it is JSON");
    Sent { body, ..trimmed(sent) }
}

impl Case {
    /// A source that this test writes, whose signature is in the header `x-s`.
    fn made(rule: &Made) -> Self {
        let source = made(rule);
        let sent = Sent::of(&source, "");
        let named = if rule.name == "basic" { "authorization" } else { "x-s" };
        let is_token = matches!(rule.name, "token" | "basic");
        let mut signed = Vec::new();
        if !is_token {
            signed.push(Target::Body(0..sent.body.len()));
            if rule.verify.contains("X-T") {
                signed.push(whole(&sent, "x-t"));
            }
        }
        let mut signature = vec![whole(&sent, named)];
        if rule.name.starts_with("jwt") {
            let at = position(&sent, named);
            let token = &sent.headers[at].1;
            let end = token.iter().rposition(|byte| *byte == b'.').expect("it has three parts");
            signature = vec![Target::Header(at, end + 1..token.len())];
            signed.push(Target::Header(at, 0..end));
        }
        let is_coded = |encoding: &str| rule.verify.contains(&format!("encoding = \"{encoding}\""));
        let canonical = match rule.name {
            "basic" => case_folded,
            _ if rule.name.starts_with("jwt") => trimmed,
            _ if is_coded("hex") => case_folded,
            _ if is_coded("base64url") => unpadded,
            _ => trimmed,
        };
        let keys = if rule.is_public { Keys::Public } else { Keys::Secret };
        let (name, now_ms) = (rule.name.to_owned(), NOW_S * 1_000);
        Self { name, source, sent, now_ms, signature, signed, keys, canonical }
    }

    /// One signature at two places, the second of which is wrong.
    fn any() -> Self {
        let verify = "scheme = \"hmac-sha256\", header = [\"X-S\", \"X-Other\"], match = \"any\", \
                      encoding = \"hex\"";
        let mut case = Self::made(&Made { name: "any", verify, is_public: false });
        case.sent.headers.push(("x-other".to_owned(), "00".repeat(32).into_bytes()));
        case
    }

    /// A list of which each item is signed.
    fn each() -> Self {
        let verify = "scheme = \"hmac-sha256\", each = \"/items\", from = { json = \"/sig\" }, \
                      encoding = \"base64\", signed = \"{json:/a}.{json:/b}\"";
        let source = made(&Made { name: "each", verify, is_public: false });
        let body = br#"{"type":"sample.event","items":[{"a":"first value","b":"the second"}]}"#;
        let sent = Sent::with(&source, "", Some(body.to_vec()));
        let text = String::from_utf8(sent.body.clone()).unwrap();
        let json: Value = serde_json::from_str(&text).unwrap();
        let signature = vec![within_body(&sent, json["items"][0]["sig"].as_str().unwrap())];
        let signed = ["first value", "the second"].map(|text| within_body(&sent, text)).to_vec();
        let (name, now_ms, keys) = ("each".to_owned(), NOW_S * 1_000, Keys::Secret);
        Self { name, source, sent, now_ms, signature, signed, keys, canonical: item_values }
    }

    /// Amazon's, whose key is at an address.
    fn sns(name: &str, request: &str) -> Self {
        let mut all = ProviderVector::all().into_iter();
        let vector = all.find(|it| it.preset == "aws-sns" && it.name == request).unwrap();
        let bytes = |(name, value): &(String, String)| (name.clone(), value.clone().into_bytes());
        let sent = Sent {
            headers: vector.headers.iter().map(bytes).collect(),
            target: "/webhook/acme".to_owned(),
            body: vector.body(),
        };
        let json: Value = serde_json::from_slice(&sent.body).unwrap();
        let text = |name: &str| within_body(&sent, json[name].as_str().unwrap());
        let signature = vec![text("Signature")];
        let signed = ["Message", "MessageId", "Subject", "Timestamp"].map(text).to_vec();
        let url = json["SigningCertURL"].as_str().unwrap().to_owned();
        let pem = include_str!("../data/certificates.pem");
        let certificate = pem.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap();
        let keys = Keys::Certificate(url, certificate.to_owned());
        let (source, now_ms) = (vector.source(), vector.now_ms());
        let canonical = sns_values;
        Self { name: name.to_owned(), source, sent, now_ms, signature, signed, keys, canonical }
    }

    /// The source, ready, with the certificate that its provider would serve.
    fn runtime(&self, source: Arc<Source>, certificate: Option<&str>) -> SourceRuntime {
        let runtime = SourceRuntime::new(source);
        if let Keys::Certificate(url, own) = &self.keys {
            runtime.keep_key(url, certificate.unwrap_or(own), self.now_ms);
        }
        runtime
    }

    /// The source with a key that is another one; `None` if the mutation left it what it was.
    fn with_other_key(&self, random: &mut Random) -> Option<SourceRuntime> {
        let Verify::Signature(signature) = &self.source.verify else { panic!("it is verified") };
        let (mut signature, mut secrets) = (signature.clone(), self.source.secrets.clone());
        match &self.keys {
            Keys::Secret => {
                let Secrets::Set(all) = &secrets else { panic!("it has a secret") };
                let secret = all[0].expose_secret();
                let other = mutated(secret, random);
                // HMAC fills a key with zeros (RFC 2104 §2).
                let filled = |key: &[u8]| -> Vec<u8> {
                    let end = key.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
                    key[..end].to_vec()
                };
                if filled(&other) == filled(secret) || other.is_empty() {
                    return None;
                }
                secrets = Secrets::Set(vec![SecretSlice::from(other)]);
            }
            Keys::Public => {
                let key = &mut signature.public_keys[0];
                let other = mutated(&key.bytes, random);
                if other == key.bytes {
                    return None;
                }
                key.bytes = other;
            }
            Keys::Certificate(_, text) => {
                let at = text.find("MII").expect("it begins so");
                let body = mutated(&text.as_bytes()[at..], random);
                let other = String::from_utf8([&text.as_bytes()[..at], &body].concat()).ok()?;
                let is_same = PublicKey::parse(&other) == PublicKey::parse(text);
                return (!is_same).then(|| self.runtime(self.source.clone(), Some(&other)));
            }
        }
        let verify = Verify::Signature(signature);
        let source = Arc::new(Source { verify, secrets, ..Source::clone(&self.source) });
        Some(self.runtime(source, None))
    }

    /// The request with a part that is another one.
    fn with_other(&self, targets: &[Target], random: &mut Random) -> Sent {
        let mut sent = self.sent.clone();
        let (bytes, range) = match &targets[random.below(targets.len())] {
            Target::Header(at, range) => (&mut sent.headers[*at].1, range.clone()),
            Target::Body(range) => (&mut sent.body, range.clone()),
        };
        let part = mutated(&bytes[range.clone()], random);
        bytes.splice(range, part);
        sent
    }
}

/// The bytes with one change: a bit, a byte, one less, one more, two that changed places, or an end
/// that is missing.
fn mutated(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = random.below(bytes.len());
    match random.below(8) {
        0..=2 => bytes[at] ^= 1 << random.below(8),
        3 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
        4 => drop(bytes.remove(at)),
        5 => bytes.insert(at, u8::try_from(random.below(256)).unwrap()),
        6 => {
            let other = random.below(bytes.len());
            bytes.swap(at, other);
        }
        _ => bytes.truncate(at),
    }
    bytes
}

/// The results of the mutations of one case.
#[derive(Debug, Default)]
struct Counts {
    signature: usize,
    key: usize,
    signed: usize,
    /// Mutations of a text that mean the same, whatever the verdict was, and those accepted.
    written_otherwise: [usize; 2],
}

/// Makes so many mutations that change what is verified.
fn mutate(case: &Case, count: usize, random: &mut Random) -> Counts {
    let own = case.runtime(case.source.clone(), None);
    assert!(case.sent.is_accepted_at(&own, case.now_ms), "{}", case.name);
    let original = (case.canonical)(&case.sent);
    let mut counts = Counts::default();
    while counts.signature + counts.key + counts.signed < count {
        let kind = random.below(if case.signed.is_empty() { 2 } else { 3 });
        if kind == 0 {
            let Some(other) = case.with_other_key(random) else { continue };
            assert!(!case.sent.is_accepted_at(&other, case.now_ms), "{}: a key", case.name);
            counts.key += 1;
            continue;
        }
        let targets = if kind == 1 { &case.signature } else { &case.signed };
        let sent = case.with_other(targets, random);
        if sent == case.sent || !sent.is_http() {
            continue;
        }
        let is_accepted = sent.is_accepted_at(&own, case.now_ms);
        if (case.canonical)(&sent) == original {
            counts.written_otherwise[0] += 1;
            counts.written_otherwise[1] += usize::from(is_accepted);
            continue;
        }
        assert!(!is_accepted, "{}: {}", case.name, sent.shown());
        *if kind == 1 { &mut counts.signature } else { &mut counts.signed } += 1;
    }
    counts
}

#[test]
fn no_mutation_of_a_signature_a_key_or_a_signed_text_is_accepted_by_any_scheme() {
    let mut cases: Vec<_> = Made::all().iter().map(Case::made).collect();
    cases.push(Case::sns("sns v1 rsa-sha1", "signature version 1 (SHA-1)"));
    cases.push(Case::sns("sns v2 rsa-sha256", "a notification, signature version 2"));
    cases.extend([Case::any(), Case::each()]);
    let mut random = Random(7);
    let count = changes();
    println!(
        "{:<20}{:>11}{:>8}{:>8}{:>20}{:>10}",
        "SCHEME", "SIGNATURE", "KEY", "SIGNED", "WRITTEN OTHERWISE", "ACCEPTED"
    );
    for case in &cases {
        let Counts { signature, key, signed, written_otherwise: [same, accepted] } =
            mutate(case, count, &mut random);
        println!("{:<20}{signature:>11}{key:>8}{signed:>8}{same:>20}{accepted:>10}", case.name);
        let least = count / 5;
        let enough = |number: usize, is_asked: bool| !is_asked || number >= least;
        assert!(enough(signature, true) && enough(key, true), "{}", case.name);
        assert!(enough(signed, !case.signed.is_empty()), "{}", case.name);
    }
    let names: Vec<_> = cases.iter().map(|case| case.name.as_str()).collect();
    for scheme in SCHEMES {
        assert!(names.iter().any(|name| name.contains(scheme)), "{scheme} is not mutated");
    }
}
