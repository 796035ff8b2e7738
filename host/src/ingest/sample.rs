//! Samples of a provider's requests, for `hookbox send` and test events: payloads as data where a
//! provider is known, and otherwise a body in which the source finds its type, id and subject.

use serde_json::{Map, Value, json};

use crate::cloudevents::HttpMode;
use crate::config::source::Pick;
use crate::config::{Source, presets};
use crate::event::form;

mod ce;
mod items;
mod joined;
mod set;
#[cfg(test)]
mod tests;

pub use items::request_of;
pub use set::Assignment;
use set::put;

/// The event types of a preset for which there is a sample of their own, sorted.
pub fn types(preset: &str) -> Vec<&'static str> {
    let mut types: Vec<_> = presets::types(preset).collect();
    types.sort_unstable();
    types
}

/// Types to suggest for a test event: those of which there is a sample, in the order of the preset.
pub fn suggested(source: &Source) -> Vec<String> {
    let own = presets::types(source.preset.as_deref().unwrap_or_default());
    match &source.kind {
        Pick::Fixed(kind) => vec![kind.clone()],
        _ => own.map(str::to_owned).collect(),
    }
}

/// Makes bodies of one type for one source.
#[derive(Debug)]
pub struct Sample {
    /// The places of the values that make the type, with the values; `None` is nothing.
    kind: Vec<(Pick, Option<String>)>,
    pick_id: Option<Pick>,
    pick_subject: Option<Pick>,
    /// Where the list is whose items are the events.
    split: Option<Vec<String>>,
    /// The form in which it is a CloudEvent.
    mode: Option<HttpMode>,
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
pub struct Made {
    /// The body.
    pub body: Vec<u8>,
    /// The provider's id of the delivery.
    pub id: String,
    /// Headers in which the source looks for the type or the subject.
    pub headers: Vec<(String, String)>,
}

impl Sample {
    /// `data` is a body to send instead of a sample.
    ///
    /// # Errors
    /// The source makes no such type, or a member cannot be set; for people.
    pub fn new(
        source: &Source,
        kind: &str,
        data: Option<Vec<u8>>,
        set: Vec<Assignment>,
    ) -> Result<Self, String> {
        let values = joined::kind_values(source, kind)?;
        let split = source.split.as_deref().map(tokens);
        let template = match data {
            None => SampleBody::Json(payload(source, kind)),
            Some(data) => body(data, &values, split.as_deref(), &set)?,
        };
        let sample = Self {
            kind: values,
            form: source.form.clone(),
            pick_id: source.id.clone(),
            pick_subject: source.subject.clone(),
            split,
            mode: source.cloudevents.then_some(HttpMode::Binary),
            template,
            set,
            varied: false,
        };
        // A path that does not fit is found now, not at the first event.
        sample.json("").transpose()?;
        Ok(sample)
    }

    /// The same, but no two bodies are alike: a JSON object gets a member with a fresh id.
    ///
    /// # Errors
    /// The body is no JSON object; for people.
    pub fn varied(mut self) -> Result<Self, String> {
        if let SampleBody::Bytes(bytes) = &self.template {
            let value = serde_json::from_slice(bytes)
                .map_err(|error| format!("the event is not JSON ({error}): {WANTED}"))?;
            self.template = SampleBody::Json(value);
        }
        let may_have_it = |value: &Value| match &self.split {
            None => value.is_object(),
            Some(path) => {
                items::list(value, path).is_some_and(|items| items.iter().all(Value::is_object))
            }
        };
        if !matches!(&self.template, SampleBody::Json(value) if may_have_it(value)) {
            return Err(format!("the event is JSON, but no object: {WANTED}"));
        }
        self.varied = true;
        self.json("").transpose()?;
        Ok(self)
    }

    /// The same as a CloudEvent in this form.
    ///
    /// # Errors
    /// The source takes no CloudEvents; for people.
    pub fn in_mode(mut self, mode: HttpMode) -> Result<Self, String> {
        if self.mode.is_none() {
            return Err("the source takes no CloudEvents: leave --form out, or set \
                        `cloudevents = true`"
                .to_owned());
        }
        self.mode = Some(mode);
        Ok(self)
    }

    /// The media type of its bodies.
    pub fn content_type(&self) -> &'static str {
        self.mode.and_then(ce::content_type).unwrap_or_else(|| self.own_type())
    }

