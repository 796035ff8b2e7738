//! Replies as data: the answer that a provider insists on, its status for refusals, PUT.

use serde_json::json;

use super::sent;
use crate::support::{Host, SOURCE, Site, sign};

const SOURCES: &str = r#"
answer = { status = 202, content_type = "text/xml", body = "<Response/>" }
refuse_status = 403
methods = ["POST", "PUT"]
[sources.bare]
secrets = [{ env = "TEST_SECRET" }]
verify = { scheme = "hmac-sha256", header = "X-Signature" }
type = { json = "/event_type" }
answer = { status = 204 }
[sources.plain]
secrets = [{ env = "TEST_SECRET" }]
verify = { scheme = "hmac-sha256", header = "X-Signature" }
type = { json = "/event_type" }
[sources.phone]
preset = "twilio"
secrets = [{ env = "TEST_SECRET" }]
verify = { public_url = "https://hooks.example.com" }
"#;

const BODY: &str = r#"{"event_type":"step.one"}"#;

#[test]
fn a_source_answers_what_its_provider_insists_on_once_the_event_is_stored() {
    let site = Site::new(&format!("{SOURCE}{SOURCES}"), &[]);
    let host = Host::start(&site);
    let signature = sign(BODY.as_bytes());
    let signed = [("x-signature", signature.as_str())];
    let post = |path: &str| sent(&host, "POST", path, &signed, BODY);
    let first = post("/webhook/test");
    assert_eq!((first.status, first.content_type.as_str()), (202, "text/xml"), "{first:?}");
    assert_eq!(first.body, "<Response/>");
    let (id, word) = first.event.split_once(' ').unwrap();
    assert_eq!((host.event(id)["type"].clone(), word), (json!("step.one"), "accepted"));
    let again = sent(&host, "PUT", "/webhook/test", &signed, BODY);
    assert_eq!((again.status, again.body.as_str()), (202, "<Response/>"));
    assert_eq!(again.event, format!("{id} duplicate"));
    let empty = post("/webhook/bare");
    assert_eq!((empty.status, empty.body.as_str(), empty.content_type.as_str()), (204, "", ""));
    assert_eq!(host.api("/api/v1/stats")["events"], 2);
    let counted = |source: &str, code: u16| {
        host.metric(&format!(
            "hookbox_ingest_requests_total{{source=\"{source}\",reason=\"accepted\",code=\"{code}\"}}"
        ))
    };
    assert_eq!((counted("test", 202), counted("bare", 204)), (Some(1.0), Some(1.0)));
}

#[test]
fn a_refusal_has_the_status_of_its_source_and_stores_nothing() {
    let site = Site::new(&format!("{SOURCE}{SOURCES}"), &[]);
    let host = Host::start(&site);
    let wrong = [("x-signature", "00")];
    for (path, signature, status) in [
        ("/webhook/test", &wrong[..], 403),
        ("/webhook/test", &[], 403),
        ("/webhook/bare", &wrong, 401),
        ("/webhook/phone", &[], 401),
    ] {
        let refused = sent(&host, "POST", path, signature, BODY);
        assert_eq!((refused.status, refused.event.as_str()), (status, ""), "{path}: {refused:?}");
        assert!(refused.body.contains("could not be authenticated"), "{refused:?}");
    }
    for (method, path, allowed) in [
        ("PATCH", "/webhook/test", "POST, PUT, OPTIONS"),
        ("PUT", "/webhook/plain", "POST, OPTIONS"),
    ] {
        let refused = sent(&host, method, path, &[], BODY);
        assert_eq!((refused.status, refused.allow.as_str()), (405, allowed), "{refused:?}");
    }
    assert_eq!(host.api("/api/v1/stats")["events"], 0);
}

#[test]
fn what_is_sent_to_a_source_with_an_answer_of_its_own_is_acknowledged() {
    let site = Site::new(&format!("{SOURCE}{SOURCES}"), &[]);
    let host = Host::start(&site);
    let url = host.public_url.clone();
    let send = |source: &str, kind: &str| {
        let ran = site.run(&["send", source, kind, "--json", "--url", &url]);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.json()
    };
    assert_eq!(send("bare", "step.one")["http_status"], 204);
    assert_eq!(send("phone", "twilio.event")["reply"], "<Response/>");
    let data = ["send", "test", "step.one", "--data", "-", "--url", &url, "--json"];
    let twice = [site.run_with(&data, BODY).json(), site.run_with(&data, BODY).json()];
    assert_eq!(twice[0]["duplicate_of"], json!(null), "{twice:?}");
    assert!(twice[1]["duplicate_of"].is_string(), "{twice:?}");
    let body = json!({ "type": "step.one" });
    let (_, tested) = host.api_status("POST", "/api/v1/sources/bare/test", Some(body));
    let id = tested["event_id"].as_str().unwrap();
    assert_eq!((&tested["status"], host.event(id)["source"].clone()), (&json!(204), json!("bare")));
    let said = site.run(&["send", "bare", "step.one", "--url", &url]).said();
    assert!(said.contains("204 No Content") && said.contains("(no body)"), "{said}");
}

#[test]
fn the_presets_of_providers_that_insist_on_an_answer_have_it() {
    let site = Site::new("", &[]);
    for (preset, key, value) in [
        ("discord", "answer", json!("204, no body")),
        ("okta", "answer", json!("200, no body")),
        ("xero", "answer", json!("200, no body")),
        ("twilio", "answer", json!("200 text/xml <Response/>")),
        ("adyen", "answer", json!("200 text/plain [accepted]")),
        ("mailgun", "refuse_status", json!(406)),
        ("postmark", "refuse_status", json!(403)),
        ("deepgram", "methods", json!("POST, PUT")),
        ("stripe", "answer", json!(null)),
        ("stripe", "refuse_status", json!(401)),
    ] {
        let ran = site.run(&["sources", "presets", preset, "--json"]);
        assert_eq!(ran.json()[key], value, "{preset} {key}");
    }
}
