//! The content of samples, with and without a given body.

use super::*;
use crate::config::source::{Dedupe, DedupeBy, EventTypes, Joined, Secrets, Verify};

fn source(preset: Option<&str>, kind: Pick, id: Option<Pick>, subject: Option<Pick>) -> Source {
    let preset = preset.map(str::to_owned);
    Source {
        name: "acme".into(),
        preset,
        verify: Verify::None,
        secrets: Secrets::Set(Vec::new()),
        provider: Default::default(),
        secret_places: Vec::new(),
        kind,
        id,
        dedupe: Dedupe::by([DedupeBy::Id]),
        subject,
        max_body_bytes: None,
        form: Some("payload".to_owned()),
        split: None,
        cloudevents: false,
        origins: Vec::new(),
        types: EventTypes::Any,
        trust_traceparent: false,
        handshakes: Vec::new(),
        replies: Default::default(),
        params: std::collections::BTreeMap::new(),
    }
}

fn json_pick(pointer: &str) -> Pick {
    Pick::Json(pointer.to_owned())
}

fn heygen() -> Source {
    let id = Some(Pick::Header("heygen-event-id".to_owned()));
    source(Some("heygen"), json_pick("/event_type"), id, Some(json_pick("/event_data/callback_id")))
}

fn body(sample: &Sample) -> Value {
    serde_json::from_slice(&sample.make().body).unwrap()
}

#[test]
fn a_known_type_has_the_fields_its_provider_documents() {
    let sample = Sample::new(&heygen(), "avatar_video.success", None, Vec::new()).unwrap();
    let body = body(&sample);
    assert_eq!(body["event_type"], "avatar_video.success");
    let id = body["event_data"]["video_id"].as_str().unwrap();
    assert_eq!(id.len(), 32);
    assert_eq!(body["event_data"]["url"], format!("https://files.example.com/video/{id}.mp4"));
    assert!(body["event_data"]["callback_id"].is_string());
}

#[test]
fn an_unknown_type_of_a_known_provider_has_a_video_id() {
    for (kind, field) in [("hyperframes_video.success", "url"), ("live_avatar.fail", "msg")] {
        let body = body(&Sample::new(&heygen(), kind, None, Vec::new()).unwrap());
        assert!(
            body["event_data"]["video_id"].is_string() && body["event_data"][field].is_string(),
            "{body}"
        );
    }
}

#[test]
fn a_source_finds_its_attributes_in_a_sample() {
    let source = source(
        None,
        json_pick("/event/type"),
        Some(json_pick("/id~1x")),
        Some(json_pick("/order/0/id")),
    );
    let sample = Sample::new(&source, "acme.order", None, Vec::new()).unwrap();
    let (body, made) = (body(&sample), sample.make());
    assert_eq!(body["event"]["type"], "acme.order");
    assert!(body.pointer("/order/0/id").unwrap().is_string());
    assert_eq!(serde_json::from_slice::<Value>(&made.body).unwrap()["id/x"], made.id);
}

#[test]
fn what_a_source_takes_from_headers_stands_in_headers() {
    let header = |name: &str| Pick::Header(name.to_owned());
    let source = source(None, header("x-type"), Some(header("x-id")), Some(header("x-subject")));
    let made = Sample::new(&source, "push", None, Vec::new()).unwrap().make();
    assert_eq!(made.headers[0], ("x-type".to_owned(), "push".to_owned()));
    assert_eq!(made.headers[1].0, "x-subject");
}

#[test]
fn a_type_is_taken_apart_into_what_it_is_joined_of() {
    let action = (".".to_owned(), json_pick("/action"));
    let values = vec![(String::new(), Pick::Header("x-event".to_owned())), action];
    let source = source(None, Pick::Joined(Joined { values, end: String::new() }), None, None);
    let sample = |kind: &str, data: Option<&[u8]>| {
        let made = Sample::new(&source, kind, data.map(<[u8]>::to_vec), Vec::new()).unwrap().make();
        (made.headers, String::from_utf8(made.body).unwrap())
    };
    let (headers, body) = sample("pull_request.opened", None);
    assert_eq!(headers, [("x-event".to_owned(), "pull_request".to_owned())]);
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["action"], "opened");
    let (headers, body) = sample("push", Some(b"{ \"ref\":1}"));
    assert_eq!((headers[0].1.as_str(), body.as_str()), ("push", "{ \"ref\":1}"));
    assert_eq!(
        sample("issues.closed", Some(b"{ \"action\":\"closed\"}")).1,
        "{ \"action\":\"closed\"}"
    );
    assert_eq!(sample("issues", Some(b"{ \"action\":\"closed\"}")).1, "{\"action\":null}");
}

