//! CloudEvents over HTTP: their three forms, what of them is kept, and who may send.

use serde_json::{Value, json};

use super::{Reply, documented, sent};
use crate::support::{Host, SOURCE, Site, agent, sign};

const SOURCES: &str = r#"
cloudevents = false
[sources.partner]
preset = "cloudevents"
secrets = [{ env = "TEST_SECRET" }]
origins = ["eventemitter.example.com", "Other.Example.com"]
[sources.signed]
secrets = [{ env = "TEST_SECRET" }]
verify = { scheme = "hmac-sha256", header = "X-Signature" }
cloudevents = true
subject = { json = "/order" }
dedupe = ["id", "body"]
[sources.open]
verify = { scheme = "none" }
cloudevents = true
[sources.grid]
preset = "azure-event-grid-cloudevents"
secrets = [{ env = "TEST_SECRET" }]
"#;

const BEARER: &str = "Bearer whsec_a_secret_for_the_tests";

const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";
const BATCH: &str = "application/cloudevents-batch+json";

fn site() -> Site {
    Site::new(&format!("{SOURCE}{SOURCES}"), &[])
}

fn post(host: &Host, source: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let headers = [&[("authorization", BEARER)], headers].concat();
    sent(host, "POST", &format!("/webhook/{source}"), &headers, body)
}

fn stored(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    serde_json::from_str(&reply.body).unwrap()
}

fn event(host: &Host, reply: &Value) -> Value {
    host.event(reply["id"].as_str().unwrap())
}

/// The value of a header that is kept with an event.
fn kept(event: &Value, name: &str) -> Value {
    let headers = event["headers"].as_array().cloned().unwrap_or_default();
    let named = headers.into_iter().find(|header| header[0] == name || header["name"] == name);
    match named {
        Some(header) if header.is_array() => header[1].clone(),
        Some(header) => header["value"].clone(),
        None => event["headers"][name].clone(),
    }
}

#[test]
fn a_structured_event_keeps_its_attributes_and_the_bytes_of_its_data() {
    let site = site();
    let host = Host::start(&site);
    let document = r#"{"specversion":"1.0","id":"1","source":"/shop/eu","type":"com.example.order.paid",
        "subject":"order 7","time":"2026-02-25T06:13:20.5Z","dataschema":"https://example.com/s",
        "partitionkey":"k 1","sequence":12,"data":{"total" : 1.50}}"#;
    let reply = stored(&post(&host, "partner", &[("content-type", STRUCTURED)], document));
    let found = event(&host, &reply);
    assert_eq!(found["type"], "com.example.order.paid", "{found}");
    assert_eq!((&found["subject"], &found["provider_id"]), (&json!("order 7"), &json!("1")));
    assert_eq!(found["datacontenttype"], "application/json");
    for (name, value) in [
        ("ce-source", "/shop/eu"),
        ("ce-time", "2026-02-25T06:13:20.5Z"),
        ("ce-dataschema", "https://example.com/s"),
        ("ce-partitionkey", "k 1"),
        ("ce-sequence", "12"),
    ] {
        assert_eq!(kept(&found, name), value, "{name}: {found}");
    }
    let body = format!("{}/api/v1/events/{}/body", host.admin_url, reply["id"].as_str().unwrap());
    let body = agent().get(body).call().unwrap().into_body().read_to_string().unwrap();
    assert_eq!(body, r#"{"total" : 1.50}"#);
    let text = r#"{"specversion":"1.0","id":"2","source":"/s","type":"t","datacontenttype":"text/plain","data_base64":"AGE="}"#;
    let found =
        event(&host, &stored(&post(&host, "partner", &[("content-type", STRUCTURED)], text)));
    assert_eq!((&found["data_base64"], &found["note"]), (&json!("AGE="), &json!(null)), "{found}");
    assert_eq!(found["datacontenttype"], "text/plain");
}

#[test]
fn the_documented_cloudevent_is_taken() {
    let section = documented("CloudEvents", "toml").replace("PARTNER_SECRET", "TEST_SECRET");
    let host = Host::start(&Site::new(&format!("{SOURCE}{section}"), &[]));
    let command = documented("CloudEvents", "sh");
    let (_, data) = command.split_once("-d '").unwrap();
    let data = data.trim_end_matches('\'');
    let found =
        event(&host, &stored(&post(&host, "partner", &[("content-type", STRUCTURED)], data)));
    assert_eq!(found["type"], "com.example.order.paid", "{found}");
    assert_eq!(
        (kept(&found, "ce-source"), &found["data"]["total"]),
        (json!("/shop/eu"), &json!(120))
    );
}

