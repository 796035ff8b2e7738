//! From an empty host to a failure that was found and mended.

use super::driver::Browser;
use super::{AS_TOLD, rejecting, told, until_count};
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
