//! From an empty host to a failure that was found and mended.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::driver::Browser;
use super::{AS_TOLD, pictures, rejecting, told, until_count};
use crate::support::{Host, Site, guest, wait_for};

/// Ends a process of a shell line as a user would run it: the words of a shown command.
fn words(command: &str) -> Vec<&str> {
    command.split_whitespace().skip(1).collect()
}

#[test]
fn an_empty_host_shows_three_steps_and_the_copied_command_ticks_the_third_without_a_reload() {
    let site = Site::of_worker(&guest("ok"), "");
    let host = Host::start(&site);
    let browser = Browser::on(&host);
    browser.open("/");
    assert_eq!(browser.count(".steps li"), 3);
    browser.until_text("#step-see", "to do");
    browser.eval("window.same = true");
    let command = browser.text(".steps hb-copy code");
    assert!(command.starts_with("hookbox send test "), "{command}");
    let sent = site.run(&[&words(&command)[..], &["--url", &host.public_url]].concat());
    assert_eq!(sent.code, 0, "{sent:?}");
    browser.until_text("#step-see", "done");
    assert_eq!(browser.eval("window.same"), true, "the page was not loaded again");
    browser.click("#step-see a");
    browser.until("the event", "location.pathname.startsWith('/events/evt_')");
    browser.end();
}

#[test]
fn the_overview_names_a_plugin_that_fails_while_it_is_looked_at() {
    let (_site, host) = rejecting();
    let browser = Browser::on(&host);
    browser.open("/");
    browser.until_text("#h-trouble", "Nothing wants attention");
    browser.eval("window.same = true");
    host.send("step.one", "order_1");
    browser.until_text(".trouble", "worker");
    assert_eq!(browser.eval("window.same"), true);
    browser.end();
}

#[test]
fn a_group_of_failures_has_its_dead_and_its_waiting_and_a_text_without_what_differs() {
    let site = Site::of_worker(AS_TOLD.as_bytes(), &told("reject"));
    let host = Host::start(&site);
    for n in 0..3 {
        host.send("step.one", format!("order_{n}"));
    }
    until_count(&host, "dead", 3);
    let browser = Browser::on(&host);
    browser.open("/failures");
    assert_eq!(browser.count("#list tbody tr"), 1);
    let row = browser.text("#list tbody tr");
    assert!(row.contains("worker") && row.contains("reject") && row.contains('3'), "{row}");
    assert!(!row.contains("order_1"), "{row}");
    // The same plugin asks for a retry from now on: another group, that waits.
    let config = format!("{}{}{}", crate::support::SOURCE, crate::support::ROUTE, told("fail"));
    site.put_config(&config);
    wait_for("the new configuration", || {
        host.send("step.one", format!("late_{}", host.api("/api/v1/stats")["events"]));
        (host.api("/api/v1/stats")["deliveries"]["waiting"].as_u64()? > 0).then_some(())
    });
    browser.until("a second group", "document.querySelectorAll('#list tbody tr').length === 2");
    browser.end();
}

#[test]
fn the_waterfall_has_attempts_waits_and_events_that_followed_and_every_bar_leads_to_its_attempt() {
    let site = Site::new(
        &format!(
            "{}[routes]\n\"step.one\" = [\"again\", \"echo\"]\n\"guest.echoed\" = \"last\"\n",
            crate::support::SOURCE
        ),
        &[
            ("again.wat", &guest("retry-once")[..]),
            ("echo.wat", &guest("emit")),
            ("last.wat", &guest("ok")),
        ],
    );
    let host = Host::start(&site);
    let id = host.send("step.one", "order_1");
    until_count(&host, "done", 3);
    let browser = Browser::on(&host);
    browser.open(&format!("/events/{id}"));
    let rows = browser.text(".fall tbody");
    let at = |text: &str| rows.find(text).unwrap_or_else(|| panic!("no {text} in {rows}"));
    assert!(at("step.one") < at("again") && at("echo") < at("guest.echoed"), "{rows}");
    assert!(at("guest.echoed") < at("last"), "{rows}");
    // Two attempts of `again`, one of each other; a wait between the two.
    assert_eq!(browser.count(".fall svg a"), 4);
    assert!(browser.count(".fall svg .b-wait") > 0);
    let targets = browser
        .eval("[...document.querySelectorAll('.fall svg a')].map((a) => a.getAttribute('href'))");
    for target in targets.as_array().unwrap() {
        let target = target.as_str().unwrap();
        browser.open(target);
        let anchor = target.split_once('#').expect("a bar leads to a place").1;
        assert_eq!(browser.count(&format!("[id='{anchor}']")), 1, "{target}");
    }
    browser.end();
}

