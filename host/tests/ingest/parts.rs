//! Signatures that cover more of a request than its body: sources as users write them in the file.

use std::ffi::OsString;
use std::path::Path;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use hookbox::config::{MakeSecrets, Partial, Surroundings};
use hookbox::ingest::{Head, Refusal, SignError, SourceRuntime, Unverified, sign};
use sha2::Sha256;

const SECRET: &str = "0123456789abcdef";

const SQUARE: &str = r#"{ scheme = "hmac-sha256", header = "X-Square-HmacSha256-Signature", encoding = "base64",
    signed = "{url}{body}", public_url = "PUBLIC" }"#;

const TWILIO: &str = r#"{ scheme = "hmac-sha256", header = "X-Twilio-Signature", encoding = "base64",
    signed = "{url}{form}", public_url = "https://hooks.example.net" }"#;

/// A source with this `verify` and one secret.
fn source(verify: &str, secret: &str) -> SourceRuntime {
    let verify = verify.replace('\n', "");
    let text = format!(
        "[sources.acme]\nsecrets = [{{ env = \"S\" }}]\ntype = {{ json = \"/type\" }}\nverify = {verify}\n"
    );
    let env = |_: &str| Some(OsString::from(secret));
    let around = Surroundings { make_secrets: MakeSecrets::No, env: &env };
    let source = Partial::parse(Path::new("/config.toml"), &text, around).take_source("acme");
    let source = source.expect("it is a section");
    SourceRuntime::new(source.unwrap_or_else(|problems| panic!("{}", problems.render(false))))
}

/// A request to be checked.
#[derive(Clone)]
struct Request {
    method: Method,
    target: &'static str,
    headers: Vec<(&'static str, String)>,
    body: &'static str,
}

impl Request {
    fn post(target: &'static str, headers: &[(&'static str, &str)], body: &'static str) -> Self {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { method: Method::POST, target, headers, body }
    }

    fn check(&self, source: &SourceRuntime) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let head = Head { method: self.method.clone(), uri: self.target.parse().unwrap(), headers };
        Unverified::new(head, Bytes::from_static(self.body.as_bytes()))
            .verify(source, 0)
            .map(|_| ())
    }
}

/// Published: square-python-sdk, tests/utilities/test_webhooks_helper.py.
#[test]
fn the_address_and_the_body_are_signed_as_square_does() {
    const BODY: &str = concat!(
        r#"{"merchant_id":"MLEFBHHSJGVHD","type":"webhooks.test_notification","ev"#,
        r#"ent_id":"ac3ac95b-f97d-458c-a6e6-18981597e05f","created_at":"2022-07-1"#,
        r#"3T20:30:59.037339943Z","data":{"type":"webhooks","id":"bc368e64-01aa-4"#,
        r#"07e-b46e-3231809b1129"}}"#,
    );
    let signature =
        ("x-square-hmacsha256-signature", "GF4YkrJgGBDZ9NIYbNXBnMzqb2HoL4RW/S6vkZ9/2N4=");
    let request = Request::post("/679a4f3a-dcfa-49ee-bac5-9d0edad886b9", &[signature], BODY);
    let square = |public: &str| source(&SQUARE.replace("PUBLIC", public), "Ibxx_5AKakO-3qeNVR61Dw");
    assert_eq!(request.check(&square("https://webhook.site")), Ok(()));
    for (public, target) in [
        ("https://webhook.site", "/679a4f3a-dcfa-49ee-bac5-9d0edad886b9?"),
        ("https://webhook.site", "/679a4f3a-dcfa-49ee-bac5-9d0edad886b9/"),
        ("http://webhook.site", "/679a4f3a-dcfa-49ee-bac5-9d0edad886b9"),
    ] {
        let other = Request { target, ..request.clone() };
        assert_eq!(other.check(&square(public)), Err(Refusal::Mismatch), "{public}{target}");
    }
    // The address is the configured one, whatever a request calls this host.
    let mut claims = request.clone();
    claims.headers.push(("host", "evil.example".to_owned()));
    assert_eq!(claims.check(&square("https://webhook.site")), Ok(()));
    assert_eq!(claims.check(&square("https://evil.example")), Err(Refusal::Mismatch));
}

