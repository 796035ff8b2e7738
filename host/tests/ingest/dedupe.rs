//! Promise P3: a repeated delivery of the same event is a duplicate, and two different events are
//! never taken for one. "The same" is what the source says.

use bytes::Bytes;
use hookbox::config::source::{Dedupe, DedupeBy, Part, Pick, Verify};
use hookbox::config::{Routes, Source};
use hookbox::event::{DedupeKey, NewEvent};
use hookbox::ingest::{Unverified, sign};
use proptest::prelude::*;

use super::host::{Host, NOW_S, Options, SECRET, request};
use super::sources::{open, preset, runtime, secrets};
use super::vectors::header_map;

/// Sends `body` as the source's provider would at this time, with more headers; the event's id, and
/// what became of it.
pub(super) async fn post(
    host: &Host,
    source: &Source,
    (id, at_s): (&str, i64),
    more: &[(&str, &str)],
    body: &str,
) -> (String, String) {
    let signed = sign(source, body.as_bytes(), id, at_s).expect("it has a secret");
    let headers = signed
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .chain(more.iter().copied());
    let path = format!("/webhook/{}", source.name);
    let request = request("POST", &path, &headers.collect::<Vec<_>>(), body.as_bytes());
    host.exchange(request).await.stored()
}

async fn host(sources: &[Source]) -> Host {
    Host::start(Options { sources: sources.to_vec(), ..Options::default() }).await
}

fn known(name: &str) -> Source {
    preset(name, secrets(&[SECRET]))
}

/// A source that signs the body, and has its type in a header.
fn typed() -> Source {
    Source { kind: Pick::Header("x-type".to_owned()), ..known("linear") }
}

#[tokio::test]
async fn two_deliveries_of_github_with_equal_bodies_are_two_events() {
    let github = known("github");
    let host = host(std::slice::from_ref(&github)).await;
    let body =
        r#"{"inputs":null,"ref":"refs/heads/main","workflow":".github/workflows/deploy.yml"}"#;
    let (run, dispatch) =
        ([("X-GitHub-Event", "workflow_dispatch")], [("X-GitHub-Event", "repository_dispatch")]);
    let (first, status) = post(&host, &github, ("d-1", NOW_S), &run, body).await;
    assert_eq!(status, "accepted");
    assert_eq!(post(&host, &github, ("d-2", NOW_S), &run, body).await.1, "accepted");
    assert_eq!(post(&host, &github, ("d-3", NOW_S), &dispatch, body).await.1, "accepted");
    assert_eq!(
        post(&host, &github, ("d-1", NOW_S), &run, body).await,
        (first, "duplicate".to_owned())
    );
    assert_eq!(host.events().await.len(), 3);
}

#[tokio::test]
async fn who_fears_replays_from_github_adds_the_body() {
    let github = Source { dedupe: Dedupe::by([DedupeBy::Id, DedupeBy::Body]), ..known("github") };
    let host = host(std::slice::from_ref(&github)).await;
    let (push, ping) = ([("X-GitHub-Event", "push")], [("X-GitHub-Event", "ping")]);
    let (first, _) = post(&host, &github, ("d-1", NOW_S), &push, "{}").await;
    assert_eq!(
        post(&host, &github, ("d-2", NOW_S), &push, "{}").await,
        (first, "duplicate".to_owned())
    );
    assert_eq!(
        post(&host, &github, ("d-3", NOW_S), &ping, "{}").await.1,
        "accepted",
        "another type"
    );
}

