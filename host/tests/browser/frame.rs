//! The rules that every page keeps.

use super::driver::Browser;
use super::{rejecting, until_count};
use crate::support::{Host, Site, guest};

/// Every kind of page, on a host that has something of everything.
pub(super) fn pages(host: &Host) -> Vec<String> {
    let event = host.api("/api/v1/events?limit=1")["items"][0]["id"].clone();
    let event = event.as_str().unwrap();
    let group = host.api("/api/v1/failures")["items"][0]["id"].clone();
    let mut pages: Vec<String> = [
        "/",
        "/events",
        "/failures",
        "/deliveries",
        "/plugins",
        "/plugins/worker",
        "/joins",
        "/schedules",
        "/settings",
        "/settings/audit",
        "/settings/tokens",
        "/settings/hosts",
        "/settings/about",
        "/operations",
        "/map",
        "/sources",
        "/sources/test",
        "/kv",
        "/events?type=none.*",
        "/find?q=nothing-has-this-name",
    ]
    .map(str::to_owned)
    .into();
    let tabs = ["", "?tab=headers", "?tab=attempts", "?tab=tree", "?tab=copy", "/replay"];
    pages.extend(tabs.map(|tab| format!("/events/{event}{tab}")));
    pages.push(format!("/failures/{}", group.as_str().unwrap()));
    pages
}

fn full() -> (Site, Host) {
    let (site, host) = rejecting();
    for n in 0..3 {
        host.send("step.one", format!("order_{n}"));
    }
    until_count(&host, "dead", 3);
    (site, host)
}

#[test]
fn every_page_can_be_read_and_used_without_script() {
    let (_site, host) = full();
    let browser = Browser::on(&host);
    browser.scripts(false);
    for page in pages(&host) {
        browser.open(&page);
        assert_eq!(browser.count("hb-live button"), 0, "{page}");
        assert!(browser.text("main").trim().len() > 20, "{page}");
    }
    browser.open("/events");
    browser.fill("[name=subject]", "order_1");
    browser.click(".filters button");
    browser.until("one row", "document.querySelectorAll('#list tbody tr').length === 1");
    browser.click("#list input[type=checkbox]");
    browser.click_on("Replay the selected …");
    browser.until_at("/replays/new");
    browser.click("main form button");
    until_count(&host, "dead", 4);
    every_filter_and_action(&host, &browser);
    browser.end();
}

/// Sends the form of each listing, opens each confirmation, and does some of what they ask.
fn every_filter_and_action(host: &Host, browser: &Browser) {
    let mut asked = std::collections::BTreeSet::new();
    for page in pages(host) {
        browser.open(&page);
        // An action with an ellipsis asks first.
        let links = browser.eval(
            "[...document.querySelectorAll('main a.button')].filter((it) => it.textContent.includes('…'))
               .map((it) => it.getAttribute('href'))",
        );
        asked.extend(links.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()));
        if browser.count("form.filters .go") > 0 {
            browser.click("form.filters .go");
            assert_eq!(browser.count(".problem[role=alert]"), 0, "the filters of {page}");
            assert!(browser.text("main").trim().len() > 20, "the filters of {page}");
        }
    }
    assert!(asked.len() > 8, "{asked:?}");
    for path in &asked {
        browser.open(path);
        assert!(browser.count("main form[method=post] button") > 0, "{path} has no form");
        assert!(!browser.text("main h1").is_empty(), "{path}");
    }
    browser.open("/plugins/worker/pause");
    browser.fill("[name=reason]", "orders are down");
    browser.click("main form button");
    browser.until_text("#plugin", "orders are down");
    browser.click_on("Let it go on …");
    browser.click("main form button");
    browser.until_at("/plugins/worker");
    let group = host.api("/api/v1/failures")["items"][0]["id"].as_str().unwrap().to_owned();
    browser.open(&format!("/failures/{group}"));
    browser.click_on("Discard …");
    browser.until_at("/operations/new");
    browser.click("main form button");
    until_count(host, "discarded", 4);
    browser.reload();
    browser.click_on("Undo");
    until_count(host, "dead", 4);
    let dead = host.api("/api/v1/deliveries?state=dead")["items"][0]["id"].clone();
    let dead = dead.as_str().unwrap();
    for (action, state) in [("discard", "discarded"), ("undiscard", "dead"), ("retry", "dead")] {
        browser.open(&format!("/deliveries/{dead}/{action}"));
        browser.click("main form button");
        crate::support::wait_for(action, || {
            let now = host.api(&format!("/api/v1/deliveries/{dead}"));
            (now["state"] == state).then_some(())
        });
    }
    browser.open("/sources/test");
    browser.fill("[name=type]", "step.one");
    browser.fill("[name=set]", "event_data.callback_id=order_7");
    browser.click_on("Send it");
    until_count(host, "dead", 5);
}