/// Derived: made with another implementation of Twilio's rule, with a shared key.
#[test]
fn the_address_and_the_sorted_form_are_signed_as_twilio_does() {
    const BODY: &str = "MessageSid=SM11112222333344445555666677778888&From=%2B14158675309&To=%2B18005551212&Body=Hello+%26+goodbye%2C+gr%C3%B6%C3%9Fer&NumMedia=0";
    let form = ("content-type", "application/x-www-form-urlencoded");
    let signature = ("x-twilio-signature", "ullb8XFpRnDfVhWxdXPn238hf9BX7/31ol8M2WLH5vY=");
    let request = Request::post("/webhook/twilio", &[form, signature], BODY);
    let twilio = source(TWILIO, "twilio_118e9bbc5d4be2a0dec9f539d3fa83c7");
    assert_eq!(request.check(&twilio), Ok(()));
    // The order of the fields does not count, a field more does.
    let sorted = "Body=Hello+%26+goodbye%2C+gr%C3%B6%C3%9Fer&From=%2B14158675309&MessageSid=SM11112222333344445555666677778888&NumMedia=0&To=%2B18005551212";
    assert_eq!(Request { body: sorted, ..request.clone() }.check(&twilio), Ok(()));
    let more: &'static str = Box::leak(format!("{BODY}&Z=1").into_boxed_str());
    assert_eq!(Request { body: more, ..request.clone() }.check(&twilio), Err(Refusal::Mismatch));
}

#[test]
fn a_signature_over_a_form_lets_no_other_body_in() {
    let twilio = source(TWILIO, SECRET);
    // The signed text of a form without fields.
    let signature = STANDARD.encode(tag(b"https://hooks.example.net/webhook/twilio"));
    for content_type in [&[("content-type", "application/json")][..], &[]] {
        let headers = [content_type, &[("x-twilio-signature", signature.as_str())]].concat();
        let json = Request::post("/webhook/twilio", &headers, r#"{"type":"paid"}"#);
        assert_eq!(json.check(&twilio), Err(Refusal::NoForm));
    }
}

#[test]
fn every_part_is_signed_as_it_was_received() {
    const SIGNED: &str = "{method}|{path}|{query}|{query:event}|{header:X-Request}|{body}";
    let acme = source(
        &format!("{{ scheme = \"hmac-sha256\", header = \"X-S\", signed = \"{SIGNED}\" }}"),
        SECRET,
    );
    let message = b"POST|/webhook/%61cme|a=1&event=order%2Epaid|order.paid|r-1|{}";
    let signature = hex::encode(tag(message));
    let headers = [("x-s", signature.as_str()), ("x-request", "r-1")];
    let good = Request::post("/webhook/%61cme?a=1&event=order%2Epaid", &headers, "{}");
    assert_eq!(good.check(&acme), Ok(()));

    let put = Request { method: Method::PUT, ..good.clone() };
    let path = Request { target: "/webhook/acme?a=1&event=order%2Epaid", ..good.clone() };
    let query = Request { target: "/webhook/%61cme?a=2&event=order%2Epaid", ..good.clone() };
    let header = Request::post(good.target, &[headers[0], ("x-request", "r-2")], "{}");
    for other in [put, path, query, header] {
        assert_eq!(other.check(&acme), Err(Refusal::Mismatch), "{} {}", other.method, other.target);
    }
    let no_parameter = Request { target: "/webhook/%61cme?a=1", ..good.clone() };
    let no_query = Request { target: "/webhook/%61cme", ..good.clone() };
    let parameter_twice =
        Request { target: "/webhook/%61cme?a=1&event=order%2Epaid&event=x", ..good.clone() };
    let no_header = Request::post(good.target, &headers[..1], "{}");
    for other in [no_parameter, no_query, parameter_twice, no_header] {
        assert_eq!(other.check(&acme), Err(Refusal::NoPart), "{}", other.target);
    }
    let header_twice = Request::post(good.target, &[headers[0], headers[1], headers[1]], "{}");
    assert_eq!(header_twice.check(&acme), Err(Refusal::Repeated));
}

#[test]
fn what_only_a_provider_can_send_is_not_signed_for_it() {
    let signed = |verify: &str| sign(source(verify, SECRET).source(), b"{}", "1", 0);
    let with_url = signed(&SQUARE.replace("PUBLIC", "https://hooks.example.net")).unwrap();
    let expected = STANDARD.encode(tag(b"https://hooks.example.net/webhook/acme{}"));
    assert_eq!(with_url, [("x-square-hmacsha256-signature".to_owned(), expected)]);
    let header =
        r#"{ scheme = "hmac-sha256", header = "X-S", signed = "{header:X-Request}{body}" }"#;
    for verify in [TWILIO, header] {
        assert!(matches!(signed(verify), Err(SignError::OnlyProvider { .. })), "{verify}");
    }
}

/// An HMAC over `message`, made without the host's code.
fn tag(message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().into()
}
