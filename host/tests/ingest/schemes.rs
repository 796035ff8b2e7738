//! Ways to prove a request that users write themselves, against those who would get around them.

use std::ffi::OsString;
use std::path::Path;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hookbox::config::{MakeSecrets, Partial, Surroundings};
use hookbox::ingest::{Head, Refusal, SourceRuntime, Unverified};
use ring::hmac;

const NOW_S: i64 = 1_772_000_000;

const SECRET: &str = "0123456789abcdef";

/// The public half of a pair on P-256.
const JWK: &str = r#"{"kty":"EC","crv":"P-256","kid":"one","x":"Aic8OMgP6Fc1P0clg66R7ExfiQ9mvq3jcc5gBAA7UHc","y":"lTxdYG44u_JOHUZEbN49GsmCw_DHReJdJQ1u8KJKcGg"}"#;

/// A source with this `verify`, or what is wrong with it.
fn read(more: &str) -> Result<SourceRuntime, String> {
    let text = format!("[sources.acme]\ntype = {{ fixed = \"acme.event\" }}\n{more}\n");
    let env = |name: &str| (name == "S").then(|| OsString::from(SECRET));
    let around = Surroundings { make_secrets: MakeSecrets::No, env: &env };
    let source = Partial::parse(Path::new("/config.toml"), &text, around).take_source("acme");
    let source = source.expect("it is a section");
    source.map(SourceRuntime::new).map_err(|problems| problems.render(false))
}

fn source(more: &str) -> SourceRuntime {
    read(more).unwrap_or_else(|problems| panic!("{problems}"))
}

fn secret(verify: &str) -> SourceRuntime {
    source(&format!("secrets = [{{ env = \"S\" }}]\nverify = {{ {verify} }}"))
}

fn check(
    source: &SourceRuntime,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<(), Refusal> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap());
    }
    let head = Head { method: Method::POST, uri: target.parse().unwrap(), headers: map };
    let request = Unverified::new(head, Bytes::copy_from_slice(body.as_bytes()));
    request.verify(source, NOW_S * 1_000).map(|_| ())
}

fn token(header: &str, claims: &str, key: &[u8]) -> String {
    let coded = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", coded(header), coded(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())))
}

