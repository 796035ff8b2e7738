//! Whole requests as a provider would send them: where a signature stands in the address or in the
//! body, or covers a form, the address and the body are made to fit.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::keyed::scheme;
use super::message::{Message, MessageTemplate};
use super::sign::{NOT_OURS, SignError, check_own_key, sign, time_text};
use crate::config::source::{Field, Part, Pick, Place, Signature, Source, Timestamp, Verify};
use crate::event::form;
use crate::ingest::head::Head;
use crate::ingest::identify::json::Pointers;

/// A request, signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedParts {
    /// Signature, timestamp, id and what else is signed, where the source has them in headers.
    pub headers: Vec<(String, String)>,
    /// The query of the address.
    pub query: Option<String>,
    /// The body.
    pub body: Vec<u8>,
    /// The media type of the body, if it is another one than before.
    pub content_type: Option<&'static str>,
}

/// The request that the source's provider would send with `body`, made with the first active
/// secret.
///
/// # Errors
/// The source has no secret, or its signature covers what only the provider has.
pub fn sign_request(
    source: &Source,
    body: &[u8],
    id: &str,
    unix_seconds: i64,
) -> Result<SignedParts, SignError> {
    let Verify::Signature(first) = &source.verify else {
        return plain(source, body, id, unix_seconds);
    };
    // The rule without a condition fits every request.
    let rule = first.all().find(|rule| rule.when.is_empty()).unwrap_or(first);
    let is_plain = rule.signatures.first().is_none_or(|field| field.place.header().is_some())
        && rule.timestamp.as_ref().is_none_or(|rule| rule.field.place.header().is_some())
        && rule.each.is_none()
        && rule.others.is_empty()
        && first.others.is_empty()
        && !rule.signed.iter().any(is_special);
    if is_plain {
        return plain(source, body, id, unix_seconds);
    }
    Maker::new(source, rule, id, unix_seconds)?.request(body)
}

fn is_special(part: &Part) -> bool {
    matches!(
        part,
        Part::Header(_)
            | Part::HeaderList(_)
            | Part::Form
            | Part::FormValue(_)
            | Part::Json(_)
            | Part::Optional(_)
    )
}

fn plain(source: &Source, body: &[u8], id: &str, s: i64) -> Result<SignedParts, SignError> {
    let headers = sign(source, body, id, s)?;
    Ok(SignedParts { headers, query: None, body: body.to_vec(), content_type: None })
}

/// Makes one request.
struct Maker<'a> {
    source: &'a Source,
    rule: &'a Signature,
    field: &'a Field,
    id: &'a str,
    unix_seconds: i64,
    timestamp: String,
}

impl<'a> Maker<'a> {
    fn new(
        source: &'a Source,
        rule: &'a Signature,
        id: &'a str,
        unix_seconds: i64,
    ) -> Result<Self, SignError> {
        check_own_key(source, rule)?;
        let missing = || SignError::NoSignatureHeader { name: source.name.to_string() };
        let field = rule.signatures.first().ok_or_else(missing)?;
        let timestamp = time_text(rule.timestamp.as_ref(), unix_seconds);
        Ok(Self { source, rule, field, id, unix_seconds, timestamp })
    }

    fn request(&self, body: &[u8]) -> Result<SignedParts, SignError> {
        let mut json = serde_json::from_slice::<Value>(body).unwrap_or(Value::Null);
        let mut headers = self.headers();
        if let Some(Timestamp { field, .. }) = &self.rule.timestamp {
            match &field.place {
                Place::Json(pointer) => {
                    let time = self
                        .timestamp
                        .parse::<i64>()
                        .map_or_else(|_| Value::String(self.timestamp.clone()), Value::from);
                    put(&mut json, pointer, time);
                }
                Place::Header(name) if self.field.place.header() != Some(name) => {
                    headers.push((name.clone(), format!("{}{}", field.prefix, self.timestamp)));
                }
                _ => {}
            }
        }
        let (body, content_type) = self.body(body, &json);
        let signs_body = !matches!(self.field.place, Place::Json(_));
        let mut signed = SignedParts { headers, query: None, body, content_type };
        if signs_body {
            self.place(&mut signed)?;
        } else {
            self.place_in_json(&mut signed, json)?;
        }
        Ok(signed)
    }

