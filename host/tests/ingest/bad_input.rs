//! Requests that are meant to get around a check, over HTTP: each is refused and stores nothing.

use std::ffi::OsString;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hookbox::config::{MakeSecrets, Partial, Source, Surroundings};
use ring::{digest, hmac};
use serde_json::Value;

use super::host::{Host, NOW_S, Options, Response, request};
use super::providers::ProviderVector;

const SECRET: &str = "0123456789abcdef";

/// The public half of a pair on P-256.
const JWK: &str = r#"{"kty":"EC","crv":"P-256","kid":"one","x":"Aic8OMgP6Fc1P0clg66R7ExfiQ9mvq3jcc5gBAA7UHc","y":"lTxdYG44u_JOHUZEbN49GsmCw_DHReJdJQ1u8KJKcGg"}"#;

const FORM: &str = "application/x-www-form-urlencoded";

/// The source `acme` of a section.
fn source(section: &str) -> Source {
    let text = format!("[sources.acme]\ntype = {{ fixed = \"acme.event\" }}\n{section}\n");
    let env = |name: &str| (name == "S").then(|| OsString::from(SECRET));
    let around = Surroundings { make_secrets: MakeSecrets::No, env: &env };
    let source = Partial::parse(Path::new("/config.toml"), &text, around).take_source("acme");
    let source = source.expect("it is a section");
    Source::clone(&source.unwrap_or_else(|problems| panic!("{}", problems.render(false))))
}

async fn host(section: &str) -> Host {
    Host::start(Options { sources: vec![source(section)], ..Options::default() }).await
}

async fn post(host: &Host, headers: &[(&str, &str)], body: &[u8]) -> Response {
    host.exchange(request("POST", "/webhook/acme", headers, body)).await
}

#[tokio::test]
async fn a_form_of_ten_thousand_fields_is_refused_though_it_is_signed() {
    let verify = "scheme = \"hmac-sha256\", header = \"X-S\", signed = \"{form}\"";
    let host = host(&format!("secrets = [{{ env = \"S\" }}]\nverify = {{ {verify} }}")).await;
    let sent = async |count: usize| {
        let mut fields: Vec<_> = (0..count).map(|n| (format!("f{n}"), "1")).collect();
        let pairs: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        fields.sort();
        let signed: String = fields.iter().map(|(name, value)| format!("{name}{value}")).collect();
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let signature = hex::encode(hmac::sign(&key, signed.as_bytes()));
        let headers = [("content-type", FORM), ("x-s", signature.as_str())];
        post(&host, &headers, pairs.join("&").as_bytes()).await
    };
    assert_eq!(sent(1_000).await.stored().1, "accepted");
    for count in [1_001, 10_000] {
        sent(count).await.is_problem(401);
    }
    assert_eq!(host.events().await.len(), 1);
}

fn token(header: &str, claims: &str, key: &[u8]) -> String {
    let coded = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", coded(header), coded(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())))
}

