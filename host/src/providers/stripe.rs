//! Stripe: `/v1/webhook_endpoints` and `/v1/events`.
//!
//! Source: Stripe's API reference, "Webhook Endpoints" and "Events". Requests are forms. Events are
//! kept for 30 days. Secrets are rolled in the dashboard only.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{
    Api, ApiCall, ApiRequest, LoggedEvent, LoggedPage, Provider, RegisteredEndpoint, SecretText,
    encoded, texts, with_query,
};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Stripe.
#[derive(Debug)]
pub(super) struct Stripe;

impl Provider for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
    }

    fn api_url(&self) -> &'static str {
        "https://api.stripe.com"
    }

    fn api_key_env(&self) -> &'static str {
        "STRIPE_API_KEY"
    }

    fn secret_env(&self) -> &'static str {
        "STRIPE_WEBHOOK_SECRET"
    }

    fn generations(&self) -> &'static [&'static str] {
        &["v1"]
    }

    fn auth(&self) -> (&'static str, &'static str) {
        ("Authorization", "Bearer ")
    }

    fn keeps_ms(&self) -> Option<i64> {
        Some(30 * DAY_MS)
    }

    fn call(&self, api: &Api<'_>, request: &ApiRequest<'_>) -> Result<ApiCall, &'static str> {
        let endpoints = format!("{}/v1/webhook_endpoints", api.url);
        let one = |id: &str| format!("{endpoints}/{}", encoded(id));
        Ok(match *request {
            ApiRequest::Register { url, events } => {
                form(ApiCall::new("POST", endpoints), url, events)
            }
            ApiRequest::List { cursor } => {
                let query = [("limit", Some("100")), ("starting_after", cursor)];
                ApiCall::new("GET", with_query(endpoints, &query))
            }
            ApiRequest::Update { id, url, events } => {
                form(ApiCall::new("POST", one(id)), url, events)
            }
            ApiRequest::Rotate { .. } => {
                return Err(
                    "Stripe's API has no rotation: roll the secret in its dashboard, and put \
                            the new one where `secrets` names it",
                );
            }
            ApiRequest::Delete { id } => ApiCall::new("DELETE", one(id)),
            ApiRequest::Events { cursor, limit } => {
                let limit = limit.to_string();
                let query = [("limit", Some(&*limit)), ("starting_after", cursor)];
                ApiCall::new("GET", with_query(format!("{}/v1/events", api.url), &query))
            }
        })
    }

    fn endpoint(&self, answer: &Value) -> Option<RegisteredEndpoint> {
        let text = |name: &str| answer[name].as_str().map(str::to_owned);
        Some(RegisteredEndpoint {
            id: text("id")?,
            url: text("url").unwrap_or_default(),
            events: texts(&answer["enabled_events"]),
            status: text("status"),
            secret: text("secret").map(SecretText),
        })
    }

    fn endpoints(&self, answer: &Value) -> Option<(Vec<RegisteredEndpoint>, Option<String>)> {
        let list = answer["data"].as_array()?.iter().filter_map(|one| self.endpoint(one));
        let list: Vec<_> = list.collect();
        let has_more = answer["has_more"] == true;
        let last = if has_more { list.last().map(|last| last.id.clone()) } else { None };
        Some((list, last))
    }

    fn events(&self, body: &[u8]) -> Result<LoggedPage, String> {
        let page: StripePage<'_> =
            serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let events = page.data.into_iter().map(|event| {
            let text = event.get();
            let head: EventHead = serde_json::from_str(text).map_err(|error| error.to_string())?;
            let EventHead { id, kind, created } = head;
            let at_ms = created.saturating_mul(1000);
            Ok(LoggedEvent { id, kind, at_ms, headers: Vec::new(), body: text.into() })
        });
        let events: Vec<_> = events.collect::<Result<_, String>>()?;
        let next = if page.has_more { events.last().map(|last| last.id.clone()) } else { None };
        Ok(LoggedPage { events, next })
    }

    fn refusal(&self, answer: &Value) -> Option<String> {
        let error = answer.get("error").filter(|error| !error.is_null())?;
        Some(error["message"].as_str().unwrap_or("it gives no reason").to_owned())
    }
}

/// The call with the form of an endpoint.
fn form(call: ApiCall, url: &str, events: &[String]) -> ApiCall {
    let all = ["*".to_owned()];
    let events = if events.is_empty() { all.as_slice() } else { events };
    let mut text = format!("url={}", encoded(url));
    for kind in events {
        text.push_str("&enabled_events%5B%5D=");
        text.push_str(&encoded(kind));
    }
    ApiCall { body: Some(("application/x-www-form-urlencoded", text)), ..call }
}

#[derive(Deserialize)]
struct StripePage<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    has_more: bool,
}

#[derive(Deserialize)]
struct EventHead {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    created: i64,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_of_events_goes_on_after_its_last_one() {
        let event = |id: &str| json!({ "id": id, "type": "charge.failed", "created": 1_000 });
        let page = json!({ "data": [event("evt_2"), event("evt_1")], "has_more": true });
        let read = Stripe.events(page.to_string().as_bytes()).unwrap();
        assert_eq!((read.events.len(), read.next.as_deref()), (2, Some("evt_1")));
        assert_eq!(read.events[0].at_ms, 1_000_000);
        assert_eq!(serde_json::from_slice::<Value>(&read.events[0].body).unwrap(), event("evt_2"));
        let last = json!({ "data": [], "has_more": false }).to_string();
        assert_eq!(Stripe.events(last.as_bytes()).unwrap(), LoggedPage::default());
    }

    #[test]
    fn a_registration_is_a_form_and_every_type_is_a_star() {
        let api = Api { url: "https://api.stripe.com", generation: "v1" };
        let call = |events: &[String]| {
            let request = ApiRequest::Register { url: "https://a.example/webhook/s", events };
            Stripe.call(&api, &request).unwrap().body.unwrap().1
        };
        let url = "url=https%3A%2F%2Fa.example%2Fwebhook%2Fs";
        assert_eq!(call(&[]), format!("{url}&enabled_events%5B%5D=%2A"));
        let one = ["charge.failed".to_owned()];
        assert_eq!(call(&one), format!("{url}&enabled_events%5B%5D=charge.failed"));
        let endpoint = json!({ "id": "we_1", "url": "u", "enabled_events": ["*"], "secret": "s" });
        assert!(Stripe.endpoint(&endpoint).unwrap().events.is_empty());
    }
}
