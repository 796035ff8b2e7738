//! Requests that somebody makes who has no key: out of answers of the host, out of requests that
//! the provider signed for others, and out of captured ones.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use hookbox::config::source::Verify;
use hookbox::config::{MakeSecrets, Partial, Source, Surroundings};
use hookbox::ingest::{Head, Refusal, SourceRuntime, Unverified};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};

use super::providers::ProviderVector;

const NOW_S: i64 = 1_772_000_000;

pub(crate) const SECRET: &str = "0123456789abcdef";

/// The source of this section, whose secret is [`SECRET`].
pub(crate) fn section(section: &str) -> Arc<Source> {
    let text = format!("[sources.acme]\n{section}\n");
    let env = |name: &str| (name == "S").then(|| OsString::from(SECRET));
    let around = Surroundings { make_secrets: MakeSecrets::No, env: &env };
    let source = Partial::parse(Path::new("/config.toml"), &text, around).take_source("acme");
    let source = source.expect("it is a section");
    source.unwrap_or_else(|problems| panic!("{}", problems.render(false)))
}

fn source(text: &str) -> SourceRuntime {
    SourceRuntime::new(section(text))
}

fn head(method: Method, target: &str, headers: &[(&str, &str)]) -> Head {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap());
    }
    Head { method, uri: target.parse().unwrap(), headers: map }
}

fn check(source: &SourceRuntime, head: Head, body: &str) -> Result<(), Refusal> {
    let request = Unverified::new(head, Bytes::copy_from_slice(body.as_bytes()));
    request.verify(source, NOW_S * 1_000).map(|_| ())
}

/// The code with which the source answers to this challenge, without its label.
fn answered(source: &SourceRuntime, challenge: &str) -> Option<String> {
    let target = format!("/?crc_token={}", utf8_percent_encode(challenge, NON_ALPHANUMERIC));
    let answer = source.handshake(&head(Method::GET, &target, &[]), b"", NOW_S * 1_000)?;
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    Some(answer["response_token"].as_str().unwrap().strip_prefix("sha256=").unwrap().to_owned())
}

