//! Bulk operations on deliveries: one tried first, the rest at a pace, paused, undone.

use serde_json::{Value, json};

use super::driver::Browser;
use super::{rejecting, until_count};
use crate::support::{Host, Site, guest, wait_for};

/// A host with so many dead deliveries, and the page of their group.
fn failed(count: u64) -> (Site, Host, String) {
    let (site, host) = rejecting();
    for n in 0..count {
        host.send("step.one", format!("order_{n}"));
    }
    until_count(&host, "dead", count);
    let group = host.api("/api/v1/failures")["items"][0]["id"].clone();
    let page = format!("/failures/{}", group.as_str().unwrap());
    (site, host, page)
}

fn operations(host: &Host) -> Vec<Value> {
    host.api("/api/v1/operations")["items"].as_array().unwrap().clone()
}

/// Replaces the file by one that succeeds.
fn mend(site: &Site, host: &Host) {
    let before = host.plugin("worker")["digest"].clone();
    site.put_plugin("worker.wat", &guest("ok"));
    wait_for("the new file", || (host.plugin("worker")["digest"] != before).then_some(()));
}

#[test]
fn one_that_is_tried_with_the_old_file_fails_again_and_nothing_else_runs() {
    let (_site, host, group) = failed(3);
    let browser = Browser::on(&host);
    browser.open(&group);
    browser.click_on("Try one …");
    browser.until_at("/operations/new");
    assert!(browser.text("h1").contains("Retry 1 delivery?"));
    browser.click("main form button");
    browser.until_text("#operation h1", "done");
    browser.until_text("#operation", "failed again");
    browser.until_text("#first", "same error");
    assert_eq!(operations(&host)[0]["failed"], 1);
    let attempts: u64 = host.api("/api/v1/deliveries?state=dead")["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|delivery| delivery["attempt"].as_u64().unwrap())
        .sum();
    assert_eq!(attempts, 4, "three, and the one that was tried again");
    browser.end();
}

#[test]
fn with_a_file_that_is_mended_the_first_one_succeeds_and_the_rest_goes_on_to_the_end() {
    // So many that some are left when a slow browser has drawn the page.
    const FAILED: u64 = 10;
    let (site, host, group) = failed(FAILED);
    mend(&site, &host);
    let browser = Browser::on(&host);
    browser.open(&group);
    browser.click_on("Retry the dead …");
    browser.until_at("/operations/new");
    assert_eq!(browser.eval("document.querySelector('[name=first]').checked"), true);
    browser.fill("[name=pace]", "2");
    browser.click("main form button");
    browser.until("its page", "location.pathname.startsWith('/operations/op_')");
    // The way of the bar is watched where it is drawn.
    browser.eval(
        "(() => { window.way = []; const see = () => {
           const now = document.querySelector('progress')?.value;
           if (now !== undefined && window.way.at(-1) !== now) window.way.push(now);
         };
         see(); new MutationObserver(see).observe(document.getElementById('operation'), { childList: true, subtree: true, attributes: true });
         })() && null",
    );
    browser.until_text("#first", "fixed");
    browser.until_text("#operation h1", "done");
    browser.until_text("#operation", &format!("{FAILED} of {FAILED}"));
    assert_eq!(browser.eval("document.querySelector('progress').value"), FAILED);
    browser.until("the end of the bar", &format!("window.way.at(-1) === {FAILED}"));
    let way = browser.eval("window.way");
    let way: Vec<f64> = way.as_array().unwrap().iter().map(|at| at.as_f64().unwrap()).collect();
    assert!(way.len() >= 3 && way.is_sorted(), "it moves, and never back: {way:?}");
    // The group is gone from what is open, and the audit has one line of the end with the counts.
    browser.open("/failures");
    browser.until_text("#list", "Nothing that failed is open");
    let ends = host.api("/api/v1/audit?action=operations.done");
    let ends = ends["items"].as_array().unwrap();
    assert_eq!(ends.len(), 1);
    assert_eq!(ends[0]["result"], json!({ "ok": FAILED, "failed": 0, "skipped": 0 }));
    browser.end();
}