/// A host whose plugin has sent a request that was answered with 503, and the event of it.
fn asking() -> (Site, Host, String) {
    let port = pictures::api(Arc::new(AtomicBool::new(true)));
    let config = format!(
        "{}[routes]\n\"step.asks\" = \"asks\"\n[plugins.asks]\n\
         http = [{{ scheme = \"http\", host = \"127.0.0.1\", port = {port}, private = true }}]\n",
        crate::support::SOURCE
    );
    let site = Site::new(&config, &[("asks.wat", &guest("send")[..])]);
    let host = Host::start(&site);
    let where_to = STANDARD.encode(format!("0127.0.0.1:{port}/v1/orders?token=x"));
    let event = json!({ "type": "step.asks", "data_base64": where_to });
    let (status, made) = host.api_status("POST", "/api/v1/events", Some(event));
    assert_eq!(status, 202, "{made}");
    until_count(&host, "done", 1);
    let id = made["event_id"].as_str().unwrap().to_owned();
    (site, host, id)
}

#[test]
fn a_request_is_a_tick_within_its_attempt_and_a_line_of_the_list_and_of_the_command() {
    let (site, host, id) = asking();
    let call = &host.api(&format!("/api/v1/events/{id}/tree"))["events"][0]["deliveries"][0]["attempts"]
        [0]["calls"][0];
    assert!(call["offset_ms"].is_u64() && call["status"] == 503, "{call}");
    let browser = Browser::on(&host);
    browser.open(&format!("/events/{id}"));
    assert_eq!(browser.count(".fall svg a"), 1, "the attempt");
    assert_eq!(browser.count(".fall tbody .b-call"), 1);
    let title = browser.eval("document.querySelector('.fall tbody .b-call title').textContent");
    let title = title.as_str().unwrap();
    assert!(title.starts_with("GET http://127.0.0.1:") && title.contains(" 503 in "), "{title}");
    assert!(title.contains("?token=*"), "no value of the query: {title}");
    let within = "(() => {
        const [bar, tick] = ['.b-ok', '.b-call'].map((it) =>
          document.querySelector('.fall tbody ' + it).getBoundingClientRect());
        return tick.left >= bar.left - 1 && tick.left <= bar.right && tick.top > bar.top;
      })()";
    assert_eq!(browser.eval(within), true);
    browser.open(&format!("/events/{id}?tab=tree"));
    let list = browser.text("#tree");
    assert!(list.contains("GET http://127.0.0.1:") && list.contains(" 503 in "), "{list}");
    browser.open(&format!("/events/{id}?tab=attempts"));
    let attempt = browser.text(".attempt");
    assert!(attempt.contains("of CPU") && attempt.contains("KiB of memory"), "{attempt}");
    // The line with the status is of the level `info`, and so left out.
    assert_eq!(browser.count(".attempt pre"), 1);
    browser.click_on("error");
    browser.until("the level in the address", "location.search.includes('level=error')");
    assert_eq!(browser.count(".attempt pre"), 0);
    assert!(browser.text(".attempt").contains(" lower level"));
    let said = site.ask(&host, &["events", "tree", &id]).said();
    assert!(said.contains("GET http://127.0.0.1:") && said.contains("  503  +"), "{said}");
    browser.end();
}

#[test]
fn a_file_that_is_dropped_in_is_a_mark_beside_the_curves_and_the_group_says_that_it_may_be_fixed() {
    let (site, host) = rejecting();
    host.send("step.one", "order_1");
    until_count(&host, "dead", 1);
    let browser = Browser::on(&host);
    browser.open("/failures");
    let row = browser.text("#list tbody tr");
    assert!(row.contains("runs") && !row.contains("not the one"), "{row}");
    let before = host.plugin("worker")["digest"].clone();
    site.put_plugin("worker.wat", &guest("ok"));
    wait_for("the new file", || (host.plugin("worker")["digest"] != before).then_some(()));
    browser.reload();
    let row = browser.text("#list tbody tr");
    assert!(row.contains("not the one that runs"), "{row}");
    browser.click("#list tbody tr a");
    browser.until_text("#failure", "may be fixed");
    browser.open("/");
    browser.until("a mark", "document.querySelector('.charts svg .mark')");
    browser.end();
}