#[tokio::test]
async fn a_token_without_a_signature_or_with_a_public_key_as_secret_is_refused() {
    let rule = |algorithm: &str| {
        format!(
            "scheme = \"jwt\", header = \"X-T\", jwt = {{ algorithms = [\"{algorithm}\"], body_claim = \
             {{ name = \"sha256\", encoding = \"hex\" }} }}"
        )
    };
    let shared = format!("secrets = [{{ env = \"S\" }}]\nverify = {{ {} }}", rule("HS256"));
    let public = format!("verify = {{ {}, public_keys = ['{JWK}'] }}", rule("ES256"));
    let (shared, public) = (host(&shared).await, host(&public).await);
    let body = br#"{"a":1}"#;
    let hash = hex::encode(digest::digest(&digest::SHA256, body));
    let claims = format!("{{\"exp\":{},\"sha256\":\"{hash}\"}}", NOW_S + 60);
    let good = token(r#"{"alg":"HS256"}"#, &claims, SECRET.as_bytes());
    assert_eq!(post(&shared, &[("x-t", &good)], body).await.stored().1, "accepted");
    for alg in ["none", "None", "NONE", "nOnE", "", "HS512", "RS256"] {
        let signed = token(&format!("{{\"alg\":\"{alg}\"}}"), &claims, SECRET.as_bytes());
        let unsigned = format!("{}.", signed.rsplit_once('.').unwrap().0);
        for text in [&signed, &unsigned] {
            for host in [&shared, &public] {
                post(host, &[("x-t", text)], body).await.is_problem(401);
            }
        }
    }
    let point: Value = serde_json::from_str(JWK).unwrap();
    let point = URL_SAFE_NO_PAD.decode(point["x"].as_str().unwrap()).unwrap();
    for key in [JWK.as_bytes(), &point, b"one", SECRET.as_bytes()] {
        for header in [r#"{"alg":"HS256","kid":"one"}"#, r#"{"alg":"ES256","kid":"one"}"#] {
            let confused = token(header, &claims, key);
            post(&public, &[("x-t", &confused)], body).await.is_problem(401);
        }
    }
    let own_key = format!(r#"{{"alg":"ES256","kid":"one","jwk":{JWK}}}"#);
    post(&public, &[("x-t", &token(&own_key, &claims, b"key"))], body).await.is_problem(401);
    assert_eq!((shared.events().await.len(), public.events().await.len()), (1, 0));
}

/// A source without its secret is there, and takes nothing; the sender is not told which.
#[tokio::test]
async fn a_source_without_its_secret_refuses_what_anybody_could_sign() {
    let verify = "verify = { scheme = \"hmac-sha256\", header = \"X-S\" }";
    let host = host(&format!("secrets = [{{ env = \"ABSENT\" }}]\n{verify}")).await;
    let body = b"{}";
    for key in [&b""[..], b"ABSENT", &[0; 32]] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let signature = hex::encode(hmac::sign(&key, body));
        let answer = post(&host, &[("x-s", &signature)], body).await;
        answer.is_problem(503);
        assert!(!answer.body.contains("ABSENT"), "{answer:?}");
    }
    assert_eq!(host.events().await.len(), 0);
}

/// Another key in the place of each that a request proves itself with.
fn of_another(vector: &ProviderVector) -> ProviderVector {
    let mut other = vector.clone();
    for secret in &mut other.secrets {
        let at = secret.len() / 2;
        let digit = if &secret[at..=at] == "A" { "B" } else { "A" };
        secret.replace_range(at..=at, digit);
    }
    for (name, value) in &mut other.params {
        *value = match name.as_str() {
            "public_key" => {
                "29acbae141bccaf0b22e1a94d34d0bc7361e526d0bfe12c89794bc9322966dd7".into()
            }
            "verify_token" => "a_token_of_somebody_else".into(),
            "topic" => "https://example.com/a-feed-that-nobody-asked-for".into(),
            _ => value.clone(),
        };
    }
    other
}

/// The answer of a host with the source of `of` to the request of `vector`.
async fn answered(vector: &ProviderVector, of: &ProviderVector) -> Response {
    let source = Source::clone(&of.source());
    let source = Source { name: vector.preset.as_str().into(), ..source };
    let now_s = vector.now_ms() / 1_000;
    let host = Host::start(Options { sources: vec![source], now_s, ..Options::default() }).await;
    let head = vector.head();
    let headers: Vec<_> = vector.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let target = head.uri.to_string();
    let sent = request(head.method.as_str(), &target, &headers, &vector.body());
    let answer = host.exchange(sent).await;
    assert_eq!(host.events().await.len(), 0, "a handshake is not stored");
    answer
}

#[tokio::test]
async fn a_handshake_that_does_not_prove_itself_gets_no_answer_that_proves_anything() {
    let (mut proved, mut refused) = (0, 0);
    for vector in ProviderVector::all() {
        if vector.expect != "handshake" {
            continue;
        }
        let Some(wanted) = vector.answer_body() else { continue };
        // `keys` has those whose keys are at an address.
        let is_by_address = vector.params.contains_key("certs");
        if is_by_address || hookbox::config::presets::find(&vector.preset).is_none() {
            continue;
        }
        let rules = vector.source().handshakes.clone();
        if !rules.iter().any(|rule| rule.verified || rule.check.is_some()) {
            continue;
        }
        let right = answered(&vector, &vector).await;
        assert!(right.status < 300 && right.body == wanted, "{}: {right:?}", vector.preset);
        proved += 1;
        let wrong = answered(&vector, &of_another(&vector)).await;
        let of_rules = rules.iter().filter(|rule| rule.check.is_some());
        let mut statuses = of_rules.map(|rule| rule.refuse_status).chain([401]);
        assert!(statuses.any(|one| one == wrong.status), "{}: {wrong:?}", vector.preset);
        assert!(wanted.is_empty() || !wrong.body.contains(&wanted), "{wrong:?}");
        refused += 1;
    }
    println!("{proved} handshakes are answered, and {refused} with another key are not");
    assert!(proved >= 7, "{proved} handshakes");
}