#[test]
fn a_form_is_sent_as_one_where_the_provider_sends_forms() {
    let source = source(None, Pick::Header("x-type".to_owned()), None, None);
    let sent = |data: &[u8]| {
        Sample::new(&source, "push", Some(data.to_vec()), Vec::new()).unwrap().content_type()
    };
    assert_eq!(sent(b"payload=%7B%7D"), "application/x-www-form-urlencoded");
    assert_eq!(sent(b"a=%7B%7D"), "application/octet-stream");
    assert_eq!(sent(b"{}"), "application/json");
}

#[test]
fn every_event_is_another_one() {
    let sample = Sample::new(&heygen(), "avatar_video.success", None, Vec::new()).unwrap();
    assert_ne!(sample.make().body, sample.make().body);
}

#[test]
fn a_given_body_is_sent_byte_for_byte_unless_it_has_to_change() {
    let data = br#"{ "event_type":"avatar_video.fail" , "event_data": {}}"#.to_vec();
    let same = Sample::new(&heygen(), "avatar_video.fail", Some(data.clone()), Vec::new()).unwrap();
    assert_eq!(same.make().body, data);
    let other =
        Sample::new(&heygen(), "avatar_video.success", Some(data.clone()), Vec::new()).unwrap();
    assert_eq!(body(&other)["event_type"], "avatar_video.success");
    let set = vec!["event_data.video_id=v1".parse().unwrap()];
    let set = Sample::new(&heygen(), "avatar_video.fail", Some(data), set).unwrap();
    assert_eq!(body(&set)["event_data"]["video_id"], "v1");
    assert!(
        Sample::new(&heygen(), "x", Some(b"text".to_vec()), vec!["a=1".parse().unwrap()]).is_err()
    );
}

#[test]
fn a_given_body_that_is_varied_is_another_event_each_time() {
    let data = br#"{"event_type":"avatar_video.fail","event_data":{"video_id":"v1"}}"#.to_vec();
    let sample = Sample::new(&heygen(), "avatar_video.fail", Some(data), Vec::new())
        .unwrap()
        .varied()
        .unwrap();
    let (first, second) = (body(&sample), body(&sample));
    assert_eq!(
        (&first["event_type"], &first["event_data"]["video_id"]),
        (&"avatar_video.fail".into(), &"v1".into())
    );
    assert_ne!(first[MARK], second[MARK]);
    let text = Sample::new(&heygen(), "x", Some(b"text".to_vec()), Vec::new()).unwrap();
    assert!(
        text.varied()
            .unwrap_err()
            .contains("the event is not JSON (expected ident at line 1 column 2)")
    );
    let source = source(None, Pick::Header("x-type".to_owned()), None, None);
    let list = Sample::new(&source, "x", Some(b"[]".to_vec()), Vec::new()).unwrap();
    assert!(list.varied().unwrap_err().contains("give a JSON object"));
}

#[test]
fn a_fixed_type_cannot_be_another() {
    let source = source(None, Pick::Fixed("acme.event".to_owned()), None, None);
    assert!(Sample::new(&source, "other", None, Vec::new()).unwrap_err().contains("`acme.event`"));
    assert!(Sample::new(&source, "acme.event", None, Vec::new()).is_ok());
}

#[test]
fn a_path_that_does_not_fit_is_found_before_anything_is_sent() {
    let set = vec!["event_data.video_id.x=1".parse().unwrap()];
    assert!(Sample::new(&heygen(), "avatar_video.success", None, set).is_err());
}
