//! HeyGen: `/v3/webhooks/…`, and the older `/v1/webhook/…`.
//!
//! Source: HeyGen's API reference, "Webhooks". In v3 the secret is shown once, a rotation ends the
//! old one at once, and a log of events can be read. The older generation has neither rotation nor
//! log, and tells of errors also with the status 200.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{
    Api, ApiCall, ApiRequest, LoggedEvent, LoggedPage, Provider, RegisteredEndpoint, SecretText,
    encoded, texts, with_query,
};

/// HeyGen.
#[derive(Debug)]
pub(super) struct HeyGen;

impl Provider for HeyGen {
    fn name(&self) -> &'static str {
        "heygen"
    }

    fn api_url(&self) -> &'static str {
        "https://api.heygen.com"
    }

    fn api_key_env(&self) -> &'static str {
        "HEYGEN_API_KEY"
    }

    fn secret_env(&self) -> &'static str {
        "HEYGEN_WEBHOOK_SECRET"
    }

    fn generations(&self) -> &'static [&'static str] {
        &["v3", "v1"]
    }

    fn auth(&self) -> (&'static str, &'static str) {
        ("X-Api-Key", "")
    }

    fn keeps_ms(&self) -> Option<i64> {
        None
    }

    fn call(&self, api: &Api<'_>, request: &ApiRequest<'_>) -> Result<ApiCall, &'static str> {
        match api.generation {
            "v1" => older(api.url, request),
            _ => Ok(current(api.url, request)),
        }
    }

    fn endpoint(&self, answer: &Value) -> Option<RegisteredEndpoint> {
        endpoint(&answer["data"])
    }

    fn endpoints(&self, answer: &Value) -> Option<(Vec<RegisteredEndpoint>, Option<String>)> {
        let data = &answer["data"];
        let list = data.as_array().or_else(|| data["endpoints"].as_array())?;
        let next = [&answer["next_token"], &answer["token"], &data["next_token"]];
        let next = next.into_iter().find_map(Value::as_str).filter(|token| !token.is_empty());
        Some((list.iter().filter_map(endpoint).collect(), next.map(str::to_owned)))
    }

    fn events(&self, body: &[u8]) -> Result<LoggedPage, String> {
        let page: LogPage<'_> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let events = page.data.into_iter().map(logged).collect::<Result<_, _>>()?;
        let token = page.next_token.or(page.token).filter(|token| !token.is_empty());
        let next = if page.has_more == Some(false) { None } else { token };
        Ok(LoggedPage { events, next })
    }

    fn refusal(&self, answer: &Value) -> Option<String> {
        let error = &answer["error"];
        let said = error.as_str().or_else(|| error["message"].as_str());
        // The older generation has 100 for success.
        let failed = answer["code"].as_i64().is_some_and(|code| code != 100);
        let said = said.or_else(|| {
            let words = answer["message"].as_str().or_else(|| answer["msg"].as_str());
            failed.then(|| words.unwrap_or("it gives no reason"))
        });
        said.map(str::to_owned)
            .or_else(|| (!error.is_null()).then(|| "it gives no reason".to_owned()))
    }
}

/// A call of `/v3`.
fn current(api_url: &str, request: &ApiRequest<'_>) -> ApiCall {
    let endpoints = format!("{api_url}/v3/webhooks/endpoints");
    let one = |id: &str| format!("{endpoints}/{}", encoded(id));
    match *request {
        ApiRequest::Register { url, events } => {
            ApiCall::new("POST", endpoints).json(&json!({ "url": url, "events": types(events) }))
        }
        ApiRequest::List { cursor } => {
            let query = [("limit", Some("100")), ("token", cursor)];
            ApiCall::new("GET", with_query(endpoints, &query))
        }
        ApiRequest::Update { id, url, events } => {
            ApiCall::new("PATCH", one(id)).json(&json!({ "url": url, "events": types(events) }))
        }
        ApiRequest::Rotate { id } => ApiCall::new("POST", format!("{}/rotate-secret", one(id))),
        ApiRequest::Delete { id } => ApiCall::new("DELETE", one(id)),
        ApiRequest::Events { cursor, limit } => {
            let limit = limit.to_string();
            let query = [("limit", Some(&*limit)), ("token", cursor)];
            ApiCall::new("GET", with_query(format!("{api_url}/v3/webhooks/events"), &query))
        }
    }
}

