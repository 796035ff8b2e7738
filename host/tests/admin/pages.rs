//! Pages: what they show, what they never do, and what their forms do.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use hookbox::admin::endpoints;
use hookbox::event::{Attributes, NewEvent};

use super::site::{Console, Ends, event, member, site};
use crate::support::{NOW_MS, attributes};

/// The most bytes of a page.
const MAX_BYTES: usize = 100 << 10;

/// A text that would do harm if it were not shown as text.
const HOSTILE: &str = "</script><img src=x onerror=\"alert(1)\">'\u{202e}&amp;";

struct Shown {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

async fn shown(response: Response<Body>) -> Shown {
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    Shown { status, headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
}

async fn page(site: &Console, path: &str) -> Shown {
    let request = Request::get(path)
        .header(header::HOST, "localhost:3001")
        .header(header::ACCEPT, "text/html");
    shown(site.send(request.body(Body::empty()).unwrap()).await).await
}

/// A page that is there.
async fn good(site: &Console, path: &str) -> String {
    let page = page(site, path).await;
    assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text);
    page.text
}

/// Sends a form of a page of this host.
async fn post(site: &Console, path: &str, form: &str) -> Shown {
    let request = Request::post(path)
        .header(header::HOST, "localhost:3001")
        .header(header::ORIGIN, "http://localhost:3001")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    shown(site.send(request.body(Body::from(form.to_owned())).unwrap()).await).await
}

/// The addresses that a page leads to, and the parts that it loads.
fn links(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for name in ["href=\"", "src=\"", "action=\""] {
        for part in text.split(name).skip(1) {
            let link = part.split('"').next().unwrap().replace("&amp;", "&").replace("&#38;", "&");
            found.insert(link);
        }
    }
    found
}

/// A host that has something of everything.
async fn full() -> Console {
    let site = site();
    for n in 0..3 {
        site.append(event(
            "video.done",
            &format!("order_{n}"),
            b"{\"a\":[1]}",
            &["audit", "orders"],
        ))
        .await;
    }
    site.work("audit", Ends::Dead).await;
    site.work("orders", Ends::Done).await;
    site.append(event("video.odd", HOSTILE, HOSTILE.as_bytes(), &["audit"])).await;
    site.work("audit", Ends::Waits).await;
    site.append(member("order_1")).await;
    site.append(event("nobody.knows", "s", b"\xff\x00", &[])).await;
    site
}

/// Every page that can be reached by links, each with its text.
async fn crawl(site: &Console) -> Vec<(String, Shown)> {
    let mut seen = BTreeSet::new();
    let mut open = vec!["/".to_owned()];
    let mut pages = Vec::new();
    while let Some(path) = open.pop() {
        let path = path.split('#').next().unwrap().to_owned();
        // Steps of charts lead to the same page in many ways.
        let is_step =
            path.contains("since=") && seen.iter().any(|it: &String| it.contains("since="));
        if !path.starts_with('/') || is_step || !seen.insert(path.clone()) {
            continue;
        }
        let page = page(site, &path).await;
        if path.starts_with("/assets/") || path.starts_with("/api/") {
            assert_eq!(page.status, StatusCode::OK, "{path}");
            continue;
        }
        if let Some(location) = page.headers.get(header::LOCATION) {
            open.push(location.to_str().unwrap().to_owned());
        }
        // Forms that only take a POST lead nowhere by themselves.
        let is_post = page.status == StatusCode::METHOD_NOT_ALLOWED && path == "/replays";
        let is_fine = page.status.is_success() || page.status.is_redirection() || is_post;
        assert!(is_fine, "{path}: {} {}", page.status, page.text);
        open.extend(links(&page.text));
        pages.push((path, page));
        assert!(pages.len() < 500, "{seen:#?}");
    }
    pages
}

#[tokio::test]
async fn every_link_of_every_page_answers_and_every_page_keeps_the_rules() {
    let site = full().await;
    let pages = crawl(&site).await;
    assert!(pages.len() > 60, "{}", pages.len());
    for (path, page) in &pages {
        let Shown { headers, text, .. } = page;
        if headers.contains_key(header::LOCATION) {
            continue;
        }
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("content-type", "text/html; charset=utf-8"),
        ] {
            assert_eq!(headers[name], value, "{path}: {name}");
        }
        assert!(text.len() <= MAX_BYTES, "{path} has {} bytes", text.len());
        assert!(!text.contains(" style=\"") && !text.contains("<style"), "{path}");
        let scripts: Vec<_> = text.split("<script").skip(1).collect();
        assert!(scripts.len() == 1 && scripts[0].starts_with(" type=\"module\" src=\"/assets/"));
        assert!(!text.contains("<img") && !text.contains('\u{202e}'), "{path}");
        for link in links(text) {
            let is_ours = link.starts_with('/') || link.starts_with('#') || link == "?";
            assert!(is_ours, "{path} leads to {link}");
        }
        for part in
            ["<html lang=\"en\">", "<title>", "<main id=\"main\"", "<h1", "aria-label=\"Pages\""]
        {
            assert!(text.contains(part), "{path} has no {part}");
        }
        assert_eq!(text.matches("<table").count(), text.matches("<caption").count(), "{path}");
        let ids: Vec<_> = text.split(" id=\"").skip(1).map(|it| it.split('"').next()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{path}: {ids:?}");
    }
    let paths: BTreeSet<_> = pages.iter().map(|(path, _)| path.as_str()).collect();
    for page in ["/", "/events", "/deliveries", "/plugins", "/joins", "/schedules", "/kv"] {
        assert!(paths.contains(page), "{page} is linked from nowhere");
    }
}

#[tokio::test]
async fn pages_work_without_script_and_a_fragment_is_what_changes() {
    let site = full().await;
    for path in ["/", "/events", "/deliveries", "/plugins"] {
        let whole = good(&site, path).await;
        let joiner = if path.contains('?') { '&' } else { '?' };
        let part = good(&site, &format!("{path}{joiner}fragment=1")).await;
        assert!(part.len() < whole.len() && !part.contains("<html"), "{part}");
        assert!(part.contains("data-live") && part.contains("id=\"pulse\""), "{part}");
    }
    let head = Request::head("/events").header(header::HOST, "localhost").body(Body::empty());
    let head = shown(site.send(head.unwrap()).await).await;
    assert_eq!((head.status, head.text.as_str()), (StatusCode::OK, ""));
}

#[tokio::test]
async fn assets_are_kept_for_ever_under_an_address_of_their_own() {
    let site = site();
    let text = good(&site, "/").await;
    let assets: Vec<_> =
        links(&text).into_iter().filter(|link| link.starts_with("/assets/")).collect();
    assert_eq!(assets.len(), 3, "{assets:?}");
    for asset in &assets {
        let answer = page(&site, asset).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.headers[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
        assert_eq!(answer.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        let old = asset.replacen(asset.split('/').nth(2).unwrap(), "0000000000000000", 1);
        assert_eq!(page(&site, &old).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn an_empty_host_shows_three_steps_and_ticks_them() {
    let site = site();
    let text = good(&site, "/").await;
    for part in ["First steps", "hookbox send github push", "this page waits for it", "secret"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let id = site.append(event("video.done", "order_1", b"{}", &["audit"])).await;
    let text = good(&site, "/?fragment=1").await;
    assert!(text.contains(&format!("href=\"/events/{id}\"")), "{text}");
    for _ in 0..4 {
        site.append(event("video.done", "order_1", b"{}", &["audit"])).await;
    }
    assert!(!good(&site, "/").await.contains("First steps"));
}

#[tokio::test]
async fn the_overview_names_trouble_first() {
    let site = full().await;
    let text = good(&site, "/").await;
    let dead = text.find("3 dead letters").expect("dead letters");
    assert!(dead < text.find("Over time").unwrap() && dead < text.find("<table").unwrap());
    assert!(
        text.contains("href=\"/deliveries?state=dead&#38;plugin=audit\"")
            || text.contains("href=\"/deliveries?state=dead&amp;plugin=audit\""),
        "{text}"
    );
    assert_eq!(page(&site, "/?window=1y").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(page(&site, "/?windw=1h").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_hostile_payload_is_shown_as_text_to_the_last_digit() {
    let site = site();
    let body = "{\"n\":9223372036854775808,\"n\":1.0,\"s\":\"</script><img src=x onerror=alert(1)>\u{202e}\"}";
    let id = site.append(event(HOSTILE, HOSTILE, body.as_bytes(), &["audit"])).await;
    let text = good(&site, &format!("/events/{id}")).await;
    for part in ["9223372036854775808", ">1.0<", "&lt;/script&gt;&lt;img", "\\u{202e}"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(text.matches("&#34;n&#34;").count(), 2, "repeated members stay: {text}");
    assert!(!text.contains("<img") && !text.contains('\u{202e}'), "{text}");
    let raw = good(&site, &format!("/events/{id}?view=text")).await;
    assert!(raw.contains("{&#34;n&#34;:9223372036854775808,&#34;n&#34;:1.0,"), "{raw}");
    let nul = site.append(event("a", "b", b"a\0b\xff", &[])).await;
    let hex = good(&site, &format!("/events/{nul}")).await;
    assert!(hex.contains("61 00 62 ff") && hex.contains("a.b."), "{hex}");
    let answer = page(&site, &format!("/api/v1/events/{nul}/body")).await;
    assert_eq!(answer.status, StatusCode::OK);
}

/// An event with a body of this kind and length.
fn large(bytes: usize) -> NewEvent {
    let body = format!("[{}]", vec!["1"; bytes / 2].join(","));
    let attributes =
        Attributes { time_ms: NOW_MS, ..attributes("video.large", "order_1", body.as_bytes()) };
    NewEvent::from(attributes)
}

#[tokio::test]
async fn a_large_payload_is_cut_and_says_so() {
    let site = site();
    let id = site.append(large(400_000)).await;
    for view in ["indented", "text", "hex"] {
        let text = good(&site, &format!("/events/{id}?view={view}")).await;
        assert!(text.len() <= MAX_BYTES, "{view}: {}", text.len());
        assert!(text.contains("download it for the rest"), "{view}");
    }
}

#[tokio::test]
async fn a_list_narrows_by_its_filters_and_says_what_was_wrong_with_them() {
    let site = full().await;
    let list = |path: &'static str| good(&site, path);
    assert_eq!(list("/events").await.matches("<tr data-row=").count(), 6);
    for (path, rows) in [
        ("/events?type=video.*", 4),
        ("/events?type=video.done&state=dead", 3),
        ("/events?type=**.odd", 1),
        ("/events?plugin=orders&state=done", 3),
        ("/events?plugin=orders&state=dead", 0),
        ("/events?min_attempts=1", 4),
        ("/events?min_attempts=2", 0),
        ("/events?state=unrouted&type=", 2),
        ("/events?q=order_2&source=&subject=", 1),
        ("/deliveries?state=dead", 3),
        ("/deliveries?plugin=orders", 3),
    ] {
        let text = good(&site, path).await;
        assert_eq!(text.matches("<tr data-row=").count(), rows, "{path}");
        assert!(text.contains("(take away)"), "{path}: a chip for each filter");
    }
    let none = list("/events?subject=nobody").await;
    assert!(none.contains("No event matches") && none.contains("without subject: nobody"));
    let wrong = page(&site, "/events?state=deda&type=video.*").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert!(
        wrong.text.contains("did you mean `dead`?") && wrong.text.contains("value=\"video.*\"")
    );
    let unknown = page(&site, "/events?sorce=heygen").await;
    assert!(unknown.text.contains("did you mean `source`?"), "{}", unknown.text);
}

#[tokio::test]
async fn pages_follow_one_another_by_their_cursor() {
    let site = site();
    for n in 0..60 {
        site.append(event("video.done", &format!("order_{n}"), b"{}", &["audit"])).await;
    }
    let mut path = "/events?type=video.done".to_owned();
    let mut subjects = BTreeSet::new();
    loop {
        let text = good(&site, &path).await;
        subjects.extend((0..60).filter(|n| text.contains(&format!(">order_{n}<"))));
        let next = links(&text).into_iter().find(|link| link.contains("cursor="));
        match next {
            Some(next) if next != path => path = next,
            _ => break,
        }
    }
    assert_eq!(subjects.len(), 60);
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
    let ask = good(&site, &format!("/replays/new?id={id}")).await;
    assert!(ask.contains("Replay 1 event") && ask.contains(id));
    let done = post(&site, "/replays", &format!("id={id}&once=a")).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
    let shown = site.get(&format!("/api/v1/events/{id}")).await;
    assert_eq!(shown["deliveries"].as_array().unwrap().len(), 5);
    assert_eq!(page(&site, "/replays/new").await.status, StatusCode::BAD_REQUEST);
    let mixed = post(&site, "/replays", &format!("id={id}&id=evt_0000000000000001")).await;
    assert_eq!(mixed.status, StatusCode::CONFLICT);
    assert!(mixed.text.contains("1 of 2 were replayed"), "{}", mixed.text);
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
async fn a_refusal_is_a_page_for_people_and_a_problem_for_programs() {
    let site = site();
    for path in ["/events/evt_0000000000000001", "/plugins/<b>", "/nowhere", "/kv/none"] {
        let answer = page(&site, path.replace('<', "%3C").replace('>', "%3E").as_str()).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.text.contains("role=\"alert\"") && !answer.text.contains("<b>"), "{path}");
        assert!(answer.headers.contains_key(header::CONTENT_SECURITY_POLICY));
    }
    let (status, problem) = site.ask("GET", "/nowhere", None).await;
    assert_eq!((status, &problem["status"]), (StatusCode::NOT_FOUND, &404.into()));
    let answer = page(&site, "/api/v1/events/evt_0000000000000001").await;
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json");
}

#[tokio::test]
async fn find_leads_to_what_an_id_or_a_name_means() {
    let site = full().await;
    for (query, place) in [
        ("evt_0000000000000001", "/events/evt_0000000000000001"),
        ("dlv_0000000000000001_0", "/deliveries/dlv_0000000000000001_0"),
        ("audit", "/plugins/audit"),
        ("github", "/events?source=github"),
        ("order_1", "/events?q=order_1"),
        ("a+b%22", "/events?q=a%20b%22"),
        ("", "/events"),
    ] {
        let answer = page(&site, &format!("/find?q={query}")).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        assert_eq!(answer.headers[header::LOCATION], place, "{query}");
    }
}

#[tokio::test]
async fn every_page_route_is_in_the_one_list() {
    let pages: Vec<_> = endpoints().iter().filter(|endpoint| endpoint.is_page).collect();
    assert!(pages.len() > 20, "{pages:?}");
    assert!(pages.iter().all(|page| !page.path.starts_with("/api/")));
    let document = site().get("/api/v1/openapi.json").await;
    let paths = document["paths"].as_object().unwrap();
    assert!(pages.iter().all(|page| !paths.contains_key(&page.path)), "the document is the API's");
}