    /// The headers that are signed, and the id.
    fn headers(&self) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        if let Some(Pick::Header(name)) = &self.source.id {
            headers.push((name.clone(), self.id.to_owned()));
        }
        let time = self.rule.timestamp.as_ref().and_then(|rule| rule.field.place.header());
        for part in &self.rule.signed {
            match part {
                Part::Header(name) if headers.iter().all(|(known, _)| known != name) => {
                    headers.push((name.clone(), self.id.to_owned()));
                }
                Part::HeaderList(name) => {
                    let listed = time.into_iter().chain([name.as_str()]);
                    headers.push((name.clone(), listed.collect::<Vec<_>>().join(",")));
                }
                _ => {}
            }
        }
        headers
    }

    /// The body as a form, if fields of a form are signed.
    fn body(&self, given: &[u8], json: &Value) -> (Vec<u8>, Option<&'static str>) {
        let fields = self.rule.signed.iter().find_map(|part| match part {
            Part::FormValue(name) => Some(vec![(name.clone(), json.to_string())]),
            Part::Form => Some(match &self.source.form {
                Some(field) => vec![(field.clone(), json.to_string())],
                None => self.form_fields(json),
            }),
            _ => None,
        });
        if fields.is_some() && json.is_null() && !given.is_empty() {
            // It is a form already.
            return (given.to_vec(), Some(form::MEDIA_TYPE));
        }
        let Some(fields) = fields else {
            let is_given = serde_json::from_slice::<Value>(given).is_ok_and(|it| it == *json);
            let body =
                if is_given || json.is_null() { given.to_vec() } else { json.to_string().into() };
            return (body, None);
        };
        let escaped = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let pairs =
            fields.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
        (pairs.collect::<Vec<_>>().join("&").into_bytes(), Some(form::MEDIA_TYPE))
    }

    fn form_fields(&self, json: &Value) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let members = json.as_object().into_iter().flatten();
        let mut fields: Vec<_> = members.map(|(name, value)| (name.clone(), text(value))).collect();
        if let Some(Pick::Form(name)) = &self.source.id {
            fields.retain(|(known, _)| known != name);
            fields.push((name.clone(), self.id.to_owned()));
        }
        fields
    }

    /// Signs the request and puts the signature into a header, the query or the form.
    fn place(&self, signed: &mut SignedParts) -> Result<(), SignError> {
        let text = self.signature(signed, &signed.body)?;
        match &self.field.place {
            Place::Header(name) => {
                let time = self.rule.timestamp.as_ref();
                let time = time.filter(|rule| rule.field.place == self.field.place);
                let text = match (time, self.field.separator) {
                    (Some(rule), Some(separator)) => {
                        format!("{}{}{separator}{text}", rule.field.prefix, self.timestamp)
                    }
                    _ => text,
                };
                signed.headers.push((name.clone(), text));
            }
            Place::Query(name) => {
                let escaped = utf8_percent_encode(&text, NON_ALPHANUMERIC);
                signed.query = Some(format!("{name}={escaped}"));
            }
            Place::Form(name) => {
                let escaped = utf8_percent_encode(&text, NON_ALPHANUMERIC);
                let start = format!("{name}=");
                let others = signed.body.split(|byte| *byte == b'&');
                let others = others.filter(|pair| !pair.starts_with(start.as_bytes()));
                let own = format!("{start}{escaped}");
                let pairs: Vec<_> = others.chain([own.as_bytes()]).collect();
                signed.body = pairs.join(&b'&');
            }
            Place::Json(_) => {}
        }
        Ok(())
    }

    /// Signs the body, or each item of it, and puts the signatures there.
    fn place_in_json(&self, signed: &mut SignedParts, mut json: Value) -> Result<(), SignError> {
        let Place::Json(pointer) = &self.field.place else { return Ok(()) };
        let none = Value::Array(Vec::new());
        match &self.rule.each {
            Some(each) => {
                let items = json.pointer(each).unwrap_or(&none).as_array().cloned();
                let mut made = Vec::new();
                for mut item in items.unwrap_or_default() {
                    let text = self.signature(signed, item.to_string().as_bytes())?;
                    put(&mut item, pointer, Value::String(text));
                    made.push(item);
                }
                put(&mut json, each, Value::Array(made));
            }
            None => {
                let text = self.signature(signed, json.to_string().as_bytes())?;
                put(&mut json, pointer, Value::String(text));
            }
        }
        signed.body = json.to_string().into_bytes();
        Ok(())
    }

    /// The text of the signature of what has been made so far.
    fn signature(&self, signed: &SignedParts, json: &[u8]) -> Result<String, SignError> {
        let name = || self.source.name.to_string();
        let only = |what: &str| SignError::OnlyProvider { name: name(), what: what.to_owned() };
        let scheme = scheme(self.rule, &self.source.secrets)
            .map_err(|what| SignError::NoSecret { name: name(), what })?;
        let mut pointers = Pointers::default();
        let url = self.rule.public_url.as_deref();
        let template =
            MessageTemplate::with(self.rule, url, &mut pointers).map_err(|what| only(&what))?;
        let found = pointers.find(json, "").unwrap_or_else(|_| pointers.nothing());
        let head = self.head(signed);
        let message = Message {
            timestamp: Some(self.timestamp.as_bytes()),
            id: Some(self.id.as_bytes()),
            found: &found,
            now_ms: self.unix_seconds.saturating_mul(1_000),
            ..Message::plain(&template, &head, &signed.body)
        };
        let bytes = scheme.sign(&message).ok_or_else(|| only(NOT_OURS))?;
        Ok(format!("{}{}", self.field.prefix, self.rule.encoding.encode(&bytes)))
    }

    fn head(&self, signed: &SignedParts) -> Head {
        let mut headers = HeaderMap::new();
        for (name, value) in &signed.headers {
            if let (Ok(name), Ok(value)) =
                (name.parse::<HeaderName>(), value.parse::<HeaderValue>())
            {
                headers.append(name, value);
            }
        }
        if let Some(kind) = signed.content_type {
            headers.insert(axum::http::header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        let uri = format!("/webhook/{}", self.source.name).parse().unwrap_or_default();
        Head { method: Method::POST, uri, headers }
    }
}

/// Puts a value at a pointer, with objects on the way.
fn put(json: &mut Value, pointer: &str, value: Value) {
    let mut at = json;
    for token in crate::ingest::identify::items::tokens(pointer) {
        at = match at {
            Value::Array(items) => match token.parse::<usize>() {
                Ok(index) if index < items.len() => &mut items[index],
                _ => return,
            },
            other => {
                if !other.is_object() {
                    *other = Value::Object(Map::new());
                }
                let Value::Object(members) = other else { return };
                members.entry(token).or_insert(Value::Null)
            }
        };
    }
    *at = value;
}