/// A call of `/v1`.
fn older(api_url: &str, request: &ApiRequest<'_>) -> Result<ApiCall, &'static str> {
    let at = |verb: &str| format!("{api_url}/v1/webhook/endpoint.{verb}");
    let body = |url: &str, events: &[String]| json!({ "url": url, "events": types(events) });
    Ok(match *request {
        ApiRequest::Register { url, events } => {
            ApiCall::new("POST", at("add")).json(&body(url, events))
        }
        ApiRequest::List { .. } => ApiCall::new("GET", at("list")),
        ApiRequest::Update { id, url, events } => {
            let mut body = body(url, events);
            body["endpoint_id"] = id.into();
            ApiCall::new("PATCH", at("update")).json(&body)
        }
        ApiRequest::Delete { id } => {
            ApiCall::new("DELETE", with_query(at("delete"), &[("endpoint_id", Some(id))]))
        }
        ApiRequest::Rotate { .. } => {
            return Err("v1 of HeyGen's API has no rotation: delete the endpoint and register it \
                        again, or take `api_version = \"v3\"`");
        }
        ApiRequest::Events { .. } => {
            return Err("v1 of HeyGen's API has no log of events: take `api_version = \"v3\"`");
        }
    })
}

/// The types of an endpoint; `null` is every type.
fn types(events: &[String]) -> Value {
    if events.is_empty() { Value::Null } else { json!(events) }
}

fn endpoint(value: &Value) -> Option<RegisteredEndpoint> {
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    Some(RegisteredEndpoint {
        id: text("endpoint_id")?,
        url: text("url").unwrap_or_default(),
        events: texts(&value["events"]),
        status: text("status"),
        secret: text("secret").filter(|secret| !secret.is_empty()).map(SecretText),
    })
}

#[derive(Deserialize)]
struct LogPage<'a> {
    #[serde(borrow)]
    data: Vec<LogRow<'a>>,
    next_token: Option<String>,
    token: Option<String>,
    has_more: Option<bool>,
}

#[derive(Deserialize)]
struct LogRow<'a> {
    event_id: String,
    event_type: String,
    /// As it is written: a delivery of the same event has the same bytes here.
    #[serde(borrow)]
    event_data: &'a RawValue,
    created_at: Value,
}

fn logged(row: LogRow<'_>) -> Result<LoggedEvent, String> {
    let LogRow { event_id, event_type, event_data, created_at } = row;
    let kind = Value::String(event_type);
    let body = format!(r#"{{"event_type":{kind},"event_data":{event_data}}}"#);
    let at_ms = time_ms(&created_at)
        .ok_or_else(|| format!("`created_at` of {event_id} is no time: {created_at}"))?;
    let headers = vec![("heygen-event-id", event_id.clone())];
    let kind = kind.as_str().unwrap_or_default().to_owned();
    Ok(LoggedEvent { id: event_id, kind, at_ms, headers, body: body.into_bytes() })
}

/// A time as text, as Unix seconds or as Unix milliseconds. A text without a zone is in UTC.
fn time_ms(value: &Value) -> Option<i64> {
    let Value::String(text) = value else { return unix_ms(value.as_f64()?) };
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(time.as_millisecond());
    }
    if let Ok(number) = text.parse() {
        return unix_ms(number);
    }
    let time: jiff::civil::DateTime = text.parse().ok()?;
    Some(jiff::tz::TimeZone::UTC.to_timestamp(time).ok()?.as_millisecond())
}

