//! Lists of events: one request, several events, one commit.

use std::collections::BTreeSet;

use hookbox::fail::POINTS;
use serde_json::{Value, json};

use super::{Reply, documented, sent};
use crate::support::{Host, SOURCE, Site, agent, guest, sign, wait_for};

/// The section of docs/sources.md, and lists elsewhere.
const SOURCES: &str = r#"
[sources.acme]
secrets = [{ env = "TEST_SECRET" }]
verify = { scheme = "hmac-sha256", header = "X-Signature" }
split = "/events"
type = { json = "/kind" }
id = { json = "/id" }
subject = { request = "/account" }
[sources.bare]
secrets = [{ env = "TEST_SECRET" }]
verify = { scheme = "hmac-sha256", header = "X-Signature" }
split = ""
type = "{header:X-Topic}.{json:/kind}"
id = { header = "X-Delivery" }
[sources.tracker]
preset = "line"
secrets = [{ env = "TEST_SECRET" }]
[routes]
"acme:**" = "worker"
"#;

fn site() -> Site {
    Site::new(&format!("{SOURCE}{SOURCES}"), &[("worker.wat", &guest("ok"))])
}

fn post(host: &Host, source: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let signature = sign(body.as_bytes());
    let headers = [&[("x-signature", signature.as_str())], headers].concat();
    sent(host, "POST", &format!("/webhook/{source}"), &headers, body)
}

fn json_of(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    serde_json::from_str(&reply.body).unwrap()
}

/// The body of an event, byte for byte.
fn body_of(host: &Host, id: &str) -> String {
    let url = format!("{}/api/v1/events/{id}/body", host.admin_url);
    let answer = agent().get(url).call().unwrap();
    answer.into_body().read_to_string().unwrap()
}

