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

pub(super) struct Shown {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

pub(super) async fn shown(response: Response<Body>) -> Shown {
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    Shown { status, headers, text: String::from_utf8_lossy(&bytes).into_owned() }
}

pub(super) async fn page(site: &Console, path: &str) -> Shown {
    let request = Request::get(path)
        .header(header::HOST, "localhost:3001")
        .header(header::ACCEPT, "text/html");
    shown(site.send(request.body(Body::empty()).unwrap()).await).await
}

/// A page that is there.
pub(super) async fn good(site: &Console, path: &str) -> String {
    let page = page(site, path).await;
    assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text);
    page.text
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

/// A page without what fields hold and buttons copy, which is exact.
fn visible(text: &str) -> String {
    let mut parts = text.split(" value=\"").flat_map(|part| part.split(" data-text=\""));
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |kept, part| kept + part.split_once('"').unwrap().1)
}

/// A host that has something of everything.
pub(super) async fn full() -> Console {
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
        // And what an address asks for can be mixed in very many.
        let is_mix = path.matches('=').count() > 1 && !path.contains("dead&plugin");
        if !path.starts_with('/') || is_step || is_mix || !seen.insert(path.clone()) {
            continue;
        }
        let page = page(site, &path).await;
        let is_page = !["/assets/", "/api/"].iter().any(|start| path.starts_with(start));
        if !is_page || path == "/metrics" {
            assert_eq!(page.status, StatusCode::OK, "{path}");
            continue;
        }
        if let Some(location) = page.headers.get(header::LOCATION) {
            open.push(location.to_str().unwrap().to_owned());
        }
        // Nothing is selected without a click.
        let needs_more =
            ["/replays/new", "/operations/new", "/events/erase"].contains(&path.as_str());
        let is_fine = page.status.is_success()
            || page.status.is_redirection()
            || needs_more && page.status == StatusCode::BAD_REQUEST;
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
            ("referrer-policy", "same-origin"),
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
        assert!(!text.contains("<img") && !visible(text).contains('\u{202e}'), "{path}");
        assert!(!visible(text).contains('`'), "{path}: code is shown as code");
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
    for page in [
        "/",
        "/events",
        "/failures",
        "/deliveries",
        "/map",
        "/plugins",
        "/sources",
        "/sources/github",
        "/joins",
        "/schedules",
        "/kv",
    ] {
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
    assert_eq!(list("/events").await.matches("<tr data-row=").count(), 9);
    for (path, rows) in [
        ("/events?type=video.*", 4),
        ("/events?type=video.done&state=dead", 3),
        ("/events?type=**.odd", 1),
        ("/events?plugin=orders&state=done", 3),
        ("/events?plugin=orders&state=dead", 0),
        ("/events?min_attempts=1", 4),
        ("/events?min_attempts=2", 0),
        ("/events?state=unrouted&type=", 4),
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
        wrong.text.contains("did you mean <code>dead</code>?")
            && wrong.text.contains("value=\"video.*\"")
    );
    let unknown = page(&site, "/events?sorce=heygen").await;
    assert!(unknown.text.contains("did you mean <code>source</code>?"), "{}", unknown.text);
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
        ("github", "/sources/github"),
        ("op_12", "/operations/op_12"),
        ("f_0123456789ab", "/failures/f_0123456789ab"),
        ("report", "/schedules/report"),
        ("videos", "/joins?name=joins%2Fvideos"),
        ("joins/videos", "/joins?name=joins%2Fvideos"),
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