#[test]
fn what_fails_after_the_preview_is_untouched() {
    let (_site, host, group) = failed(2);
    let browser = Browser::on(&host);
    browser.open(&group);
    browser.click_on("Discard …");
    browser.until_at("/operations/new");
    host.send("step.one", "late");
    until_count(&host, "dead", 3);
    browser.click("main form button");
    browser.until_text("#operation h1", "done");
    until_count(&host, "discarded", 2);
    until_count(&host, "dead", 1);
    browser.end();
}

#[test]
fn a_discard_of_many_needs_their_number_and_undo_brings_all_of_them_back() {
    let (_site, host, group) = failed(150);
    let mut browser = Browser::on(&host);
    // The page of a refusal is answered with 400.
    browser.expect(&["400"]);
    browser.open(&group);
    browser.click_on("Discard …");
    browser.until_at("/operations/new");
    browser.click("main form button");
    browser.until_text("main", "type the number of deliveries");
    until_count(&host, "dead", 150);
    browser.back();
    browser.fill("[name=typed]", "150");
    browser.click("main form button");
    browser.until_text("#operation h1", "done");
    until_count(&host, "discarded", 150);
    browser.click_on("Undo");
    browser.until_text("#operation", "takes back");
    browser.until_text("#operation h1", "done");
    until_count(&host, "dead", 150);
    browser.end();
}

#[test]
fn a_paused_operation_goes_on_after_kill_9_and_each_delivery_is_tried_once() {
    let (site, host, group) = failed(30);
    mend(&site, &host);
    let browser = Browser::on(&host);
    browser.open(&group);
    browser.click_on("Retry the dead …");
    browser.until_at("/operations/new");
    browser.fill("[name=pace]", "5");
    browser.click("main form button");
    browser.until("some", "document.querySelector('progress')?.value >= 3");
    browser.click_on("Pause");
    browser.until_text("#operation h1", "paused");
    browser.end();
    host.kill();
    let host = Host::start(&site);
    let browser = Browser::on(&host);
    let at = operations(&host)[0]["id"].as_str().unwrap().to_owned();
    browser.open(&format!("/operations/{at}"));
    browser.until_text("#operation h1", "paused");
    browser.click_on("Go on");
    browser.until_text("#operation h1", "done");
    let end = &operations(&host)[0];
    assert_eq!((&end["ok"], &end["failed"]), (&json!(30), &json!(0)), "{end}");
    // Each was tried once again; an attempt that the kill has cut short is made again.
    let page = host.api("/api/v1/deliveries?limit=100");
    for row in page["items"].as_array().unwrap() {
        let path = format!("/api/v1/deliveries/{}", row["id"].as_str().unwrap());
        let attempts = host.api(&path)["attempts"].as_array().unwrap().clone();
        let ended = attempts.iter().map(|attempt| attempt["outcome"].as_str().unwrap());
        let ended: Vec<&str> = ended.filter(|outcome| *outcome != "crash").collect();
        assert_eq!(ended.len(), 2, "{attempts:?}");
        assert_eq!(ended[1], "ok", "{attempts:?}");
    }
    browser.end();
}

#[test]
fn all_events_that_match_are_replayed_and_the_list_is_there_afterwards_as_it_was() {
    let (site, host, _) = failed(4);
    mend(&site, &host);
    let browser = Browser::on(&host);
    browser.open("/events?type=step.one");
    browser.click_on("Replay all that match …");
    browser.until_at("/replays/new");
    assert!(browser.text("h1").contains("Replay 4 events?"));
    browser.click("main form button");
    browser.until_text("#operation h1", "done");
    browser.until_text("#first", "fixed");
    browser.until_text("#operation", "4 of 4");
    until_count(&host, "done", 4);
    browser.click_on("Back to the list");
    browser.until("the filter", "location.search === '?type=step.one'");
    browser.end();
}

#[test]
fn a_form_that_is_sent_twice_is_one_operation() {
    let (_site, host, group) = failed(2);
    let browser = Browser::on(&host);
    browser.open(&group);
    browser.click_on("Discard …");
    browser.until_at("/operations/new");
    browser.eval(
        "(() => { const form = document.querySelector('main form');
           const fields = () => new URLSearchParams(new FormData(form));
           return Promise.all([1, 2].map(() => fetch(form.getAttribute('action'), { method: 'POST', body: fields() })));
         })().then(() => (window.sent = true)) && null",
    );
    browser.until("both answers", "window.sent");
    assert_eq!(operations(&host).len(), 1);
    until_count(&host, "discarded", 2);
    browser.end();
}