#[test]
fn each_item_of_a_list_becomes_an_event_with_its_own_bytes() {
    let site = site();
    let host = Host::start(&site);
    let body = r#"{"account": "a-1", "events": [ {"kind":"order.paid", "id": 7, "sum" : 1.50 },{"id":"8","kind":"order.sent"} ]}"#;
    let reply = json_of(&post(&host, "acme", &[], body));
    assert_eq!(reply["status"], "accepted");
    let events = reply["events"].as_array().unwrap();
    let ids: Vec<&str> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!((ids.len(), ids[0]), (2, reply["id"].as_str().unwrap()));
    for (id, kind, body, provider_id) in [
        (ids[0], "order.paid", r#"{"kind":"order.paid", "id": 7, "sum" : 1.50 }"#, "7"),
        (ids[1], "order.sent", r#"{"id":"8","kind":"order.sent"}"#, "8"),
    ] {
        host.until_done(id);
        let event = host.event(id);
        assert_eq!((&event["type"], &event["subject"]), (&json!(kind), &json!("a-1")), "{event}");
        assert_eq!(event["provider_id"], provider_id, "{event}");
        assert_eq!(event["datacontenttype"], "application/json", "{event}");
        assert_eq!(body_of(&host, id), body);
    }
    let more = r#"{"account":"a-1","events":[{"kind":"order.sent","id":"8"},{"kind":"order.sent","id":"9"},{"kind":"x","id":"9"}]}"#;
    let reply = json_of(&post(&host, "acme", &[], more));
    let words = |reply: &Value| {
        let events = reply["events"].as_array().unwrap().clone();
        events.iter().map(|event| event["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(words(&reply), ["duplicate", "accepted", "duplicate"], "{reply}");
    assert_eq!((&reply["id"], &reply["status"]), (&json!(ids[1]), &json!("accepted")), "{reply}");
    assert_eq!(json_of(&post(&host, "acme", &[], body))["status"], "duplicate");
    assert_eq!(host.api("/api/v1/stats")["events"], 3);
    let source = host.api("/api/v1/sources/acme");
    assert_eq!(source["events"], "the items of /events", "{source}");
    let page = agent().get(format!("{}/sources/acme", host.admin_url)).call().unwrap();
    let page = page.into_body().read_to_string().unwrap();
    assert!(page.contains("the items of /events"), "{page}");
    assert_eq!((&source["accepted"], &source["duplicates"]), (&json!(3), &json!(4)), "{source}");
}

#[test]
fn the_documented_batch_becomes_two_events() {
    let section = documented("Batches", "toml").replace("ACME_SECRET", "TEST_SECRET");
    let host = Host::start(&Site::new(&format!("{SOURCE}{section}"), &[]));
    let reply = json_of(&post(&host, "acme", &[], &documented("Batches", "json")));
    let kinds = [0, 1].map(|at| {
        let event = host.event(reply["events"][at]["id"].as_str().unwrap());
        assert_eq!(event["subject"], "a-1", "{event}");
        event["type"].clone()
    });
    assert_eq!(kinds, ["order.paid", "order.sent"]);
}

#[test]
fn an_item_without_an_id_has_that_of_its_request_and_its_position() {
    let site = site();
    let host = Host::start(&site);
    let headers = [("x-topic", "orders"), ("x-delivery", "d-1")];
    let body = r#"[{"kind":"paid"},{"kind":"paid"}]"#;
    let reply = json_of(&post(&host, "bare", &headers, body));
    let ids: Vec<_> = [0, 1].map(|at| reply["events"][at]["id"].as_str().unwrap()).into();
    let seen: Vec<_> = ids.iter().map(|id| host.event(id)).collect();
    assert_eq!(
        (&seen[0]["provider_id"], &seen[1]["provider_id"]),
        (&json!("d-1#0"), &json!("d-1#1"))
    );
    assert_eq!(seen[1]["type"], "orders.paid");
    assert_eq!(json_of(&post(&host, "bare", &headers, body))["status"], "duplicate");
    let one = json_of(&post(&host, "bare", &[("x-delivery", "d-2")], r#"[{"kind":"paid"}]"#));
    assert_eq!(one["status"], "accepted");
    assert_eq!(one.get("events"), None, "one event is told as ever: {one}");
}

#[test]
fn a_list_with_one_bad_item_is_refused_whole_with_the_reason() {
    let site = site();
    let host = Host::start(&site);
    let long = format!("[{}1]", "1,".repeat(5_000));
    for (source, body, says) in [
        ("acme", r#"{"events":[{"kind":"a","id":"1"},5]}"#, "item 1 of the list"),
        ("acme", r#"{"events":{"kind":"a"}}"#, "`/events` of the body is no list"),
        ("acme", r#"{"kind":"a"}"#, "it is missing"),
        ("acme", r#"{"events":[{"kind":"a"}],"events":[]}"#, "it occurs twice"),
        ("acme", r#"{"events":[{"kind":"a"},]}"#, "expected value"),
        ("bare", r#"{"kind":"a"}"#, "the body is no list"),
        ("bare", long.as_str(), "more than 5000 items"),
    ] {
        let refused = post(&host, source, &[], body);
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(refused.body.contains("Nothing is stored: "), "{refused:?}");
        assert!(refused.body.contains(says), "{says}: {refused:?}");
        let seen = host.api(&format!("/api/v1/sources/{source}/refusals"));
        let last = &seen["items"][0];
        assert_eq!(last["reason"], "bad_events", "{seen}");
        assert!(last["hint"].as_str().unwrap().contains(says), "{seen}");
    }
    let forged = sent(&host, "POST", "/webhook/acme", &[("x-signature", "00")], "[5]");
    assert_eq!(forged.status, 401, "nothing is told of what is not authentic: {forged:?}");
    assert_eq!(host.api("/api/v1/stats")["events"], 0);
}

#[test]
fn the_largest_batch_of_a_provider_is_stored_in_one_commit_and_known_when_it_comes_again() {
    const COUNT: usize = 5_000;
    let site = site();
    let host = Host::start(&site);
    let items =
        (0..COUNT).map(|n| format!(r#"{{"kind":"delivered","id":"{n}","to":"a@b.example"}}"#));
    let body = format!(r#"{{"events":[{}]}}"#, items.collect::<Vec<_>>().join(","));
    let told = |reply: &Value, status: &str| {
        let events = reply["events"].as_array().unwrap();
        events.iter().filter(|event| event["status"] == status).count()
    };
    let begun = std::time::Instant::now();
    let mut late = false;
    let first = wait_for("an acknowledgement", || {
        let answer = post(&host, "acme", &[], &body);
        late |= answer.status == 503;
        (answer.status != 503).then(|| json_of(&answer))
    });
    println!("{COUNT} items, {} bytes: {:?}", body.len(), begun.elapsed());
    // A slow disk may have stored them after the first answer, and then all of them.
    let stored_late = late && told(&first, "duplicate") == COUNT;
    assert!(stored_late || told(&first, "accepted") == COUNT, "{first}");
    let again = json_of(&post(&host, "acme", &[], &body));
    assert_eq!((told(&again, "duplicate"), &again["id"]), (COUNT, &first["id"]));
    assert_eq!(host.api("/api/v1/stats")["events"], COUNT);
}

#[test]
fn an_empty_list_is_answered_and_stores_nothing() {
    let site = site();
    let host = Host::start(&site);
    let reply = json_of(&post(&host, "acme", &[], r#"{"events":[]}"#));
    assert_eq!(reply, json!({ "status": "empty", "events": [] }));
    let counted = "hookbox_ingest_requests_total{source=\"acme\",reason=\"empty\",code=\"200\"}";
    assert_eq!(host.metric(counted), Some(1.0));
    assert_eq!(host.api("/api/v1/stats")["events"], 0);
}

#[test]
fn a_host_that_is_killed_leaves_no_half_of_a_list() {
    let items: Vec<Value> = (0..200).map(|n| json!({ "kind": "a.b", "id": n })).collect();
    let body = json!({ "events": items }).to_string();
    let signature = sign(body.as_bytes());
    let mut committed = Vec::new();
    let road = POINTS.iter().take_while(|point| **point != "dispatch.leased");
    // The store commits other things as well: the request is at one of the first passages.
    for (point, passage) in road.flat_map(|point| (1..=4).map(move |passage| (*point, passage))) {
        if point.starts_with("ingest.") && passage > 1 {
            continue;
        }
        let site = site();
        let plan = format!("{point}:{passage}");
        let Some(host) = Host::start_with(&site, &[("HOOKBOX_FAIL", &plan)]) else { continue };
        let answer = agent()
            .post(format!("{}/webhook/acme", host.public_url))
            .header("x-signature", &signature)
            .send(&body);
        match answer {
            Ok(answer) => {
                // 503: a slow disk had not stored it in time.
                let status = answer.status();
                assert!(status == 200 || status == 503, "{plan}: {status}");
                host.kill();
            }
            Err(_) => drop(host.wait()),
        }
        let host = Host::start(&site);
        let events = host.api("/api/v1/stats")["events"].as_u64().unwrap();
        assert!([0, 200].contains(&events), "{plan}: {events}");
        if events == 200 {
            committed.push(point);
        }
        let again = json_of(&post(&host, "acme", &[], &body));
        assert_eq!(again["status"], if events == 0 { "accepted" } else { "duplicate" }, "{plan}");
        host.settled();
        assert_eq!(host.api("/api/v1/stats")["events"], 200, "{plan}");
    }
    assert!(committed.contains(&"ingest.before_reply"), "{committed:?}");
    assert!(!committed.contains(&"ingest.verified"), "{committed:?}");
}

#[test]
fn what_is_sent_as_a_provider_of_lists_becomes_two_events() {
    let site = site();
    let host = Host::start(&site);
    let url = host.public_url.clone();
    let send = |arguments: &[&str]| {
        let ran = site.run(&[&["send"], arguments, &["--json", "--url", &url]].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.json()["reply"].clone()
    };
    let reply = send(&["tracker", "message"]);
    let events = reply["events"].as_array().unwrap();
    let found: BTreeSet<_> = events.iter().map(|event| event["id"].to_string()).collect();
    assert_eq!((found.len(), &reply["status"]), (2, &json!("accepted")), "{reply}");
    // A source of one's own has no sample: the event is the only item.
    let reply = send(&["acme", "order.paid", "--set", "account=a-9"]);
    let event = host.event(reply["id"].as_str().unwrap());
    assert_eq!((&event["type"], &event["subject"]), (&json!("order.paid"), &json!("a-9")));
    let data = ["send", "acme", "order.paid", "--data", "-", "--json", "--url", &url];
    let given = r#"{"events":[{"kind":"order.paid","id":"n1"},{"kind":"order.paid","id":"n2"}]}"#;
    let ran = site.run_with(&data, given).json();
    assert_eq!(ran["reply"]["events"].as_array().unwrap().len(), 2, "{ran}");
    let again = site.run_with(&data, given).json();
    assert_eq!(again["to_send_another"], "give it another id: --set events.0.id=NEW", "{again}");
}