#[test]
fn a_binary_event_is_the_same_as_a_structured_one() {
    let site = site();
    let host = Host::start(&site);
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/shop/%E2%82%AC"),
        ("ce-type", "order.paid"),
        ("ce-subject", "\"order \\\"7\\\"\""),
        ("ce-tenant", "50%25"),
        ("content-type", "application/json"),
    ];
    let first = stored(&post(&host, "partner", &headers, r#"{"total":1}"#));
    let found = event(&host, &first);
    assert_eq!((&found["type"], &found["subject"]), (&json!("order.paid"), &json!("order \"7\"")));
    assert_eq!(
        (kept(&found, "ce-source"), kept(&found, "ce-tenant")),
        (json!("/shop/€"), json!("50%"))
    );
    let same = r#"{"specversion":"1.0","id":"1","source":"/shop/€","type":"order.paid","data":{}}"#;
    let second = stored(&post(&host, "partner", &[("content-type", STRUCTURED)], same));
    assert_eq!((&second["status"], &second["id"]), (&json!("duplicate"), &first["id"]));
    let other = same.replace("/shop/€", "/shop/us");
    let third = stored(&post(&host, "partner", &[("content-type", STRUCTURED)], &other));
    assert_eq!(third["status"], "accepted", "an id is one of its source: {third}");
}

#[test]
fn a_batch_is_stored_whole_and_told_event_by_event() {
    let site = site();
    let host = Host::start(&site);
    let one = |id: &str| json!({ "specversion": "1.0", "id": id, "source": "/s", "type": "a.b", "data": id });
    let batch = json!([one("1"), one("2"), one("1")]).to_string();
    let kind = [("content-type", BATCH)];
    let reply = stored(&post(&host, "partner", &kind, &batch));
    let words: Vec<_> = (0..3).map(|at| reply["events"][at]["status"].clone()).collect();
    assert_eq!(words, ["accepted", "accepted", "duplicate"], "{reply}");
    assert_eq!(stored(&post(&host, "partner", &kind, "[]"))["status"], "empty");
    let bad = json!([one("3"), { "specversion": "1.0", "id": "4", "source": "/s" }]).to_string();
    let refused = post(&host, "partner", &kind, &bad);
    assert_eq!(refused.status, 400);
    let says = "event 1 of the list, counted from 0: the required attribute `type` is missing";
    assert!(refused.body.contains(says), "{refused:?}");
    assert_eq!(host.api("/api/v1/stats")["events"], 2);
}

#[test]
fn what_is_no_cloudevent_is_refused_with_what_is_wrong() {
    let site = site();
    let host = Host::start(&site);
    let least = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-type", "t"), ("ce-source", "/s")];
    for left_out in 0..least.len() {
        let headers: Vec<_> = least.iter().copied().filter(|it| *it != least[left_out]).collect();
        let refused = post(&host, "partner", &headers, "{}");
        let name = least[left_out].0.trim_start_matches("ce-");
        let says = format!("the required attribute `{name}` is missing");
        assert!(refused.status == 400 && refused.body.contains(&says), "{refused:?}");
    }
    let json = |text: &str| text.replace('\'', "\"");
    for (kind, body, says) in [
        (
            STRUCTURED,
            json("{'specversion':'0.3','id':'1','source':'/s','type':'t'}"),
            "`specversion` is `0.3`",
        ),
        (
            STRUCTURED,
            json("{'specversion':'1.0','id':'1','source':'/s','type':'t','data_base64':'!'}"),
            "`data_base64` is not base64",
        ),
        (STRUCTURED, "[]".to_owned(), "as a JSON object"),
        (BATCH, "{}".to_owned(), "the body is no list of at most 5000 events"),
    ] {
        let refused = post(&host, "partner", &[("content-type", kind)], &body);
        assert!(refused.status == 400 && refused.body.contains(says), "{says}: {refused:?}");
    }
    let kind = [("content-type", "application/cloudevents+avro")];
    let avro = post(&host, "partner", &kind, "x");
    assert!(avro.status == 415 && avro.body.contains("+avro` is not read"), "{avro:?}");
    let refusals = host.api("/api/v1/sources/partner/refusals");
    assert_eq!(refusals["items"][0]["reason"], "bad_events", "{refusals}");
    assert!(refusals["items"][0]["hint"].as_str().unwrap().contains("avro"), "{refusals}");
    let forged = sent(&host, "POST", "/webhook/partner", &[("authorization", "Bearer x")], "{}");
    assert_eq!(forged.status, 401);
    assert_eq!(host.api("/api/v1/stats")["events"], 0);
}

#[test]
fn any_scheme_can_prove_a_cloudevent() {
    let site = site();
    let host = Host::start(&site);
    let body = r#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b","subject":"x","data":{"order":"o-7"}}"#;
    let kind = ("content-type", STRUCTURED);
    let signature = sign(body.as_bytes());
    let signed = sent(&host, "POST", "/webhook/signed", &[kind, ("x-signature", &signature)], body);
    assert_eq!(
        event(&host, &stored(&signed))["subject"],
        "o-7",
        "the section names another subject"
    );
    let unsigned = sent(&host, "POST", "/webhook/signed", &[kind], body);
    assert_eq!(unsigned.status, 401);
    assert_eq!(
        event(&host, &stored(&sent(&host, "POST", "/webhook/open", &[kind], body)))["subject"],
        "x"
    );
    let query = "/webhook/grid?token=whsec_a_secret_for_the_tests";
    assert_eq!(event(&host, &stored(&sent(&host, "POST", query, &[kind], body)))["type"], "a.b");
    let token = "/webhook/partner?access_token=whsec_a_secret_for_the_tests";
    assert_eq!(stored(&sent(&host, "POST", token, &[kind], body))["status"], "accepted");
}

#[test]
fn a_captured_event_gets_no_other_id_and_type_by_another_media_type() {
    let site = site();
    let host = Host::start(&site);
    let one = r#"{"specversion":"1.0","id":"1","source":"/s","type":"order.paid","data":{"n":1}}"#;
    let batch = format!("[{one}]");
    for (kind, body) in [(STRUCTURED, one), (BATCH, &batch)] {
        let signature = sign(body.as_bytes());
        let signed = ("x-signature", signature.as_str());
        sent(&host, "POST", "/webhook/signed", &[("content-type", kind), signed], body);
        let forged = [
            ("content-type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-id", "2"),
            ("ce-source", "/s"),
            ("ce-type", "order.refunded"),
            signed,
        ];
        let reply = sent(&host, "POST", "/webhook/signed", &forged, body);
        assert!(reply.status == 400 && reply.body.contains("application/cloudevents+json"));
        // A bearer token protects no form, so it may carry an event as data.
        let reply = stored(&post(&host, "partner", &forged[..5], body));
        assert_ne!(event(&host, &reply)["type"], "order.paid");
    }
    assert_eq!(host.api("/api/v1/stats")["events"], 2, "one of each source");
    let warned = host.api("/api/v1/config")["warnings"].to_string();
    assert!(warned.contains("`signed`") && warned.contains("{header:ce-id}"), "{warned}");
    assert!(!warned.contains("`partner`: its signature covers"), "{warned}");
}

#[test]
fn an_origin_that_is_listed_gets_consent_and_no_other() {
    let site = site();
    let host = Host::start(&site);
    let ask = |source: &str, headers: &[(&str, &str)]| {
        let mut request = ureq::http::Request::builder()
            .method("OPTIONS")
            .uri(format!("{}/webhook/{source}", host.public_url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = agent().run(request.body(()).unwrap()).unwrap();
        let header = |name: &str| {
            response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(header("allow").as_deref(), Some("POST, OPTIONS"));
        (header("webhook-allowed-origin"), header("webhook-allowed-rate"))
    };
    let origin = "webhook-request-origin";
    let consent = |name: &str, rate: &str| (Some(name.to_owned()), Some(rate.to_owned()));
    let known = (origin, "eventemitter.example.com");
    assert_eq!(ask("partner", &[known]), consent("eventemitter.example.com", "*"));
    let rated = [known, ("webhook-request-rate", "120")];
    assert_eq!(ask("partner", &rated), consent("eventemitter.example.com", "120"));
    let unlimited = [known, ("webhook-request-rate", "0")];
    assert_eq!(ask("partner", &unlimited), consent("eventemitter.example.com", "*"));
    let other = "other.example.COM";
    assert_eq!(ask("partner", &[(origin, other)]), consent(other, "*"));
    let azure = "eventgrid.azure.net";
    assert_eq!(ask("grid", &[(origin, azure)]), consent(azure, "*"));
    for (source, headers) in [
        ("partner", &[(origin, "stranger.example.com")][..]),
        ("partner", &[]),
        ("partner", &[known, (origin, "stranger.example.com")]),
        ("signed", &[known]),
    ] {
        assert_eq!(ask(source, headers), (None, None), "{source} {headers:?}");
    }
}

#[test]
fn a_cloudevent_is_sent_in_each_of_its_forms() {
    let site = site();
    let host = Host::start(&site);
    let url = host.public_url.clone();
    let send = |source: &str, more: &[&str]| {
        let arguments =
            [&["send", source, "com.example.order.paid", "--url", &url, "--json"], more];
        let ran = site.run(&arguments.concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.json()["reply"].clone()
    };
    for source in ["partner", "signed"] {
        for form in ["binary", "structured"] {
            let found = event(&host, &send(source, &["--form", form]));
            assert_eq!(found["type"], "com.example.order.paid", "{found}");
            assert_eq!(kept(&found, "ce-source"), "/hookbox/send", "{found}");
        }
    }
    assert_eq!(send("partner", &[])["status"], "accepted");
    assert_eq!(send("partner", &["--form", "batch"])["events"].as_array().unwrap().len(), 2);
    let (status, tested) =
        host.api_status("POST", "/api/v1/sources/partner/test", Some(json!({ "type": "a.b" })));
    assert_eq!((status, &tested["status"]), (200, &json!(200)), "{tested}");
    let plain = site.run(&["send", "test", "step.one", "--form", "batch", "--url", &url]);
    assert!(plain.code == 2 && plain.err.contains("the source takes no CloudEvents"), "{plain:?}");
}
