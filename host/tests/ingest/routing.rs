//! An authentic event is routed by whatever can be read of it.

use std::sync::Arc;

use bytes::Bytes;
use hookbox::config::source::{Joined, Pick};
use hookbox::config::{Config, Routes, Source};
use hookbox::event::{NewEvent, Target, UNIDENTIFIED};
use hookbox::ingest::Unverified;

use super::host::{Host, NOW_S, Options, SECRET, request};
use super::sources::{open, preset, runtime, secrets};
use super::vectors::header_map;

/// GitHub's own example of a form, shortened.
const FORM: &[u8] = b"payload=%7B%22action%22%3A%22opened%22%2C%22zen%22%3A%22a+b%2Bc%22%7D";
const FORM_TYPE: (&str, &[u8]) = ("content-type", b"application/x-www-form-urlencoded");

fn header(name: &str) -> Pick {
    Pick::Header(name.to_owned())
}

fn json(pointer: &str) -> Pick {
    Pick::Json(pointer.to_owned())
}

fn joined(values: &[(&str, Pick)], end: &str) -> Pick {
    let values = values.iter().map(|(before, pick)| ((*before).to_owned(), pick.clone())).collect();
    Pick::Joined(Joined { values, end: end.to_owned() })
}

/// A source that takes its type from `kind` and finds the rest in the body.
fn source(kind: Pick) -> Source {
    Source { kind, ..open() }
}

/// `{header:X-Type}.{json:/action}`
fn with_action() -> Source {
    source(joined(&[("", header("x-type")), (".", json("/action"))], ""))
}

fn event_of(source: Source, headers: &[(&str, &[u8])], body: &[u8]) -> NewEvent {
    let runtime = runtime(source);
    let request =
        Unverified::new(header_map(headers.iter().copied()), Bytes::copy_from_slice(body));
    let now_ms = NOW_S * 1_000;
    request
        .verify(&runtime, now_ms)
        .expect("an open source takes it")
        .identify(&Routes::default(), now_ms)
}

/// Type and note.
fn read(source: Source, headers: &[(&str, &[u8])], body: &[u8]) -> (String, Option<String>) {
    let event = event_of(source, headers, body);
    assert_eq!(event.attributes.body, body);
    (event.attributes.kind, event.note)
}

