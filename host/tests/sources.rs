//! Sources on a running host: what an operator sees of refusals, and test events.

use serde_json::json;

use crate::support::{Host, ROUTE, SOURCE, Site, agent, guest, sign, wait_for};

/// The source `test`, one with the rules of Stripe, and one with a key that only its provider has.
const SOURCES: &str = r#"
[sources.shop]
preset = "stripe"
secrets = [{ env = "TEST_SECRET" }, { env = "A_SECRET_THAT_IS_NOT_SET" }]
[sources.bot]
verify = { scheme = "ed25519", header = "X-Signature", encoding = "hex", signed = "{body}" }
type = { json = "/event_type" }
"#;

fn site() -> Site {
    let key =
        "public_keys = [\"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a\"]\n";
    let sources = SOURCES
        .replace("signed = \"{body}\" }\n", &format!("signed = \"{{body}}\", {} }}\n", key.trim()));
    Site::new(&format!("{SOURCE}{sources}{ROUTE}"), &[("worker.wat", &guest("ok"))])
}

fn post(host: &Host, path: &str, headers: &[(&str, &str)], body: &[u8]) -> u16 {
    let mut request = agent().post(format!("{}{path}", host.public_url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send(body).unwrap().status().as_u16()
}

#[test]
fn a_refused_request_is_explained_by_page_command_and_call_and_stores_nothing() {
    let site = site();
    let host = Host::start(&site);
    let body = r#"{"event_type":"step.one","secret_of_body":1}"#;
    let signature = sign(body.as_bytes());
    let sent = format!("{body}\n");
    let refused = post(&host, "/webhook/test", &[("x-signature", &signature)], sent.as_bytes());
    assert_eq!(refused, 401);
    let source = wait_for("the hint", || {
        let source = host.api("/api/v1/sources/test");
        source["reasons"][0]["hint"].is_string().then_some(source)
    });
    let reason = &source["reasons"][0];
    assert_eq!((&reason["reason"], &reason["count"]), (&json!("bad_signature"), &json!(1)));
    let hint = reason["hint"].as_str().unwrap();
    assert!(hint.contains("trailing newline removed"), "{hint}");
    assert_eq!(source["refused"], json!({ "bad_signature": 1 }));
    let secret = &source["secrets"][0];
    assert_eq!(secret["from"], "the environment variable `TEST_SECRET`");
    assert_eq!((&secret["set"], &secret["last_used_at"]), (&json!(true), &json!(null)));
    let refusals = host.api("/api/v1/sources/test/refusals");
    assert_eq!(refusals["items"][0]["body_bytes"], sent.len());
    let page = agent().get(format!("{}/sources/test", host.admin_url)).call().unwrap();
    let page = page.into_body().read_to_string().unwrap();
    let said = site.ask(&host, &["sources", "test"]).said();
    for text in [&page, &said] {
        assert!(
            text.contains("bad_signature") && text.contains("trailing newline removed"),
            "{text}"
        );
        assert!(text.contains("no active key makes it over these bytes"), "{text}");
    }
    for text in [page, said, refusals.to_string(), source.to_string()] {
        assert!(!text.contains("secret_of_body") && !text.contains(&signature), "{text}");
        assert!(!text.contains(crate::support::SECRET), "{text}");
    }
    assert_eq!(host.api("/api/v1/stats")["events"], 0);
    let list = site.ask(&host, &["sources"]).said();
    assert!(list.contains("POST /webhook/shop") && list.contains("hmac-sha256"), "{list}");
    let unknown = site.ask(&host, &["sources", "tset"]);
    assert!(unknown.code == 1 && unknown.err.contains("did you mean `test`?"), "{unknown:?}");
}

#[test]
fn a_test_event_leads_to_its_event_by_page_command_and_call() {
    let site = site();
    let host = Host::start(&site);
    let body = json!({ "type": "step.one", "set": { "event_data.callback_id": "order_1" } });
    let (status, tested) = host.api_status("POST", "/api/v1/sources/test/test", Some(body));
    assert_eq!((status, &tested["status"]), (200, &json!(200)), "{tested}");
    let id = tested["event_id"].as_str().unwrap();
    host.until_done(id);
    assert_eq!(host.event(id)["subject"], "order_1");
    let source = host.api("/api/v1/sources/test");
    assert!(source["secrets"][0]["last_used_at"].is_string());
    let seen = &source["types"][0];
    assert_eq!((&seen["type"], &seen["day"]), (&json!("step.one"), &json!(1)), "{source}");
    assert_eq!((&seen["hour"], &seen["routed"]), (&json!(1), &json!(true)));
    let rate = seen["per_minute"].as_f64().unwrap();
    assert!(rate > 0.0 && rate <= 1.0, "one event within the last hour: {seen}");
    let entry = host.api("/api/v1/audit")["items"][0].clone();
    assert_eq!((&entry["action"], &entry["target"]), (&json!("sources.test"), &json!("test")));
    assert_eq!(entry["detail"], "type step.one");

    let arguments = ["sources", "test", "test", "--type", "step.one", "--set", "n=1", "--json"];
    let ran = site.ask(&host, &arguments);
    assert_eq!(ran.code, 0, "{ran:?}");
    host.until_done(ran.json()["event_id"].as_str().unwrap());

    let form = "once=page-1&type=step.one&set=event_data.callback_id%3Dorder_2%0D%0An%3D2";
    let leads_to = || {
        let answer = agent()
            .post(format!("{}/sources/test/test", host.admin_url))
            .config()
            .max_redirects(0)
            .build()
            .content_type("application/x-www-form-urlencoded")
            .send(form)
            .unwrap();
        assert_eq!(answer.status(), 303);
        answer.headers()["location"].to_str().unwrap().to_owned()
    };
    let place = leads_to();
    let id = place.strip_prefix("/sources/test?tested=").unwrap();
    let page = agent().get(format!("{}{place}", host.admin_url)).call().unwrap();
    let page = page.into_body().read_to_string().unwrap();
    assert!(page.contains(&format!("href=\"/events/{id}\"")), "{page}");
    assert!(
        page.contains("Types that came") && page.contains("/map?focus=type%3Astep.one"),
        "{page}"
    );
    assert_eq!(host.event(id)["subject"], "order_2");
    assert_eq!(leads_to(), place, "a form that is sent twice acts once");
    assert_eq!(host.api("/api/v1/stats")["events"], 3);
}

#[test]
fn a_test_event_that_cannot_be_made_is_refused_with_the_field_that_is_wrong() {
    let site = site();
    let host = Host::start(&site);
    for (path, body, status, part) in [
        ("bot", json!({ "type": "a.b" }), 409, "only the provider can sign"),
        ("test", json!({}), 400, "missing field `type`"),
        ("test", json!({ "type": "a b\u{0}" }), 400, "`type`"),
        ("test", json!({ "type": "a", "set": { "a..b": 1 } }), 400, "`set`: `a..b`"),
        ("test", json!({ "type": "a", "sets": {} }), 400, "unknown field `sets`"),
        ("tset", json!({ "type": "a" }), 404, "did you mean `test`?"),
    ] {
        let path = format!("/api/v1/sources/{path}/test");
        let (answered, problem) = host.api_status("POST", &path, Some(body));
        assert_eq!(answered, status, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(part), "{problem}");
    }
    assert_eq!(host.api("/api/v1/audit")["items"], json!([]));
    assert!(host.api("/api/v1/sources/bot")["untestable"].is_string());
    let page = agent().get(format!("{}/sources/bot", host.admin_url)).call().unwrap();
    let page = page.into_body().read_to_string().unwrap();
    assert!(page.contains("This host cannot sign one") && !page.contains("<textarea"), "{page}");
}

#[test]
fn an_unused_key_beside_a_used_one_can_go() {
    let site = site();
    let host = Host::start(&site);
    let body = json!({ "type": "order.paid" });
    let (_, tested) = host.api_status("POST", "/api/v1/sources/shop/test", Some(body));
    assert_eq!(tested["status"], 200, "{tested}");
    let secrets = host.api("/api/v1/sources/shop")["secrets"].clone();
    assert_eq!(secrets[1]["set"], false);
    assert!(secrets[0]["last_used_at"].is_string(), "{secrets}");
}

#[test]
fn the_last_use_of_a_key_outlives_the_host() {
    let site = site();
    let host = Host::start(&site);
    let started = host.api("/api/v1/sources/shop")["key_uses_since"].clone();
    let body = json!({ "type": "order.paid" });
    let (_, tested) = host.api_status("POST", "/api/v1/sources/shop/test", Some(body));
    assert_eq!(tested["status"], 200, "{tested}");
    let used = host.api("/api/v1/sources/shop")["secrets"][0]["last_used_at"].clone();
    assert!(used.is_string(), "{used}");
    assert!(started.as_str() <= used.as_str(), "{started} {used}");
    host.stop();
    let host = Host::start(&site);
    let source = wait_for("what was stored to be read", || {
        let source = host.api("/api/v1/sources/shop");
        source["secrets"][0]["last_used_at"].is_string().then_some(source)
    });
    assert_eq!(source["secrets"][0]["last_used_at"], used, "to the millisecond");
    assert_eq!(source["key_uses_since"], used, "nothing older is known");
    assert_eq!(source["secrets"][1]["last_used_at"], json!(null));
    let said = site.ask(&host, &["sources", "shop"]).said();
    assert!(said.contains(&format!("last used {}", used.as_str().unwrap())), "{said}");
}

#[test]
fn a_type_can_have_the_method_and_values_of_the_address() {
    let source = SOURCE.replace("{ json = \"/event_type\" }", "\"{query:topic}.{method}\"");
    let source = source.replace("subject = ", "id = { query = \"n\" }\n# ");
    let site = Site::new(&source, &[("worker.wat", &guest("ok"))]);
    let host = Host::start(&site);
    let signature = sign(b"{}");
    for (query, kind) in
        [("?topic=orders%2Fpaid&n=1", "orders/paid.POST"), ("?n=2", "hookbox.unidentified")]
    {
        let path = format!("/webhook/test{query}");
        assert_eq!(post(&host, &path, &[("x-signature", &signature)], b"{}"), 200);
        let events = host.api("/api/v1/events");
        assert_eq!(events["items"][0]["type"], kind, "{events}");
    }
}
