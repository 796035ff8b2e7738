//! Every form of a credential is found, wherever a stream is cut.

use std::sync::Arc;

use proptest::prelude::*;
use secrecy::SecretString;

use super::*;
use crate::config::{HostPattern, HttpRule, Injected};

const SECRET: &str = "sk-a/b+c~4711 \"é\"";

fn redactor(secrets: &[&str]) -> Redactor {
    with_prefix("Bearer ", secrets)
}

fn with_prefix(prefix: &str, secrets: &[&str]) -> Redactor {
    let header = |secret: &&str| Injected {
        name: "authorization".to_owned(),
        prefix: prefix.to_owned(),
        value: Ok(SecretString::from((*secret).to_owned())),
    };
    let rule = HttpRule {
        tls: true,
        host: HostPattern::Name("a.example.com".to_owned()),
        port: 443,
        methods: None,
        path: "/".to_owned(),
        private: false,
        headers: secrets.iter().map(header).collect(),
        idempotency_key: true,
        traceparent: true,
        authorities: None,
    };
    Redactor::of(&Grants { http: vec![Arc::new(rule)] })
}

#[track_caller]
fn hides(redactor: &Redactor, echo: &str) {
    let text = format!("<{echo}>");
    let masked = redactor.redact(&text);
    assert_eq!(masked.len(), text.len(), "the length stays: {masked}");
    assert!(
        masked.starts_with('<') && masked.ends_with('>'),
        "what stands around it stays: {masked}"
    );
    let stars = masked.chars().filter(|c| *c == '*').count();
    assert!(stars + 6 >= echo.len(), "{echo}: {masked}");
}

#[test]
fn every_form_of_a_credential_is_masked_at_its_length() {
    let redactor = redactor(&[SECRET]);
    hides(&redactor, SECRET);
    for before in ["", "u", "us", "user:"] {
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let echo = engine.encode(format!("{before}{SECRET}:"));
            let masked = redactor.redact(&echo).into_owned();
            let stars = masked.chars().filter(|c| *c == '*').count();
            assert!(stars + 3 > SECRET.len() * 4 / 3, "after `{before}`: {echo} {masked}");
        }
    }
    hides(&redactor, &utf8_percent_encode(SECRET, UNRESERVED).to_string());
    hides(&redactor, "sk-a%2fb%2bc~4711%20%22%c3%a9%22");
    hides(&redactor, "sk-a%2Fb%2Bc~4711+%22%C3%A9%22");
    hides(&redactor, "sk-a/b+c~4711 \\\"é\\\"");
    hides(&redactor, "sk-a\\/b+c~4711 \\\"é\\\"");
}

#[test]
fn the_password_in_a_basic_credential_is_one() {
    let redactor = with_prefix("Basic ", &["dXNlcjpwYXNzd29yZA=="]);
    assert_eq!(
        redactor.redact("user:password password user dXNlcjpwYXNzd29yZA=="),
        format!("{0} {1} user {2}", "*".repeat(13), "*".repeat(8), "*".repeat(20))
    );
    assert!(with_prefix("Bearer ", &["dXNlcjpwYXNzd29yZA=="]).redact("password") == "password");
}

#[test]
fn what_is_no_credential_stays() {
    let redactor = redactor(&[SECRET]);
    for text in ["", "sk-a/b+c~471", "c2stYS9iK2N", "an ordinary é text"] {
        assert!(matches!(redactor.redact(text), Cow::Borrowed(same) if same == text), "{text}");
    }
    assert!(Redactor::of(&Grants::default()).is_empty());
}

#[test]
fn upper_and_lower_case_are_the_same_credential() {
    let redactor = redactor(&["sk-AbC-0123456789"]);
    hides(&redactor, "SK-ABC-0123456789");
    hides(&redactor, "sk-abc-0123456789");
    assert!(redactor.finds("x-sk-abc-0123456789-y") && !redactor.finds("x-sk-abc"));
}

#[test]
fn how_a_stream_is_cut_says_nothing_of_a_credential() {
    let redactor = Arc::new(redactor(&["sk-0123456789"]));
    let sizes = |text: &str| {
        let mut stream = StreamRedactor::new(redactor.clone());
        let pieces =
            text.as_bytes().chunks(7).map(|piece| stream.push(Bytes::copy_from_slice(piece)).len());
        let mut sizes: Vec<usize> = pieces.collect();
        sizes.push(stream.finish().len());
        sizes
    };
    let other = sizes(&"x".repeat(40));
    for length in 1..13 {
        let begun = format!("{}{}", "x".repeat(40 - length), &"sk-0123456789"[..length]);
        assert_eq!(sizes(&begun), other, "{begun}");
    }
}

#[test]
fn a_credential_is_not_shown_to_whoever_debugs() {
    assert_eq!(format!("{:?}", redactor(&["0123456789"])), "Redactor { forms: 4, .. }");
}

#[test]
fn credentials_within_each_other_are_masked_whole() {
    let redactor = redactor(&["abcdefgh", "efghijkl", "abcdefghijklmnop"]);
    assert_eq!(redactor.redact("abcdefghijkl-efghijkl"), "************-********");
}

proptest! {
    #[test]
    fn a_stream_is_masked_like_a_whole_however_it_is_cut(
        pieces in prop::collection::vec(prop_oneof![
            Just("abababac".to_owned()), Just("abab".to_owned()), Just("ac".to_owned()), Just("YWJhYmFiYWM".to_owned()),
            "[abcX]{0,12}",
        ], 0..12),
        cuts in prop::collection::vec(0usize..9, 1..20),
    ) {
        let redactor = Arc::new(redactor(&["abababac", "bacabaca"]));
        let text = pieces.concat();
        let mut stream = StreamRedactor::new(Arc::clone(&redactor));
        let (mut rest, mut masked) = (Bytes::from(text.clone()), Vec::new());
        let least = usize::from(cuts.iter().all(|cut| *cut == 0));
        for cut in cuts.iter().cycle().map(|cut| cut + least) {
            if rest.is_empty() {
                break;
            }
            masked.extend_from_slice(&stream.push(rest.split_to(cut.min(rest.len()))));
        }
        masked.extend_from_slice(&stream.finish());
        prop_assert_eq!(String::from_utf8(masked).unwrap(), redactor.redact(&text));
    }
}