/// The faults of the page that is shown, light or dark, wide or narrow.
pub(super) fn faults(browser: &Browser, page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (width, theme) in [(1280, "light"), (1280, "dark"), (360, "light"), (360, "dark")] {
        browser.show_as(width, theme);
        let violations = browser.violations();
        found.extend(violations.iter().map(|rule| format!("{page} {width} {theme}: {rule}")));
        // Elements beyond the right edge, but for those that scroll by themselves.
        let wider = browser.eval(
            "document.documentElement.scrollWidth <= innerWidth ? [] :
             ['page', ...[...document.querySelectorAll('body *')]
               .filter((it) => it.getBoundingClientRect().right > innerWidth)
               .map((it) => it.outerHTML.slice(0, 80))]",
        );
        if wider != serde_json::json!([]) {
            found.push(format!("{page} {width} {theme}: it scrolls sideways: {wider}"));
        }
    }
    found
}

#[test]
fn axe_finds_no_violation_on_any_page_light_or_dark_wide_or_narrow() {
    let (_site, host) = full();
    let mut browser = Browser::on(&host);
    // A page that is not there looks like the others.
    browser.expect(&["404"]);
    let mut found = Vec::new();
    let mut pages = pages(&host);
    let forms = ["/plugins/worker/pause", "/plugins/worker/try", "/kv/worker/set"];
    pages
        .extend([&forms[..], &["/login", "/nothing/here"]].concat().into_iter().map(str::to_owned));
    let group = host.api("/api/v1/failures")["items"][0]["id"].clone();
    let group = group.as_str().unwrap();
    pages.push(format!("/operations/new?action=discard&failure={group}"));
    for page in pages {
        browser.open(&page);
        found.extend(faults(&browser, &page));
    }
    assert!(found.is_empty(), "{found:#?}");
    browser.end();
}

#[test]
fn the_pages_are_reached_and_used_by_keys_alone_and_a_switch_turns_the_keys_off() {
    let (_site, host) = full();
    let browser = Browser::on(&host);
    browser.open("/");
    for (key, path) in [
        ("o", "/"),
        ("e", "/events"),
        ("f", "/failures"),
        ("p", "/plugins"),
        ("c", "/schedules"),
        ("k", "/kv"),
        ("m", "/map"),
        ("s", "/sources"),
        ("t", "/settings"),
    ] {
        browser.press(&format!("g{key}"));
        browser.until_at(path);
    }
    browser.press("ge");
    browser.until_at("/events");
    browser.press("jj");
    assert_eq!(browser.count("tr[aria-selected=true]"), 1);
    browser.press("x");
    assert_eq!(browser.count("#list input:checked"), 1);
    browser.press("\u{e007}");
    browser.until("the event", "location.pathname.startsWith('/events/evt_')");
    browser.press("2");
    browser.until("the headers", "location.search.includes('tab=headers')");
    browser.press("u");
    browser.until_at("/events");
    browser.press("/");
    assert_eq!(browser.eval("document.activeElement.id"), "find");
    browser.press("g");
    assert_eq!(browser.eval("document.activeElement.value"), "g", "keys are text while typing");
    browser.open("/events");
    browser.click_on("shortcuts: on");
    browser.press("gf");
    assert_eq!(browser.path(), "/events");
    browser.click_on("shortcuts: off");
    browser.press("gf");
    browser.until_at("/failures");
    browser.end();
}

/// The key that opens.
const ENTER: &str = "\u{e007}";

#[test]
fn every_confirmation_of_the_story_is_reached_by_keys_and_concerns_the_selected_row() {
    let (site, host) = full();
    let browser = Browser::on(&host);
    let asks = |what: &str| browser.until_text("h1", what);
    browser.open("/");
    browser.press("gf");
    browser.until_at("/failures");
    browser.press("jr");
    asks("Retry 3 deliveries?");
    browser.press("u");
    browser.until("the group", "location.pathname.startsWith('/failures/f_')");
    browser.press("d");
    asks("Discard 3 deliveries?");
    browser.tab_to("Discard 3");
    browser.press(ENTER);
    until_count(&host, "discarded", 3);
    browser.until_text("#operation h1", "done");
    browser.tab_to("Undo");
    browser.press(ENTER);
    until_count(&host, "dead", 3);
    browser.press("gf");
    browser.until_at("/failures");
    browser.press(&format!("j{ENTER}"));
    browser.until("the group", "location.pathname.startsWith('/failures/f_')");
    browser.tab_to("Its deliveries");
    browser.press(ENTER);
    browser.until_at("/deliveries");
    // The second row, and it alone.
    let second = browser.eval("document.querySelectorAll('#list tbody tr')[1].dataset.row");
    let second = second.as_str().unwrap();
    for (key, verb) in [("r", "Retry"), ("d", "Discard")] {
        browser.press(&format!("jj{key}"));
        asks(&format!("{verb} 1 delivery?"));
        assert!(browser.path().contains(&format!("ids={second}&")), "{}", browser.path());
        browser.back();
        browser.until_at("/deliveries");
        browser.reload();
        browser.until_at("/deliveries");
    }
    browser.press(&format!("jj{ENTER}"));
    browser.until("its event", "location.pathname.startsWith('/events/evt_')");
    let event = browser.eval("location.pathname").as_str().unwrap().to_owned();
    for (key, page) in [("R", "replay"), ("e", "edit")] {
        browser.press(key);
        browser.until_at(&format!("{event}/{page}"));
        browser.press("u");
        browser.until_at(&event);
    }
    browser.press("r");
    browser.until_at(&format!("/deliveries/{second}/retry"));
    browser.press("ge");
    browser.until_at("/events");
    browser.press("jje");
    browser.until_at(&format!("{event}/edit"));
    tried_and_approved(&site, &host, &browser);
    browser.end();
}

