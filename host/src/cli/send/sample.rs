//! Samples of a provider's requests: payloads as data where a provider is known, and otherwise a
//! body in which the source finds its type, id and subject.

use serde_json::{Map, Value, json};

use super::set::{Assignment, put};
use crate::config::source::Pick;
use crate::config::{Source, presets};
use crate::event::form;

mod joined;

/// The event types of a preset for which there is a sample of their own, sorted.
pub(super) fn types(preset: &str) -> Vec<&'static str> {
    let samples = presets::samples(preset).iter().map(|(kind, _)| kind.as_str());
    let mut types: Vec<_> = samples.filter(|kind| !kind.contains('*')).collect();
    types.sort_unstable();
    types
}

/// Makes bodies of one type for one source.
#[derive(Debug)]
pub(super) struct Sample {
    /// The places of the values that make the type, with the values; `None` is nothing.
    kind: Vec<(Pick, Option<String>)>,
    pick_id: Option<Pick>,
    pick_subject: Option<Pick>,
    template: SampleBody,
    set: Vec<Assignment>,
    /// The field of a form that wraps JSON, if this provider sends such forms.
    form: Option<String>,
    /// Whether a member that no provider sends makes every body another one.
    varied: bool,
}

/// The member that makes a body that was given another one.
const MARK: &str = "hookbox_bench";

/// The help for a body that cannot have the mark.
const WANTED: &str = "give a JSON object, because every event gets a member with a fresh id";

#[derive(Debug)]
enum SampleBody {
    /// Completed for every event.
    Json(Value),
    /// Sent as it is.
    Bytes(Vec<u8>),
}

/// One event, not signed yet.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) body: Vec<u8>,
    /// The provider's id of the delivery.
    pub(super) id: String,
    /// Headers in which the source looks for the type or the subject.
    pub(super) headers: Vec<(String, String)>,
}

impl Sample {
    /// `data` is a body to send instead of a sample.
    pub(super) fn new(
        source: &Source,
        kind: &str,
        data: Option<Vec<u8>>,
        set: Vec<Assignment>,
    ) -> Result<Self, String> {
        let values = joined::kind_values(source, kind)?;
        let template = match data {
            None => SampleBody::Json(payload(source, kind)),
            Some(data) => body(data, &values, &set)?,
        };
        let sample = Self {
            kind: values,
            form: source.form.clone(),
            pick_id: source.id.clone(),
            pick_subject: source.subject.clone(),
            template,
            set,
            varied: false,
        };
        // A path that does not fit is found now, not at the first event.
        sample.json("").transpose()?;
        Ok(sample)
    }

    /// The same, but no two bodies are alike: a JSON object gets a member with a fresh id.
    pub(super) fn varied(mut self) -> Result<Self, String> {
        if let SampleBody::Bytes(bytes) = &self.template {
            let value =
                serde_json::from_slice(bytes).map_err(|error| format!("the event is not JSON ({error}): {WANTED}"))?;
            self.template = SampleBody::Json(value);
        }
        if !matches!(&self.template, SampleBody::Json(value) if value.is_object()) {
            return Err(format!("the event is JSON, but no object: {WANTED}"));
        }
        self.varied = true;
        self.json("").transpose()?;
        Ok(self)
    }

    pub(super) fn content_type(&self) -> &'static str {
        match &self.template {
            SampleBody::Json(_) => "application/json",
            SampleBody::Bytes(bytes) if serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok() => {
                "application/json"
            }
            SampleBody::Bytes(bytes) if self.form.as_ref().is_some_and(|field| is_form(bytes, field)) => {
                form::MEDIA_TYPE
            }
            SampleBody::Bytes(_) => "application/octet-stream",
        }
    }

    /// An event with fresh ids.
    pub(super) fn make(&self) -> Made {
        let id = fresh_id();
        let body = match &self.template {
            SampleBody::Bytes(bytes) => bytes.clone(),
            SampleBody::Json(_) => {
                let body = self.json(&id).and_then(Result::ok).expect("the paths were tried before");
                body.to_string().into_bytes()
            }
        };
        let subject = format!("subject_{id}");
        let in_header = |pick: &Pick, value: &str| match pick {
            Pick::Header(name) => Some((name.clone(), value.to_owned())),
            _ => None,
        };
        let kind = self.kind.iter().filter_map(|(pick, value)| in_header(pick, value.as_ref()?));
        let about = self.pick_subject.iter().flat_map(joined::values).filter_map(|pick| in_header(pick, &subject));
        let headers = kind.chain(about).collect();
        Made { body, id, headers }
    }

    /// The body with `id` in its place, unless it is sent as it is.
    fn json(&self, id: &str) -> Option<Result<Value, String>> {
        let SampleBody::Json(template) = &self.template else { return None };
        let mut body = template.clone();
        fill(&mut body, id);
        if self.varied
            && let Some(members) = body.as_object_mut()
        {
            members.insert(MARK.to_owned(), Value::String(id.to_owned()));
        }
        let filled = self.picks(&mut body, id).and_then(|()| self.set.iter().try_for_each(|set| set.apply(&mut body)));
        Some(filled.map(|()| body))
    }

    fn picks(&self, body: &mut Value, id: &str) -> Result<(), String> {
        if let Some(Pick::Json(pointer)) = &self.pick_id {
            put(body, &tokens(pointer), Value::String(id.to_owned()))?;
        }
        for pick in self.pick_subject.iter().flat_map(joined::values) {
            if let Pick::Json(pointer) = pick
                && body.pointer(pointer).is_none()
            {
                put(body, &tokens(pointer), Value::String(format!("subject_{id}")))?;
            }
        }
        for (pick, value) in &self.kind {
            let Pick::Json(pointer) = pick else { continue };
            match value {
                Some(value) => put(body, &tokens(pointer), Value::String(value.clone()))?,
                // The type that is asked for is one without it.
                None => body.pointer_mut(pointer).into_iter().for_each(|value| *value = Value::Null),
            }
        }
        Ok(())
    }
}

