//! Pages of a host that has stored much.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::driver::Browser;
use crate::support::{Host, ROUTE, SOURCE, Site, agent, body, guest, wait_for};

/// Events that are sent.
const EVENTS: u32 = 6_000;

/// The most bytes of a page with its style and scripts.
const MAX_BYTES: u64 = 100_000;

/// A host with events of many types and subjects, a tenth of them dead.
fn much() -> (Site, Host) {
    let routes = format!("{ROUTE}\"fail.**\" = \"sink\"\n\"more.**\" = \"worker\"\n");
    let files = [("worker.wat", &guest("ok")[..]), ("sink.wat", &guest("reject"))];
    let site = Site::new(&format!("{SOURCE}{routes}"), &files);
    let host = Host::start(&site);
    let next = Arc::new(AtomicU32::new(0));
    let senders: Vec<_> = (0..16)
        .map(|_| {
            let (next, to) = (next.clone(), host.public);
            std::thread::spawn(move || {
                let agent = agent();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= EVENTS {
                        return;
                    }
                    let kind = match n % 10 {
                        0 => format!("fail.kind_{}", n % 70),
                        1 => format!("more.kind_{}", n % 300),
                        _ => "step.one".to_owned(),
                    };
                    crate::support::provide(&agent, to, &body(&kind, format!("order_{n}")));
                }
            })
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    host.settled();
    (site, host)
}

#[test]
fn every_page_of_a_host_that_has_stored_much_stays_light() {
    let (_site, host) = much();
    assert_eq!(host.api("/api/v1/stats")["events"], EVENTS);
    let browser = Browser::on(&host);
    let mut pages = super::frame::pages(&host);
    pages.push("/events?q=order_1".to_owned());
    pages.push("/deliveries?state=dead".to_owned());
    pages.push("/map?window=24h".to_owned());
    let mut found = Vec::new();
    for page in pages {
        browser.open(&page);
        let bytes = browser.eval(
            "[...performance.getEntriesByType('navigation'),
              ...performance.getEntriesByType('resource')]
                .filter((it) => it.entryType === 'navigation' || it.name.includes('/assets/'))
                .reduce((bytes, it) => bytes + it.decodedBodySize, 0)",
        );
        let bytes = bytes.as_u64().unwrap();
        println!("{page}: {bytes} bytes");
        if bytes == 0 || bytes > MAX_BYTES {
            found.push(format!("{page} has {bytes} bytes"));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    browser.end();
}

#[test]
fn eight_tabs_all_say_that_the_host_is_gone_and_are_live_again_by_themselves() {
    let site = Site::of_worker(&guest("ok"), "");
    let host = Host::start(&site);
    let port = host.admin.port();
    let id = host.send("step.one", "order_0");
    host.until_done(&id);
    let mut browser = Browser::on(&host);
    browser.expect(super::GONE);
    let paths = ["/", "/events", "/failures", "/deliveries", "/map", "/plugins", "/sources"];
    browser.open(&format!("/events/{id}"));
    let mut tabs = vec![browser.tab()];
    tabs.extend(paths.map(|path| browser.open_tab(path)));
    for tab in &tabs {
        browser.go_to_tab(tab);
        browser.until_text("hb-live", "live ◉");
        browser.eval("window.same = true");
    }
    host.stop();
    for tab in &tabs {
        browser.go_to_tab(tab);
        browser.until_text("hb-live", "not live since");
        assert!(browser.text("main").len() > 20, "the page stays");
    }
    site.keep_admin_port(port);
    let host = Host::start(&site);
    for (n, tab) in tabs.iter().enumerate() {
        browser.go_to_tab(tab);
        browser.until_text("hb-live", "live ◉");
        assert_eq!(browser.eval("window.same"), true, "it was not loaded again");
        assert!(browser.text("#pulse").contains("serving"), "tab {n}");
    }
    // The list of events shows what comes now.
    browser.go_to_tab(&tabs[2]);
    host.send("step.one", "order_of_later");
    browser.until_text("#list tbody", "order_of_later");
    wait_for("the delivery", || (host.count("done") == 2).then_some(()));
    browser.end();
}