#[tokio::test]
async fn equal_bodies_at_two_times_are_two_events_where_the_time_is_signed() {
    let zoom = known("zoom");
    let host = host(std::slice::from_ref(&zoom)).await;
    let body = r#"{"event":"job.finished"}"#;
    let (first, _) = post(&host, &zoom, ("", NOW_S), &[], body).await;
    assert_eq!(post(&host, &zoom, ("", NOW_S + 1), &[], body).await.1, "accepted");
    assert_eq!(
        post(&host, &zoom, ("", NOW_S), &[], body).await,
        (first, "duplicate".to_owned()),
        "a replay"
    );
    assert_eq!(
        post(&host, &zoom, ("", NOW_S), &[], r#"{"event":"job.started"}"#).await.1,
        "accepted"
    );
}

#[tokio::test]
async fn an_id_that_is_not_signed_is_enough_to_tell_two_deliveries_apart() {
    let id = Some(Pick::Header("x-delivery".to_owned()));
    let mut source = Source { id, dedupe: Dedupe::by([DedupeBy::Id]), ..known("zoom") };
    source.name = "own".into();
    let host = host(std::slice::from_ref(&source)).await;
    let body = r#"{"event":"job.finished"}"#;
    for (number, status) in [(1, "accepted"), (2, "accepted"), (1, "duplicate")] {
        assert_eq!(
            post(&host, &source, (&format!("d-{number}"), NOW_S + number), &[], body).await.1,
            status
        );
    }
}

#[tokio::test]
async fn where_nothing_names_an_event_nothing_is_a_duplicate() {
    let bell = Source { id: None, dedupe: Dedupe::by([]), ..open() };
    let host = host(std::slice::from_ref(&bell)).await;
    for _ in 0..3 {
        assert_eq!(
            post(&host, &bell, ("", NOW_S), &[], r#"{"event":"button.pressed"}"#).await.1,
            "accepted"
        );
    }
    assert_eq!(host.events().await.len(), 3);
}

#[tokio::test]
async fn signed_with_neither_id_nor_time_type_and_body_are_the_event() {
    let source = typed();
    let host = host(std::slice::from_ref(&source)).await;
    let (first, _) = post(&host, &source, ("", NOW_S), &[("x-type", "a")], "{}").await;
    assert_eq!(
        post(&host, &source, ("", NOW_S), &[("x-type", "a")], "{}").await,
        (first, "duplicate".to_owned())
    );
    assert_eq!(post(&host, &source, ("", NOW_S), &[("x-type", "b")], "{}").await.1, "accepted");
    assert_eq!(post(&host, &source, ("", NOW_S), &[("x-type", "a")], "{ }").await.1, "accepted");
}

#[tokio::test]
async fn a_request_without_the_id_that_its_source_goes_by_is_never_a_duplicate() {
    let stripe = known("stripe");
    let host = host(std::slice::from_ref(&stripe)).await;
    for body in [r#"{"type":"a"}"#, r#"{"type":"a","id":null}"#, r#"{"type":"a","id":{}}"#] {
        for _ in 0..2 {
            assert_eq!(post(&host, &stripe, ("", NOW_S), &[], body).await.1, "accepted", "{body}");
        }
    }
}

#[tokio::test]
async fn a_placeholder_of_stripes_test_mode_is_no_id() {
    let stripe = known("stripe");
    let host = host(std::slice::from_ref(&stripe)).await;
    let event = |id: &str, kind: &str, live: bool| {
        format!(r#"{{"id":"{id}","type":"{kind}","livemode":{live}}}"#)
    };
    let zeros = "evt_00000000000000";
    for (body, statuses) in [
        (event(zeros, "charge.succeeded", false), ["accepted", "accepted"]),
        (event(zeros, "invoice.paid", false), ["accepted", "accepted"]),
        (event("evt_0", "invoice.paid", false), ["accepted", "accepted"]),
        (event("evt_00000000000001", "invoice.paid", false), ["accepted", "duplicate"]),
        (event("evt_", "invoice.paid", false), ["accepted", "duplicate"]),
        (event("0000", "invoice.paid", false), ["accepted", "duplicate"]),
        (event(zeros, "invoice.paid", true), ["accepted", "duplicate"]),
    ] {
        for status in statuses {
            assert_eq!(post(&host, &stripe, ("", NOW_S), &[], &body).await.1, status, "{body}");
        }
    }
    let shown = &host.events().await[0];
    assert_eq!(shown.provider_id.as_deref(), Some(zeros), "it is shown all the same");
}

#[tokio::test]
async fn duplicates_are_counted_on_the_event_that_they_repeat() {
    let github = known("github");
    let host = host(std::slice::from_ref(&github)).await;
    for _ in 0..3 {
        post(&host, &github, ("d-1", NOW_S), &[], "{}").await;
    }
    post(&host, &github, ("d-2", NOW_S), &[], "{}").await;
    let counted =
        host.events().await.iter().map(|e| (e.duplicates, e.last_duplicate_ms)).collect::<Vec<_>>();
    assert_eq!(counted, [(2, Some(NOW_S * 1_000)), (0, None)]);
}

/// The parts that identify a request, as far as a source may go by them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    id: Option<String>,
    kind: String,
    at_s: i64,
    body: String,
}

/// A source that signs time and body, and has id and type in headers.
fn going_by(keys: &[DedupeBy]) -> Source {
    let mut source = known("zoom");
    if let Verify::Signature(template) = &mut source.verify {
        template.signed = vec![Part::Timestamp, Part::Literal(".".to_owned()), Part::Body];
    }
    let (id, kind) = (Some(Pick::Header("x-id".to_owned())), Pick::Header("x-type".to_owned()));
    Source { name: "acme".into(), id, kind, dedupe: Dedupe::by(keys), ..source }
}

fn identified(source: &Source, named: &Named) -> NewEvent {
    let signed =
        sign(source, named.body.as_bytes(), named.id.as_deref().unwrap_or("-"), named.at_s)
            .unwrap();
    let signed = signed.iter().filter(|(name, _)| name != "x-id" || named.id.is_some());
    let headers = signed.map(|(name, value)| (name.as_str(), value.as_bytes()));
    let headers = header_map(headers.chain([("x-type", named.kind.as_bytes())]));
    let request = Unverified::new(headers, Bytes::copy_from_slice(named.body.as_bytes()));
    let runtime = runtime(source.clone());
    let verified = request.verify(&runtime, NOW_S * 1_000).expect("it is signed");
    verified.identify(&Routes::default(), NOW_S * 1_000)
}

/// Keys are stored: another form of them would be a new one for each event that is known.
#[test]
fn the_keys_are_what_the_documentation_says() {
    let named = Named {
        id: Some("evt_1".to_owned()),
        kind: "a.b".to_owned(),
        at_s: NOW_S,
        body: r#"{"type":"a.b"}"#.to_owned(),
    };
    let key = |text: &str| -> DedupeKey { hex::decode(text).unwrap().try_into().unwrap() };
    for (by, expected) in [
        (DedupeBy::Id, "79da783f6b88a653b823f16226d5cbfc"),
        (DedupeBy::Body, "e717218f0b3280cd7c491c46623ec246"),
        (DedupeBy::TimestampAndBody, "5c68d3b4c3d0a21a948497134635882c"),
        (DedupeBy::Signed, "ba7097c36fd6b66fd35781baa5d49169"),
    ] {
        assert_eq!(identified(&going_by(&[by]), &named).dedupe, [key(expected)], "{by:?}");
    }
}

#[test]
fn an_id_that_is_too_long_to_be_shown_is_a_key_all_the_same() {
    let with = |id: String| {
        let named = Named { id: Some(id), kind: "t".into(), at_s: NOW_S, body: "{}".into() };
        identified(&going_by(&[DedupeBy::Id]), &named)
    };
    let long = "x".repeat(600);
    let (first, again) = (with(long.clone()), with(long.clone()));
    assert_eq!((first.provider_id, first.dedupe.len()), (None, 1));
    assert_eq!(first.note.as_deref(), Some("the id is longer than 512 bytes"));
    assert_eq!(first.dedupe, again.dedupe);
    assert_ne!(first.dedupe, with(format!("{long}y")).dedupe, "they differ behind the bound");
    assert_eq!(with("x".repeat(512)).provider_id.map(|id| id.len()), Some(512));
}

#[test]
fn a_key_of_one_source_is_none_of_another() {
    let named = Named {
        id: Some("ab".to_owned()),
        kind: "t".to_owned(),
        at_s: NOW_S,
        body: "{}".to_owned(),
    };
    let keys = [DedupeBy::Id, DedupeBy::Body, DedupeBy::TimestampAndBody, DedupeBy::Signed];
    let of = |name: &str, id: &str| {
        let source = Source { name: name.into(), ..going_by(&keys) };
        identified(&source, &Named { id: Some(id.to_owned()), ..named.clone() }).dedupe
    };
    let (ours, theirs) = (of("a", "ab"), of("aa", "b"));
    assert!(ours.iter().all(|key| !theirs.contains(key)));
}

fn any_named() -> impl Strategy<Value = Named> {
    // Few and short, so that many are equal, and many differ only in where one part ends.
    let id = proptest::option::weighted(0.8, "[ab]{1,2}");
    (id, "[ab]{1,2}", 0..2_i64, r#"(a|b|ab|\{\}|"a")"#).prop_map(|(id, kind, late, body)| Named {
        id,
        kind,
        at_s: NOW_S + late,
        body,
    })
}

fn any_keys() -> impl Strategy<Value = Vec<DedupeBy>> {
    proptest::sample::subsequence(
        vec![DedupeBy::Id, DedupeBy::Body, DedupeBy::TimestampAndBody, DedupeBy::Signed],
        0..=4,
    )
}

proptest! {
    // A failure is turned into a test of its own, not into a file.
    #![proptest_config(ProptestConfig {
        cases: 1_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn two_requests_are_duplicates_if_and_only_if_they_agree_in_what_their_source_goes_by(
        keys in any_keys(),
        first in any_named(),
        second in any_named(),
    ) {
        let source = going_by(&keys);
        let (one, other) = (identified(&source, &first), identified(&source, &second));
        // The type as it was found: not every body can be identified.
        let kinds = (&one.attributes.kind, &other.attributes.kind);
        let same_body = kinds.0 == kinds.1 && first.body == second.body;
        let agree = keys.iter().any(|key| match key {
            DedupeBy::Id => first.id.is_some() && first.id == second.id,
            DedupeBy::Body => same_body,
            DedupeBy::TimestampAndBody => same_body && first.at_s == second.at_s,
            DedupeBy::Signed => first.body == second.body && first.at_s == second.at_s,
        });
        prop_assert_eq!(one.dedupe.iter().any(|key| other.dedupe.contains(key)), agree);
    }
}
