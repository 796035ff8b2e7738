//! Pages of a host on which something of everything waits: what axe and a browser without script
//! say of them.

use serde_json::json;

use super::driver::Browser;
use super::frame::faults;
use super::plugins::asking;
use super::{AS_TOLD, told, until_count};
use crate::support::{Host, ROUTE, SOURCE, Site, agent, body, guest, wait_for};

const SECTIONS: &str = "\"approval.*\" = \"worker\"\n\
    [schedules.nightly]\ncron = \"0 3 * * MON-FRI\"\ntz = \"Europe/Berlin\"\nemit = \"step.two\"\n\
    [schedules.often]\nevery = \"10s\"\nemit = \"step.three\"\n\
    [joins.approval]\non = \"approval.asked\"\nclose = \"approval.granted\"\nkey = \"subject\"\n\
    within = \"1h\"\nemit = \"approval.ended\"\n";

/// A host with dead letters, a paused plugin and a held file, keys, schedules that have ticked, an
/// open join, refused requests and an operation.
fn filled() -> (Site, Host) {
    let config = format!("{SOURCE}{ROUTE}{SECTIONS}{}", told("reject"));
    let plugins = [("worker.wat", AS_TOLD.as_bytes()), ("asker.wat", &guest("ok")[..])];
    let site = Site::new(&config, &plugins);
    let host = Host::start(&site);
    for n in 0..3 {
        host.send("step.one", format!("order_{n}"));
    }
    until_count(&host, "dead", 3);
    host.send("approval.asked", "order_9");
    wait_for("a join", || {
        let joins = host.api("/api/v1/joins")["items"].clone();
        joins.as_array().is_some_and(|joins| !joins.is_empty()).then_some(())
    });
    let posts = [
        ("/api/v1/plugins/worker/pause", json!({ "reason": "the orders API is down" })),
        ("/api/v1/schedules/often/run", json!({})),
        ("/api/v1/operations", json!({ "action": "retry", "plugin": "worker", "state": "dead" })),
    ];
    for (path, body) in posts {
        let (status, answer) = host.api_status("POST", path, Some(body));
        assert!(status < 300, "{path}: {answer}");
    }
    let value = "/api/v1/kv/worker/value?key=order/1&if_absent=true";
    assert_eq!(host.api_status("PUT", value, Some(json!({ "n": 1 }))).0, 200);
    let refused = format!("{}/webhook/test", host.public_url);
    let sent = agent().post(refused).header("x-signature", &"5a".repeat(32));
    assert_eq!(sent.send(body("step.one", "order_1")).unwrap().status(), 401);
    site.put_plugin("asker.wat", asking(1).as_bytes());
    wait_for("the file to be held", || host.plugin("asker")["held"].is_object().then_some(()));
    (site, host)
}

/// The pages that say something of it.
fn pages(host: &Host) -> Vec<String> {
    let first = |path: &str| {
        let found = host.api(path)["items"][0]["id"].clone();
        found.as_str().unwrap_or_else(|| panic!("{path} has nothing")).to_owned()
    };
    let mut pages: Vec<String> = [
        "/",
        "/plugins",
        "/plugins/asker",
        "/plugins/asker/approve",
        "/plugins/worker",
        "/plugins/worker/resume",
        "/sources",
        "/sources/test",
        "/schedules",
        "/schedules/often",
        "/schedules/nightly",
        "/schedules/nightly/pause",
        "/joins",
        "/kv",
        "/kv/worker",
        "/kv/worker/value?key=order/1",
        "/kv/worker/set?key=order/1",
        "/kv/worker/delete?key=order/1",
        "/operations",
        "/settings/audit",
        "/deliveries?state=dead",
    ]
    .map(str::to_owned)
    .into();
    pages.push(format!("/operations/{}", first("/api/v1/operations")));
    pages.push(format!("/failures/{}", first("/api/v1/failures")));
    pages.push(format!("/events/{}/edit", first("/api/v1/events?type=step.one")));
    pages
}

#[test]
fn axe_finds_no_violation_on_pages_that_have_something_to_say() {
    let (_site, host) = filled();
    let browser = Browser::on(&host);
    let mut found = Vec::new();
    for page in pages(&host) {
        browser.open(&page);
        found.extend(faults(&browser, &page));
    }
    assert!(found.is_empty(), "{found:#?}");
    browser.end();
}

#[test]
fn pages_that_have_something_to_say_say_it_without_script() {
    let (_site, host) = filled();
    let browser = Browser::on(&host);
    browser.scripts(false);
    for (page, says) in [
        ("/plugins", "the orders API is down"),
        ("/plugins/asker", "http = [{ host = \"api.example.com\""),
        ("/plugins/worker", "Outcomes by hour"),
        ("/schedules", "at 03:00 on Monday to Friday"),
        ("/schedules/often", "manual: local has run the schedule by hand"),
        ("/joins", "approval"),
        ("/sources/test", "no active key makes it"),
        ("/kv/worker", "order/1"),
    ] {
        browser.open(page);
        browser.until_text("main", says);
    }
    for page in pages(&host) {
        browser.open(&page);
        assert!(browser.text("main").trim().len() > 20, "{page}");
    }
    browser.end();
}

#[test]
fn a_theme_is_chosen_without_script_and_stays_on_every_page() {
    let (_site, host) = filled();
    let browser = Browser::on(&host);
    browser.scripts(false);
    browser.open("/plugins");
    browser.click("footer button[value=dark]");
    browser.until_at("/plugins");
    browser.open("/events");
    let is = |theme: &str| format!("document.documentElement.dataset.theme === '{theme}'");
    browser.until("the dark theme", &is("dark"));
    let colour = "getComputedStyle(document.documentElement).backgroundColor";
    assert_eq!(browser.eval(colour), "rgb(22, 24, 27)", "whatever the system prefers");
    browser.click("footer button[value=light]");
    browser.until("the light theme", &is("light"));
    assert_eq!(browser.eval(colour), "rgb(251, 251, 250)");
    browser.click("footer button[value=system]");
    browser.until("that of the system", "!('theme' in document.documentElement.dataset)");
    browser.end();
}