/// Tries an event on the plugin, and lets a file in, by keys.
fn tried_and_approved(site: &Site, host: &Host, browser: &Browser) {
    let own_page = || {
        browser.press("gp");
        browser.until_at("/plugins");
        browser.press(&format!("j{ENTER}"));
        browser.until_at("/plugins/worker");
    };
    own_page();
    browser.tab_to("Try on an event …");
    browser.press(ENTER);
    browser.until_at("/plugins/worker/try");
    let digest = super::plugins::hold(site, host, 1);
    own_page();
    browser.until_text("#h-held", "waits to be approved");
    browser.tab_to("Let it in …");
    browser.press(ENTER);
    browser.until_at("/plugins/worker/approve");
    let button = browser.text("main form button");
    browser.tab_to(&button);
    browser.press(ENTER);
    browser.until_at("/plugins/worker");
    crate::support::wait_for("it to run", || {
        (host.plugin("worker")["digest"] == digest).then_some(())
    });
}

#[test]
fn times_in_texts_and_charts_follow_the_switch_to_local_ones() {
    let (_site, host) = full();
    let browser = Browser::on(&host);
    // Five hours and a half ahead of UTC, all the year.
    let zone = serde_json::json!({ "timezoneId": "Asia/Kolkata" });
    browser.devtools("Emulation.setTimezoneOverride", zone);
    browser.open("/");
    browser.until_text("#chart-requests .axis", "UTC, a step is");
    browser.until_text(".trouble", " UTC, ");
    for mode in ["utc", "local"] {
        browser.click("hb-keys button:nth-of-type(2)");
        browser.until_text("hb-keys", &format!("times: {mode}"));
    }
    browser.until_text("#chart-requests .axis", "local, a step is");
    browser.until_text(".trouble", " local, ");
    browser.until(
        "the time of the page in its zone",
        "(() => { const it = document.querySelector('#pulse time');
           const here = new Date(+new Date(it.dateTime) + 198e5).toISOString();
           return it.innerText === here.slice(11, 19); })()",
    );
    // Also what comes later.
    host.send("step.one", "order_later");
    browser.until_text(".trouble", "4 dead letters");
    assert!(browser.text(".trouble").contains(" local, "));
    browser.end();
}

#[test]
fn a_page_says_at_once_that_its_host_is_gone_and_recovers_by_itself() {
    let site = Site::of_worker(&guest("ok"), "");
    site.put_config(&format!("{}{}", crate::support::SOURCE, crate::support::ROUTE));
    let host = Host::start(&site);
    let port = host.admin.port();
    let mut browser = Browser::on(&host);
    browser.expect(super::GONE);
    browser.open("/");
    browser.until_text("hb-live", "live ◉");
    host.stop();
    browser.until_text("hb-live", "not live since");
    site.keep_admin_port(port);
    let again = Host::start(&site);
    browser.until_text("hb-live", "live ◉");
    again.send("step.one", "order_1");
    browser.until_text("#step-see", "done");
    browser.end();
}

#[test]
fn pages_that_were_left_give_their_streams_back_and_eight_tabs_are_live_at_once() {
    let (_site, host) = full();
    let browser = Browser::on(&host);
    // There are sixteen streams.
    for _ in 0..12 {
        for page in ["/", "/events"] {
            browser.open(page);
            browser.until_text("hb-live", "live ◉");
        }
    }
    let tabs: Vec<_> = (0..7).map(|_| browser.open_tab("/events")).collect();
    for (n, tab) in tabs.iter().enumerate() {
        browser.go_to_tab(tab);
        browser.until_text("hb-live", "live ◉");
        let subject = format!("order_of_tab_{n}");
        host.send("step.one", &subject);
        browser.until_text("#list tbody", &subject);
    }
    browser.end();
}
