//! Events that authentic requests become.

use bytes::Bytes;
use hookbox::config::source::Pick;
use hookbox::config::{Routes, Source};
use hookbox::event::{NewEvent, UNIDENTIFIED, name};
use hookbox::ingest::Unverified;
use proptest::prelude::*;

use super::sources::{open, preset, runtime, secrets};
use super::vectors::header_map;

const NOW_MS: i64 = 1_770_000_000_000;

fn event_of(source: Source, headers: &[(&str, &[u8])], body: &[u8]) -> NewEvent {
    let runtime = runtime(source);
    let request =
        Unverified::new(header_map(headers.iter().copied()), Bytes::copy_from_slice(body));
    request
        .verify(&runtime, NOW_MS)
        .expect("an open source takes it, or it is signed")
        .identify(&Routes::default(), NOW_MS)
}

fn event(body: &[u8]) -> NewEvent {
    event_of(open(), &[], body)
}

/// Type, id and subject.
fn found(body: &str) -> (String, Option<String>, Option<String>) {
    let event = event(body.as_bytes());
    (event.attributes.kind, event.provider_id, event.attributes.subject)
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

#[test]
fn type_id_and_subject_are_found_where_the_pointers_lead() {
    let body =
        r#" {"x":[{"type":"no"}],"order":{"lines":[],"id":"o-1"},"type":"order.paid","id":"e1"} "#;
    let event = event(body.as_bytes());
    assert_eq!(event.attributes.kind, "order.paid");
    assert_eq!(event.provider_id, text("e1"));
    assert_eq!(event.attributes.subject, text("o-1"));
    assert_eq!(event.attributes.content_type, text("application/json"));
    assert_eq!(event.attributes.body, body.as_bytes());
    assert_eq!(event.attributes.time_ms, NOW_MS);
    assert_eq!(event.note, None);
    assert_eq!((event.hops, event.parent, event.delay_ms), (0, None, 0));
}

#[test]
fn numbers_and_booleans_become_their_text_digit_for_digit() {
    for (value, expected) in [
        ("7", "7"),
        ("-0", "-0"),
        ("18446744073709551616", "18446744073709551616"),
        ("1e400", "1e400"),
        ("0.1000", "0.1000"),
        ("true", "true"),
        (r#""\u0061\ud83d\ude00/\/""#, "a\u{1f600}//"),
    ] {
        let body = format!(r#"{{"type":{value},"id":{value},"order":{{"id":{value}}}}}"#);
        assert_eq!(found(&body), (expected.to_owned(), text(expected), text(expected)), "{value}");
    }
    for nothing in ["null", r#""""#] {
        let body = format!(r#"{{"type":"t","id":{nothing},"order":{{"id":{nothing}}}}}"#);
        assert_eq!(found(&body), ("t".to_owned(), None, None), "{nothing}");
    }
}

#[test]
fn pointers_are_read_as_rfc_6901_says() {
    let cases = [
        ("/a~1b/~01", r#"{"a/b":{"~1":"t"}}"#),
        ("/items/1/type", r#"{"items":[{"type":"no"},{"type":"t"},{"type":"no"}]}"#),
        ("/0", r#"["t","no"]"#),
        ("/0", r#"{"0":"t"}"#),
        ("", r#""t""#),
        ("/", r#"{"":"t"}"#),
        ("/é", r#"{"\u00e9":"t"}"#),
    ];
    for (pointer, body) in cases {
        let source = Source { kind: Pick::Json(pointer.to_owned()), ..open() };
        assert_eq!(event_of(source, &[], body.as_bytes()).attributes.kind, "t", "{pointer} {body}");
    }
    for (pointer, body) in
        [("/01", r#"["no","no"]"#), ("/-", r#"["no"]"#), ("/a/b", r#"{"a":"no"}"#)]
    {
        let source = Source { kind: Pick::Json(pointer.to_owned()), ..open() };
        assert_eq!(
            event_of(source, &[], body.as_bytes()).attributes.kind,
            UNIDENTIFIED,
            "{pointer} {body}"
        );
    }
    let both = Source {
        kind: Pick::Json("/e".to_owned()),
        subject: Some(Pick::Json("/e/id".to_owned())),
        ..open()
    };
    let event = event_of(both, &[], br#"{"e":{"id":"s"}}"#);
    assert_eq!(
        (event.attributes.kind.as_str(), event.attributes.subject),
        (UNIDENTIFIED, text("s"))
    );
}

#[test]
fn what_cannot_be_identified_is_kept_with_a_note() {
    for (body, note) in [
        (&b""[..], "the body is empty"),
        (b"Hello, World!", "the body is not JSON"),
        (br#"{"type":"t","#, "the body is not JSON"),
        (br#"{"type":"t"} x"#, "the body is not JSON"),
        (br#"{"type":"t"}{"type":"t"}"#, "the body is not JSON"),
        (b"\xef\xbb\xbf{\"type\":\"t\"}", "the body is not JSON"),
        (b"{\"type\":\"t\",\"x\":\"\xff\"}", "the body is not UTF-8"),
        (b"\xff\xfe{\0}\0", "the body is not UTF-8"),
        (br#"{"type":{}}"#, "the type is not a string, number or boolean"),
        (br#"{"type":"\ud800"}"#, "the type is a string with an unpaired surrogate"),
        (br#"{"other":1}"#, "the type is missing"),
        (br#"{"type":null}"#, "the type is missing"),
        (br#"[]"#, "the type is missing"),
        (br#""type""#, "the type is missing"),
    ] {
        let event = event(body);
        assert_eq!(event.attributes.kind, UNIDENTIFIED, "{note}");
        assert_eq!(event.attributes.body, body, "{note}");
        assert!(
            event.note.as_deref().is_some_and(|text| text.starts_with(note)),
            "{note}: {:?}",
            event.note
        );
        assert!(event.dedupe.is_empty(), "{note}: nothing in it names it");
    }
    assert_eq!(event(b"Hello, World!").attributes.content_type, None);
}

/// Fault C11: one of two parsers may read the first, the other the last.
#[test]
fn a_routing_key_that_occurs_twice_is_not_read() {
    for (body, kind) in [
        (r#"{"type":"a","type":"b"}"#, UNIDENTIFIED),
        (r#"{"type":"a","type":"a"}"#, UNIDENTIFIED),
        (r#"{"type":"a","\u0074ype":"b"}"#, UNIDENTIFIED),
        // The type is read all the same: nobody can take it for another.
        (r#"{"type":"a","id":"1","id":"2"}"#, "a"),
        (r#"{"type":"a","order":{"id":1},"order":{"id":2}}"#, "a"),
        (r#"{"type":"a","order":{"id":1},"order":null}"#, "a"),
        (r#"{"type":"a","order":{"id":1,"id":2}}"#, "a"),
    ] {
        let event = event(body.as_bytes());
        assert_eq!(event.attributes.kind, kind, "{body}");
        assert!(
            event.note.as_deref().is_some_and(|note| note.contains("more than once")),
            "{body}"
        );
        let (id, subject) = (event.provider_id, event.attributes.subject);
        assert!(id.is_none() && subject.is_none(), "{body}");
    }
    let unrelated = r#"{"type":"a","x":1,"x":2,"y":{"type":1,"type":2}}"#;
    assert_eq!(found(unrelated).0, "a");
}

#[test]
fn a_body_nested_too_deeply_is_kept_unread() {
    let nested =
        |depth: usize| format!(r#"{{"type":"t","x":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert_eq!(found(&nested(126)).0, "t");
    for depth in [127, 1_000, 100_000] {
        let event = event(nested(depth).as_bytes());
        assert_eq!(event.attributes.kind, UNIDENTIFIED);
        assert_eq!(event.note.as_deref(), Some("the body is nested deeper than 127 levels"));
    }
    for open in ["[", "{\"a\":"] {
        assert_eq!(event(open.repeat(100_000).as_bytes()).attributes.kind, UNIDENTIFIED);
    }
    let many_but_flat =
        format!(r#"{{"type":"t","x":[{}[]],"y":"{}"}}"#, "[],".repeat(1_000), "[{".repeat(1_000));
    assert_eq!(found(&many_but_flat).0, "t");
}

#[test]
fn an_overlong_type_identifies_nothing_and_an_overlong_id_or_subject_is_dropped() {
    let long = "x".repeat(513);
    let event_with = |kind: &str, other: &str| {
        event(
            format!(r#"{{"type":"{kind}","id":"{other}","order":{{"id":"{other}"}}}}"#).as_bytes(),
        )
    };
    let event = event_with(&long, "ok");
    assert_eq!((event.attributes.kind.as_str(), event.provider_id), (UNIDENTIFIED, text("ok")));
    let event = event_with("t", &long);
    assert_eq!(
        (event.attributes.kind.as_str(), event.provider_id, event.attributes.subject),
        ("t", None, None)
    );
    let note = "the id is longer than 512 bytes; the subject is longer than 512 bytes";
    assert_eq!(event.note.as_deref(), Some(note));
    let event = event_with(&long[..512], &long[..512]);
    assert_eq!((event.attributes.kind.len(), event.note), (512, None));
}

#[test]
fn headers_and_fixed_values_are_picked_as_they_are() {
    let source = |kind: Pick| Source {
        kind,
        id: Some(Pick::Header("x-id".to_owned())),
        subject: Some(Pick::Header("x-about".to_owned())),
        ..open()
    };
    let by_header = || source(Pick::Header("x-type".to_owned()));
    let headers: [(&str, &[u8]); 3] =
        [("x-type", b"push"), ("x-id", b"d-1"), ("x-about", "é".as_bytes())];
    let event = event_of(by_header(), &headers, b"[]");
    assert_eq!((event.attributes.kind.as_str(), event.provider_id), ("push", text("d-1")));
    assert_eq!(event.attributes.subject, text("é"));

    let event = event_of(source(Pick::Fixed("acme.form".to_owned())), &headers, b"a=1&b=2");
    assert_eq!((event.attributes.kind.as_str(), event.note.is_some()), ("acme.form", true));

    let twice: [(&str, &[u8]); 4] =
        [("x-type", b"push"), ("x-type", b"pull"), ("x-id", b"1"), ("x-id", b"2")];
    let event = event_of(by_header(), &twice, b"{}");
    assert_eq!((event.attributes.kind.as_str(), event.provider_id), (UNIDENTIFIED, None));
    let odd = event_of(by_header(), &[("x-type", b"caf\xe9")], b"{}");
    assert_eq!(odd.note.as_deref(), Some("the type is not UTF-8"));
}

#[test]
fn headers_are_kept_by_allow_list_and_the_signature_never() {
    let stripe = |headers: &[(&str, &[u8])]| {
        let mut source = preset("stripe", secrets(&[b"a secret of some length"]));
        source.kind = Pick::Header("x-type".to_owned());
        let body = br#"{"id":"evt_1"}"#;
        let signed = hookbox::ingest::sign(&source, body, "evt_1", NOW_MS / 1_000).unwrap();
        let signed = signed.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        event_of(source, &signed.chain(headers.iter().copied()).collect::<Vec<_>>(), body)
    };
    let long = "a".repeat(5_000);
    let event = stripe(&[
        ("content-type", b"application/json; charset=utf-8"),
        ("user-agent", long.as_bytes()),
        ("x-type", b"customer.created"),
        ("authorization", b"Bearer token"),
        ("cookie", b"a=b"),
        ("x-forwarded-for", b"192.0.2.1"),
    ]);
    let names: Vec<_> = event.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["content-type", "user-agent", "x-type"]);
    assert_eq!(event.headers[1].1.len(), 1_024);
    assert_eq!(event.attributes.content_type, text("application/json; charset=utf-8"));
}

proptest! {
    // A failure is turned into a test of its own, not into a file.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_body_is_too_odd_to_be_kept(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let event = event(&body);
        prop_assert_eq!(event.attributes.body, body);
        prop_assert!(!event.attributes.kind.is_empty());
    }

    #[test]
    fn json_of_any_shape_is_read_as_a_full_parser_reads_it(value in any_json()) {
        let body = value.to_string();
        let scalar = |pointer: &str| match value.pointer(pointer) {
            Some(serde_json::Value::String(text)) => Some(text.clone()),
            Some(other @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_)))
                => Some(other.to_string()),
            _ => None,
        }.filter(|text| !text.is_empty());
        let kind = scalar("/type").map_or(UNIDENTIFIED.to_owned(),
            |kind| name::escaped_type(&kind).into_owned());
        let id = scalar("/id").filter(|id| !id.contains(char::is_control));
        let subject = scalar("/order/id").map(|subject| name::escaped(&subject).into_owned());
        let expected = (kind, id, subject);
        prop_assert_eq!(found(&body), expected);
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    let key = prop_oneof![Just("type"), Just("id"), Just("order"), Just("x"), Just("0")]
        .prop_map(str::to_owned);
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
