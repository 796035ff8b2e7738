//! Forms of pages: what they do, and what they are refused.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};

use super::pages::{Shown, full, good, page, shown};
use super::site::{Console, Ends, event, site};

/// Sends a form of a page of this host.
pub(super) async fn post(site: &Console, path: &str, form: &str) -> Shown {
    let request = Request::post(path)
        .header(header::HOST, "localhost:3001")
        .header(header::ORIGIN, "http://localhost:3001")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    shown(site.send(request.body(Body::from(form.to_owned())).unwrap()).await).await
}

#[tokio::test]
async fn a_form_acts_once_and_leads_to_what_it_did() {
    let site = full().await;
    let list = good(&site, "/deliveries?state=dead").await;
    let id = list.split("<tr data-row=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let own = format!("/deliveries/{id}/retry");
    let ask = good(&site, &own).await;
    assert!(ask.contains("no such order") && ask.contains("begins anew"), "{ask}");
    let once = ask.split("name=\"once\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let form = format!("once={once}");
    for _ in 0..2 {
        let done = post(&site, &own, &form).await;
        assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
        let location = done.headers[header::LOCATION].to_str().unwrap();
        assert!(location.ends_with(&format!("?tab=attempts#{id}")), "{location}");
    }
    let other = post(&site, &own, "once=another").await;
    assert_eq!(other.status, StatusCode::CONFLICT, "{}", other.text);
    assert!(other.text.contains("<html") && other.text.contains("look at it again"));
    let audit = site.get("/api/v1/audit?action=deliveries.retry").await;
    let entries = audit["items"].as_array().unwrap();
    assert_eq!((entries.len(), &entries[0]["via"]), (1, &"page".into()), "{audit}");
}

#[tokio::test]
async fn an_event_is_replayed_by_a_form_and_several_are_as_well() {
    let site = full().await;
    let event = site.get("/api/v1/events?type=video.done&limit=1").await["items"][0].clone();
    let id = event["id"].as_str().unwrap();
    let ask = good(&site, &format!("/events/{id}/replay")).await;
    assert!(ask.contains("what is routed now: audit, orders") && ask.contains("audit only"));
    let done = post(&site, &format!("/events/{id}/replay"), "plugin=audit").await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
    let shown = site.get(&format!("/api/v1/events/{id}")).await;
    assert_eq!(shown["deliveries"].as_array().unwrap().len(), 3);
    let own = good(&site, &format!("/events/{id}")).await;
    assert!(own.contains("events.replay by local") && own.contains(": to audit"), "{own}");
    let call = format!("curl -s &#39;http://localhost:3001/api/v1/events/{id}&#39;");
    assert!(own.contains(&call), "{own}");
    let ask = good(&site, &format!("/replays/new?id={id}")).await;
    assert!(ask.contains("Replay 1 event") && ask.contains(id));
    let fields =
        format!("action=replay&ids={id}&count=1&once=a&list=%2Fevents%3Ftype%3Dvideo.done");
    let done = post(&site, "/operations", &fields).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
    let at = done.headers[header::LOCATION].to_str().unwrap().to_owned();
    let shown = good(&site, &at).await;
    assert!(shown.contains("running") && shown.contains("0 of 1"), "{shown}");
    assert!(shown.contains("href=\"/events?type=video.done\""), "the filter is kept: {shown}");
    let list = "/events?type=video.done";
    let all = good(&site, list).await;
    assert!(all.contains("Replay all that match"), "{all}");
    let ask = good(&site, "/replays/new?type=video.done&list=%2Fevents%3Ftype%3Dvideo.done").await;
    assert!(ask.contains("hookbox events replay --type video.done"), "{ask}");
    assert!(ask.contains("to audit only") && ask.contains("try one first"), "{ask}");
    let ask = good(&site, "/replays/new?type=video.done&emitted=false").await;
    assert!(ask.contains("name=\"emitted\" value=\"false\""), "the form keeps it: {ask}");
    assert!(ask.contains("--type video.done --emitted=false"), "{ask}");
    assert_eq!(page(&site, "/replays/new").await.status, StatusCode::BAD_REQUEST);
    let none = page(&site, "/replays/new?chosen=rows&type=video.done").await;
    assert_eq!(none.status, StatusCode::BAD_REQUEST, "{}", none.text);
    let mixed = format!("action=replay&ids={id},evt_0000000000000001&count=2");
    assert_eq!(post(&site, "/operations", &mixed).await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.get("/api/v1/operations").await["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_event_and_a_subject_are_erased_only_by_one_who_types_them() {
    let site = full().await;
    let event = site.get("/api/v1/events?type=video.done&limit=1").await["items"][0].clone();
    let (id, subject) = (event["id"].as_str().unwrap(), event["subject"].as_str().unwrap());
    let own = format!("/events/{id}/erase");
    let ask = good(&site, &own).await;
    assert!(ask.contains(&format!("type {id} to erase it")) && ask.contains("does not come back"));
    for wrong in ["", "typed=evt_0000000000000001", "typed=yes"] {
        let refused = post(&site, &own, wrong).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{wrong}: {}", refused.text);
    }
    assert_eq!(
        site.get(&format!("/api/v1/events/{id}")).await["erased_at"],
        serde_json::Value::Null
    );
    let done = post(&site, &own, &format!("typed={id}&keys=true")).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
    assert_eq!(site.get(&format!("/api/v1/events/{id}")).await["erased_by"], "request");
    let audit = site.get("/api/v1/audit?action=events.erase").await["items"].clone();
    assert_eq!((&audit[0]["target"], &audit[0]["via"]), (&id.into(), &"page".into()), "{audit}");

    let other = site.get("/api/v1/events?type=video.done").await["items"].clone();
    let mut other = other.as_array().unwrap().iter().filter_map(|event| event["subject"].as_str());
    let other = other.find(|it| *it != subject).unwrap().to_owned();
    let ask = good(&site, &format!("/events/erase?subject={other}")).await;
    let of_subject = site.get(&format!("/api/v1/events?subject={other}")).await["items"].clone();
    let events = match of_subject.as_array().unwrap().len() {
        1 => "Erase 1 event of".to_owned(),
        many => format!("Erase {many} events of"),
    };
    assert!(ask.contains(&events) && ask.contains("SHA-256"), "{ask}");
    let refused = post(&site, "/events/erase", &format!("subject={other}&typed={subject}")).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text);
    let done = post(&site, "/events/erase", &format!("subject={other}&typed={other}")).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
    let left = site.get(&format!("/api/v1/events?subject={other}")).await["items"].clone();
    assert_eq!(left, serde_json::json!([]));
    let none = page(&site, &format!("/events/erase?subject={other}")).await;
    assert_eq!(none.status, StatusCode::CONFLICT, "{}", none.text);
}

#[tokio::test]
async fn a_tree_is_cancelled_and_what_waits_for_a_plugin_is_moved_by_a_form() {
    let site = site();
    let id = site.append(event("video.done", "order_1", b"{}", &["audit", "orders"])).await;
    let own = format!("/events/{id}/cancel");
    let ask = good(&site, &own).await;
    assert!(ask.contains("1 events and 2 deliveries: 2 are open"), "{ask}");
    let done = post(&site, &own, "once=a").await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
    assert_eq!(site.get("/api/v1/stats").await["deliveries"]["cancelled"], 2);
    assert_eq!(post(&site, &own, "once=a").await.status, StatusCode::CONFLICT);
    assert_eq!(site.get("/api/v1/audit?action=events.cancel").await["items"][0]["via"], "page");

    site.append(event("video.done", "order_2", b"{}", &["audit"])).await;
    let own = "/plugins/audit/move";
    let ask = good(&site, own).await;
    assert!(ask.contains("1 are ready and 0 wait") && ask.contains("to orders"), "{ask}");
    assert_eq!(post(&site, own, "").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(post(&site, own, "to=audit").await.status, StatusCode::BAD_REQUEST);
    let done = post(&site, own, "to=orders").await;
    assert_eq!(done.headers[header::LOCATION], "/plugins/orders", "{}", done.text);
    let moved = site.get("/api/v1/deliveries?plugin=orders&state=ready").await["items"].clone();
    assert_eq!(moved[0]["subject"], "order_2", "{moved}");
    assert_eq!(site.get("/api/v1/audit?action=deliveries.move").await["items"][0]["via"], "page");
}

#[tokio::test]
async fn an_event_is_made_by_a_form_once() {
    let site = site();
    let ask = good(&site, "/events/new").await;
    assert!(ask.contains("api/local") && ask.contains("hookbox emit"), "{ask}");
    let form = "type=video.done&subject=order_9&data=%7B%22n%22%3A1.0%7D&once=a";
    let done = post(&site, "/events/new", form).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
    let at = done.headers[header::LOCATION].to_str().unwrap().to_owned();
    assert_eq!(post(&site, "/events/new", form).await.headers[header::LOCATION], at.as_str());
    let made = site.get(&format!("/api/v1{at}")).await;
    assert_eq!((&made["subject"], &made["source"]), (&"order_9".into(), &"api/local".into()));
    let raw = site.get("/api/v1/events").await["items"].as_array().unwrap().len();
    assert_eq!(raw, 1);
    for (form, part) in [("type=video.done&data=%7B", "not JSON"), ("data=1", "type")] {
        let refused = post(&site, "/events/new", form).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text);
        assert!(refused.text.contains(part), "{}", refused.text);
    }
}

#[tokio::test]
async fn a_form_from_elsewhere_or_of_another_kind_changes_nothing() {
    let site = full().await;
    let list = good(&site, "/deliveries?state=dead").await;
    let id = list.split("<tr data-row=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let own = format!("/deliveries/{id}/discard");
    let send = |name: &'static str, value: &'static str| {
        let request = Request::post(own.as_str())
            .header(header::HOST, "localhost:3001")
            .header(name, value)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        site.send(request.body(Body::from("once=x")).unwrap())
    };
    assert_eq!(send("origin", "http://evil.example").await.status(), StatusCode::FORBIDDEN);
    assert_eq!(send("origin", "null").await.status(), StatusCode::FORBIDDEN);
    assert_eq!(send("sec-fetch-site", "cross-site").await.status(), StatusCode::FORBIDDEN);
    let request = Request::post(own.as_str())
        .header(header::HOST, "localhost:3001")
        .header(header::CONTENT_TYPE, "application/json");
    let json = site.send(request.body(Body::from("{}")).unwrap()).await;
    assert_eq!(json.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    // A form is nothing for the API.
    let api = post(&site, "/api/v1/deliveries/discard", "state=dead").await;
    assert_eq!(api.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(site.get("/api/v1/stats").await["deliveries"]["dead"], 3);
    assert_eq!(page(&site, &own.replace("discard", "explode")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_group_of_failures_is_shown_and_retried_by_a_form() {
    let site = full().await;
    let list = good(&site, "/failures").await;
    assert_eq!(list.matches("<tr data-row=\"f_").count(), 2, "{list}");
    let reject = site.get("/api/v1/failures?outcome=reject").await["items"][0].clone();
    let id = reject["id"].as_str().unwrap();
    let text = good(&site, &format!("/failures/{id}")).await;
    assert!(text.contains("no such order") && text.contains("still fails"), "{text}");
    let own = format!("/operations/new?action=retry&amp;failure={id}");
    assert!(text.contains(&own.replace("&amp;", "&#38;")) || text.contains(&own), "{text}");
    let own = own.replace("&amp;", "&");
    let ask = good(&site, &own).await;
    assert!(ask.contains("Retry 3 deliveries?") && ask.contains("order_0"), "{ask}");
    let fields = format!("action=retry&failure={id}&once=a&count=3&first=true&pace=50");
    let done = post(&site, "/operations", &fields).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
    let at = done.headers[header::LOCATION].to_str().unwrap().to_owned();
    let again = post(&site, "/operations", &fields).await;
    assert_eq!(again.headers[header::LOCATION], at.as_str(), "a double click is one operation");
    let shown = good(&site, &at).await;
    assert!(shown.contains("0 of 3") && shown.contains("one is tried first"), "{shown}");
    assert_eq!(site.get("/api/v1/operations").await["items"].as_array().unwrap().len(), 1);
    let paused = post(&site, &format!("{at}/pause"), "").await;
    assert_eq!(paused.status, StatusCode::SEE_OTHER, "{}", paused.text);
    assert!(good(&site, "/operations").await.contains("paused"));
    assert!(!text.contains("Retry the waiting now"), "none waits: {text}");
    let groups = site.get("/api/v1/failures").await["items"].clone();
    let group = groups.as_array().unwrap().iter().find(|it| it["waiting"] == 1).unwrap();
    let group = group["id"].as_str().unwrap();
    let text = good(&site, &format!("/failures/{group}")).await;
    let own = format!("/operations/new?action=retry&#38;failure={group}&#38;state=waiting");
    assert!(text.contains(&format!("href=\"{own}\">Retry the waiting now …</a>")), "{text}");
    let ask = good(&site, &own.replace("&#38;", "&")).await;
    assert!(ask.contains("Retry 1 delivery?") && ask.contains("their attempts count on"), "{ask}");
    let command = format!("hookbox deliveries retry --failure {group} --state waiting");
    assert!(ask.contains(&command), "{ask}");
    let waiting = format!("/api/v1/deliveries?failure={group}&state=waiting");
    let delivery = site.get(&waiting).await["items"][0]["id"].as_str().unwrap().to_owned();
    let ask = good(&site, &format!("/operations/new?action=retry&ids={delivery}")).await;
    assert!(ask.contains("their attempts count on") && !ask.contains("from 0"), "{ask}");
    let dead = reject["sample"].as_str().unwrap();
    let ask = good(&site, &format!("/operations/new?action=retry&ids={delivery},{dead}")).await;
    assert!(ask.contains("from 0") && ask.contains("Those that wait are due at once"), "{ask}");
    let retry = format!("/api/v1/deliveries/{delivery}/retry");
    assert_eq!(site.ask("POST", &retry, None).await.0, StatusCode::OK);
    let text = good(&site, &format!("/failures/{group}")).await;
    assert!(!text.contains("Retry the waiting now"), "it is due already: {text}");
    let none = page(&site, "/operations/new?action=discard&failure=f_0123456789ab").await;
    assert_eq!(none.status, StatusCode::CONFLICT, "{}", none.text);
}

#[tokio::test]
async fn deliveries_that_are_selected_in_the_list_are_retried_or_cancelled_together() {
    let site = full().await;
    let dead = site.get("/api/v1/deliveries?state=dead").await["items"].clone();
    let [a, b] = [0, 1].map(|at| dead[at]["id"].as_str().unwrap().to_owned());
    let list = good(&site, "/deliveries?state=dead").await;
    assert!(list.contains(&format!("name=\"ids\" value=\"{b}\"")), "{list}");
    assert!(list.contains("<button name=\"action\" value=\"cancel\">"), "{list}");
    for (number, action) in ["retry", "cancel"].into_iter().enumerate() {
        let chosen = format!("/operations/new?chosen=rows&ids={a}&ids={b}&action={action}");
        let ask = good(&site, &chosen).await;
        assert!(ask.contains("2 deliveries?") && ask.contains(&format!("{a},{b}")), "{ask}");
        assert!(
            ask.contains(&format!("for id in {a} {b}; do hookbox deliveries {action}")),
            "{ask}"
        );
        assert!(ask.contains("href=\"/deliveries\""), "{ask}");
        let fields = format!("action={action}&ids={a},{b}&count=2&once=o{number}");
        let done = post(&site, "/operations", &fields).await;
        assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
        let planned = site.get("/api/v1/operations").await["items"].clone();
        assert_eq!(planned.as_array().unwrap().len(), number + 1);
        let ours = planned.as_array().unwrap().iter().find(|it| it["action"] == action).unwrap();
        assert_eq!(ours["total"], 2, "{ours}");
        // Nothing is ticked: that is not every delivery.
        let none = page(&site, &format!("/operations/new?chosen=rows&action={action}")).await;
        assert_eq!(none.status, StatusCode::BAD_REQUEST, "{}", none.text);
        assert!(none.text.contains("no delivery is selected"), "{}", none.text);
    }
}

#[tokio::test]
async fn many_are_discarded_only_by_one_who_types_their_number() {
    let site = site();
    for n in 0..101 {
        site.append(event("video.done", &format!("order_{n}"), b"{}", &["audit"])).await;
    }
    while site.work("audit", Ends::Dead).await > 0 {}
    let group = site.get("/api/v1/failures").await["items"][0].clone();
    let fields = format!("action=discard&failure={}", group["id"].as_str().unwrap());
    let ask = good(&site, &format!("/operations/new?{fields}")).await;
    assert!(ask.contains("type 101 to discard so many"), "{ask}");
    for wrong in ["count=101", "count=101&typed=100", "typed=", "count=102&typed=101"] {
        let refused = post(&site, "/operations", &format!("{fields}&{wrong}")).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    assert_eq!(site.get("/api/v1/stats").await["deliveries"]["dead"], 101);
    let done = post(&site, "/operations", &format!("{fields}&count=101&typed=101&once=b")).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
    assert_eq!(site.get("/api/v1/operations").await["items"][0]["total"], 101);
}

#[tokio::test]
async fn more_that_match_than_the_number_that_was_typed_are_left_alone() {
    let site = site();
    for n in 0..102 {
        site.append(event("video.done", &format!("order_{n}"), b"{}", &["audit"])).await;
    }
    while site.work("audit", Ends::Dead).await > 0 {}
    let form = |count: u32| format!("action=discard&state=dead&count={count}&typed={count}");
    // One has died since the page counted.
    let late = post(&site, "/operations", &form(101)).await;
    assert_eq!(late.status, StatusCode::CONFLICT, "{}", late.text);
    assert!(late.text.contains("102 match now, more than the 101 that you typed"), "{}", late.text);
    assert_eq!(site.get("/api/v1/operations").await["items"], serde_json::json!([]));
    assert_eq!(site.get("/api/v1/stats").await["deliveries"]["dead"], 102);
    let asked_again = post(&site, "/operations", &form(102)).await;
    assert_eq!(asked_again.status, StatusCode::SEE_OTHER, "{}", asked_again.text);
    assert_eq!(site.get("/api/v1/operations").await["items"][0]["total"], 102);
}