#[test]
fn a_token_is_found_in_the_header_the_query_the_body_and_the_form() {
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for (from, target, headers, body) in [
        ("{ header = \"X-Token\" }", "/", &[("x-token", SECRET)][..], ""),
        ("{ query = \"token\" }", "/?a=1&token=0123456789abcdef", &[], ""),
        ("{ json = \"/a/token\" }", "/", &[], r#"{"a":{"token":"0123456789abcdef"}}"#),
        ("{ form = \"token\" }", "/", &form, "a=1&token=0123456789abcdef"),
    ] {
        let source = secret(&format!("scheme = \"token\", from = {from}"));
        assert_eq!(check(&source, target, headers, body), Ok(()), "{from}");
        let wrong = |text: &str| text.replace("abcdef", "abcdeF");
        let wrong_headers: Vec<_> =
            headers.iter().map(|(name, value)| (*name, wrong(value))).collect();
        let wrong_headers: Vec<_> =
            wrong_headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let refused = check(&source, &wrong(target), &wrong_headers, &wrong(body));
        assert_eq!(refused, Err(Refusal::Mismatch), "{from}");
        assert_eq!(check(&source, "/", &[], "{}"), Err(Refusal::NoSignature), "{from}");
    }
}

#[test]
fn a_token_that_chooses_its_own_algorithm_is_refused() {
    let shared = secret(
        "scheme = \"jwt\", header = \"Authorization\", prefix = \"Bearer \", jwt = { algorithms = [\"HS256\"] }",
    );
    let public = source(&format!(
        "verify = {{ scheme = \"jwt\", header = \"Authorization\", prefix = \"Bearer \", public_keys = ['{JWK}'], jwt = {{ algorithms = [\"ES256\"] }} }}"
    ));
    let claims = format!("{{\"exp\":{}}}", NOW_S + 60);
    let sent = |source: &SourceRuntime, token: &str| {
        check(source, "/", &[("authorization", &format!("Bearer {token}"))], "{}")
    };
    let good = token(r#"{"alg":"HS256"}"#, &claims, SECRET.as_bytes());
    assert_eq!(sent(&shared, &good), Ok(()));
    // The public key as a secret, and the header says so.
    for key in [JWK.as_bytes(), b"one", SECRET.as_bytes()] {
        let confused = token(r#"{"alg":"HS256","kid":"one"}"#, &claims, key);
        assert_eq!(sent(&public, &confused), Err(Refusal::Mismatch));
    }
    for alg in ["none", "None", "NONE", "", "HS512", "RS256"] {
        let header = format!("{{\"alg\":\"{alg}\"}}");
        let signed = token(&header, &claims, SECRET.as_bytes());
        assert_eq!(sent(&shared, &signed), Err(Refusal::Mismatch), "{alg}");
        let unsigned = signed.rsplit_once('.').unwrap().0;
        assert!(sent(&shared, &format!("{unsigned}.")).is_err(), "{alg}");
        assert!(sent(&public, &format!("{unsigned}.")).is_err(), "{alg}");
    }
    let extended =
        token(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, &claims, SECRET.as_bytes());
    assert_eq!(sent(&shared, &extended), Err(Refusal::Mismatch));
    for bad in ["", ".", "..", "a.b.c", &good[..good.len() - 1], &format!("{good}.x")] {
        assert!(sent(&shared, bad).is_err(), "{bad}");
    }
    let long = token(
        r#"{"alg":"HS256"}"#,
        &format!("{{\"exp\":{},\"a\":\"{}\"}}", NOW_S, "a".repeat(20_000)),
        SECRET.as_bytes(),
    );
    assert!(sent(&shared, &long).is_err());
}

#[test]
fn the_times_of_a_token_are_checked() {
    let source = secret(
        "scheme = \"jwt\", header = \"X-T\", jwt = { algorithms = [\"HS256\"], issuer = \"acme\" }",
    );
    let sent = |claims: &str| {
        let token = token(r#"{"alg":"HS256"}"#, claims, SECRET.as_bytes());
        check(&source, "/", &[("x-t", &token)], "{}")
    };
    let claims = |rest: &str| format!("{{\"iss\":\"acme\"{rest}}}");
    assert_eq!(sent(&claims(&format!(",\"exp\":{}", NOW_S + 1))), Ok(()));
    assert_eq!(sent(&claims(&format!(",\"exp\":{}", NOW_S - 61))), Err(Refusal::Stale));
    assert_eq!(
        sent(&claims(&format!(",\"exp\":{},\"nbf\":{}", NOW_S + 1, NOW_S + 61))),
        Err(Refusal::Stale)
    );
    assert_eq!(sent(&claims("")), Err(Refusal::NoTimestamp));
    assert_eq!(sent(&claims(",\"exp\":\"never\"")), Err(Refusal::Malformed));
    assert_eq!(sent(&format!("{{\"exp\":{}}}", NOW_S + 1)), Err(Refusal::Mismatch));
}

#[test]
fn a_form_of_ten_thousand_fields_is_refused() {
    let source = secret("scheme = \"hmac-sha256\", header = \"X-S\", signed = \"{form}\"");
    let sent = |count: usize| {
        let body = (0..count).map(|n| format!("f{n}=1")).collect::<Vec<_>>().join("&");
        let form = ("content-type", "application/x-www-form-urlencoded");
        let signature = "0".repeat(64);
        check(&source, "/", &[form, ("x-s", &signature)], &body)
    };
    assert_eq!(sent(1_000), Err(Refusal::Mismatch));
    assert_eq!(sent(1_001), Err(Refusal::NoForm));
    assert_eq!(sent(10_000), Err(Refusal::NoForm));
}

#[test]
fn a_bad_signature_is_not_tried_with_another_rule() {
    let source = source(
        "secrets = [{ env = \"S\" }]\n\
         [[sources.acme.verify]]\nscheme = \"hmac-sha256\"\nheader = \"X-Strong\"\n\
         [[sources.acme.verify]]\nscheme = \"token\"\nheader = \"X-Weak\"\n",
    );
    let bad = "0".repeat(64);
    assert_eq!(check(&source, "/", &[("x-weak", SECRET)], "{}"), Ok(()));
    let both = check(&source, "/", &[("x-strong", &bad), ("x-weak", SECRET)], "{}");
    assert_eq!(both, Err(Refusal::Mismatch));
    assert_eq!(check(&source, "/", &[], "{}"), Err(Refusal::NoSignature));
}

#[test]
fn bad_settings_are_refused_with_their_line_and_a_remedy() {
    for (verify, says) in [
        ("scheme = \"jwt\", header = \"X\"", "has no `jwt`"),
        ("scheme = \"jwt\", header = \"X\", jwt = { algorithms = [] }", "lists no algorithm"),
        ("scheme = \"jwt\", header = \"X\", jwt = { algorithms = [\"none\"] }", "HS256"),
        (
            "scheme = \"jwt\", header = \"X\", jwt = { algorithms = [\"HS256\", \"RS256\"] }",
            "mixes algorithms",
        ),
        ("scheme = \"token\", from = { cookie = \"a\" }", "is not a key of hookbox"),
        ("scheme = \"token\", from = { query = \"a\", header = \"b\" }", "names several places"),
        ("scheme = \"hmac-sha256\", header = \"X\", signed = \"[?{body}\"", "without its `]`"),
        (
            "scheme = \"hmac-sha256\", header = \"X\", signed = \"{body}{param:id}\"",
            "params = { id",
        ),
        ("scheme = \"hmac-md5\", header = \"X\"", "hmac-sha256"),
        ("scheme = \"rsa-sha256\", header = \"X\", key_url = { header = \"U\" }", "pins no host"),
        (
            "scheme = \"rsa-sha256\", header = \"X\", key_url = { url = \"http://a.example/k\" }",
            "is not an https address",
        ),
        ("scheme = \"ecdsa-p256\", header = \"X\", public_keys = [\"00\"]", "on the curve P-256"),
    ] {
        let secrets = if verify.contains("rsa") || verify.contains("ecdsa") {
            ""
        } else {
            "secrets = [{ env = \"S\" }]\n"
        };
        let problems = read(&format!("{secrets}verify = {{ {verify} }}")).err();
        let problems = problems.unwrap_or_else(|| panic!("{verify} is taken"));
        assert!(problems.contains(says), "{verify}\n{problems}");
        assert!(problems.contains("config.toml:"), "{problems}");
    }
}