/// Milliseconds of a number of seconds, which has ten digits until the year 2286, or of
/// milliseconds.
fn unix_ms(number: f64) -> Option<i64> {
    let ms = if number < 1e11 { number * 1000.0 } else { number };
    (ms.is_finite() && (0.0..1e14).contains(&ms)).then_some(ms.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_the_log_has_the_bytes_that_its_delivery_had() {
        let body = br#"{"data":[{"event_id":"e1","event_type":"avatar_video.success",
            "event_data":{"b":1.50,"a":"\u00e9"},"created_at":"2026-02-03T04:05:06Z"},
            {"event_id":"e0","event_type":"x","event_data":null,"created_at":17}],
            "token":"t1","has_more":true}"#;
        let page = HeyGen.events(body).unwrap();
        let [newest, oldest] = page.events.as_slice() else { panic!("{page:?}") };
        let expected =
            r#"{"event_type":"avatar_video.success","event_data":{"b":1.50,"a":"\u00e9"}}"#;
        assert_eq!(String::from_utf8_lossy(&newest.body), expected);
        assert_eq!(newest.headers, [("heygen-event-id", "e1".to_owned())]);
        assert_eq!(newest.at_ms, 1_770_091_506_000);
        assert_eq!((oldest.at_ms, page.next.as_deref()), (17_000, Some("t1")));
        assert!(HeyGen.events(b"{}").is_err() && HeyGen.events(b"<html>").is_err());
    }

    #[test]
    fn a_time_is_read_in_every_usual_form_and_anything_else_is_told() {
        let ms = 1_770_091_506_000;
        for (written, expected) in [
            (json!("2026-02-03T04:05:06Z"), ms),
            (json!("2026-02-03T05:05:06.250+01:00"), ms + 250),
            (json!("2026-02-03T04:05:06"), ms),
            (json!("2026-02-03 04:05:06"), ms),
            (json!(1_770_091_506), ms),
            (json!(1_770_091_506.25), ms + 250),
            (json!("1770091506"), ms),
            (json!(1_770_091_506_000_i64), ms),
        ] {
            assert_eq!(time_ms(&written), Some(expected), "{written}");
        }
        for written in
            [json!(null), json!("a while ago"), json!(""), json!(-1), json!(1e300), json!("NaN")]
        {
            let row = json!({ "event_id": "e1", "event_type": "x", "event_data": 1, "created_at": written });
            let said = HeyGen.events(json!({ "data": [row] }).to_string().as_bytes()).unwrap_err();
            assert!(said.contains("`created_at` of e1 is no time"), "{said}");
        }
    }

    #[test]
    fn an_endpoint_is_read_in_both_generations_and_its_secret_is_never_shown() {
        let current = json!({ "data": { "endpoint_id": "ep_1", "url": "https://a.example",
            "events": null, "status": "enabled", "secret": "whsec_abc" } });
        let found = HeyGen.endpoint(&current).unwrap();
        assert!(found.events.is_empty() && !format!("{found:?}").contains("whsec_abc"));
        let older = json!({ "code": 100, "data": [{ "endpoint_id": "ep_1", "url": "u",
            "events": ["avatar_video.fail"] }], "message": null });
        let (list, next) = HeyGen.endpoints(&older).unwrap();
        assert_eq!((list.len(), next), (1, None));
        assert_eq!(HeyGen.refusal(&older), None);
        let refused = json!({ "code": 400_140, "message": "invalid url" });
        assert_eq!(HeyGen.refusal(&refused).as_deref(), Some("invalid url"));
    }

    #[test]
    fn what_the_older_generation_lacks_is_said_with_the_remedy() {
        let api = Api { url: "https://a.example", generation: "v1" };
        for request in
            [ApiRequest::Rotate { id: "x" }, ApiRequest::Events { cursor: None, limit: 1 }]
        {
            assert!(HeyGen.call(&api, &request).unwrap_err().contains("`api_version = \"v3\"`"));
        }
        let add = ApiRequest::Register { url: "https://b.example", events: &[] };
        let call = HeyGen.call(&api, &add).unwrap();
        assert_eq!(call.url, "https://a.example/v1/webhook/endpoint.add");
    }
}