#[test]
fn a_challenge_and_its_answer_are_no_event_and_its_signature() {
    let handshake = "[[sources.acme.handshake]]\nmethod = \"GET\"\nwhen = { query = \"crc_token\" }\n\
        answer = { content_type = \"application/json\", body = '{\"response_token\":\"sha256={hmac-sha256:base64:query:crc_token}\"}' }";
    let own = |verify: &str| {
        source(&format!(
            "type = {{ fixed = \"acme.event\" }}\nsecrets = [{{ env = \"S\" }}]\nverify = {{ {verify} }}\n{handshake}"
        ))
    };
    let x = source("preset = \"x-twitter\"\nsecrets = [{ env = \"S\" }]");
    let timed = own(
        "scheme = \"hmac-sha256\", header = \"X-S\", encoding = \"base64\", signed = \"{timestamp}{body}\", timestamp = { header = \"X-T\" }",
    );
    let event = r#"{"for_user_id":"2244994945","tweet_create_events":[{"id_str":"1"}]}"#;
    let long = "a".repeat(129);
    for (challenge, is_answered) in [
        ("Zk3rDw1aBm2rZgRNFdxV", true),
        ("MDUyN2VlY2UtOTg0Ny00Y2E0==", true),
        (event, false),
        ("a=1&b=2", false),
        ("a.b", false),
        (&long, false),
        ("", false),
    ] {
        let answer = answered(&x, challenge);
        assert_eq!(answer.is_some(), is_answered, "{challenge}");
        let Some(code) = answer else { continue };
        let signature = ("x-twitter-webhooks-signature", &*format!("sha256={code}"));
        let post = head(Method::POST, "/", &[signature]);
        assert_eq!(check(&x, post, challenge), Err(Refusal::Mismatch), "{challenge}");
    }
    let code = answered(&timed, &format!("{NOW_S}abc")).unwrap();
    let post = head(Method::POST, "/", &[("x-s", &code), ("x-t", &NOW_S.to_string())]);
    assert_eq!(check(&timed, post, "abc"), Err(Refusal::Mismatch));
    let token = own("scheme = \"jwt\", header = \"X-S\", jwt = { algorithms = [\"HS256\"] }");
    let coded = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims = format!("{{\"exp\":{}}}", NOW_S + 60);
    let unsigned = format!("{}.{}", coded(r#"{"alg":"HS256"}"#), coded(&claims));
    assert!(unsigned.len() < 128);
    assert_eq!(answered(&token, &unsigned), None);
}

/// The padding of SHA-256 after this many bytes (FIPS 180-4 §5.1.1).
fn padding(bytes: usize) -> Vec<u8> {
    let zeros = (119 - bytes % 64) % 64;
    let length = (bytes as u64 * 8).to_be_bytes();
    [&[0x80][..], &vec![0; zeros], &length].concat()
}

#[test]
fn a_digest_that_begins_with_the_secret_is_not_made_longer() {
    let v1 = source("preset = \"hubspot-v1\"\nsecrets = [{ env = \"S\" }]");
    let body = br#"[{"eventId":1,"subscriptionType":"contact.creation"}]"#;
    let sent = |source: &SourceRuntime, text: &[u8], body: &[u8]| {
        // Whoever has the digest of the beginning has that of the whole, without the secret.
        let digest = hex::encode(ring::digest::digest(&ring::digest::SHA256, text));
        let head = head(Method::POST, "/", &[("x-hubspot-signature", &digest)]);
        let request = Unverified::new(head, Bytes::copy_from_slice(body));
        request.verify(source, NOW_S * 1_000).map(|_| ())
    };
    let text = [SECRET.as_bytes(), body].concat();
    assert_eq!(sent(&v1, &text, body), Ok(()));
    let more = [&padding(text.len())[..], b"evil"].concat();
    assert_eq!((text.len() + padding(text.len()).len()) % 64, 0);
    let longer = |text: &[u8]| [text, &more].concat();
    assert_eq!(sent(&v1, &longer(&text), &longer(body)), Err(Refusal::Mismatch));
    // Behind the body the secret ends the text: any bytes may be signed.
    let last = source(
        "type = { fixed = \"a\" }\nsecrets = [{ env = \"S\" }]\nverify = { scheme = \"digest-sha256\", header = \"X-HubSpot-Signature\", signed = \"{body}{secret}\" }",
    );
    let bytes = b"\x80\xff";
    assert_eq!(sent(&last, &[&bytes[..], SECRET.as_bytes()].concat(), bytes), Ok(()));
}

#[test]
fn what_a_section_says_over_a_preset_takes_the_place_of_all_its_keys_and_rules() {
    let pem = include_str!("../data/sns-certificate.pem");
    let own = |verify: &str| {
        section(&format!(
            "preset = \"aws-sns\"\nparams = {{ topic_arn = \"{OURS}\" }}\n[sources.acme.verify]\n{verify}"
        ))
    };
    let keyed = own(&format!("public_keys = ['''{pem}''']"));
    let Verify::Signature(rules) = &keyed.verify else { panic!("it is verified") };
    for rule in std::iter::once(rules).chain(&rules.others) {
        assert!(rule.key_address.is_none() && rule.public_keys.len() == 1, "{rule:?}");
    }
    let source = SourceRuntime::new(keyed);
    let good = notification("hello", &signed_by_sns("hello", None, OURS)).to_string();
    assert_eq!(to_sns(&source, &good), Ok(()));
    let newer = own("scheme = \"rsa-sha256\"");
    let Verify::Signature(rules) = &newer.verify else { panic!("it is verified") };
    assert!(rules.others.is_empty(), "signatures with SHA-1 are off");
}

const OURS: &str = "arn:aws:sns:us-east-1:123456789012:MyTopic";
const THEIRS: &str = "arn:aws:sns:us-east-1:999999999999:Other";
const CERTIFICATE: &str = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-x.pem";

/// A topic's subscriber that knows the certificate of the tests.
fn sns() -> SourceRuntime {
    let source = source(&format!("preset = \"aws-sns\"\nparams = {{ topic_arn = \"{OURS}\" }}"));
    let pem = include_str!("../data/sns-certificate.pem");
    assert!(source.keep_key(CERTIFICATE, pem, NOW_S * 1_000));
    source
}

/// The signature of Amazon SNS over a message of this topic.
fn signed_by_sns(message: &str, subject: Option<&str>, topic: &str) -> String {
    let subject = subject.map(|text| format!("Subject\n{text}\n")).unwrap_or_default();
    let text = format!(
        "Message\n{message}\nMessageId\nR\n{subject}Timestamp\nT\nTopicArn\n{topic}\nType\nNotification\n"
    );
    let pair = RsaKeyPair::from_pkcs8(include_bytes!("../data/sns-key.der")).unwrap();
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
    STANDARD.encode(signature)
}

/// A notification as a subscriber gets it.
fn notification(message: &str, signature: &str) -> Value {
    json!({
        "Type": "Notification", "MessageId": "R", "TopicArn": OURS, "Message": message,
        "Timestamp": "T", "SignatureVersion": "2", "SigningCertURL": CERTIFICATE,
        "Signature": signature,
    })
}

fn to_sns(source: &SourceRuntime, body: &str) -> Result<(), Refusal> {
    check(source, head(Method::POST, "/", &[("content-type", "text/plain")]), body)
}

#[test]
fn a_message_of_another_topic_is_not_cut_into_one_of_ours() {
    let source = sns();
    let sent = |body: &Value| to_sns(&source, &body.to_string());
    let good = notification("two\nlines", &signed_by_sns("two\nlines", None, OURS));
    assert_eq!(sent(&good), Ok(()));
    let embedded =
        format!("EVIL\nMessageId\n1\nTimestamp\n2\nTopicArn\n{OURS}\nType\nNotification");
    let mut forged = notification("EVIL", &signed_by_sns(&embedded, None, THEIRS));
    forged["MessageId"] = json!("1");
    forged["Timestamp"] = json!("2");
    forged["Type"] = json!(format!(
        "Notification\nMessageId\nR\nTimestamp\nT\nTopicArn\n{THEIRS}\nType\nNotification"
    ));
    assert_eq!(sent(&forged), Err(Refusal::Mismatch));
    // The signature is right, and the body names a topic that it does not cover.
    let mut renamed = good.clone();
    renamed["TopicArn"] = json!(THEIRS);
    assert_eq!(sent(&renamed), Err(Refusal::NoSignature));
    let theirs = notification("hello", &signed_by_sns("hello", None, THEIRS));
    assert_eq!(sent(&theirs), Err(Refusal::Mismatch));
}

#[test]
fn certificates_of_amazon_in_china_are_those_of_its_own_hosts() {
    let text = format!("preset = \"aws-sns\"\nparams = {{ topic_arn = \"{OURS}\" }}");
    let pem = include_str!("../data/sns-certificate.pem");
    let path = "SimpleNotificationService-x.pem";
    for (host, verdict) in [
        ("sns.cn-north-1.amazonaws.com.cn", Ok(())),
        ("sns.cn-northwest-1.amazonaws.com.cn", Ok(())),
        ("sns.cn-north-1.amazonaws.com.cn.example.com", Err(Refusal::ForeignKey)),
        ("sns.cn-north-1.amazonaws.com.com.cn", Err(Refusal::ForeignKey)),
        ("sns.evil.cn-north-1.amazonaws.com.cn", Err(Refusal::ForeignKey)),
        ("s3.cn-north-1.amazonaws.com.cn", Err(Refusal::ForeignKey)),
    ] {
        let (source, url) = (source(&text), format!("https://{host}/{path}"));
        assert_eq!(source.keep_key(&url, pem, NOW_S * 1_000), verdict == Ok(()), "{host}");
        let mut sent = notification("hello", &signed_by_sns("hello", None, OURS));
        sent["SigningCertURL"] = json!(url);
        assert_eq!(to_sns(&source, &sent.to_string()), verdict, "{host}");
    }
}

#[test]
fn a_line_of_a_captured_message_does_not_move_into_its_id() {
    let source = sns();
    let mut captured = notification("hello", &signed_by_sns("hello", Some("S"), OURS));
    captured["Subject"] = json!("S");
    assert_eq!(to_sns(&source, &captured.to_string()), Ok(()));
    captured.as_object_mut().unwrap().remove("Subject");
    captured["MessageId"] = json!("R\nSubject\nS");
    assert_eq!(to_sns(&source, &captured.to_string()), Err(Refusal::Mismatch));
}

#[test]
fn a_value_that_may_be_missing_is_not_hidden_by_writing_it_twice() {
    let source = sns();
    let captured = notification("hello", &signed_by_sns("hello", None, OURS)).to_string();
    assert_eq!(to_sns(&source, &captured), Ok(()));
    assert_eq!(to_sns(&source, &captured.replacen('{', "{\"Subject\":null,", 1)), Ok(()));
    for more in [r#""Subject":"evil","Subject":"evil","#, r#""Subject":["evil"],"#] {
        let forged = captured.replacen('{', &format!("{{{more}"), 1);
        assert_eq!(to_sns(&source, &forged), Err(Refusal::NoPart), "{more}");
    }
    let all = ProviderVector::all();
    let adyen = all.iter().find(|one| one.preset == "adyen" && one.name == "one notification");
    let adyen = adyen.unwrap();
    let body = String::from_utf8(adyen.body()).unwrap();
    let twice = r#""originalReference":"evil","originalReference":"evil","eventCode""#;
    let forged = body.replacen("\"eventCode\"", twice, 1);
    assert_ne!(forged, body);
    assert_eq!(adyen.check(&adyen.runtime(), adyen.head(), body.as_bytes()), Ok(()));
    let refused = adyen.check(&adyen.runtime(), adyen.head(), forged.as_bytes());
    assert_eq!(refused, Err(Refusal::NoPart));
}

#[test]
fn a_bucket_that_is_called_sns_serves_no_keys_of_amazon() {
    let source = sns();
    let pem = include_str!("../data/sns-certificate.pem");
    for host in ["sns.s3", "sns.s3-us-west-2", "sns.s3-website-us-east-1", "sns.evil"] {
        let url = format!("https://{host}.amazonaws.com/SimpleNotificationService-x.pem");
        assert!(!source.keep_key(&url, pem, NOW_S * 1_000), "{url}");
        let mut forged = notification("hello", &signed_by_sns("hello", None, OURS));
        forged["SigningCertURL"] = json!(url);
        assert_eq!(to_sns(&source, &forged.to_string()), Err(Refusal::ForeignKey), "{url}");
    }
}

#[test]
fn a_request_that_fal_signed_for_another_customer_is_refused() {
    let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pair.as_ref()).unwrap();
    let source = source("preset = \"fal\"\nparams = { user_id = \"user_us\" }");
    let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "one", "x": x }] });
    let url = "https://rest.alpha.fal.ai/.well-known/jwks.json";
    assert!(source.keep_key(url, &keys.to_string(), NOW_S * 1_000));
    // The SHA-256 of `{}`.
    let digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let sent = |signed_for: &str, named: &str| {
        let text = format!("R\n{signed_for}\n{NOW_S}\n{digest}");
        let signature = hex::encode(pair.sign(text.as_bytes()));
        let headers = [
            ("x-fal-webhook-request-id", "R"),
            ("x-fal-webhook-user-id", named),
            ("x-fal-webhook-timestamp", &*NOW_S.to_string()),
            ("x-fal-webhook-signature", &*signature),
        ];
        check(&source, head(Method::POST, "/", &headers), "{}")
    };
    assert_eq!(sent("user_us", "user_us"), Ok(()));
    assert_eq!(sent("user_them", "user_them"), Err(Refusal::Mismatch));
    assert_eq!(sent("user_them", "user_us"), Err(Refusal::Mismatch));
}

#[test]
fn a_list_of_signed_headers_that_leaves_itself_and_the_time_out_is_refused() {
    let all = ProviderVector::all();
    let captured = all.iter().find(|one| one.preset == "contentful" && one.name == "one event");
    let captured = captured.unwrap();
    let later_ms = captured.now_ms() + 3_600_000;
    let mut head = captured.head();
    let list = head.headers["x-contentful-signed-headers"].to_str().unwrap().to_owned();
    let kind = head.headers["content-type"].to_str().unwrap().to_owned();
    let time = head.headers["x-contentful-timestamp"].to_str().unwrap().to_owned();
    let text = format!("{kind};x-contentful-signed-headers:{list};x-contentful-timestamp:{time}");
    for short in ["content-type", "content-type,x-contentful-timestamp"] {
        head.headers.insert("x-contentful-signed-headers", short.parse().unwrap());
        head.headers.insert("content-type", text.parse().unwrap());
        head.headers.insert("x-contentful-timestamp", later_ms.to_string().parse().unwrap());
        let forged = Unverified::new(head.clone(), Bytes::from(captured.body()));
        let refused = forged.verify(&captured.runtime(), later_ms).map(|_| ());
        assert_eq!(refused, Err(Refusal::NoPart), "{short}");
    }
}
