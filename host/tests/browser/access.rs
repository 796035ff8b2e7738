//! Roles in a browser that logs in: what each may see and do.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::driver::Browser;
use crate::support::{Host, ROUTE, SOURCE, Site, guest};

const OPERATOR: &str = "an-operator-of-the-tests";
const VIEWER: &str = "a-viewer-of-the-tests";

/// A part of each payload that must not be read.
const PRIVATE: &str = "private_7f3c";

/// A host with an operator, a viewer who reads no payloads, and a plugin that fails.
fn guarded() -> (Site, Host) {
    let hash = |token: &str| hex::encode(Sha256::digest(token));
    let tokens = format!(
        "admin_tokens = [\n  {{ name = \"jo\", role = \"operator\", sha256 = \"{}\" }},\n  \
         {{ name = \"ann\", role = \"viewer\", sha256 = \"{}\" }},\n]\n",
        hash(OPERATOR),
        hash(VIEWER)
    );
    let files = [("worker.wat", &guest("reject")[..])];
    let site = Site::new(&format!("{tokens}{SOURCE}{ROUTE}"), &files);
    let host = Host::start_guarded(&site, Some(OPERATOR));
    (site, host)
}

fn send(host: &Host, n: u32) -> String {
    let text = format!(
        r#"{{"event_type":"step.one","event_data":{{"callback_id":"order_{n}","x":"{PRIVATE}"}}}}"#
    );
    host.provide(&text)["id"].as_str().unwrap().to_owned()
}

fn log_in(browser: &Browser, token: &str) {
    browser.until_at("/login");
    browser.fill("[name=token]", token);
    browser.click_on("Log in");
}

/// The status of a request of the page's own, with its session.
fn status_of(browser: &Browser, method: &str, path: &str) -> u64 {
    let sent = format!("fetch('{path}', {{ method: '{method}' }}).then((it) => it.status)");
    browser.eval_async(&sent).as_u64().unwrap()
}

/// The pages with something of the event, its deliveries and its group.
fn pages(event: &str, group: &str) -> Vec<String> {
    let tabs = ["", "?tab=headers", "?tab=attempts", "?tab=tree", "?tab=copy"];
    let mut pages: Vec<String> = tabs.iter().map(|tab| format!("{event}{tab}")).collect();
    let fixed = ["/", "/events", "/deliveries", "/failures", "/plugins", "/plugins/worker", "/map"];
    let more = ["/kv", "/kv/worker", "/kv/worker/value?key=k_1", "/joins", "/schedules"];
    let last = ["/sources", "/sources/test", "/operations", "/settings", "/settings/audit"];
    pages.extend([&fixed[..], &more, &last].concat().into_iter().map(str::to_owned));
    pages.push(format!("/failures/{group}"));
    pages
}

/// A guarded host with a payload in an event, in a dead delivery and in a key: the event and group.
fn with_payloads() -> (Site, Host, String, String) {
    let (site, host) = guarded();
    let id = send(&host, 1);
    super::until_count(&host, "dead", 1);
    let group = host.api("/api/v1/failures")["items"][0]["id"].as_str().unwrap().to_owned();
    let key = "/api/v1/kv/worker/value?key=k_1&if_absent=true";
    assert_eq!(host.api_status("PUT", key, Some(json!(PRIVATE))).0, 200);
    (site, host, id, group)
}

#[test]
fn a_browser_logs_in_is_told_of_changes_without_payloads_and_logs_out() {
    let (_site, host) = guarded();
    let mut browser = Browser::on(&host);
    // Refusals are what is looked at.
    browser.expect(&["403"]);
    browser.open("/events?type=step.one");
    log_in(&browser, "not-a-token");
    browser.until_text("[role=alert]", "This token does not work here");
    log_in(&browser, VIEWER);
    browser.until_at("/events");
    assert_eq!(browser.path(), "/events?type=step.one", "where it was to go");
    assert!(browser.text(".client").contains("ann viewer"));
    // The session is none that a script could take along.
    assert_eq!(browser.eval("document.cookie.includes('hookbox')"), false);

    browser.eval(
        "(window.told = [], window.stream = new EventSource('/api/v1/stream?topics=events,stats'),
          window.stream.onmessage = (told) => window.told.push(told.data), null)",
    );
    browser.until("the stream", "window.stream.readyState === 1");
    send(&host, 2);
    browser.until("hints", "window.told.length > 1");
    assert_eq!(browser.eval(&format!("window.told.join().includes('{PRIVATE}')")), false);

    browser.open("/");
    browser.click_on("Log out");
    browser.until_at("/login");
    browser.open("/events");
    browser.until_at("/login");
    browser.end();
    host.settled();
    host.kill();
}