#[test]
fn a_type_in_a_header_routes_whatever_the_body_is() {
    let deep = [&b"[".repeat(1_000)[..], &b"]".repeat(1_000)].concat();
    let deep_object = format!(r#"{{"id":"1","x":{}1{}}}"#, "[".repeat(127), "]".repeat(127));
    for (body, note) in [
        (FORM, "the body is not JSON: expected value"),
        (b"\xef\xbb\xbf{\"id\":\"1\"}", "the body is not JSON: expected value"),
        (b"{\"id\":\"caf\xe9\"}", "the body is not UTF-8"),
        (br#"{"id":"1","price":NaN}"#, "the body is not JSON: expected value"),
        (b"", "the body is empty"),
        (&deep, "the body is nested deeper than 127 levels"),
        (deep_object.as_bytes(), "the body is nested deeper than 127 levels"),
        (br#"{"id":"1","id":"2"}"#, "the id occurs more than once"),
        (br#"{"order":{"id":1},"order":{"id":2}}"#, "the subject occurs more than once"),
        (br#"{"id":{"a":1}}"#, "the id is not a string, number or boolean"),
    ] {
        for source in [source(header("x-type")), with_action()] {
            let event = event_of(source, &[("x-type", b"push")], body);
            assert_eq!(event.attributes.kind, "push", "{note}");
            assert_eq!(event.attributes.body, body, "{note}");
            assert!(
                event.note.as_deref().is_some_and(|text| text.starts_with(note)),
                "{note}: {:?}",
                event.note
            );
            assert_eq!((event.provider_id, event.attributes.subject), (None, None), "{note}");
        }
    }
}

#[test]
fn what_is_missing_of_a_type_is_left_out_with_the_text_in_front_of_it() {
    let typed = |body: &str| read(with_action(), &[("x-type", b"pull_request")], body.as_bytes());
    assert_eq!(typed(r#"{"action":"opened"}"#), ("pull_request.opened".to_owned(), None));
    assert_eq!(typed(r#"{"action":7}"#), ("pull_request.7".to_owned(), None));
    for nothing in [r#"{"ref":"main"}"#, r#"{"action":null}"#, r#"{"action":""}"#] {
        assert_eq!(typed(nothing), ("pull_request".to_owned(), None), "{nothing}");
    }
    let (kind, note) = typed(r#"{"action":["opened"]}"#);
    assert_eq!(
        (kind.as_str(), note.as_deref()),
        ("pull_request", Some("the type is not a string, number or boolean"))
    );
    let (kind, note) = typed(r#"{"action":"opened","action":"closed"}"#);
    assert_eq!(
        (kind.as_str(), note.as_deref()),
        ("pull_request", Some("the type occurs more than once"))
    );
    let (kind, note) = typed(&format!(r#"{{"action":"{}"}}"#, "x".repeat(513)));
    assert_eq!(
        (kind.as_str(), note.as_deref()),
        ("pull_request", Some("the type is longer than 512 bytes"))
    );
    let (kind, note) = typed(&format!(r#"{{"action":"{}"}}"#, "x".repeat(500)));
    assert_eq!(
        (kind.as_str(), note.as_deref()),
        (UNIDENTIFIED, Some("the type is longer than 512 bytes"))
    );
}

#[test]
fn a_type_without_its_first_part_is_none() {
    assert_eq!(
        read(with_action(), &[], br#"{"action":"opened"}"#),
        (UNIDENTIFIED.to_owned(), Some("the type is missing".to_owned()))
    );
    let (kind, note) = read(with_action(), &[], b"a form");
    assert!(
        kind == UNIDENTIFIED
            && note.is_some_and(|note| note.starts_with("the type is missing; the body is not"))
    );
    let three =
        || source(joined(&[("git ", json("/a")), ("/", json("/b")), ("#", json("/c"))], " event"));
    for (body, expected) in [
        (r#"{"a":1,"b":2,"c":3}"#, "git 1/2#3 event"),
        (r#"{"a":1,"c":3}"#, "git 1#3 event"),
        (r#"{"a":1}"#, "git 1 event"),
        (r#"{"b":2,"c":3}"#, UNIDENTIFIED),
    ] {
        assert_eq!(read(three(), &[], body.as_bytes()).0, expected, "{body}");
    }
    let (kind, note) = read(three(), &[], b"");
    assert_eq!((kind.as_str(), note.as_deref()), (UNIDENTIFIED, Some("the body is empty")));
}

#[test]
fn a_subject_can_be_joined_too() {
    let source = || Source {
        subject: Some(joined(&[("", json("/repo")), ("#", json("/number"))], "")),
        ..open()
    };
    let subject = |body: &str| event_of(source(), &[], body.as_bytes()).attributes.subject;
    assert_eq!(subject(r#"{"type":"t","repo":"a/b","number":7}"#).as_deref(), Some("a/b#7"));
    assert_eq!(subject(r#"{"type":"t","repo":"a/b"}"#).as_deref(), Some("a/b"));
    assert_eq!(subject(r#"{"type":"t","number":7}"#), None);
}

#[test]
fn a_form_is_unwrapped_for_what_stands_in_its_json_and_kept_as_it_came() {
    let wrapped =
        |kind| Source { form: Some("payload".to_owned()), id: Some(json("/zen")), ..source(kind) };
    let kind = || joined(&[("", header("x-type")), (".", json("/action"))], "");
    let event = event_of(wrapped(kind()), &[("x-type", b"issues"), FORM_TYPE], FORM);
    assert_eq!(event.attributes.kind, "issues.opened");
    assert_eq!(event.provider_id.as_deref(), Some("a b+c"));
    assert_eq!(event.attributes.body, FORM);
    assert_eq!(event.attributes.content_type.as_deref(), Some("application/x-www-form-urlencoded"));
    assert_eq!(event.note, None);
    let charset: (&str, &[u8]) =
        ("content-type", b"Application/x-www-form-urlencoded; charset=UTF-8");
    assert_eq!(read(wrapped(json("/action")), &[charset], FORM).0, "opened");
    // Only what says that it is a form is taken for one.
    assert_eq!(
        read(wrapped(json("/action")), &[("content-type", b"application/json")], FORM).0,
        UNIDENTIFIED
    );
    assert_eq!(read(wrapped(json("/action")), &[], br#"{"action":"opened"}"#).0, "opened");
    for (body, note) in [
        (&b"token=1&type=push"[..], "the field `payload` of the form is missing"),
        (b"payload=%7B%7D&payload=%7B%7D", "the field `payload` of the form occurs more than once"),
        (b"payload=", "the field `payload` of the form is empty"),
        (b"payload=hello", "the field `payload` of the form is not JSON: "),
        (b"payload=%ff", "the field `payload` of the form is not UTF-8: "),
    ] {
        let (kind, said) = read(wrapped(kind()), &[("x-type", b"issues"), FORM_TYPE], body);
        assert_eq!(kind, "issues", "{note}");
        assert!(said.as_deref().is_some_and(|said| said.starts_with(note)), "{note}: {said:?}");
    }
}

#[test]
fn types_and_subjects_from_outside_are_percent_escaped_where_they_break_the_rule() {
    for (kind, expected) in [
        (r"a\u0000b", "a%00b"),
        (r"a\nb", "a%0Ab"),
        (r"a\u202eb", "a%E2%80%AEb"),
        (r"a\u2028b", "a%E2%80%A8b"),
        (" a  b ", "%20a %20b%20"),
        ("hookbox.unidentified", "%68ookbox.unidentified"),
    ] {
        let (found, note) = read(open(), &[], format!(r#"{{"type":"{kind}"}}"#).as_bytes());
        assert_eq!(found, expected);
        assert_eq!(
            note.as_deref(),
            Some("the type is percent-escaped, where it has what no type can have")
        );
        let body = format!(r#"{{"type":"t","order":{{"id":"{kind}"}}}}"#);
        let event = event_of(open(), &[], body.as_bytes());
        assert_eq!(event.attributes.kind, "t");
        // The prefix is one of types.
        let expected = if kind.starts_with("hookbox.") { kind } else { expected };
        assert_eq!(event.attributes.subject.as_deref(), Some(expected));
    }
    for plain in ["Push Hook", "repo:push", "a/b", "é", "a%20b"] {
        let body = format!(r#"{{"type":"{plain}","order":{{"id":"{plain}"}}}}"#);
        let event = event_of(open(), &[], body.as_bytes());
        assert_eq!(
            (event.attributes.kind.as_str(), event.attributes.subject.as_deref()),
            (plain, Some(plain))
        );
        assert_eq!(event.note, None);
    }
    // An escaped text may be too long for a type.
    let (kind, note) =
        read(open(), &[], format!(r#"{{"type":"{}"}}"#, r"\u202e".repeat(100)).as_bytes());
    assert_eq!(
        (kind.as_str(), note.as_deref()),
        (UNIDENTIFIED, Some("the type is longer than 512 bytes"))
    );
}

/// A host whose sources have their types in a header, with these routes to plugins of their own.
async fn host(lines: &[(&str, &str)]) -> Host {
    let with = |name: &str, header_name: &str| Source {
        name: name.into(),
        id: None,
        subject: None,
        kind: header(header_name),
        ..open()
    };
    let github = preset("github", secrets(&[SECRET]));
    let sources = vec![
        with("gitlab", "x-gitlab-event"),
        with("bb", "x-event-key"),
        with("any", "x-type"),
        github,
    ];
    let host = Host::start(Options { sources, ..Options::default() }).await;
    let lines = lines.iter().map(|(pattern, plugin)| (*pattern, vec![Target::to(*plugin)]));
    let mut routed = Config::clone(&host.config.load());
    routed.routes = Arc::new(
        Routes::new(lines, |name| ["gitlab", "bb", "any", "github"].contains(&name)).unwrap(),
    );
    host.config.store(Arc::new(routed));
    host
}

#[tokio::test]
async fn types_with_blanks_slashes_and_colons_are_routed() {
    let host = host(&[
        ("Push Hook", "push-hook"),
        ("gitlab:Push Hook", "gitlab-push"),
        ("repo:push", "repo-push"),
        ("bb:repo:push", "bb-push"),
        ("repo:*", "repo-any"),
        ("orders/*", "topic"),
        ("orders/**", "topics"),
    ])
    .await;
    let mut number = 0;
    for (path, header, kind, expected) in [
        ("gitlab", "X-Gitlab-Event", "Push Hook", vec!["gitlab-push", "push-hook"]),
        ("any", "X-Type", "Push Hook", vec!["push-hook"]),
        ("gitlab", "X-Gitlab-Event", "Tag Push Hook", vec![]),
        ("bb", "X-Event-Key", "repo:push", vec!["bb-push", "repo-any", "repo-push"]),
        ("any", "X-Type", "repo:push", vec!["repo-any", "repo-push"]),
        ("bb", "X-Event-Key", "repo:fork", vec!["repo-any"]),
        ("any", "X-Type", "orders/create", vec!["topic", "topics"]),
        ("any", "X-Type", "orders/a/b", vec!["topics"]),
    ] {
        number += 1;
        let body = format!("number={number}");
        let request =
            request("POST", &format!("/webhook/{path}"), &[(header, kind)], body.as_bytes());
        host.exchange(request).await.stored();
        let event = host.events().await.pop().unwrap();
        let mut plugins: Vec<_> =
            event.deliveries.iter().map(|delivery| delivery.plugin.to_string()).collect();
        plugins.sort();
        assert_eq!(
            (event.event.attributes.kind.as_str(), plugins),
            (kind, expected.iter().map(|p| (*p).to_owned()).collect())
        );
    }
    assert_eq!(host.unidentified.lately(), []);
}

#[tokio::test]
async fn a_form_of_github_is_delivered_by_its_header() {
    let host = host(&[("push", "audit")]).await;
    let body = br"payload=%7B%22zen%22%3A%22x%22%7D";
    let signed =
        hookbox::ingest::sign(&preset("github", secrets(&[SECRET])), body, "d-1", NOW_S).unwrap();
    let mut headers: Vec<(&str, &str)> =
        signed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    headers.extend([
        ("X-GitHub-Event", "push"),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ]);
    assert_eq!(
        host.exchange(request("POST", "/webhook/github", &headers, body)).await.stored().1,
        "accepted"
    );
    let [event] = &host.events().await[..] else { panic!("one event") };
    assert_eq!((event.event.attributes.kind.as_str(), event.note.as_deref()), ("push", None));
    assert_eq!(event.event.attributes.body, &body[..]);
    assert_eq!(event.deliveries.len(), 1);
}

#[tokio::test]
async fn events_that_stay_without_a_type_are_known_by_their_source_until_a_route_names_them() {
    let host = host(&[("**", "audit"), ("bb:hookbox.unidentified", "audit")]).await;
    for path in ["gitlab", "bb"] {
        for number in 0..2 {
            let body = format!("{path} {number}");
            host.exchange(request("POST", &format!("/webhook/{path}"), &[], body.as_bytes()))
                .await
                .stored();
        }
    }
    // A duplicate is none of its own.
    let again = host.exchange(request("POST", "/webhook/gitlab", &[], b"gitlab 0")).await;
    let accepted = u64::from(again.stored().1 == "accepted");
    let lately = host.unidentified.lately();
    let [(source, lately)] = &lately[..] else { panic!("{lately:?}") };
    assert_eq!((&**source, lately.events), ("gitlab", 2 + accepted));
    assert!(
        lately.reason.starts_with("the type is missing; the body is not JSON"),
        "{}",
        lately.reason
    );
    assert_eq!((lately.since_ms, lately.last_ms), (NOW_S * 1_000, NOW_S * 1_000));
}