/// Whether a body is a form with this field.
fn is_form(body: &[u8], field: &str) -> bool {
    form::field(body, field).is_ok_and(|value| value.is_some())
}

/// A body that was given: left as it is unless its type is another or members are to be set.
fn body(data: Vec<u8>, kind: &[(Pick, Option<String>)], set: &[Assignment]) -> Result<SampleBody, String> {
    let Ok(value) = serde_json::from_slice::<Value>(&data) else {
        return if set.is_empty() {
            Ok(SampleBody::Bytes(data))
        } else {
            Err("--set needs --data that is JSON".to_owned())
        };
    };
    let fits = kind.iter().all(|(pick, wanted)| match pick {
        Pick::Json(pointer) => {
            let there = value.pointer(pointer).filter(|value| !value.is_null());
            there.is_some() == wanted.is_some() && there.and_then(Value::as_str) == wanted.as_deref()
        }
        Pick::Header(_) | Pick::Fixed(_) | Pick::Joined(_) => true,
    });
    Ok(if fits && set.is_empty() { SampleBody::Bytes(data) } else { SampleBody::Json(value) })
}

/// The preset's sample of this type, or one in which any source finds its attributes.
fn payload(source: &Source, kind: &str) -> Value {
    let samples = source.preset.as_deref().map_or(&[][..], presets::samples);
    let of = |kind: &str| samples.iter().find(|(known, _)| known == kind);
    let fallback = if kind.ends_with(".fail") { "*.fail" } else { "*" };
    match of(kind).or_else(|| of(fallback)) {
        Some((_, body)) => serde_json::from_str(body).expect("presets are checked to hold JSON"),
        None => json!({ "id": "{id}", "message": "a sample event" }),
    }
}

fn fill(value: &mut Value, id: &str) {
    match value {
        Value::String(text) if text.contains("{id}") => *text = text.replace("{id}", id),
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, id)),
        Value::Object(members) => Map::values_mut(members).for_each(|member| fill(member, id)),
        _ => {}
    }
}

/// The reference tokens of a JSON pointer (RFC 6901 §3, §4).
pub(super) fn tokens(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~")).collect()
}

/// 128 random bits.
fn fresh_id() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::{Dedupe, DedupeBy, EventTypes, Joined, Verify};

    fn source(preset: Option<&str>, kind: Pick, id: Option<Pick>, subject: Option<Pick>) -> Source {
        let preset = preset.map(str::to_owned);
        Source {
            name: "acme".into(),
            preset,
            verify: Verify::None,
            kind,
            id,
            dedupe: Dedupe::by([DedupeBy::Id]),
            subject,
            max_body_bytes: None,
            form: Some("payload".to_owned()),
            types: EventTypes::Any,
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
            assert!(body["event_data"]["video_id"].is_string() && body["event_data"][field].is_string(), "{body}");
        }
    }

    #[test]
    fn a_source_finds_its_attributes_in_a_sample() {
        let source = source(None, json_pick("/event/type"), Some(json_pick("/id~1x")), Some(json_pick("/order/0/id")));
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
        assert_eq!(sample("issues.closed", Some(b"{ \"action\":\"closed\"}")).1, "{ \"action\":\"closed\"}");
        assert_eq!(sample("issues", Some(b"{ \"action\":\"closed\"}")).1, "{\"action\":null}");
    }

    #[test]
    fn a_form_is_sent_as_one_where_the_provider_sends_forms() {
        let source = source(None, Pick::Header("x-type".to_owned()), None, None);
        let sent = |data: &[u8]| Sample::new(&source, "push", Some(data.to_vec()), Vec::new()).unwrap().content_type();
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
        let other = Sample::new(&heygen(), "avatar_video.success", Some(data.clone()), Vec::new()).unwrap();
        assert_eq!(body(&other)["event_type"], "avatar_video.success");
        let set = vec!["event_data.video_id=v1".parse().unwrap()];
        let set = Sample::new(&heygen(), "avatar_video.fail", Some(data), set).unwrap();
        assert_eq!(body(&set)["event_data"]["video_id"], "v1");
        assert!(Sample::new(&heygen(), "x", Some(b"text".to_vec()), vec!["a=1".parse().unwrap()]).is_err());
    }

    #[test]
    fn a_given_body_that_is_varied_is_another_event_each_time() {
        let data = br#"{"event_type":"avatar_video.fail","event_data":{"video_id":"v1"}}"#.to_vec();
        let sample = Sample::new(&heygen(), "avatar_video.fail", Some(data), Vec::new()).unwrap().varied().unwrap();
        let (first, second) = (body(&sample), body(&sample));
        assert_eq!(
            (&first["event_type"], &first["event_data"]["video_id"]),
            (&"avatar_video.fail".into(), &"v1".into())
        );
        assert_ne!(first[MARK], second[MARK]);
        let text = Sample::new(&heygen(), "x", Some(b"text".to_vec()), Vec::new()).unwrap();
        assert!(text.varied().unwrap_err().contains("the event is not JSON (expected ident at line 1 column 2)"));
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
}