#[test]
fn a_viewer_sees_no_payload_anywhere_and_is_neither_offered_nor_allowed_to_act() {
    let (_site, host, id, group) = with_payloads();
    let mut browser = Browser::on(&host);
    browser.expect(&["403"]);
    browser.open("/");
    log_in(&browser, VIEWER);
    browser.until_at("/");
    let event = format!("/events/{id}");
    for page in pages(&event, &group) {
        browser.open(&page);
        let source = "document.documentElement.outerHTML";
        let has = browser.eval(&format!("{source}.includes('{PRIVATE}')"));
        assert_eq!(has, false, "{page}");
        // Nothing acts but the log-out, and what only finds.
        let acts = browser.eval(
            "[...document.querySelectorAll('form[method=post], .actions a, main button')]
               .map((it) => it.getAttribute('action') ?? it.innerText)
               .filter((it) => /Replay|Edit|Retry|Discard|Pause|Let it|Try|Set|Delete|New|Send|Undo/
                 .test(it))",
        );
        assert_eq!(acts, json!([]), "{page}");
    }
    browser.open(&event);
    browser.until_text("main", "hidden: your token does not read payloads");
    let one = format!("events/{id}");
    for path in ["events", "events/export", &one, "deliveries", "kv/worker/value?key=k_1"] {
        let text = browser.eval_async(&format!("fetch('/api/v1/{path}').then((it) => it.text())"));
        let text = text.as_str().unwrap();
        assert!(text.len() > 2 && !text.contains(PRIVATE), "{path}: {text}");
    }
    for (method, path) in [
        ("GET", format!("/api/v1/events/{id}/body")),
        ("GET", format!("{event}/replay")),
        ("POST", format!("{event}/replay")),
        ("POST", "/plugins/worker/pause".to_owned()),
        ("POST", format!("/api/v1/events/{id}/replay")),
        ("DELETE", "/api/v1/kv/worker/value?key=k_1&force=true".to_owned()),
    ] {
        assert_eq!(status_of(&browser, method, &path), 403, "{method} {path}");
    }
    browser.end();
    host.kill();
}

/// Serves this page to each that asks, at an address of its own.
fn elsewhere(page: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), page) = (stream, page.clone()) else { return };
            // Browsers open connections before they need them.
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let length = page.len();
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close";
                let _ = write!(stream, "{head}\r\nContent-Length: {length}\r\n\r\n{page}");
            });
        }
    });
    format!("http://{address}/")
}

#[test]
fn a_form_on_a_page_of_another_origin_does_nothing_with_or_without_a_session() {
    let (_site, host) = guarded();
    let id = send(&host, 1);
    super::until_count(&host, "dead", 1);
    let mut browser = Browser::on(&host);
    browser.expect(&["403"]);
    let evil = format!(
        "<!doctype html><title>evil</title><link rel=icon href='data:,'>\
         <form method=post action='{}/events/{id}/replay'><button id=go>go</button></form>",
        host.admin_url
    );
    browser.open("/");
    log_in(&browser, OPERATOR);
    browser.until_at("/");
    assert!(browser.text(".client").contains("jo operator"));
    // The same site, another port: the browser sends the session along.
    let neighbour = elsewhere(evil.clone());
    // Another site: `localhost` is none of `127.0.0.1`.
    let stranger = neighbour.replace("127.0.0.1", "localhost");
    for from in [&neighbour, &stranger] {
        browser.open_url(from);
        browser.click("#go");
        browser.until_text("main", "a page of another origin may not change anything here");
    }
    assert_eq!(host.api("/api/v1/stats")["deliveries"]["dead"], 1);
    // The same form on the host's own page acts.
    browser.open(&format!("/events/{id}/replay"));
    browser.click("main form button");
    super::until_count(&host, "dead", 2);
    let entries = host.api("/api/v1/audit?action=events.replay")["items"].clone();
    assert_eq!((entries.as_array().unwrap().len(), &entries[0]["actor"]), (1, &json!("jo")));
    browser.end();
    host.kill();
}