    fn own_type(&self) -> &'static str {
        match &self.template {
            SampleBody::Json(_) => "application/json",
            SampleBody::Bytes(bytes)
                if serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok() =>
            {
                "application/json"
            }
            SampleBody::Bytes(bytes)
                if self.form.as_ref().is_some_and(|field| is_form(bytes, field)) =>
            {
                form::MEDIA_TYPE
            }
            SampleBody::Bytes(_) => "application/octet-stream",
        }
    }

    /// An event with fresh ids.
    pub fn make(&self) -> Made {
        let id = fresh_id();
        let body = match &self.template {
            SampleBody::Bytes(bytes) => bytes.clone(),
            SampleBody::Json(_) => {
                let body =
                    self.json(&id).and_then(Result::ok).expect("the paths were tried before");
                body.to_string().into_bytes()
            }
        };
        let subject = format!("subject_{id}");
        let in_header = |pick: &Pick, value: &str| match pick {
            Pick::Header(name) => Some((name.clone(), value.to_owned())),
            _ => None,
        };
        let kind = self.kind.iter().filter_map(|(pick, value)| in_header(pick, value.as_ref()?));
        let about = self
            .pick_subject
            .iter()
            .flat_map(joined::values)
            .filter_map(|pick| in_header(pick, &subject));
        let made = Made { body, id, headers: kind.chain(about).collect() };
        match self.mode {
            Some(mode) => ce::write(mode, made, self.own_type()),
            None => made,
        }
    }

    /// The body with `id` in its place, unless it is sent as it is.
    fn json(&self, id: &str) -> Option<Result<Value, String>> {
        let SampleBody::Json(template) = &self.template else { return None };
        let mut body = template.clone();
        let filled = match &self.split {
            None => {
                fill(&mut body, id);
                self.mark(&mut body, id);
                self.picks(&mut body, id, items::own)
            }
            Some(path) => self.all_picks(&mut body, path, id),
        };
        let filled = filled.and_then(|()| self.set.iter().try_for_each(|set| set.apply(&mut body)));
        Some(filled.map(|()| body))
    }

    fn mark(&self, event: &mut Value, id: &str) {
        if self.varied
            && let Some(members) = event.as_object_mut()
        {
            members.insert(MARK.to_owned(), Value::String(id.to_owned()));
        }
    }

    /// Puts the attributes into each item, and into the request beside them.
    fn all_picks(&self, body: &mut Value, path: &[String], id: &str) -> Result<(), String> {
        items::fill_all(body, path, id)?;
        self.picks(body, id, items::of_request)?;
        for (at, item) in items::made(body, path)?.iter_mut().enumerate() {
            let id = items::id(id, at);
            self.mark(item, &id);
            self.picks(item, &id, items::own)?;
        }
        Ok(())
    }

    fn picks(&self, body: &mut Value, id: &str, of: items::PointerOf) -> Result<(), String> {
        if let Some(pointer) = self.pick_id.as_ref().and_then(of) {
            put(body, &tokens(pointer), Value::String(id.to_owned()))?;
        }
        for pick in self.pick_subject.iter().flat_map(joined::values) {
            if let Some(pointer) = of(pick)
                && body.pointer(pointer).is_none()
            {
                put(body, &tokens(pointer), Value::String(format!("subject_{id}")))?;
            }
        }
        for (pick, value) in &self.kind {
            let Some(pointer) = of(pick) else { continue };
            match value {
                Some(value) => put(body, &tokens(pointer), Value::String(value.clone()))?,
                // The type that is asked for is one without it.
                None => {
                    body.pointer_mut(pointer).into_iter().for_each(|value| *value = Value::Null)
                }
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
fn body(
    data: Vec<u8>,
    kind: &[(Pick, Option<String>)],
    split: Option<&[String]>,
    set: &[Assignment],
) -> Result<SampleBody, String> {
    let Ok(value) = serde_json::from_slice::<Value>(&data) else {
        return if set.is_empty() {
            Ok(SampleBody::Bytes(data))
        } else {
            Err("--set needs --data that is JSON".to_owned())
        };
    };
    let has = |value: &Value, pointer: &str, wanted: &Option<String>| {
        let there = value.pointer(pointer).filter(|value| !value.is_null());
        there.is_some() == wanted.is_some() && there.and_then(Value::as_str) == wanted.as_deref()
    };
    let listed = split.map(|path| items::list(&value, path));
    if listed.is_some_and(|items| items.is_none()) && set.is_empty() {
        // Sent as it is: the host says what is wrong with it.
        return Ok(SampleBody::Bytes(data));
    }
    let fits = kind.iter().all(|(pick, wanted)| match (pick, listed.flatten()) {
        (Pick::Json(pointer), Some(items)) => items.iter().all(|item| has(item, pointer, wanted)),
        (Pick::Json(pointer) | Pick::Request(pointer), _) => has(&value, pointer, wanted),
        _ => true,
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
pub fn tokens(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~")).collect()
}

/// 128 random bits.
fn fresh_id() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    hex::encode(bytes)
}
